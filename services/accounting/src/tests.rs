//! The whole service on a transport, with a stand-in for the order service: commands arrive before the account, and while
//! the service is down. Single messages are tested in `messages`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ftgo_chassis::{Environment, RunningService};
use ftgo_messaging::{
    Consumer, Database, HandlerError, InProcessTransport, Message, MessageHandler, Relay,
    Subscription, outbox,
};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::testing::{authorize, consumer_created, reverse};

/// Hands every reply to the test.
struct Replies(mpsc::UnboundedSender<Value>);

impl MessageHandler for Replies {
    fn handle<'a>(
        &'a self,
        _tx: &'a mut SqliteConnection,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        let sent = self.0.send(message.data.clone());
        Box::pin(async move { sent.map_err(HandlerError::permanent) })
    }
}

async fn start(directory: &Path, transport: &Arc<InProcessTransport>) -> RunningService {
    crate::start(Environment {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: directory.to_owned(),
        transport: Some(Arc::clone(transport)),
        faults: false,
        seed: false,
        trust: None,
        collector: None,
    })
    .await
    .unwrap()
}

async fn say(database: &Database, message: &Message) {
    let mut tx = database.write().await.unwrap();
    outbox::publish(&mut tx, message).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn commands_wait_for_the_account_and_for_the_service() {
    let directory = tempfile::tempdir().unwrap();
    let transport = InProcessTransport::new(&[
        crate::SUBSCRIPTION,
        Subscription {
            subscriber: "order",
            topics: &["order.replies"],
        },
    ]);
    let others = Database::open(&directory.path().join("others.db"), &[])
        .await
        .unwrap();
    let (sender, mut replies) = mpsc::unbounded_channel();
    let order = Consumer::new("order", others.clone(), Arc::new(Replies(sender)));
    transport.attach("order", order);
    let stop = CancellationToken::new();
    let relay = Relay::spawn("order", others.clone(), transport.clone(), stop.clone());
    let mut next_reply =
        async || tokio::time::timeout(Duration::from_secs(10), replies.recv()).await;

    // The command is first; the account comes while it is offered again.
    let running = start(directory.path(), &transport).await;
    say(&others, &authorize("o1", "c1", "61.70")).await;
    say(&others, &consumer_created("c1")).await;
    assert_eq!(
        next_reply().await.unwrap(),
        Some(json!({"outcome": "success"}))
    );

    running.stop().await;
    say(&others, &reverse("o1", "c1")).await;
    let running = start(directory.path(), &transport).await;
    assert_eq!(
        next_reply().await.unwrap(),
        Some(json!({"outcome": "success"}))
    );

    running.stop().await;
    stop.cancel();
    relay.ended().await;
    others.close().await;
}
