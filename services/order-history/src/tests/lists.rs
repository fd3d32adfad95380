//! Both lists over HTTP: shapes, cursors, refused parameters, and duplicates that change nothing.

use ftgo_messaging::Message;
use serde_json::{Value, json};

use super::{History, delivery_event, event, order_event, start_in, ticket_event};
use crate::Settings;

fn restaurant(id: &str, lat: f64) -> Message {
    let days = [
        "MONDAY",
        "TUESDAY",
        "WEDNESDAY",
        "THURSDAY",
        "FRIDAY",
        "SATURDAY",
        "SUNDAY",
    ];
    let hours = days.map(|day| json!({"day": day, "opens": "00:00", "closes": "24:00"}));
    let data = json!({
        "restaurantId": id, "name": id, "cuisine": "Indian", "timeZone": "America/Los_Angeles",
        "address": {"street1": "1 Main St", "city": "Oakland", "state": "CA", "zip": "94607"},
        "location": {"lat": lat, "lng": -122.27}, "openingHours": hours,
        "orderMinimum": {"amount": "10.00", "currency": "USD"},
    });
    event("restaurant", "RestaurantCreated", id, 1, data)
}

#[tokio::test]
async fn an_orders_row_follows_its_events() {
    let history = History::start().await;
    let created = order_event("OrderCreated", "o-1", 1, "APPROVAL_PENDING");
    history
        .offer(&ticket_event(
            "TicketCreated",
            "o-1",
            2,
            "AWAITING_ACCEPTANCE",
        ))
        .await;
    history.offer(&created).await;
    history
        .offer(&order_event("OrderAuthorized", "o-1", 2, "APPROVED"))
        .await;
    history.offer(&created).await;
    history
        .offer(&delivery_event("DeliveryScheduled", "o-1", 2, "SCHEDULED"))
        .await;
    let page = history.get_json("/orders?consumerId=consumer-1").await;
    let row = &page["items"][0];
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert_eq!(page["nextCursor"], Value::Null);
    assert_eq!(row["state"], "APPROVED");
    assert_eq!(row["ticketState"], "AWAITING_ACCEPTANCE");
    assert_eq!(row["deliveryState"], "SCHEDULED");
    let active = history
        .get_json("/orders?consumerId=consumer-1&active=true")
        .await;
    assert_eq!(active, page);
    let ended = history
        .get_json("/orders?consumerId=consumer-1&active=false")
        .await;
    assert_eq!(ended["items"], json!([]));
    let nobody = history.get_json("/orders?consumerId=consumer-9").await;
    assert_eq!(nobody, json!({"items": [], "nextCursor": null}));
}

#[tokio::test]
async fn the_views_survive_a_restart() {
    let history = History::start().await;
    history
        .offer(&order_event("OrderCreated", "o-1", 1, "APPROVAL_PENDING"))
        .await;
    history.service.stop().await;
    let transport = history.transport.clone();
    let service = start_in(history.folder.path(), transport, Settings::default()).await;
    let history = History { service, ..history };
    let page = history.get_json("/orders?consumerId=consumer-1").await;
    assert_eq!(page["items"][0]["id"], "o-1");
}

#[tokio::test]
async fn cursors_lead_through_the_orders() {
    let history = History::start().await;
    for number in 0..5 {
        let id = format!("o-{number}");
        history
            .offer(&order_event("OrderCreated", &id, 1, "APPROVAL_PENDING"))
            .await;
    }
    let mut path = "/orders?consumerId=consumer-1&pageSize=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = history.get_json(&path).await;
        for row in page["items"].as_array().unwrap() {
            seen.push(row["id"].as_str().unwrap().to_owned());
        }
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        path = format!("/orders?consumerId=consumer-1&pageSize=2&cursor={cursor}");
    }
    assert_eq!(seen, ["o-4", "o-3", "o-2", "o-1", "o-0"]);
}

#[tokio::test]
async fn restaurants_come_by_distance_page_by_page() {
    let history = History::start().await;
    for (id, lat) in [
        ("far", 37.83),
        ("near", 37.80),
        ("middle", 37.81),
        ("beyond", 38.80),
    ] {
        history.offer(&restaurant(id, lat)).await;
    }
    let base = "/restaurants/available?lat=37.80&lng=-122.27&cuisine=INDIAN&pageSize=2";
    let first = history.get_json(base).await;
    assert_eq!(first["items"][0]["id"], "near");
    assert_eq!(first["items"][0]["distance"], 0.0);
    assert_eq!(first["items"][0]["openUntil"], Value::Null);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = history.get_json(&format!("{base}&cursor={cursor}")).await;
    assert_eq!(second["items"].as_array().unwrap().len(), 1);
    assert_eq!(second["items"][0]["id"], "far");
    assert_eq!(second["nextCursor"], Value::Null);
}

#[tokio::test]
async fn a_bad_parameter_is_a_400() {
    let history = History::start().await;
    for number in 0..2 {
        let id = format!("o-{number}");
        history
            .offer(&order_event("OrderCreated", &id, 1, "APPROVAL_PENDING"))
            .await;
    }
    let page = history
        .get_json("/orders?consumerId=consumer-1&pageSize=1")
        .await;
    let of_orders = page["nextCursor"].as_str().unwrap();
    let orders = "/orders?consumerId=consumer-1";
    let nearby = "/restaurants/available?lat=37.80&lng=-122.27";
    for path in [
        "/orders".to_owned(),
        "/orders?consumerId=".to_owned(),
        format!("{orders}&pageSize=0"),
        format!("{orders}&pageSize=101"),
        format!("{orders}&pageSize=-1"),
        format!("{orders}&since=yesterday"),
        format!("{orders}&status=EATEN"),
        format!("{orders}&active=perhaps"),
        format!("{orders}&cursor=nonsense"),
        format!("{orders}&consumerId=consumer-2"),
        "/restaurants/available".to_owned(),
        "/restaurants/available?lat=37.80".to_owned(),
        "/restaurants/available?lat=91&lng=0".to_owned(),
        "/restaurants/available?lat=NaN&lng=0".to_owned(),
        format!("{nearby}&radius=50001"),
        format!("{nearby}&radius=-1"),
        format!("{nearby}&radius=NaN"),
        format!("{nearby}&at=noon"),
        format!("{nearby}&pageSize=many"),
        format!("{nearby}&cursor={of_orders}"),
        "/events?since=soon".to_owned(),
    ] {
        let response = history.get(&path).await;
        assert_eq!(response.status(), 400, "{path}");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let problem: Value = response.json().await.unwrap();
        assert!(problem["detail"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_read_stalls_nobody() {
    let history = History::start().await;
    let bad = event("order", "OrderCreated", "o-1", 1, json!({"orderId": 7}));
    history.offer(&bad).await;
    history
        .offer(&order_event("OrderAuthorized", "o-1", 2, "APPROVED"))
        .await;
    let page = history.get_json("/orders?consumerId=consumer-1").await;
    assert_eq!(page["items"][0]["state"], "APPROVED");
}
