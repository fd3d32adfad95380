//! The event store over a real SQLite file: folding what was stored, the optimistic lock, projections and published
//! events in one transaction.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::{DateTime, TimeZone as _, Utc};
use ftgo_chassis::Money;
use ftgo_messaging::Database;
use serde_json::json;

use super::{StoreError, account_by_consumer, append, bill, bills, execute, load};
use crate::domain::account::{Command, Rejection};
use crate::testing;

fn open() -> Command {
    Command::Open {
        consumer_id: "consumer-1".into(),
        order_limit: Money::usd(100_000),
    }
}

fn authorize(order_id: &str, cents: i32) -> Command {
    Command::Authorize {
        order_id: order_id.into(),
        amount: Money::usd(cents),
    }
}

fn at(minute: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 1, 12, minute, 0).unwrap()
}

async fn run(database: &Database, now: DateTime<Utc>, commands: impl IntoIterator<Item = Command>) {
    let mut tx = database.write().await.unwrap();
    for command in commands {
        execute(&mut tx, "a1", command, now).await.unwrap().unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn an_account_is_what_its_stored_events_fold_to() {
    let (_directory, database) = testing::database().await;
    run(
        &database,
        at(0),
        [
            open(),
            authorize("o1", 61_70),
            Command::Revise {
                order_id: "o1".into(),
                amount: Money::usd(70_00),
            },
            Command::Disable,
        ],
    )
    .await;

    let mut reader = database.read().acquire().await.unwrap();
    let account = load(&mut reader, "a1").await.unwrap();
    assert_eq!(account.version(), 4);
    assert_eq!(
        account.process(authorize("o2", 1)),
        Err(Rejection::Disabled)
    );
    assert_eq!(
        account.process(authorize("o1", 1)),
        Err(Rejection::AlreadyAuthorized(Money::usd(70_00)))
    );
}

#[tokio::test]
async fn projections_follow_the_events() {
    let (_directory, database) = testing::database().await;
    run(
        &database,
        at(0),
        [open(), authorize("o1", 10_00), authorize("o2", 20_00)],
    )
    .await;
    run(
        &database,
        at(1),
        [
            Command::Revise {
                order_id: "o1".into(),
                amount: Money::usd(15_50),
            },
            Command::Reverse {
                order_id: "o2".into(),
            },
            Command::Disable,
        ],
    )
    .await;

    let account = account_by_consumer(database.read(), "consumer-1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((account.id.as_str(), account.version), ("a1", 6));
    assert_eq!(account.status, "DISABLED");
    assert_eq!(account.order_limit, Money::usd(100_000));

    let revised = bill(database.read(), "o1").await.unwrap().unwrap();
    assert_eq!(
        (revised.state.as_str(), revised.amount),
        ("AUTHORIZED", Money::usd(15_50))
    );
    assert_eq!((revised.authorized_at, revised.updated_at), (at(0), at(1)));
    let reversed = bill(database.read(), "o2").await.unwrap().unwrap();
    assert_eq!(
        (reversed.state.as_str(), reversed.amount),
        ("REVERSED", Money::usd(20_00))
    );
    assert_eq!(bill(database.read(), "o3").await.unwrap(), None);

    let ids = ["o1", "o3", "o2"].map(str::to_owned);
    assert_eq!(bills(database.read(), &ids).await.unwrap().len(), 2);
}

#[tokio::test]
async fn every_event_is_published_with_its_version() {
    let (_directory, database) = testing::database().await;
    run(
        &database,
        at(0),
        [
            open(),
            authorize("o1", 10_00),
            Command::Revise {
                order_id: "o1".into(),
                amount: Money::usd(15_00),
            },
            Command::Reverse {
                order_id: "o1".into(),
            },
            Command::Disable,
            Command::Enable,
        ],
    )
    .await;

    let messages = testing::said(&database, "account.events").await;
    let heads: Vec<_> = messages
        .iter()
        .map(|message| (message.kind.as_str(), message.aggregateversion))
        .collect();
    assert_eq!(
        heads,
        [
            ("AccountCreated", Some(1)),
            ("AccountAuthorized", Some(2)),
            ("AccountAuthorizationRevised", Some(3)),
            ("AccountAuthorizationReversed", Some(4)),
            ("AccountDisabled", Some(5)),
            ("AccountEnabled", Some(6)),
        ]
    );
    assert!(messages.iter().all(|message| message.subject == "a1"));
    let mut data = messages[2].data.clone();
    data.as_object_mut().unwrap().remove("occurredAt").unwrap();
    assert_eq!(
        data,
        json!({
            "accountId": "a1", "consumerId": "consumer-1", "orderId": "o1",
            "previousAmount": {"amount": "10.00", "currency": "USD"},
            "amount": {"amount": "15.00", "currency": "USD"}
        })
    );
    assert_eq!(messages[4].data.get("orderId"), None);
}

#[tokio::test]
async fn a_rejected_command_stores_nothing() {
    let (_directory, database) = testing::database().await;
    run(&database, at(0), [open()]).await;
    let mut tx = database.write().await.unwrap();
    let outcome = execute(&mut tx, "a1", authorize("o1", 100_001), at(1))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(outcome, Err(Rejection::LimitExceeded { .. })));
    assert_eq!(bill(database.read(), "o1").await.unwrap(), None);
    assert_eq!(testing::events(&database).await, ["AccountCreated"]);
}

#[tokio::test]
async fn of_two_writers_at_one_version_the_second_conflicts() {
    let (_directory, database) = testing::database().await;
    run(&database, at(0), [open()]).await;

    // Both decided on the same state; one of them was slower.
    let mut reader = database.read().acquire().await.unwrap();
    let stale = load(&mut reader, "a1").await.unwrap();
    let decided = stale.process(authorize("o1", 10_00)).unwrap();
    run(&database, at(0), [authorize("o2", 10_00)]).await;

    let mut tx = database.write().await.unwrap();
    let second = append(&mut tx, "a1", stale, &decided, at(1)).await;
    assert!(matches!(
        second,
        Err(StoreError::Conflict { version: 2, .. })
    ));
    drop(tx);
    assert_eq!(bill(database.read(), "o1").await.unwrap(), None);
}
