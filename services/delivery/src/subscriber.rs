//! What this service does when it hears of restaurants, orders and tickets. Deduplication, transactions and retries are
//! the consumer's work (ftgo-messaging), the rules are the aggregates'; neither is here.

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use ftgo_chassis::Address;
use ftgo_messaging::{HandlerError, Message, MessageHandler};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use sqlx::SqliteConnection;

use crate::clock;
use crate::delivery::{CarriedItem, Delivery, DeliveryError, Route};
use crate::dispatch::{self, DispatchError};
use crate::events::{self, PublishError};
use crate::replica::{self, RestaurantSnapshot};
use crate::store::deliveries;

#[derive(Debug)]
pub struct Subscriber;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderCreated {
    consumer_id: String,
    restaurant_id: String,
    delivery_address: Address,
    #[serde(default)]
    line_items: Vec<CarriedItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderRevised {
    line_items: Vec<CarriedItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TicketAccepted {
    ready_by: DateTime<Utc>,
}

#[derive(Debug, thiserror::Error)]
#[error("restaurant {0} is not known here yet")]
struct RestaurantNotHere(String);

impl From<PublishError> for HandlerError {
    fn from(error: PublishError) -> HandlerError {
        match error {
            PublishError::Encode(_) => HandlerError::permanent(error),
            PublishError::Outbox(_) => HandlerError::transient(error),
        }
    }
}

impl From<DispatchError> for HandlerError {
    fn from(error: DispatchError) -> HandlerError {
        match error {
            DispatchError::Database(error) => error.into(),
            DispatchError::Publish(error) => error.into(),
            DispatchError::Refused(_) => HandlerError::permanent(error),
        }
    }
}

impl MessageHandler for Subscriber {
    fn handle<'a>(
        &'a self,
        tx: &'a mut SqliteConnection,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        Box::pin(async move {
            // Orders, tickets and deliveries share their ids, so the subject names the delivery.
            match (message.topic.as_str(), message.kind.as_str()) {
                // Every restaurant event carries the whole restaurant, also kinds to come.
                ("restaurant.events", _) => hear_of_restaurant(tx, message).await,
                ("order.events", "OrderCreated") => create(tx, message).await,
                ("order.events", "OrderRevised") => revise(tx, message).await,
                ("ticket.events", "TicketAccepted") => await_courier(tx, message).await,
                ("order.events", "OrderCancelled" | "OrderRejected")
                | ("ticket.events", "TicketCancelled") => cancel(tx, &message.subject).await,
                _ => Ok(()),
            }
        })
    }
}

async fn hear_of_restaurant(
    tx: &mut SqliteConnection,
    message: &Message,
) -> Result<(), HandlerError> {
    let restaurant: RestaurantSnapshot = message.decode()?;
    replica::remember(tx, &restaurant).await?;
    Ok(())
}

async fn create(tx: &mut SqliteConnection, message: &Message) -> Result<(), HandlerError> {
    let order: OrderCreated = message.decode()?;
    let Some(place) = replica::pickup_place(tx, &order.restaurant_id).await? else {
        // The order service knows the restaurant, so its event is on its way to us, or waits where it was published.
        // Only this order's own later events wait with us, so there is no reason ever to give up.
        return Err(HandlerError::transient(RestaurantNotHere(
            order.restaurant_id,
        )));
    };
    let now = clock::now();
    let route = Route {
        consumer_id: Some(order.consumer_id),
        restaurant_id: order.restaurant_id,
        pickup_address: place.address,
        pickup_location: place.location,
        delivery_address: order.delivery_address,
        line_items: order.line_items,
    };
    let mut delivery = Delivery::create(message.subject.clone(), route, now);
    if !deliveries::insert(tx, &delivery).await? {
        return Ok(());
    }
    if let Some(ready_by) = deliveries::take_early_promise(tx, &delivery.id).await? {
        promise(tx, &mut delivery, ready_by, now).await?;
    }
    Ok(())
}

async fn revise(tx: &mut SqliteConnection, message: &Message) -> Result<(), HandlerError> {
    let order: OrderRevised = message.decode()?;
    // An order's events come in their order: one that is not here never will be.
    let Some(mut located) = deliveries::find(&mut *tx, &message.subject).await? else {
        return Ok(());
    };
    match located.delivery.revise(order.line_items, clock::now()) {
        Ok(()) => deliveries::save(tx, &located.delivery).await?,
        Err(refusal) => too_late(&message.subject, &refusal),
    }
    Ok(())
}

async fn await_courier(tx: &mut SqliteConnection, message: &Message) -> Result<(), HandlerError> {
    let ticket: TicketAccepted = message.decode()?;
    match deliveries::find(&mut *tx, &message.subject).await? {
        Some(mut located) => {
            promise(tx, &mut located.delivery, ticket.ready_by, clock::now()).await
        }
        // Tickets and orders travel on different topics, and this order is still under way to us.
        None => Ok(deliveries::keep_early_promise(tx, &message.subject, ticket.ready_by).await?),
    }
}

/// The kitchen's promise makes the delivery wait for a courier; perhaps there is one right now.
async fn promise(
    tx: &mut SqliteConnection,
    delivery: &mut Delivery,
    ready_by: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), HandlerError> {
    match delivery.await_courier(ready_by, now) {
        Ok(()) => {
            deliveries::save(tx, delivery).await?;
            dispatch::schedule_waiting(tx, now).await?;
            Ok(())
        }
        Err(refusal) => {
            too_late(&delivery.id, &refusal);
            Ok(())
        }
    }
}

async fn cancel(tx: &mut SqliteConnection, order_id: &str) -> Result<(), HandlerError> {
    deliveries::take_early_promise(tx, order_id).await?;
    let Some(mut located) = deliveries::find(&mut *tx, order_id).await? else {
        return Ok(());
    };
    match located.delivery.cancel(clock::now()) {
        Ok(event) => {
            deliveries::save(tx, &located.delivery).await?;
            events::publish(tx, event, &located.delivery).await?;
        }
        // Usual for the second of the two events that tell of a cancellation.
        Err(refusal) => too_late(order_id, &refusal),
    }
    Ok(())
}

fn too_late(order_id: &str, refusal: &DeliveryError) {
    tracing::debug!(order_id, %refusal, "the event changes nothing here");
}
