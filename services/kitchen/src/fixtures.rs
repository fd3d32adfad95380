//! A kitchen's database in a directory of its own, and the messages that the tests of this crate send it; no server.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use ftgo_messaging::{Consumer, Database, Message, Receipt, ReplyAddress};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::participant::Participant;
use crate::ticket::Ticket;
use crate::{MIGRATOR, NAME, store};

pub(crate) struct Kitchen {
    pub(crate) database: Database,
    consumer: Arc<Consumer>,
    _directory: TempDir,
}

impl Kitchen {
    pub(crate) async fn open(participant: Participant) -> Kitchen {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("kitchen.db"), &[&MIGRATOR])
            .await
            .unwrap();
        let consumer = Consumer::new(NAME, database.clone(), Arc::new(participant));
        Kitchen {
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
        self.consumer
            .receive(message)
            .await
            .unwrap_err()
            .to_string()
    }

    /// Sends a command and gives the `data` of the reply.
    pub(crate) async fn ask(&self, kind: &str, order_id: &str, data: Value) -> Value {
        let seen = self.said().await.len();
        self.receive(&command(kind, order_id, data)).await;
        let said = self.said().await;
        let reply = said[seen..].iter().find(|message| message.kind == "Reply");
        reply.unwrap().data.clone()
    }

    /// Everything in the outbox, in order.
    pub(crate) async fn said(&self) -> Vec<Message> {
        let rows: Vec<String> = sqlx::query_scalar("SELECT message FROM outbox ORDER BY seq")
            .fetch_all(self.database.read())
            .await
            .unwrap();
        rows.iter()
            .map(|row| serde_json::from_str(row).unwrap())
            .collect()
    }

    /// The kinds of the events in the outbox, in order.
    pub(crate) async fn events(&self) -> Vec<String> {
        let said = self.said().await;
        said.into_iter()
            .filter(|message| message.topic == "ticket.events")
            .map(|message| message.kind)
            .collect()
    }

    pub(crate) async fn ticket(&self, id: &str) -> Option<Ticket> {
        store::find(self.database.read(), id).await.unwrap()
    }
}

pub(crate) fn command(kind: &str, order_id: &str, data: Value) -> Message {
    let reply = ReplyAddress {
        saga_id: "saga-1",
        saga_step: "step",
        topic: "order.replies",
    };
    Message::command("order", "kitchen.commands", kind, order_id, reply, data).unwrap()
}

pub(crate) fn line_items(quantity: u32) -> Value {
    json!([{"menuItemId": "restaurant-1-item-1", "name": "Chicken Vindaloo", "quantity": quantity,
            "price": {"amount": "12.34", "currency": "USD"}}])
}

pub(crate) fn create_ticket(order_id: &str, restaurant_id: &str) -> Message {
    let data = json!({"orderId": order_id, "consumerId": "consumer-1", "restaurantId": restaurant_id, "lineItems": line_items(1)});
    command("CreateTicket", order_id, data)
}

pub(crate) fn restaurant_created(restaurant_id: &str) -> Message {
    let data = json!({"restaurantId": restaurant_id, "id": restaurant_id, "name": "Ajanta", "version": 1,
                      "menu": {"items": []}});
    Message::event(
        "restaurant",
        "restaurant.events",
        "RestaurantCreated",
        restaurant_id,
        1,
        data,
    )
    .unwrap()
}
