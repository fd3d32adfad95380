"""A partner's first program in Python: find a restaurant, order, read the order, see the plan. `client` is generated."""

import os
import uuid

from client import AuthenticatedClient
from client.api.orders import v_1_order, v_2_order, v_2_place_order
from client.api.restaurants import v_2_menu, v_2_restaurants
from client.api.usage import v_2_usage
from client.models import Address, NewOrderV2, Problem, QuantityV2

with AuthenticatedClient(base_url=os.environ["BASE"], token=os.environ["TOKEN"]) as api:
    restaurant = v_2_restaurants.sync(client=api, lat=37.8, lng=-122.27, limit=1).items[0]
    menu = v_2_menu.sync(restaurant.id, client=api)
    placed = v_2_place_order.sync(
        client=api,
        idempotency_key=str(uuid.uuid4()),
        body=NewOrderV2(
            restaurant_id=restaurant.id,
            delivery_address=Address(street1="1432 Alice Street", city="Oakland", state="CA", zip_="94612"),
            line_items=[QuantityV2(menu_item_id=menu.items[0].id, quantity=5)],
        ),
    )
    order = v_2_order.sync(placed.order_id, client=api)
    assert v_1_order.sync(placed.order_id, client=api).id == placed.order_id
    assert v_2_usage.sync(client=api).day.used > 0
    none = v_2_order.sync("none", client=api)
    assert isinstance(none, Problem) and none.status == 404, none
    print(order.line_items[0].quantity)
