//! Orders and restaurants in a real database, below HTTP.
//! Not here: transactions as requests make them (`requests`).

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use ftgo_chassis::{Address, Money};
use ftgo_messaging::{Database, HandlerError, Message};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::world::{restaurant, usd};
use crate::domain::{NewOrder, Order, Selection};
use crate::replica::Replica;
use crate::store::{self, StoreError};

async fn database() -> (Database, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(&directory.path().join("order.db"), &[&crate::MIGRATOR])
        .await
        .unwrap();
    (database, directory)
}

async fn apply(
    database: &Database,
    replica: &Replica,
    event: &Message,
) -> Result<(), HandlerError> {
    let mut tx = database.write().await?;
    replica.apply(&mut tx, event).await?;
    tx.commit().await?;
    replica.committed();
    Ok(())
}

#[tokio::test]
async fn an_older_restaurant_never_replaces_a_newer_one() {
    let (database, _directory) = database().await;
    let replica = Replica::default();
    for (version, name) in [
        (2, "second"),
        (1, "first"),
        (4, "fourth"),
        (3, "third"),
        (4, "fourth again"),
    ] {
        apply(&database, &replica, &restaurant("r", version, name))
            .await
            .unwrap();
    }
    let known = replica
        .wait_for(database.read(), "r", |_| true)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(known.name, "fourth");
}

#[tokio::test]
async fn a_restaurant_that_cannot_be_read_is_a_permanent_failure_and_other_events_are_none_of_ours()
{
    let (database, _directory) = database().await;
    let replica = Replica::default();
    let good = restaurant("r", 1, "Ajanta");
    for broken in [
        Message {
            data: json!({"name": "no menu"}),
            ..good.clone()
        },
        Message {
            data: Value::Null,
            ..good.clone()
        },
        Message {
            aggregateversion: None,
            ..good.clone()
        },
    ] {
        let result = apply(&database, &replica, &broken).await;
        assert!(
            matches!(result, Err(HandlerError::Permanent(_))),
            "{result:?}"
        );
    }
    let other = Message {
        kind: "RestaurantRepainted".to_owned(),
        data: Value::Null,
        ..good
    };
    apply(&database, &replica, &other).await.unwrap();
}

#[tokio::test]
async fn who_waits_for_a_restaurant_is_woken_by_its_arrival() {
    let (database, _directory) = database().await;
    let replica = Arc::new(Replica::with_patience(Duration::from_hours(1)));
    let waiting = tokio::spawn({
        let (database, replica) = (database.clone(), Arc::clone(&replica));
        async move {
            replica
                .wait_for(database.read(), "r", |restaurant| {
                    restaurant.name == "Ajanta"
                })
                .await
        }
    });
    tokio::task::yield_now().await;
    apply(&database, &replica, &restaurant("r", 1, "not yet Ajanta"))
        .await
        .unwrap();
    apply(&database, &replica, &restaurant("r", 2, "Ajanta"))
        .await
        .unwrap();
    let found = tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(found.unwrap().name, "Ajanta");
}

#[tokio::test]
async fn patience_ends_with_what_there_is() {
    let (database, _directory) = database().await;
    let replica = Replica::with_patience(Duration::from_millis(10));
    assert_eq!(
        replica
            .wait_for(database.read(), "r", |_| true)
            .await
            .unwrap(),
        None
    );
    apply(&database, &replica, &restaurant("r", 1, "Ajanta"))
        .await
        .unwrap();
    let incomplete = replica
        .wait_for(database.read(), "r", |_| false)
        .await
        .unwrap();
    assert_eq!(incomplete.unwrap().name, "Ajanta");
}

#[tokio::test]
async fn of_two_moves_from_the_same_version_one_is_stored() {
    let (database, _directory) = database().await;
    let new = NewOrder {
        id: "1".to_owned(),
        consumer_id: "consumer-1".to_owned(),
        restaurant_id: "r".to_owned(),
        selection: Selection::new(vec![("vindaloo".to_owned(), 2)]).unwrap(),
        delivery_address: Address {
            street1: "1 Scenic Drive".to_owned(),
            street2: None,
            city: "Oakland".to_owned(),
            state: "CA".to_owned(),
            zip: "94555".to_owned(),
        },
        delivery_time: None,
    };
    let restaurant = restaurant("r", 1, "Ajanta").decode().unwrap();
    let (order, event) = Order::place(new, &restaurant, Utc::now()).unwrap();
    let mut tx = database.write().await.unwrap();
    store::insert(&mut tx, &order, event).await.unwrap();
    let (mut approved, mut rejected) = (order.clone(), order.clone());
    let event = approved.approve(Utc::now()).unwrap();
    store::update(&mut tx, &approved, event).await.unwrap();
    let event = rejected.reject("NO", Utc::now()).unwrap();
    let late = store::update(&mut tx, &rejected, event).await;
    assert!(
        matches!(late, Err(StoreError::Conflict { version: 1, .. })),
        "{late:?}"
    );
    tx.commit().await.unwrap();
    let stored = store::find(database.read(), "1").await.unwrap().unwrap();
    assert_eq!(stored, approved);
    assert_eq!(stored.items().total(), Money::usd(2468));
    let events: Vec<String> =
        sqlx::query_scalar("SELECT message ->> 'type' FROM outbox ORDER BY seq")
            .fetch_all(database.read())
            .await
            .unwrap();
    assert_eq!(events, ["OrderCreated", "OrderAuthorized"]);
    assert_eq!(
        usd("24.68"),
        serde_json::to_value(stored.items().total()).unwrap()
    );
}
