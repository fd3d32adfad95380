//! How deliveries and couriers look to others: the resources of the HTTP surface and the events. Which move publishes
//! which event is decided by the aggregates, not here.

use chrono::{DateTime, Utc};
use ftgo_chassis::{Address, GeoPoint};
use ftgo_messaging::{Message, outbox};
use serde::Serialize;
use sqlx::SqliteConnection;

use crate::NAME;
use crate::courier::{Announcement, Courier};
use crate::delivery::{CarriedItem, Delivery, DeliveryEvent, DeliveryState};
use crate::store::deliveries::LocatedDelivery;

pub const TOPIC: &str = "delivery.events";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryResource<'a> {
    pub id: &'a str,
    pub order_id: &'a str,
    pub restaurant_id: &'a str,
    pub state: DeliveryState,
    pub version: i64,
    pub pickup_address: &'a Address,
    pub delivery_address: &'a Address,
    pub line_items: &'a [CarriedItem],
    pub courier: Option<CourierOnDelivery<'a>>,
    pub scheduled_pickup_time: Option<DateTime<Utc>>,
    pub scheduled_delivery_time: Option<DateTime<Utc>>,
    pub picked_up_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What a consumer learns about the courier. The location only for as long as the delivery is under way: where a courier
/// goes afterwards is nobody's business.
#[derive(Debug, Serialize)]
pub struct CourierOnDelivery<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub location: Option<GeoPoint>,
}

impl<'a> DeliveryResource<'a> {
    fn new(delivery: &'a Delivery, location: Option<GeoPoint>) -> DeliveryResource<'a> {
        let location = location.filter(|_| delivery.state.is_under_way());
        DeliveryResource {
            id: &delivery.id,
            order_id: &delivery.id,
            restaurant_id: &delivery.restaurant_id,
            state: delivery.state,
            version: delivery.version,
            pickup_address: &delivery.pickup_address,
            delivery_address: &delivery.delivery_address,
            line_items: &delivery.line_items,
            courier: delivery.courier.as_ref().map(|courier| CourierOnDelivery {
                id: &courier.id,
                name: &courier.name,
                location,
            }),
            scheduled_pickup_time: delivery.scheduled_pickup_time,
            scheduled_delivery_time: delivery.scheduled_delivery_time,
            picked_up_at: delivery.picked_up_at,
            delivered_at: delivery.delivered_at,
            created_at: delivery.created_at,
            updated_at: delivery.updated_at,
        }
    }
}

impl<'a> From<&'a LocatedDelivery> for DeliveryResource<'a> {
    fn from(located: &'a LocatedDelivery) -> DeliveryResource<'a> {
        DeliveryResource::new(&located.delivery, located.courier_location)
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CourierResource<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub available: bool,
    pub location: Option<GeoPoint>,
    pub version: i64,
}

impl<'a> From<&'a Courier> for CourierResource<'a> {
    fn from(courier: &'a Courier) -> CourierResource<'a> {
        CourierResource {
            id: &courier.id,
            name: &courier.name,
            available: courier.available,
            location: courier.location,
            version: courier.version,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryEventData<'a> {
    delivery_id: &'a str,
    courier_id: Option<&'a str>,
    courier_name: Option<&'a str>,
    #[serde(flatten)]
    delivery: DeliveryResource<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CourierLocationChanged<'a> {
    courier_id: &'a str,
    location: GeoPoint,
    at: DateTime<Utc>,
    order_ids: Vec<&'a str>,
}

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the event cannot be written as JSON")]
    Encode(#[from] serde_json::Error),
    #[error("the event cannot be put into the outbox")]
    Outbox(#[from] sqlx::Error),
}

/// Puts the event into the outbox: it becomes known when, and only when, `tx` commits.
pub async fn publish(
    tx: &mut SqliteConnection,
    event: DeliveryEvent,
    delivery: &Delivery,
) -> Result<(), PublishError> {
    let data = DeliveryEventData {
        delivery_id: &delivery.id,
        courier_id: delivery.courier.as_ref().map(|courier| courier.id.as_str()),
        courier_name: delivery
            .courier
            .as_ref()
            .map(|courier| courier.name.as_str()),
        delivery: DeliveryResource::new(delivery, None),
    };
    let message = Message::event(
        NAME,
        TOPIC,
        event.kind(),
        &delivery.id,
        delivery.version,
        &data,
    )?;
    outbox::publish(tx, &message).await?;
    Ok(())
}

/// Announces where a courier is, together with the orders for which that matters.
pub async fn publish_location(
    tx: &mut SqliteConnection,
    courier: &Courier,
    announcement: Announcement,
    under_way: &[Delivery],
) -> Result<(), PublishError> {
    let data = CourierLocationChanged {
        courier_id: &courier.id,
        location: announcement.location,
        at: announcement.at,
        order_ids: under_way
            .iter()
            .map(|delivery| delivery.id.as_str())
            .collect(),
    };
    let message = Message::event(
        NAME,
        TOPIC,
        "CourierLocationChanged",
        &courier.id,
        courier.version,
        &data,
    )?;
    outbox::publish(tx, &message).await?;
    Ok(())
}
