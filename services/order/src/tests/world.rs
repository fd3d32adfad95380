//! An order service with a fake consumer, kitchen and accounting, and a subscriber that keeps order's events.
//! Not here: tests.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ftgo_chassis::{Environment, RunningService};
use ftgo_messaging::saga::RetryPolicy;
use ftgo_messaging::{
    Consumer, Database, HandlerError, InProcessTransport, Message, MessageHandler, Outcome, Relay,
    RelayHandle, Subscription, Transport, outbox,
};
use futures_util::future::BoxFuture;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(20);
const RETRY: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(10),
    cap: Duration::from_millis(50),
};

const PARTICIPANTS: [Subscription; 4] = [
    Subscription {
        subscriber: "consumer",
        topics: &["consumer.commands"],
    },
    Subscription {
        subscriber: "kitchen",
        topics: &["kitchen.commands"],
    },
    Subscription {
        subscriber: "accounting",
        topics: &["accounting.commands"],
    },
    Subscription {
        subscriber: "audit",
        topics: &["order.events"],
    },
];

/// What the participants do with a kind of command; what is not listed succeeds.
pub(super) type Script = HashMap<&'static str, Answer>;

#[derive(Clone, Copy)]
pub(super) enum Answer {
    /// Refuse it so many times, then succeed.
    Refuse(u32),
    /// Break on it for good, as on a message that cannot be read.
    Break,
}

pub(super) struct World {
    service: Option<RunningService>,
    participants: Vec<Participant>,
    transport: Arc<InProcessTransport>,
    seen: Arc<Mutex<Vec<Message>>>,
    client: Client,
    directory: TempDir,
}

struct Participant {
    name: &'static str,
    database: Database,
    consumer: Arc<Consumer>,
    relay: RelayHandle,
    shutdown: CancellationToken,
}

struct Handler {
    script: Mutex<Script>,
    seen: Arc<Mutex<Vec<Message>>>,
}

impl MessageHandler for Handler {
    fn handle<'a>(
        &'a self,
        tx: &'a mut SqliteConnection,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        Box::pin(async move {
            let outcome = match self.script.lock().unwrap().get_mut(message.kind.as_str()) {
                Some(Answer::Break) => return Err(HandlerError::permanent("poison")),
                Some(Answer::Refuse(left)) if *left > 0 => {
                    *left -= 1;
                    Outcome::failure("REFUSED", format!("no {} today", message.kind))
                }
                Some(Answer::Refuse(_)) | None => Outcome::success(),
            };
            sqlx::query("INSERT INTO performed (kind, subject) VALUES (?, ?)")
                .bind(&message.kind)
                .bind(&message.subject)
                .execute(&mut *tx)
                .await?;
            if message.replyto.is_some() {
                outbox::publish(tx, &Message::reply_to(message, &outcome)).await?;
            }
            self.seen.lock().unwrap().push(message.clone());
            Ok(())
        })
    }
}

impl World {
    pub(super) async fn new() -> World {
        World::with(Script::new()).await
    }

    pub(super) async fn with(script: Script) -> World {
        let world = World::open(tempfile::tempdir().unwrap(), script).await;
        world.tell(&restaurant("restaurant-1", 1, "Ajanta")).await;
        world
    }

    /// Goes on with the databases in `directory`.
    pub(super) async fn open(directory: TempDir, script: Script) -> World {
        let mut subscriptions = PARTICIPANTS.to_vec();
        subscriptions.push(crate::SUBSCRIPTION);
        let transport = InProcessTransport::new(&subscriptions);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut participants = Vec::new();
        for Subscription { subscriber, .. } in PARTICIPANTS {
            let handler = Handler {
                script: Mutex::new(script.clone()),
                seen: Arc::clone(&seen),
            };
            participants
                .push(Participant::start(subscriber, directory.path(), handler, &transport).await);
        }
        let mut world = World {
            service: None,
            participants,
            transport,
            seen,
            client: client(),
            directory,
        };
        world.start_service().await;
        world
    }

    /// Ends the order service and starts it again on the same database.
    pub(super) async fn restart_service(&mut self) {
        if let Some(service) = self.service.take() {
            service.stop().await;
        }
        self.start_service().await;
    }

    async fn start_service(&mut self) {
        let environment = Environment {
            address: "127.0.0.1:0".parse().unwrap(),
            data_dir: self.directory.path().to_owned(),
            transport: Some(Arc::clone(&self.transport)),
            faults: false,
            seed: false,
            trust: None,
            collector: None,
        };
        self.service = Some(crate::start_with(environment, RETRY).await.unwrap());
    }

    /// Ends everything in order and hands the databases back.
    pub(super) async fn close(mut self) -> TempDir {
        if let Some(service) = self.service.take() {
            service.stop().await;
        }
        for participant in self.participants {
            participant.shutdown.cancel();
            participant.relay.ended().await;
            participant.database.close().await;
        }
        self.directory
    }

    pub(super) fn detach(&self, participant: &str) {
        self.transport.detach(participant);
    }

    pub(super) fn attach(&self, participant: &str) {
        let consumer = &self.participant(participant).consumer;
        self.transport.attach(participant, Arc::clone(consumer));
    }

