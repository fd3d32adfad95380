//! Couriers, deliveries, places and a database in a directory of its own that the tests of this crate start from, and
//! the messages that they send it; no server.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use chrono::{DateTime, Utc};
use ftgo_chassis::{Address, GeoPoint};
use ftgo_messaging::{Consumer, Database, Message, Receipt};
use serde_json::json;
use tempfile::TempDir;

use crate::courier::Courier;
use crate::delivery::{Delivery, Route};
use crate::store::{couriers, deliveries};
use crate::subscriber::Subscriber;
use crate::{MIGRATOR, NAME};

pub(crate) const RESTAURANT_AT: GeoPoint = GeoPoint {
    lat: 37.8040,
    lng: -122.2710,
};

pub(crate) fn noon() -> DateTime<Utc> {
    "2026-11-05T12:00:00Z".parse().unwrap()
}

pub(crate) fn address(street: &str) -> Address {
    serde_json::from_value(serde_json::json!({
        "street1": street, "city": "Oakland", "state": "CA", "zip": "94607"
    }))
    .unwrap()
}

pub(crate) fn courier_at(id: &str, location: GeoPoint) -> Courier {
    Courier::new(id.to_owned(), "Kim".to_owned(), true, Some(location))
}

pub(crate) fn delivery(id: &str) -> Delivery {
    let route = Route {
        consumer_id: Some("consumer-1".to_owned()),
        restaurant_id: "restaurant-1".to_owned(),
        pickup_address: address("1 Main Street"),
        pickup_location: RESTAURANT_AT,
        delivery_address: address("9 Amazing View"),
        line_items: Vec::new(),
    };
    Delivery::create(id.to_owned(), route, noon())
}

/// The service without its HTTP surface and its background loops.
pub(crate) struct DeliveryService {
    pub(crate) database: Database,
    consumer: Arc<Consumer>,
    _directory: TempDir,
}

impl DeliveryService {
    pub(crate) async fn open() -> DeliveryService {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("delivery.db"), &[&MIGRATOR])
            .await
            .unwrap();
        let consumer = Consumer::new(NAME, database.clone(), Arc::new(Subscriber));
        DeliveryService {
            database,
            consumer,
            _directory: directory,
        }
    }

    pub(crate) async fn receive(&self, message: &Message) -> Receipt {
        self.consumer.receive(message).await.unwrap()
    }

    /// Why the consumer did not take the message.
    pub(crate) async fn refuses(&self, message: &Message) -> String {
        let refusal = self.consumer.receive(message).await.unwrap_err();
        refusal.to_string()
    }

    pub(crate) async fn add(&self, courier: &Courier) {
        let mut tx = self.database.write().await.unwrap();
        couriers::insert(&mut tx, courier).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn delivery(&self, id: &str) -> Option<Delivery> {
        let located = deliveries::find(self.database.read(), id).await.unwrap();
        located.map(|located| located.delivery)
    }

    /// Everything in the outbox, in order.
    pub(crate) async fn said(&self) -> Vec<Message> {
        said(&self.database).await
    }
}

pub(crate) async fn said(database: &Database) -> Vec<Message> {
    let rows: Vec<String> = sqlx::query_scalar("SELECT message FROM outbox ORDER BY seq")
        .fetch_all(database.read())
        .await
        .unwrap();
    rows.iter()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect()
}

pub(crate) fn restaurant_created() -> Message {
    let data = json!({
        "restaurantId": "restaurant-1", "id": "restaurant-1", "name": "Ajanta", "version": 1,
        "address": address("1 Main Street"), "location": RESTAURANT_AT, "menu": {"items": []},
    });
    Message::event(
        "restaurant",
        "restaurant.events",
        "RestaurantCreated",
        "restaurant-1",
        1,
        data,
    )
    .unwrap()
}

pub(crate) fn order_event(kind: &str, order_id: &str) -> Message {
    let data = json!({
        "orderId": order_id, "consumerId": "consumer-1", "restaurantId": "restaurant-1", "restaurantName": "Ajanta",
        "deliveryAddress": address("9 Amazing View"), "deliveryTime": null,
        "lineItems": [{"menuItemId": "item-1", "name": "Samosas", "price": {"amount": "5.00", "currency": "USD"}, "quantity": 2}],
    });
    Message::event("order", "order.events", kind, order_id, 1, data).unwrap()
}

pub(crate) fn ticket_event(kind: &str, order_id: &str, ready_by: DateTime<Utc>) -> Message {
    let data = json!({
        "ticketId": order_id, "orderId": order_id, "restaurantId": "restaurant-1", "readyBy": ready_by,
    });
    Message::event("kitchen", "ticket.events", kind, order_id, 3, data).unwrap()
}
