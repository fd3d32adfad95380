"""The app's first program in Python: the first screen, an order, its details. `client` is generated."""

import os
import uuid

from client import AuthenticatedClient
from client.api.home import home
from client.api.orders import order_details, place_order
from client.api.restaurants import restaurant
from client.models import Address, NewOrder, Problem, Quantity

with AuthenticatedClient(base_url=os.environ["BASE"], token=os.environ["TOKEN"]) as api:
    nearby = home.sync(client=api, lat=37.8, lng=-122.27).restaurants.data[0]
    menu = restaurant.sync(nearby.id, client=api).menu
    placed = place_order.sync(
        client=api,
        idempotency_key=str(uuid.uuid4()),
        body=NewOrder(
            restaurant_id=nearby.id,
            delivery_address=Address(street1="1432 Alice Street", city="Oakland", state="CA", zip_="94612"),
            line_items=[Quantity(menu_item_id=menu.items[0].id, quantity=5)],
        ),
    )
    details = order_details.sync(placed.order_id, client=api)
    none = order_details.sync("none", client=api)
    assert isinstance(none, Problem) and none.status == 404, none
    print(details.order.data.line_items[0].quantity)
