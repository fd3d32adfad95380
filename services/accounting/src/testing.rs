//! What this crate's tests share: a database in a directory of its own, messages, and what the outbox says. Tests are with
//! what they test.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use ftgo_messaging::{Database, Message, ReplyAddress};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) async fn database() -> (TempDir, Database) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accounting.db");
    let database = Database::open(&path, &[&crate::MIGRATOR]).await.unwrap();
    (directory, database)
}

pub(crate) fn consumer_created(consumer_id: &str) -> Message {
    let data = json!({"consumerId": consumer_id, "name": {"first": "A", "last": "B"}});
    Message::event(
        "consumer",
        "consumer.events",
        "ConsumerCreated",
        consumer_id,
        1,
        data,
    )
    .unwrap()
}

pub(crate) fn command(kind: &str, order_id: &str, data: &Value) -> Message {
    let reply = ReplyAddress {
        saga_id: "saga-1",
        saga_step: kind,
        topic: "order.replies",
    };
    Message::command("order", "accounting.commands", kind, order_id, reply, data).unwrap()
}

pub(crate) fn authorize(order_id: &str, consumer_id: &str, amount: &str) -> Message {
    command(
        "AuthorizeCard",
        order_id,
        &charge(order_id, consumer_id, amount),
    )
}

pub(crate) fn revise(order_id: &str, consumer_id: &str, amount: &str) -> Message {
    command(
        "ReviseAuthorization",
        order_id,
        &charge(order_id, consumer_id, amount),
    )
}

pub(crate) fn reverse(order_id: &str, consumer_id: &str) -> Message {
    let data = json!({"orderId": order_id, "consumerId": consumer_id});
    command("ReverseAuthorization", order_id, &data)
}

fn charge(order_id: &str, consumer_id: &str, amount: &str) -> Value {
    json!({
        "orderId": order_id, "consumerId": consumer_id,
        "amount": {"amount": amount, "currency": "USD"}
    })
}

/// A client for what is not gRPC, or not well-formed.
pub(crate) fn http_client(builder: reqwest::ClientBuilder) -> reqwest::Client {
    // Needed before a client is built; the other tests of this process may have been faster.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    builder.build().unwrap()
}

/// Everything that was said on a topic, oldest first.
pub(crate) async fn said(database: &Database, topic: &str) -> Vec<Message> {
    let stored: Vec<String> =
        sqlx::query_scalar("SELECT message FROM outbox WHERE topic = ? ORDER BY seq")
            .bind(topic)
            .fetch_all(database.read())
            .await
            .unwrap();
    stored
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect()
}

/// The kinds of the account events, oldest first.
pub(crate) async fn events(database: &Database) -> Vec<String> {
    let messages = said(database, "account.events").await;
    messages.into_iter().map(|message| message.kind).collect()
}
