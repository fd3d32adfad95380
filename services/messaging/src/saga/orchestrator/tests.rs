//! Sagas on a real database: rows, outbox and replies move together, and a new process goes on where the old one was.
//! Not here: the paths through a saga (`progress`), nor delivery (`relay`).

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{Orchestrator, SagaError};
use crate::database::Database;
use crate::inbox::HandlerError;
use crate::message::{Message, Outcome};
use crate::saga::{
    CommandTemplate, Definition, InstanceState, REASON, RetryPolicy, Step, run_retries,
};

const fn to(kind: &'static str, fields: &'static [&'static str]) -> CommandTemplate {
    CommandTemplate::new("stock.commands", kind, fields)
}

const SAGAS: &[Definition] = &[Definition::new(
    "Buy",
    &[
        Step::local("Begin", to("Reject", &["id", REASON])),
        Step::compensatable(to("Reserve", &["id", "count"]), to("Release", &["id"])),
        Step::pivot(to("Pay", &["id"])),
        Step::retriable(to("Ship", &["id"])),
    ],
)];

const RETRY: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(20),
    cap: Duration::from_millis(100),
};

struct Shop {
    database: Database,
    orchestrator: Arc<Orchestrator>,
    directory: TempDir,
}

impl Shop {
    async fn open() -> Shop {
        let directory = tempfile::tempdir().unwrap();
        Shop::open_in(directory).await
    }

    async fn open_in(directory: TempDir) -> Shop {
        let database = Database::open(&directory.path().join("shop.db"), &[])
            .await
            .unwrap();
        let orchestrator =
            Arc::new(Orchestrator::new("shop", "shop.replies", SAGAS).with_retry(RETRY));
        Shop {
            database,
            orchestrator,
            directory,
        }
    }

    /// A new process on the same file.
    async fn restart(self) -> Shop {
        self.database.close().await;
        Shop::open_in(self.directory).await
    }

