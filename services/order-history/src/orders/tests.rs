//! The order view over a real database. Not here: the inbox, which the wire tests cover.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::{DateTime, Utc};
use ftgo_messaging::Database;
use serde_json::json;
use tempfile::TempDir;

use super::{HistoryFilter, OrderRow, apply_delivery_state, apply_order, apply_ticket_state, find};
use crate::events::OrderSnapshot;

async fn database() -> (TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("order-history.db");
    let database = Database::open(&file, &[&crate::MIGRATIONS]).await.unwrap();
    (folder, database)
}

fn order(id: &str, created_at: &str, state: &str) -> OrderSnapshot {
    serde_json::from_value(json!({
        "orderId": id, "consumerId": "consumer-1", "restaurantId": "restaurant-1", "restaurantName": "Ajanta",
        "state": state, "createdAt": created_at, "updatedAt": "2026-11-22T12:34:56.789Z",
        "total": {"amount": "61.70", "currency": "USD"}, "deliveryAddress": {}, "deliveryTime": null,
        "lineItems": [
            {"menuItemId": "i-1", "name": "Chicken Vindaloo", "quantity": 5, "price": {"amount": "12.34", "currency": "USD"}},
            {"menuItemId": "i-2", "name": "Crème brûlée", "quantity": 1, "price": {"amount": "0.00", "currency": "USD"}},
        ],
    }))
    .unwrap()
}

async fn store(database: &Database, order: &OrderSnapshot, version: i64) {
    let mut tx = database.write().await.unwrap();
    apply_order(&mut tx, order, version).await.unwrap();
    tx.commit().await.unwrap();
}

fn all() -> HistoryFilter {
    HistoryFilter {
        consumer_id: "consumer-1".to_owned(),
        ..HistoryFilter::default()
    }
}

async fn found(database: &Database, filter: &HistoryFilter) -> Vec<OrderRow> {
    find(database.read(), filter, None, 100)
        .await
        .unwrap()
        .items
}

