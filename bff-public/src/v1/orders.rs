//! `/v1/orders/{id}`: an order of the partner's account.

use axum::extract::State;
use gateway_core::compose::{Answer, Composition};
use gateway_core::encode::segment;
use gateway_core::error::Error;
use gateway_core::extract::PathParam;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Address, Deprecated, Money, deprecated};
use crate::clients::Clients;
use crate::clients::order::Order;
use crate::partner;

pub(crate) async fn show(
    page: Composition,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
) -> Result<Deprecated<Answer<OrderV1>>, Error> {
    let consumer = partner::consumer(page.context())?;
    let order = clients
        .orders
        .order_of(page.context().for_required("order"), consumer, &id)
        .await?;
    Ok(deprecated(
        page.answer(OrderV1::from(order)),
        format!("/v2/orders/{}", segment(&id)),
    ))
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderV1 {
    id: String,
    state: String,
    restaurant: RestaurantV1,
    items: Vec<ItemV1>,
    total: Money,
    delivery_address: Address,
    delivery_time: Option<String>,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize, JsonSchema)]
struct RestaurantV1 {
    id: String,
    name: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ItemV1 {
    menu_item_id: String,
    name: String,
    quantity: u32,
    unit_price: Money,
}

impl From<Order> for OrderV1 {
    fn from(order: Order) -> Self {
        let items = order.line_items.into_iter().map(|item| ItemV1 {
            menu_item_id: item.menu_item_id,
            name: item.name,
            quantity: item.quantity,
            unit_price: item.price.into(),
        });
        Self {
            id: order.id,
            state: order.state,
            restaurant: RestaurantV1 {
                id: order.restaurant_id,
                name: order.restaurant_name,
            },
            items: items.collect(),
            total: order.total.into(),
            delivery_address: order.delivery_address.into(),
            delivery_time: order.delivery_time,
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}
