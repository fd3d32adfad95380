//! Outbox, relay, transport, consumer and inbox together, on real database files. The bookkeeping alone is tested in
//! `lanes`.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::json;
use sqlx::SqliteConnection;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Relay, RelayHandle};
use crate::consumer::{Consumer, UNPROCESSABLE};
use crate::database::Database;
use crate::inbox::{HandlerError, MessageHandler};
use crate::message::{Message, Outcome, ReplyAddress};
use crate::outbox::publish;
use crate::transport::{InProcessTransport, OfferError, Subscription, Transport};

const SUBSCRIPTIONS: [Subscription; 2] = [
    Subscription {
        subscriber: "kitchen",
        topics: &["order.events", "kitchen.commands"],
    },
    Subscription {
        subscriber: "delivery",
        topics: &["order.events"],
    },
];

/// Writes every message into a table, then fails as the kind of the message says.
#[derive(Default)]
struct Recorder {
    attempts: AtomicU32,
}

impl MessageHandler for Recorder {
    fn handle<'a>(
        &'a self,
        tx: &'a mut SqliteConnection,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        Box::pin(async move {
            sqlx::query("INSERT INTO seen (kind, subject, number) VALUES (?, ?, ?)")
                .bind(&message.kind)
                .bind(&message.subject)
                .bind(message.data["number"].as_i64())
                .execute(tx)
                .await?;
            let attempt = self.attempts.fetch_add(1, Ordering::SeqCst) + 1;
            match message.kind.as_str() {
                "Poison" => Err(HandlerError::permanent("poison")),
                "FailsTwice" if attempt <= 2 => Err(HandlerError::transient("not yet")),
                "PanicsOnce" if attempt <= 1 => panic!("on purpose"),
                "FailsAlways" => Err(HandlerError::transient("never")),
                _ => Ok(()),
            }
        })
    }
}

/// A sender and up to two subscribers in one directory.
struct System {
    directory: TempDir,
    sender: Database,
    transport: Arc<InProcessTransport>,
}

impl System {
    async fn new() -> System {
        System::reopen(tempfile::tempdir().unwrap()).await
    }

    async fn reopen(directory: TempDir) -> System {
        System {
            sender: open(directory.path(), "order").await,
            transport: InProcessTransport::new(&SUBSCRIPTIONS),
            directory,
        }
    }

    async fn subscriber(&self, name: &'static str) -> Database {
        let database = open(self.directory.path(), name).await;
        let handler = Arc::new(Recorder::default());
        let consumer = Consumer::new(name, database.clone(), handler);
        self.transport.attach(name, consumer);
        database
    }

    fn relay(&self) -> (RelayHandle, CancellationToken) {
        relay(
            "order",
            &self.sender,
            Arc::<InProcessTransport>::clone(&self.transport),
        )
    }

