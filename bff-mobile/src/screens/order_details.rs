//! Order details: everything about one order in one round trip, from five services. Only the order itself is required;
//! the restaurant depends on it, the rest is asked for at the same time.

use std::time::Duration;

use axum::extract::State;
use chrono::Utc;
use gateway_core::compose::{Composition, Polled, Required, Section};
use gateway_core::error::Error;
use gateway_core::extract::PathParam;
use schemars::JsonSchema;
use serde::Serialize;

use super::contradictions::{Contradiction, States};
use super::polling::Progress;
use crate::clients::Clients;
use crate::clients::accounting::Bill;
use crate::clients::delivery::Delivery;
use crate::clients::kitchen::Ticket;
use crate::clients::order::{LineItem, Order};
use crate::clients::restaurant::Restaurant;
use crate::values::{Address, Location, Money, Timestamp};

/// Everything about one order.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OrderDetails {
    order: Required<OrderView>,
    ticket: Section<TicketView>,
    delivery: Section<DeliveryView>,
    bill: Section<BillView>,
    restaurant: Section<RestaurantView>,
    /// `true` when sections contradict each other, else absent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    inconsistent: bool,
    /// Which ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inconsistencies: Vec<Contradiction>,
}

/// Another consumer's order is 404: the moment that is known, the calls under way are dropped and nothing of them is
/// shown.
pub(crate) async fn show(
    page: Composition<OrderDetails>,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
) -> Result<Polled<OrderDetails>, Error> {
    let order_and_restaurant = async {
        let order = page
            .required("order", |call| clients.orders.own(call, &id))
            .await?;
        let restaurant = page
            .optional("restaurant", |call| {
                clients.restaurants.restaurant(call, &order.restaurant_id)
            })
            .await;
        Ok((order, restaurant))
    };
    let ((order, restaurant), ticket, delivery, bill) = page
        .all((
            order_and_restaurant,
            page.optional("ticket", |call| clients.kitchen.ticket(call, &id)),
            page.optional("delivery", |call| clients.deliveries.delivery(call, &id)),
            page.optional("bill", |call| clients.accounting.bill(call, &id)),
        ))
        .await?;
    let states = States {
        order: &order.state,
        ticket: ticket.data().map(|ticket| ticket.state.as_str()),
        delivery: delivery.data().map(|delivery| delivery.state.as_str()),
        bill: bill.data().map(|bill| bill.state.as_str()),
    };
    let inconsistencies = states.contradictions();
    let details = OrderDetails {
        inconsistent: !inconsistencies.is_empty(),
        inconsistencies,
        order: order.map(OrderView::from),
        ticket: ticket.map(TicketView::from),
        delivery: delivery.map(DeliveryView::from),
        bill: bill.map(BillView::from),
        restaurant: restaurant.map(RestaurantView::from),
    };
    let after = ask_again(&details.order, &details.ticket, &details.delivery);
    Ok(page.answer(details).ask_again(after))
}

/// When it is worth asking again; `None` when it is not.
pub(super) fn ask_again(
    order: &OrderView,
    ticket: &Section<TicketView>,
    delivery: &Section<DeliveryView>,
) -> Option<Duration> {
    let progress = Progress {
        order: &order.state,
        wanted: order.delivery_time.as_ref().unwrap_or(&order.created_at),
        ticket: ticket.as_ref().map(|ticket| ticket.state.as_str()),
        delivery: delivery.as_ref().map(|delivery| delivery.state.as_str()),
    };
    progress.ask_again(Utc::now())
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderView {
    id: String,
    state: String,
    /// Grows with every change.
    version: i64,
    /// Why the order was rejected.
    rejection_reason: Option<String>,
    restaurant_id: String,
    restaurant_name: String,
    line_items: Vec<LineItem>,
    total: Money,
    delivery_address: Address,
    /// As soon as possible when absent.
    delivery_time: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<Order> for OrderView {
    fn from(order: Order) -> Self {
        Self {
            id: order.id,
            state: order.state,
            version: order.version,
            rejection_reason: order.rejection_reason,
            restaurant_id: order.restaurant_id,
            restaurant_name: order.restaurant_name,
            line_items: order.line_items,
            total: order.total,
            delivery_address: order.delivery_address,
            delivery_time: order.delivery_time,
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TicketView {
    id: String,
    state: String,
    /// Grows with every change.
    version: i64,
    /// When the kitchen changed it last.
    updated_at: Timestamp,
    ready_by: Option<Timestamp>,
    accepted_at: Option<Timestamp>,
    preparing_at: Option<Timestamp>,
    ready_for_pickup_at: Option<Timestamp>,
    picked_up_at: Option<Timestamp>,
}

impl From<Ticket> for TicketView {
    fn from(ticket: Ticket) -> Self {
        Self {
            id: ticket.id,
            state: ticket.state,
            version: ticket.version,
            updated_at: ticket.updated_at,
            ready_by: ticket.ready_by,
            accepted_at: ticket.accepted_at,
            preparing_at: ticket.preparing_at,
            ready_for_pickup_at: ticket.ready_for_pickup_at,
            picked_up_at: ticket.picked_up_at,
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeliveryView {
    id: String,
    state: String,
    /// Grows with every change.
    version: i64,
    /// When it was changed last; the courier's location changes without it.
    updated_at: Timestamp,
    courier: Option<CourierView>,
    scheduled_pickup_time: Option<Timestamp>,
    scheduled_delivery_time: Option<Timestamp>,
    picked_up_at: Option<Timestamp>,
    delivered_at: Option<Timestamp>,
}

#[derive(Serialize, JsonSchema)]
struct CourierView {
    name: String,
    location: Option<Location>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            state: delivery.state,
            version: delivery.version,
            updated_at: delivery.updated_at,
            courier: delivery.courier.map(|courier| CourierView {
                name: courier.name,
                location: courier.location,
            }),
            scheduled_pickup_time: delivery.scheduled_pickup_time,
            scheduled_delivery_time: delivery.scheduled_delivery_time,
            picked_up_at: delivery.picked_up_at,
            delivered_at: delivery.delivered_at,
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct BillView {
    state: String,
    amount: Option<Money>,
    authorized_at: Timestamp,
    /// When the amount or the state changed last.
    updated_at: Timestamp,
}

impl From<Bill> for BillView {
    fn from(bill: Bill) -> Self {
        let amount = bill.amount.map(|money| Money {
            amount: money.amount,
            currency: money.currency,
        });
        Self {
            state: bill.state,
            amount,
            authorized_at: bill.authorized_at,
            updated_at: bill.updated_at,
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct RestaurantView {
    id: String,
    name: String,
    address: Address,
    location: Option<Location>,
}

impl From<Restaurant> for RestaurantView {
    fn from(restaurant: Restaurant) -> Self {
        Self {
            id: restaurant.id,
            name: restaurant.name,
            address: restaurant.address,
            location: restaurant.location,
        }
    }
}