    async fn start(&self) -> String {
        let mut tx = self.database.write().await.unwrap();
        let data = json!({"id": "1", "count": 3, "note": "not for participants"});
        let id = self
            .orchestrator
            .start(&mut tx, "Buy", "1", data)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// All commands so far, oldest first.
    async fn commands(&self) -> Vec<Message> {
        let texts: Vec<String> = sqlx::query_scalar("SELECT message FROM outbox ORDER BY seq")
            .fetch_all(self.database.read())
            .await
            .unwrap();
        texts
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect()
    }

    async fn kinds(&self) -> Vec<String> {
        self.commands()
            .await
            .into_iter()
            .map(|command| command.kind)
            .collect()
    }

    async fn latest(&self) -> Message {
        self.commands().await.pop().unwrap()
    }

    async fn handle(&self, reply: &Message) {
        let mut tx = self.database.write().await.unwrap();
        self.orchestrator
            .handle_reply(&mut tx, reply)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        self.orchestrator.reply_committed();
    }

    async fn answer(&self, outcome: &Outcome) {
        self.handle(&Message::reply_to(&self.latest().await, outcome))
            .await;
    }

    async fn accept(&self) {
        self.answer(&Outcome::success()).await;
    }

    async fn refuse(&self) {
        self.answer(&Outcome::failure("SOLD_OUT", "nothing is left"))
            .await;
    }

    async fn instance(&self) -> crate::saga::Instance {
        self.orchestrator
            .find(self.database.read(), "1")
            .await
            .unwrap()
            .pop()
            .unwrap()
    }
}

#[tokio::test]
async fn a_command_carries_its_fields_and_the_way_back() {
    let shop = Shop::open().await;
    let id = shop.start().await;
    let command = shop.latest().await;
    assert_eq!(command.kind, "Reserve");
    assert_eq!(command.topic, "stock.commands");
    assert_eq!(command.subject, "1");
    assert_eq!(command.source, "/services/shop");
    assert_eq!(command.sagaid, Some(id));
    assert_eq!(command.sagastep.as_deref(), Some("Reserve"));
    assert_eq!(command.replyto.as_deref(), Some("shop.replies"));
    assert_eq!(command.data, json!({"id": "1", "count": 3}));
}

#[tokio::test]
async fn a_saga_runs_to_its_end_across_a_restart_after_every_step() {
    let mut shop = Shop::open().await;
    shop.start().await;
    for expected in ["Reserve", "Pay", "Ship"] {
        shop = shop.restart().await;
        let instance = shop.instance().await;
        assert_eq!(
            (instance.state, instance.step.as_str()),
            (InstanceState::Running, expected)
        );
        shop.accept().await;
    }
    let instance = shop.restart().await.instance().await;
    assert_eq!(
        (instance.state, instance.step.as_str()),
        (InstanceState::Completed, "Ship")
    );
}

#[tokio::test]
async fn a_refusal_runs_the_compensations_and_hands_them_its_code() {
    let mut shop = Shop::open().await;
    shop.start().await;
    shop.accept().await;
    shop.refuse().await;
    for expected in ["Release", "Reject"] {
        shop = shop.restart().await;
        let instance = shop.instance().await;
        assert!(instance.compensating);
        assert_eq!(shop.latest().await.kind, expected);
        if expected == "Reject" {
            assert_eq!(
                shop.latest().await.data,
                json!({"id": "1", "reason": "SOLD_OUT"})
            );
        }
        shop.accept().await;
    }
    let instance = shop.instance().await;
    assert_eq!(instance.state, InstanceState::Compensated);
    assert_eq!(instance.step, "Begin");
    assert_eq!(instance.reason.as_deref(), Some("SOLD_OUT"));
    assert_eq!(shop.kinds().await, ["Reserve", "Pay", "Release", "Reject"]);
}

#[tokio::test]
async fn row_and_command_move_together_or_not_at_all() {
    let shop = Shop::open().await;
    shop.start().await;
    let before = shop.instance().await;
    let reply = Message::reply_to(&shop.latest().await, &Outcome::success());
    let mut tx = shop.database.write().await.unwrap();
    shop.orchestrator
        .handle_reply(&mut tx, &reply)
        .await
        .unwrap();
    drop(tx); // what a crash before the commit does
    let shop = shop.restart().await;
    assert_eq!(shop.instance().await, before);
    assert_eq!(shop.kinds().await, ["Reserve"]);
    shop.handle(&reply).await;
    assert_eq!(shop.kinds().await, ["Reserve", "Pay"]);
}

#[tokio::test]
async fn late_and_repeated_replies_and_those_for_nobody_change_nothing() {
    let shop = Shop::open().await;
    shop.start().await;
    let reserve = shop.latest().await;
    shop.accept().await;
    let before = shop.instance().await;
    shop.handle(&Message::reply_to(&reserve, &Outcome::success()))
        .await;
    shop.handle(&Message::reply_to(
        &reserve,
        &Outcome::failure("SOLD_OUT", ""),
    ))
    .await;
    let stranger = Message {
        sagaid: Some("no such saga".to_owned()),
        ..reserve
    };
    shop.handle(&Message::reply_to(&stranger, &Outcome::success()))
        .await;
    assert_eq!(shop.instance().await, before);
    assert_eq!(shop.kinds().await, ["Reserve", "Pay"]);
}

#[tokio::test]
async fn a_reply_that_is_none_is_a_permanent_failure() {
    let shop = Shop::open().await;
    shop.start().await;
    let command = shop.latest().await;
    let reply = Message::reply_to(&command, &Outcome::success());
    let mut tx = shop.database.write().await.unwrap();
    for broken in [
        Message {
            data: Value::Null,
            ..reply.clone()
        },
        Message {
            sagaid: None,
            ..reply.clone()
        },
        Message {
            sagastep: None,
            ..reply
        },
    ] {
        let result = shop.orchestrator.handle_reply(&mut tx, &broken).await;
        assert!(
            matches!(result, Err(HandlerError::Permanent(_))),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn a_start_that_could_not_fill_its_commands_is_refused_at_once() {
    let shop = Shop::open().await;
    let mut tx = shop.database.write().await.unwrap();
    let mut start =
        async |kind: &str, data: Value| shop.orchestrator.start(&mut tx, kind, "1", data).await;
    let lacking = start("Buy", json!({"id": "1"})).await;
    assert!(
        matches!(lacking, Err(SagaError::MissingField { field: "count", .. })),
        "{lacking:?}"
    );
    let shapeless = start("Buy", json!("1")).await;
    assert!(
        matches!(shapeless, Err(SagaError::Shape { .. })),
        "{shapeless:?}"
    );
    let unknown = start("Sell", json!({})).await;
    assert!(
        matches!(unknown, Err(SagaError::UnknownKind(_))),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn a_refused_step_after_the_pivot_waits_and_is_issued_again_by_a_later_process() {
    let shop = Shop::open().await;
    shop.start().await;
    shop.accept().await;
    shop.accept().await;
    let first = shop.latest().await;
    shop.refuse().await;
    let waiting = shop.instance().await;
    let due = waiting.retry_at.unwrap();
    assert_eq!(waiting.attempt, 2);
    assert_eq!(
        waiting.last_error.as_deref(),
        Some("SOLD_OUT: nothing is left")
    );
    assert_eq!(waiting.reason, None);

    let shop = shop.restart().await;
    let early = shop
        .orchestrator
        .issue_due(&shop.database, due - TimeDelta::milliseconds(1))
        .await
        .unwrap();
    assert_eq!(early, Some(due), "not before its time");
    assert_eq!(
        shop.orchestrator
            .issue_due(&shop.database, due)
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        shop.orchestrator
            .issue_due(&shop.database, due)
            .await
            .unwrap(),
        None,
        "once only"
    );
    assert_eq!(shop.kinds().await, ["Reserve", "Pay", "Ship", "Ship"]);
    let second = shop.latest().await;
    assert_eq!(second.sagastep.as_deref(), Some("Ship.2"));
    assert_ne!(
        second.id, first.id,
        "the inbox of the participant would drop the same message"
    );
    assert_eq!(second.data, first.data);

    shop.handle(&Message::reply_to(&first, &Outcome::success()))
        .await;
    assert_eq!(
        shop.instance().await.state,
        InstanceState::Running,
        "the first attempt's reply came already"
    );
    shop.accept().await;
    assert_eq!(shop.instance().await.state, InstanceState::Completed);
}

#[tokio::test]
async fn a_due_saga_that_this_release_does_not_know_does_not_hold_up_the_others() {
    let shop = Shop::open().await;
    shop.start().await;
    shop.accept().await;
    shop.accept().await;
    shop.refuse().await;
    let mut tx = shop.database.write().await.unwrap();
    sqlx::query(
        "INSERT INTO saga SELECT 'stranger', 'Sell', subject, state, step, compensating, attempt, 0, data, reason, \
         last_error, created_at, updated_at FROM saga",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let now = Utc::now() + TimeDelta::seconds(1);
    let next = shop
        .orchestrator
        .issue_due(&shop.database, now)
        .await
        .unwrap();
    assert_eq!(shop.latest().await.sagastep.as_deref(), Some("Ship.2"));
    assert!(next.unwrap() > now, "the stranger is put off");
}

#[tokio::test]
async fn the_timer_notices_new_due_times_and_those_of_an_earlier_process() {
    let shop = Shop::open().await;
    shop.start().await;
    shop.accept().await;
    shop.accept().await;
    shop.refuse().await;
    let shop = shop.restart().await;
    let shutdown = CancellationToken::new();
    let timer = tokio::spawn(run_retries(
        Arc::clone(&shop.orchestrator),
        shop.database.clone(),
        shutdown.clone(),
    ));
    for expected in ["Ship.2", "Ship.3", "Ship.4"] {
        let issued = async {
            while shop.latest().await.sagastep.as_deref() != Some(expected) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), issued)
            .await
            .unwrap();
        shop.refuse().await;
    }
    shutdown.cancel();
    timer.await.unwrap();
}