    /// Gives order a message of another service.
    pub(super) async fn tell(&self, message: &Message) {
        eventually("order takes the message", async || {
            self.transport.offer_to(crate::NAME, message).await.is_ok()
        })
        .await;
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.service.as_ref().unwrap().address())
    }

    pub(super) async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub(super) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse().unwrap(), self.url(path))
    }

    pub(super) async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    pub(super) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path))
    }

    /// Places the usual order and returns its id.
    pub(super) async fn place(&self) -> String {
        let response = self
            .post("/orders")
            .json(&usual_order())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        let body: Value = response.json().await.unwrap();
        body["orderId"].as_str().unwrap().to_owned()
    }

    /// Places the usual order and waits for its approval.
    pub(super) async fn approved(&self) -> String {
        let id = self.place().await;
        self.reaches(&id, "APPROVED").await;
        id
    }

    pub(super) async fn order(&self, id: &str) -> Value {
        self.json(&format!("/orders/{id}")).await
    }

    /// Waits until the order is in `state` and its sagas have ended, and returns it.
    pub(super) async fn reaches(&self, id: &str, state: &str) -> Value {
        eventually(state, async || {
            let sagas = self.sagas(id).await;
            self.order(id).await["state"] == state
                && sagas.iter().all(|saga| saga["state"] != "RUNNING")
        })
        .await;
        self.order(id).await
    }

    pub(super) async fn sagas(&self, id: &str) -> Vec<Value> {
        self.json(&format!("/sagas/{id}")).await["items"]
            .as_array()
            .unwrap()
            .clone()
    }

    /// The latest saga about an order.
    pub(super) async fn saga(&self, id: &str) -> Value {
        self.sagas(id).await.pop().unwrap()
    }

    /// The commands about an order that participants have carried out or refused, in their order.
    pub(super) fn commands(&self, id: &str) -> Vec<Message> {
        let seen = self.seen.lock().unwrap();
        let commands = seen
            .iter()
            .filter(|message| message.subject == id && message.replyto.is_some());
        commands.cloned().collect()
    }

    pub(super) fn command_kinds(&self, id: &str) -> Vec<String> {
        self.commands(id)
            .into_iter()
            .map(|command| command.kind)
            .collect()
    }

    /// The events of an order, once the one of `version` has arrived.
    pub(super) async fn events(&self, id: &str, version: &Value) -> Vec<Message> {
        let events = || {
            let seen = self.seen.lock().unwrap();
            let events = seen
                .iter()
                .filter(|message| message.subject == id && message.replyto.is_none());
            events.cloned().collect::<Vec<Message>>()
        };
        eventually("the events arrive", async || {
            events()
                .last()
                .is_some_and(|event| event.aggregateversion == version.as_i64())
        })
        .await;
        events()
    }

    /// What a participant has done, and how often each, by its database.
    pub(super) async fn performed(&self, participant: &str) -> Vec<(String, i64)> {
        sqlx::query_as("SELECT kind, count(*) FROM performed GROUP BY kind ORDER BY min(seq)")
            .fetch_all(self.participant(participant).database.read())
            .await
            .unwrap()
    }

    fn participant(&self, name: &str) -> &Participant {
        self.participants
            .iter()
            .find(|participant| participant.name == name)
            .unwrap()
    }
}

impl Participant {
    async fn start(
        name: &'static str,
        directory: &Path,
        handler: Handler,
        transport: &Arc<InProcessTransport>,
    ) -> Participant {
        let database = Database::open(&directory.join(format!("{name}.db")), &[])
            .await
            .unwrap();
        let mut tx = database.write().await.unwrap();
        sqlx::query("CREATE TABLE IF NOT EXISTS performed (seq INTEGER PRIMARY KEY, kind TEXT, subject TEXT)")
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let shutdown = CancellationToken::new();
        let carrier: Arc<dyn Transport> = Arc::<InProcessTransport>::clone(transport);
        let relay = Relay::spawn(name, database.clone(), carrier, shutdown.clone());
        let consumer = Consumer::new(name, database.clone(), Arc::new(handler));
        transport.attach(name, Arc::clone(&consumer));
        Participant {
            name,
            database,
            consumer,
            relay,
            shutdown,
        }
    }
}

fn client() -> Client {
    // The client insists on a TLS provider, also for plain HTTP; whichever test comes first installs it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

/// Polls until the condition holds.
pub(super) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let polling = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let held = tokio::time::timeout(PATIENCE, polling).await;
    assert!(held.is_ok(), "not within {PATIENCE:?}: {what}");
}

/// A restaurant with a minimum of 20.00 USD, a vindaloo for 12.34 and a naan for 2.50.
pub(super) fn restaurant(id: &str, version: i64, name: &str) -> Message {
    let data = json!({
        "restaurantId": id,
        "name": name,
        "cuisine": "indian",
        "orderMinimum": usd("20.00"),
        "menu": {"items": [
            {"id": "vindaloo", "name": "Chicken Vindaloo", "description": "hot", "price": usd("12.34")},
            {"id": "naan", "name": "Naan", "description": "bread", "price": usd("2.50")},
        ]},
        "version": version,
    });
    let kind = if version == 1 {
        "RestaurantCreated"
    } else {
        "RestaurantMenuRevised"
    };
    Message::event("restaurant", "restaurant.events", kind, id, version, data).unwrap()
}

pub(super) fn usd(amount: &str) -> Value {
    json!({"amount": amount, "currency": "USD"})
}

pub(super) fn usual_order() -> Value {
    json!({
        "consumerId": "consumer-1",
        "restaurantId": "restaurant-1",
        "deliveryAddress": {"street1": "9 Amazing View", "city": "Oakland", "state": "CA", "zip": "94612"},
        "lineItems": [{"menuItemId": "vindaloo", "quantity": 5}],
    })
}
