//! An order as others see it: the resource of the HTTP surface and the data of its events.
//! Not here: which requests and moves they belong to.

use chrono::{DateTime, Utc};
use ftgo_chassis::{Address, Money};
use ftgo_messaging::Message;
use serde::Serialize;

use crate::NAME;
use crate::domain::{LineItem, Order, OrderEvent, OrderState, PricedItems};

const ORDER_EVENTS: &str = "order.events";

/// `GET /orders/{id}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderResource<'a> {
    id: &'a str,
    consumer_id: &'a str,
    restaurant_id: &'a str,
    restaurant_name: &'a str,
    state: OrderState,
    version: i64,
    line_items: &'a [LineItem],
    total: Money,
    delivery_address: &'a Address,
    delivery_time: Option<DateTime<Utc>>,
    rejection_reason: Option<&'a str>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// The data of every event: the whole order after the move, so that a reader needs no earlier event to understand it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot<'a> {
    order_id: &'a str,
    consumer_id: &'a str,
    restaurant_id: &'a str,
    restaurant_name: &'a str,
    state: OrderState,
    line_items: &'a [LineItem],
    total: Money,
    delivery_address: &'a Address,
    delivery_time: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proposed_line_items: Option<&'a [LineItem]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proposed_total: Option<Money>,
}

impl<'a> From<&'a Order> for OrderResource<'a> {
    fn from(order: &'a Order) -> OrderResource<'a> {
        OrderResource {
            id: order.id(),
            consumer_id: order.consumer_id(),
            restaurant_id: order.restaurant_id(),
            restaurant_name: order.restaurant_name(),
            state: order.state(),
            version: order.version(),
            line_items: order.items().line_items(),
            total: order.items().total(),
            delivery_address: order.delivery_address(),
            delivery_time: order.delivery_time(),
            rejection_reason: order.rejection_reason(),
            created_at: order.created_at(),
            updated_at: order.updated_at(),
        }
    }
}

/// The message that tells of `event`, after which `order` is as it is now.
///
/// # Errors
/// When the order has no JSON form.
pub(crate) fn event_message(
    order: &Order,
    event: OrderEvent,
) -> Result<Message, serde_json::Error> {
    let snapshot = Snapshot {
        order_id: order.id(),
        consumer_id: order.consumer_id(),
        restaurant_id: order.restaurant_id(),
        restaurant_name: order.restaurant_name(),
        state: order.state(),
        line_items: order.items().line_items(),
        total: order.items().total(),
        delivery_address: order.delivery_address(),
        delivery_time: order.delivery_time(),
        created_at: order.created_at(),
        updated_at: order.updated_at(),
        reason: order.rejection_reason(),
        proposed_line_items: order.proposed().map(PricedItems::line_items),
        proposed_total: order.proposed().map(PricedItems::total),
    };
    Message::event(
        NAME,
        ORDER_EVENTS,
        event.kind(),
        order.id(),
        order.version(),
        snapshot,
    )
}