    async fn say(&self, kind: &str, subject: &str, number: i64) {
        let data = json!({"number": number});
        let event = Message::event("order", "order.events", kind, subject, number, data).unwrap();
        let mut tx = self.sender.write().await.unwrap();
        publish(&mut tx, &event).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn undelivered(&self) -> i64 {
        count(
            &self.sender,
            "SELECT count(*) FROM outbox WHERE delivered_at IS NULL",
        )
        .await
    }
}

fn relay(
    service: &'static str,
    database: &Database,
    transport: Arc<dyn Transport>,
) -> (RelayHandle, CancellationToken) {
    let shutdown = CancellationToken::new();
    (
        Relay::spawn(service, database.clone(), transport, shutdown.clone()),
        shutdown,
    )
}

async fn open(directory: &Path, name: &str) -> Database {
    let database = Database::open(&directory.join(format!("{name}.db")), &[])
        .await
        .unwrap();
    let mut tx = database.write().await.unwrap();
    sqlx::query("CREATE TABLE IF NOT EXISTS seen (kind TEXT, subject TEXT, number INTEGER)")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    database
}

async fn count(database: &Database, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(database.read())
        .await
        .unwrap()
}

async fn seen(database: &Database) -> i64 {
    count(database, "SELECT count(*) FROM seen").await
}

async fn numbers(database: &Database, subject: &str) -> Vec<i64> {
    sqlx::query_scalar("SELECT number FROM seen WHERE subject = ? ORDER BY rowid")
        .bind(subject)
        .fetch_all(database.read())
        .await
        .unwrap()
}

async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < end, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn every_subscriber_gets_every_message_once_and_in_order_for_each_subject() {
    let system = System::new().await;
    let kitchen = system.subscriber("kitchen").await;
    let delivery = system.subscriber("delivery").await;
    // Half of them before the relay starts, half while it runs.
    let say = async |numbers: std::ops::Range<i64>| {
        for number in numbers {
            for subject in ["a", "b", "c", "d"] {
                system.say("OrderCreated", subject, number).await;
            }
        }
    };
    say(0..10).await;
    let (relay, shutdown) = system.relay();
    say(10..20).await;
    until("all is delivered", async || system.undelivered().await == 0).await;
    let expected: Vec<i64> = (0..20).collect();
    for database in [&kitchen, &delivery] {
        for subject in ["a", "b", "c", "d"] {
            assert_eq!(numbers(database, subject).await, expected);
        }
    }
    shutdown.cancel();
    relay.ended().await;
}

#[tokio::test]
async fn a_message_waits_for_an_absent_subscriber_and_holds_up_nobody_else() {
    let system = System::new().await;
    let kitchen = system.subscriber("kitchen").await;
    let (_relay, _shutdown) = system.relay();
    for number in 0..3 {
        system.say("OrderCreated", "a", number).await;
    }
    until("the kitchen has all", async || seen(&kitchen).await == 3).await;
    let receipts = "SELECT count(*) FROM outbox_receipt";
    until("receipts are recorded", async || {
        count(&system.sender, receipts).await == 3
    })
    .await;
    assert_eq!(system.undelivered().await, 3);

    let delivery = system.subscriber("delivery").await;
    until("all is delivered", async || system.undelivered().await == 0).await;
    assert_eq!(numbers(&delivery, "a").await, [0, 1, 2]);
    assert_eq!(seen(&kitchen).await, 3);
    assert_eq!(count(&system.sender, receipts).await, 0);
}

#[tokio::test]
async fn a_subscriber_that_goes_and_comes_back_misses_nothing() {
    let system = System::new().await;
    let kitchen = system.subscriber("kitchen").await;
    let _delivery = system.subscriber("delivery").await;
    let (_relay, _shutdown) = system.relay();
    system.say("OrderCreated", "a", 0).await;
    until("all is delivered", async || system.undelivered().await == 0).await;
    system.transport.detach("kitchen");
    kitchen.close().await;
    system.say("OrderCreated", "a", 1).await;
    let receipts = "SELECT count(*) FROM outbox_receipt";
    until("the other has it", async || {
        count(&system.sender, receipts).await == 1
    })
    .await;
    let kitchen = system.subscriber("kitchen").await;
    until("all is delivered", async || system.undelivered().await == 0).await;
    assert_eq!(numbers(&kitchen, "a").await, [0, 1]);
}

/// Passes offers on. It can swallow the answer, as if the process died between the subscriber's commit and the sender's
/// mark.
struct Tap {
    inner: Arc<InProcessTransport>,
    offers: AtomicU32,
    swallow: bool,
}

impl Tap {
    fn new(inner: &Arc<InProcessTransport>, swallow: bool) -> Arc<Tap> {
        Arc::new(Tap {
            inner: Arc::clone(inner),
            offers: AtomicU32::new(0),
            swallow,
        })
    }
}

#[async_trait]
impl Transport for Tap {
    fn subscribers(&self, topic: &str) -> Vec<&'static str> {
        self.inner.subscribers(topic)
    }

    async fn offer_to(&self, subscriber: &str, message: &Message) -> Result<(), OfferError> {
        let result = self.inner.offer_to(subscriber, message).await;
        self.offers.fetch_add(1, Ordering::SeqCst);
        if self.swallow {
            return std::future::pending().await;
        }
        result
    }

    fn arrivals(&self) -> watch::Receiver<u64> {
        self.inner.arrivals()
    }
}

#[test]
fn a_crash_between_commit_and_mark_repeats_the_offer_but_not_the_work() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let first = tokio::runtime::Runtime::new().unwrap();
    first.block_on(async {
        let system = System::reopen(directory).await;
        let kitchen = system.subscriber("kitchen").await;
        let delivery = system.subscriber("delivery").await;
        let tap = Tap::new(&system.transport, true);
        let (_relay, _shutdown) = relay("order", &system.sender, tap);
        system.say("OrderCreated", "a", 7).await;
        until("both have committed", async || {
            seen(&kitchen).await + seen(&delivery).await == 2
        })
        .await;
        assert_eq!(system.undelivered().await, 1);
        // Keep the files.
        std::mem::forget(system.directory);
    });
    // Nothing gets to finish: no mark, no closing.
    first.shutdown_background();

    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        let directory = TempDir::new_in(path.parent().unwrap()).unwrap();
        let sender = open(&path, "order").await;
        let system = System {
            transport: InProcessTransport::new(&SUBSCRIPTIONS),
            sender,
            directory,
        };
        let databases = [open(&path, "kitchen").await, open(&path, "delivery").await];
        let recorder = Arc::new(Recorder::default());
        for (name, database) in ["kitchen", "delivery"].into_iter().zip(&databases) {
            let handler = Arc::<Recorder>::clone(&recorder);
            system
                .transport
                .attach(name, Consumer::new(name, database.clone(), handler));
        }
        let tap = Tap::new(&system.transport, false);
        let (_relay, _shutdown) = relay("order", &system.sender, Arc::<Tap>::clone(&tap));
        until("it is delivered", async || system.undelivered().await == 0).await;
        assert_eq!(tap.offers.load(Ordering::SeqCst), 2, "offered again");
        assert_eq!(
            recorder.attempts.load(Ordering::SeqCst),
            0,
            "and not handled again"
        );
        for database in &databases {
            assert_eq!(numbers(database, "a").await, [7]);
        }
    });
    std::fs::remove_dir_all(&path).unwrap();
}

