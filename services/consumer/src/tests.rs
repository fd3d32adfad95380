//! The whole service on a real socket, a real database and a transport. Rules alone are tested in the domain.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use ftgo_chassis::{Environment, RunningService};
use ftgo_messaging::{
    Consumer, Database, HandlerError, InProcessTransport, Message, MessageHandler, Outcome, Relay,
    RelayHandle, ReplyAddress, Subscription, outbox,
};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{SUBSCRIPTION, start};

/// The rest of the system: hears the service's events and the replies of its commands.
const LISTENER: Subscription = Subscription {
    subscriber: "listener",
    topics: &["consumer.events", "order.replies"],
};

struct System {
    service: RunningService,
    database: Database,
    heard: mpsc::UnboundedReceiver<Message>,
    _relay: RelayHandle,
}

struct Listener(mpsc::UnboundedSender<Message>);

impl MessageHandler for Listener {
    fn handle<'a>(
        &'a self,
        _tx: &'a mut SqliteConnection,
        _message: &'a Message,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        Box::pin(async { Ok(()) })
    }

    fn committed(&self, message: &Message) {
        self.0.send(message.clone()).unwrap();
    }
}

impl System {
    async fn start(directory: &Path, seed: bool) -> System {
        let transport = InProcessTransport::new(&[SUBSCRIPTION, LISTENER]);
        let database = Database::open(&directory.join("listener.db"), &[])
            .await
            .unwrap();
        let (sender, heard) = mpsc::unbounded_channel();
        let consumer = Consumer::new("listener", database.clone(), Arc::new(Listener(sender)));
        transport.attach("listener", consumer);
        let shutdown = CancellationToken::new();
        let relay = Relay::spawn(
            "order",
            database.clone(),
            Arc::<InProcessTransport>::clone(&transport),
            shutdown,
        );
        let environment = Environment {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir: directory.to_owned(),
            transport: Some(transport),
            faults: false,
            seed,
            trust: None,
            collector: None,
        };
        System {
            service: start(environment).await.unwrap(),
            database,
            heard,
            _relay: relay,
        }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (StatusCode, HeaderMap, Value) {
        let uri = format!("http://{}{path}", self.service.address());
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        (parts.status, parts.headers, value)
    }

    async fn get(&self, path: &str) -> (StatusCode, HeaderMap, Value) {
        self.send("GET", path, &[], None).await
    }

    /// Registers somebody and gives the id.
    async fn register(&self) -> String {
        let (status, _, consumer) = self.send("POST", "/consumers", &[], Some(ada())).await;
        assert_eq!(status, 201);
        consumer["id"].as_str().unwrap().to_owned()
    }

    async fn next_heard(&mut self) -> Message {
        let next = tokio::time::timeout(Duration::from_secs(10), self.heard.recv());
        next.await.unwrap().unwrap()
    }

    /// What the service says to a saga.
    async fn validate_order(&mut self, consumer_id: &str) -> Outcome {
        self.command(
            "ValidateOrder",
            json!({"orderId": "o1", "consumerId": consumer_id, "orderTotal": 1}),
        )
        .await
    }

    async fn command(&mut self, kind: &str, data: Value) -> Outcome {
        let reply = ReplyAddress {
            saga_id: "saga",
            saga_step: "validate",
            topic: "order.replies",
        };
        let command = Message::command("order", "consumer.commands", kind, "o1", reply, data);
        let mut tx = self.database.write().await.unwrap();
        outbox::publish(&mut tx, &command.unwrap()).await.unwrap();
        tx.commit().await.unwrap();
        loop {
            let message = self.next_heard().await;
            if message.topic == "order.replies" {
                assert_eq!(message.sagastep.as_deref(), Some("validate"));
                return message.decode().unwrap();
            }
        }
    }
}

fn ada() -> Value {
    json!({
        "name": {"first": "First", "last": "Last"},
        "email": "someone@example.com",
        "addresses": [home()],
    })
}

fn home() -> Value {
    json!({"label": "Home", "street1": "1 Main Street", "city": "Oakland", "state": "CA", "zip": "94612"})
}

#[tokio::test]
async fn a_registered_consumer_can_be_read_and_is_told_about() {
    let directory = tempfile::tempdir().unwrap();
    let mut system = System::start(directory.path(), false).await;
    let (status, headers, created) = system.send("POST", "/consumers", &[], Some(ada())).await;
    assert_eq!(status, 201);
    let id = created["id"].as_str().unwrap().to_owned();
    let path = format!("/consumers/{id}");
    assert_eq!(headers["location"], path.as_str());

    let (status, headers, read) = system.get(&path).await;
    assert_eq!(
        (status, headers["etag"].to_str().unwrap()),
        (StatusCode::OK, "\"v2\"")
    );
    assert_eq!(read, created);
    assert_eq!(read["addresses"][0]["label"], "Home");
    let unchanged = system
        .send("GET", &path, &[("if-none-match", "\"v2\"")], None)
        .await;
    assert_eq!(unchanged.0, 304);

    let (_, _, list) = system
        .get(&format!("/consumers?ids=nobody,{id},{id}"))
        .await;
    assert_eq!(list, json!({"items": [created]}));

    let event = system.next_heard().await;
    assert_eq!(
        (event.kind.as_str(), event.subject.as_str()),
        ("ConsumerCreated", id.as_str())
    );
    assert_eq!(
        event.data,
        json!({"consumerId": id, "name": {"first": "First", "last": "Last"}})
    );
    system.service.stop().await;
}

#[tokio::test]
async fn addresses_are_added() {
    let directory = tempfile::tempdir().unwrap();
    let system = System::start(directory.path(), false).await;
    let path = format!("/consumers/{}/addresses", system.register().await);
    let (status, headers, added) = system.send("POST", &path, &[], Some(home())).await;
    assert_eq!(status, 201);
    let location = headers["location"].to_str().unwrap();
    assert_eq!(system.get(location).await.2, added);
    let (_, _, list) = system.get(&path).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert_eq!(list["items"][1], added);
}

#[tokio::test]
async fn bad_requests_get_their_status() {
    let directory = tempfile::tempdir().unwrap();
    let system = System::start(directory.path(), false).await;
    for path in [
        "/consumers/nobody",
        "/consumers/nobody/addresses",
        "/consumers/nobody/addresses/1",
    ] {
        assert_eq!(system.get(path).await.0, 404, "{path}");
    }
    for path in ["/consumers/nobody/block", "/consumers/nobody/unblock"] {
        assert_eq!(system.send("POST", path, &[], None).await.0, 404, "{path}");
    }
    let added = system
        .send("POST", "/consumers/nobody/addresses", &[], Some(home()))
        .await;
    assert_eq!(added.0, 404);
    assert_eq!(system.get("/consumers").await.0, 400);
    for (pointer, value) in [
        ("/name/first", json!(" ")),
        ("/email", json!("nobody")),
        ("/addresses/0/city", json!("")),
        ("/name", json!("First")),
    ] {
        let mut body = ada();
        *body.pointer_mut(pointer).unwrap() = value;
        let (status, _, problem) = system.send("POST", "/consumers", &[], Some(body)).await;
        assert_eq!(
            (status, &problem["errors"][0]["pointer"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!(pointer))
        );
    }
}

#[tokio::test]
async fn a_repeated_registration_is_one_registration() {
    let directory = tempfile::tempdir().unwrap();
    let mut system = System::start(directory.path(), false).await;
    let key = [("idempotency-key", "k1")];
    let first = system.send("POST", "/consumers", &key, Some(ada())).await;
    let again = system.send("POST", "/consumers", &key, Some(ada())).await;
    assert_eq!((again.0, &again.2), (first.0, &first.2));
    assert_eq!(again.1["location"], first.1["location"]);
    let mut other = ada();
    other["email"] = json!("other@example.com");
    let refused = system.send("POST", "/consumers", &key, Some(other)).await;
    assert_eq!(
        (refused.0, &refused.2["code"]),
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            &json!("IDEMPOTENCY_KEY_REUSED")
        )
    );
    assert_eq!(system.next_heard().await.kind, "ConsumerCreated");
    assert!(system.heard.try_recv().is_err());
}

#[tokio::test]
async fn a_saga_learns_whether_the_consumer_may_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut system = System::start(directory.path(), false).await;
    let id = system.register().await;
    assert_eq!(system.validate_order(&id).await, Outcome::success());
    let unknown = system.validate_order("nobody").await;
    assert!(matches!(unknown, Outcome::Failure { code, .. } if code == "CONSUMER_NOT_FOUND"));
    system
        .send("POST", &format!("/consumers/{id}/block"), &[], None)
        .await;
    let blocked = system.validate_order(&id).await;
    assert!(matches!(blocked, Outcome::Failure { code, .. } if code == "CONSUMER_BLOCKED"));
    system
        .send("POST", &format!("/consumers/{id}/unblock"), &[], None)
        .await;
    assert_eq!(system.validate_order(&id).await, Outcome::success());
}

#[tokio::test]
async fn a_command_that_cannot_be_read_fails_instead_of_hanging() {
    let directory = tempfile::tempdir().unwrap();
    let mut system = System::start(directory.path(), false).await;
    for (kind, data) in [
        ("ValidateOrder", json!({"consumerId": 7})),
        ("Nonsense", json!({})),
    ] {
        let outcome = system.command(kind, data).await;
        assert!(
            matches!(outcome, Outcome::Failure { code, .. } if code == "UNPROCESSABLE_COMMAND")
        );
    }
}

#[tokio::test]
async fn seeding_twice_is_seeding_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut before = None;
    for _ in 0..2 {
        let mut system = System::start(directory.path(), true).await;
        let (_, _, list) = system
            .get("/consumers?ids=consumer-1,consumer-2,consumer-3,consumer-4")
            .await;
        assert_eq!(list["items"].as_array().unwrap().len(), 4);
        match &before {
            None => {
                for _ in 0..4 {
                    assert_eq!(system.next_heard().await.kind, "ConsumerCreated");
                }
            }
            Some(before) => assert_eq!(before, &list),
        }
        assert!(system.heard.try_recv().is_err());
        before = Some(list);
        system.service.stop().await;
    }
}