async fn ids(database: &Database, filter: &HistoryFilter) -> Vec<String> {
    let rows = found(database, filter).await;
    rows.into_iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn a_row_shows_the_order_with_the_states_of_ticket_and_delivery() {
    let (_folder, database) = database().await;
    let created = "2026-11-22T12:00:00.123456789Z";
    store(&database, &order("o-1", created, "APPROVED"), 2).await;
    let mut tx = database.write().await.unwrap();
    apply_ticket_state(&mut tx, "o-1", "ACCEPTED", 3)
        .await
        .unwrap();
    apply_delivery_state(&mut tx, "o-1", "SCHEDULED", 4)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let rows = serde_json::to_value(found(&database, &all()).await).unwrap();
    assert_eq!(
        rows,
        json!([{
            "id": "o-1", "consumerId": "consumer-1", "restaurantId": "restaurant-1", "restaurantName": "Ajanta",
            "state": "APPROVED", "total": {"amount": "61.70", "currency": "USD"},
            "lineItems": [
                {"menuItemId": "i-1", "name": "Chicken Vindaloo", "quantity": 5},
                {"menuItemId": "i-2", "name": "Crème brûlée", "quantity": 1},
            ],
            "version": 2, "ticketState": "ACCEPTED", "ticketVersion": 3, "deliveryState": "SCHEDULED", "deliveryVersion": 4,
            "createdAt": created, "updatedAt": "2026-11-22T12:34:56.789Z",
        }])
    );
}

#[tokio::test]
async fn orders_under_way_are_found_however_many_have_ended_since() {
    let (_folder, database) = database().await;
    let at = |minute: usize| format!("2026-11-22T12:{minute:02}:00Z");
    store(&database, &order("first", &at(0), "APPROVED"), 2).await;
    store(&database, &order("second", &at(1), "CANCEL_PENDING"), 3).await;
    let mut ended = Vec::new();
    for minute in 2..59 {
        let id = format!("ended-{minute}");
        let state = ["REJECTED", "CANCELLED", "APPROVED"][minute % 3];
        store(&database, &order(&id, &at(minute), state), 2).await;
        if state == "APPROVED" {
            let mut tx = database.write().await.unwrap();
            apply_delivery_state(&mut tx, &id, "DELIVERED", 4)
                .await
                .unwrap();
            tx.commit().await.unwrap();
        }
        ended.insert(0, id);
    }
    let mut tx = database.write().await.unwrap();
    apply_delivery_state(&mut tx, "first", "PICKED_UP", 3)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let which = |active: bool| HistoryFilter {
        active: Some(active),
        ..all()
    };
    assert_eq!(ids(&database, &which(true)).await, ["second", "first"]);
    assert_eq!(ids(&database, &which(false)).await, ended);
}

#[tokio::test]
async fn events_of_different_aggregates_may_come_in_any_order() {
    let (_folder, database) = database().await;
    let mut tx = database.write().await.unwrap();
    apply_delivery_state(&mut tx, "o-1", "SCHEDULED", 2)
        .await
        .unwrap();
    apply_ticket_state(&mut tx, "o-1", "AWAITING_ACCEPTANCE", 2)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert!(found(&database, &all()).await.is_empty());
    store(
        &database,
        &order("o-1", "2026-11-22T12:00:00Z", "APPROVED"),
        2,
    )
    .await;
    let rows = found(&database, &all()).await;
    assert_eq!(rows[0].ticket_state.as_deref(), Some("AWAITING_ACCEPTANCE"));
    assert_eq!(rows[0].delivery_state.as_deref(), Some("SCHEDULED"));
}

#[tokio::test]
async fn an_older_version_never_overwrites_a_newer_one() {
    let (_folder, database) = database().await;
    let created = "2026-11-22T12:00:00Z";
    store(&database, &order("o-1", created, "CANCELLED"), 4).await;
    store(&database, &order("o-1", created, "APPROVED"), 2).await;
    let mut tx = database.write().await.unwrap();
    apply_ticket_state(&mut tx, "o-1", "CANCELLED", 5)
        .await
        .unwrap();
    apply_ticket_state(&mut tx, "o-1", "ACCEPTED", 3)
        .await
        .unwrap();
    apply_delivery_state(&mut tx, "o-1", "CANCELLED", 3)
        .await
        .unwrap();
    apply_delivery_state(&mut tx, "o-1", "SCHEDULED", 2)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let row = found(&database, &all()).await.remove(0);
    assert_eq!(row.state, "CANCELLED");
    assert_eq!(row.ticket_state.as_deref(), Some("CANCELLED"));
    assert_eq!(row.delivery_state.as_deref(), Some("CANCELLED"));
    store(&database, &order("o-1", created, "APPROVED"), 5).await;
    assert_eq!(found(&database, &all()).await[0].state, "APPROVED");
}

#[tokio::test]
async fn the_filters_narrow_the_list() {
    let (_folder, database) = database().await;
    store(
        &database,
        &order("o-1", "2026-11-20T12:00:00Z", "APPROVED"),
        1,
    )
    .await;
    store(
        &database,
        &order("o-2", "2026-11-21T12:00:00Z", "REJECTED"),
        1,
    )
    .await;
    let mut other = order("o-3", "2026-11-22T12:00:00Z", "APPROVED");
    other.restaurant_name = "50% Off & Söhne".to_owned();
    other.line_items.remove(0);
    store(&database, &other, 1).await;
    let mut strangers = order("o-4", "2026-11-22T12:00:00Z", "APPROVED");
    strangers.consumer_id = "consumer-2".to_owned();
    store(&database, &strangers, 1).await;

    let since = |text: &str| HistoryFilter {
        since: Some(text.parse::<DateTime<Utc>>().unwrap()),
        ..all()
    };
    let states = |states: &[&str]| HistoryFilter {
        states: states.iter().map(|state| (*state).to_owned()).collect(),
        ..all()
    };
    let keyword = |text: &str| HistoryFilter {
        keyword: Some(text.to_owned()),
        ..all()
    };
    for (filter, expected) in [
        (all(), &["o-3", "o-2", "o-1"][..]),
        (since("2026-11-21T12:00:00Z"), &["o-3", "o-2"]),
        (since("2026-11-22T04:00:00.001-08:00"), &[]),
        (states(&["APPROVED"]), &["o-3", "o-1"]),
        (states(&["REJECTED", "CANCELLED"]), &["o-2"]),
        (keyword("vindaLOO"), &["o-2", "o-1"]),
        (keyword("aja"), &["o-2", "o-1"]),
        (keyword("BRÛLÉE"), &["o-3", "o-2", "o-1"]),
        (keyword("SÖHNE"), &["o-3"]),
        (keyword("50%"), &["o-3"]),
        (keyword("_"), &[]),
        (keyword("%"), &["o-3"]),
        (keyword("vindaloo crème"), &[]),
    ] {
        assert_eq!(ids(&database, &filter).await, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn pages_stay_right_while_orders_are_added() {
    let (_folder, database) = database().await;
    // three of them at the same instant
    for (id, minute) in [("o-1", 1), ("o-2", 2), ("o-3", 2), ("o-4", 2), ("o-5", 3)] {
        let created_at = format!("2026-11-22T12:0{minute}:00Z");
        store(&database, &order(id, &created_at, "APPROVED"), 1).await;
    }
    let mut seen = Vec::new();
    let mut place = None;
    for round in 0.. {
        let page = find(database.read(), &all(), place.as_ref(), 2)
            .await
            .unwrap();
        seen.extend(page.items.into_iter().map(|row| row.id));
        let newcomer = order(&format!("new-{round}"), "2026-11-22T13:00:00Z", "APPROVED");
        store(&database, &newcomer, 1).await;
        place = page.next;
        if place.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["o-5", "o-4", "o-3", "o-2", "o-1"]);
}

#[tokio::test]
async fn the_last_page_has_no_next() {
    let (_folder, database) = database().await;
    for id in ["o-1", "o-2"] {
        store(&database, &order(id, "2026-11-22T12:00:00Z", "APPROVED"), 1).await;
    }
    for (size, next) in [(1, true), (2, false), (3, false)] {
        let page = find(database.read(), &all(), None, size).await.unwrap();
        assert_eq!(page.next.is_some(), next, "{size}");
    }
}