/// A subscriber that arrives while an offer finds it absent.
struct JustInTime {
    arrivals: watch::Sender<u64>,
    offers: AtomicU32,
}

#[async_trait]
impl Transport for JustInTime {
    fn subscribers(&self, _topic: &str) -> Vec<&'static str> {
        vec!["kitchen"]
    }

    async fn offer_to(&self, subscriber: &str, _message: &Message) -> Result<(), OfferError> {
        if self.offers.fetch_add(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        self.arrivals.send_modify(|count| *count += 1);
        // Long enough for the relay to hear of the arrival before it hears of the absence.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(OfferError::Absent {
            subscriber: subscriber.to_owned(),
        })
    }

    fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.subscribe()
    }
}

#[tokio::test]
async fn an_arrival_during_an_offer_is_not_missed() {
    let system = System::new().await;
    let transport = Arc::new(JustInTime {
        arrivals: watch::Sender::new(0),
        offers: AtomicU32::new(0),
    });
    let (_relay, _shutdown) = relay("order", &system.sender, transport);
    system.say("OrderCreated", "a", 1).await;
    until("it is delivered", async || system.undelivered().await == 0).await;
}

#[tokio::test]
async fn after_a_restart_only_those_are_offered_a_message_who_miss_it() {
    let system = System::new().await;
    let _kitchen = system.subscriber("kitchen").await;
    let (handle, shutdown) = system.relay();
    system.say("OrderCreated", "a", 1).await;
    let receipts = "SELECT count(*) FROM outbox_receipt";
    until("the kitchen has it", async || {
        count(&system.sender, receipts).await == 1
    })
    .await;
    shutdown.cancel();
    handle.ended().await;

    let delivery = system.subscriber("delivery").await;
    let tap = Tap::new(&system.transport, false);
    let (_relay, _shutdown) = relay("order", &system.sender, Arc::<Tap>::clone(&tap));
    until("all is delivered", async || system.undelivered().await == 0).await;
    assert_eq!(seen(&delivery).await, 1);
    assert_eq!(tap.offers.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_stopping_relay_writes_down_what_has_arrived() {
    let system = System::new().await;
    let kitchen = system.subscriber("kitchen").await;
    let delivery = system.subscriber("delivery").await;
    let (relay, shutdown) = system.relay();
    system.say("OrderCreated", "a", 1).await;
    until("both have it", async || {
        seen(&kitchen).await + seen(&delivery).await == 2
    })
    .await;
    shutdown.cancel();
    relay.ended().await;
    assert_eq!(system.undelivered().await, 0);
}

#[tokio::test]
async fn poison_becomes_a_dead_letter_and_what_is_behind_it_goes_on() {
    let system = System::new().await;
    let kitchen = system.subscriber("kitchen").await;
    let _delivery = system.subscriber("delivery").await;
    let (_relay, _shutdown) = system.relay();
    system.say("Poison", "a", 1).await;
    system.say("OrderCreated", "a", 2).await;
    until("all is delivered", async || system.undelivered().await == 0).await;
    assert_eq!(
        numbers(&kitchen, "a").await,
        [2],
        "the work of the poisoned one was undone"
    );
    let (kind, error): (String, String) = sqlx::query_as("SELECT kind, error FROM dead_letter")
        .fetch_one(kitchen.read())
        .await
        .unwrap();
    assert_eq!((kind.as_str(), error.as_str()), ("Poison", "poison"));
    assert_eq!(count(&kitchen, "SELECT count(*) FROM inbox").await, 2);
}

#[tokio::test]
async fn a_saga_hears_of_its_command_that_became_a_dead_letter() {
    let system = System::new().await;
    let kitchen = system.subscriber("kitchen").await;
    let (_relay, _shutdown) = system.relay();
    let reply = ReplyAddress {
        saga_id: "saga",
        saga_step: "step",
        topic: "order.replies",
    };
    let command =
        Message::command("order", "kitchen.commands", "Poison", "a", reply, json!({})).unwrap();
    let mut tx = system.sender.write().await.unwrap();
    publish(&mut tx, &command).await.unwrap();
    tx.commit().await.unwrap();
    until("it is delivered", async || system.undelivered().await == 0).await;
    let reply: String = sqlx::query_scalar("SELECT message FROM outbox")
        .fetch_one(kitchen.read())
        .await
        .unwrap();
    let reply: Message = serde_json::from_str(&reply).unwrap();
    assert_eq!(reply.sagastep.as_deref(), Some("step"));
    assert_eq!(
        reply.decode::<Outcome>().unwrap(),
        Outcome::failure(UNPROCESSABLE, "poison")
    );
}

#[tokio::test]
async fn failures_and_panics_are_tried_again_without_a_trace() {
    for kind in ["FailsTwice", "PanicsOnce"] {
        let system = System::new().await;
        let kitchen = system.subscriber("kitchen").await;
        let delivery = system.subscriber("delivery").await;
        let (_relay, _shutdown) = system.relay();
        system.say(kind, "a", 1).await;
        system.say("OrderCreated", "a", 2).await;
        until("all is delivered", async || system.undelivered().await == 0).await;
        for database in [&kitchen, &delivery] {
            assert_eq!(numbers(database, "a").await, [1, 2]);
            assert_eq!(count(database, "SELECT count(*) FROM dead_letter").await, 0);
        }
    }
}

#[tokio::test]
async fn a_subject_that_keeps_failing_holds_up_only_itself() {
    let system = System::new().await;
    let kitchen = system.subscriber("kitchen").await;
    let (_relay, _shutdown) = system.relay();
    // More of them than can be under way at a time.
    for stuck in 0..20 {
        let subject = format!("stuck-{stuck}");
        system.say("FailsAlways", &subject, 1).await;
        system.say("OrderCreated", &subject, 2).await;
    }
    for number in 0..5 {
        system.say("OrderCreated", "free", number).await;
    }
    until("the free one is through", async || {
        numbers(&kitchen, "free").await.len() == 5
    })
    .await;
    assert_eq!(seen(&kitchen).await, 5);
    assert_eq!(count(&kitchen, "SELECT count(*) FROM dead_letter").await, 0);
    assert_eq!(system.undelivered().await, 45);
}

#[tokio::test]
async fn a_topic_without_subscribers_does_not_fill_the_outbox() {
    let system = System::new().await;
    let (_relay, _shutdown) = system.relay();
    let event = Message::event("order", "nobody.events", "X", "a", 1, json!({})).unwrap();
    let mut tx = system.sender.write().await.unwrap();
    publish(&mut tx, &event).await.unwrap();
    tx.commit().await.unwrap();
    until("it counts as delivered", async || {
        system.undelivered().await == 0
    })
    .await;
}

const HOPS: i64 = 30;

/// Answers each ball until it has been hit often enough.
struct Player {
    name: &'static str,
    other: &'static str,
}

impl MessageHandler for Player {
    fn handle<'a>(
        &'a self,
        tx: &'a mut SqliteConnection,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        Box::pin(async move {
            let hits = message.data["hits"].as_i64().unwrap_or_default() + 1;
            sqlx::query("INSERT INTO seen (number) VALUES (?)")
                .bind(hits)
                .execute(&mut *tx)
                .await?;
            if hits < HOPS {
                let data = json!({"hits": hits});
                let ball = Message::event(self.name, self.other, "Ball", "game", hits, data)?;
                publish(tx, &ball).await?;
            }
            Ok(())
        })
    }
}

#[tokio::test]
async fn every_hop_wakes_the_next_one_without_polling() {
    const PLAYERS: [Subscription; 2] = [
        Subscription {
            subscriber: "ping",
            topics: &["ping"],
        },
        Subscription {
            subscriber: "pong",
            topics: &["pong"],
        },
    ];
    let directory = tempfile::tempdir().unwrap();
    let transport = InProcessTransport::new(&PLAYERS);
    let mut relays = Vec::new();
    let mut databases = Vec::new();
    for (name, other) in [("ping", "pong"), ("pong", "ping")] {
        let database = open(directory.path(), name).await;
        let player = Arc::new(Player { name, other });
        transport.attach(name, Consumer::new(name, database.clone(), player));
        // Who is not woken is too late for this test.
        let poll = Duration::from_secs(3600);
        let relay = Relay::spawn_polling(
            poll,
            name,
            database.clone(),
            Arc::<InProcessTransport>::clone(&transport),
            CancellationToken::new(),
        );
        relays.push(relay);
        databases.push(database);
    }
    let ball = Message::event("ping", "pong", "Ball", "game", 1, json!({"hits": 0})).unwrap();
    let mut tx = databases[0].write().await.unwrap();
    publish(&mut tx, &ball).await.unwrap();
    tx.commit().await.unwrap();
    until("the game is over", async || {
        count(&databases[0], "SELECT count(*) FROM seen WHERE number = 30").await == 1
    })
    .await;
}
