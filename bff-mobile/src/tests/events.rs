//! The beginning of an order's stream, in front of services that answer as each test says. Streams that go on, from real
//! services, are in `tests/it/mobile/events.rs`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gateway_core::testkit::{Answer, Seen, Setup, TestGateway, eventually};
use serde_json::{Value, json};

use super::{as_usual, fake, start};

/// With more time for a request than a test has.
const PATIENT: Setup = Setup {
    config: &[
        include_str!("../../../config/mobile.toml"),
        fake::OVERLAY,
        "[deadline]\ndefault = \"60s\"\n[upstreams.order-history]\ntimeout = \"60s\"\n",
    ],
    ..fake::SETUP
};

/// The stream's text up to the end of its event `last`.
async fn read_until(world: &TestGateway, path: &str, since: Option<&str>, last: &str) -> String {
    let mut request = world.get(path).header("accept", "text/event-stream");
    if let Some(since) = since {
        request = request.header("last-event-id", since);
    }
    let mut response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let is_whole = |text: &str| {
        let event = text.split_once(&format!("event: {last}\n"));
        event.is_some_and(|(_, rest)| rest.contains("\n\n"))
    };
    while !is_whole(&text) {
        let chunk = tokio::time::timeout(Duration::from_secs(20), response.chunk());
        let chunk = chunk.await.unwrap().unwrap();
        let chunk = chunk.unwrap_or_else(|| panic!("the end, before {last}: {text}"));
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    text
}

/// The blocks of a stream that are events, by name.
fn events(text: &str) -> Vec<(&str, &str)> {
    let blocks = text.split("\n\n");
    let named = blocks.filter_map(|block| {
        let name = block.lines().find_map(|line| line.strip_prefix("event: "));
        name.map(|name| (name, block))
    });
    named.collect()
}

fn names(text: &str) -> Vec<&str> {
    events(text).into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn who_comes_back_is_told_where_the_courier_is() {
    let world = start(as_usual).await;
    let path = "/orders/order-1/events";
    let text = read_until(&world, path, Some("5"), "CourierLocationChanged").await;
    let [(missed, _), (located, block)] = events(&text)[..] else {
        panic!("{text}");
    };
    assert_eq!(
        (missed, located),
        ("TicketPreparing", "CourierLocationChanged")
    );
    // Not a place to come back to.
    assert!(
        block.lines().all(|line| !line.starts_with("id:")),
        "{block}"
    );
    let data = block.lines().find_map(|line| line.strip_prefix("data: "));
    let data: Value = serde_json::from_str(data.unwrap()).unwrap();
    assert_eq!(data["type"], "CourierLocationChanged");
    assert_eq!(data["orderId"], "order-1");
    assert_eq!(data["location"], json!({"lat": 37.81, "lng": -122.26}));
    assert!(data["time"].is_string());
    let reads = |world: &TestGateway| {
        let seen = world.calls();
        let reads = seen
            .iter()
            .filter(|call| *call == "GET /deliveries/order-1");
        reads.count()
    };
    assert_eq!(reads(&world), 1);

    // Who has not picked the delivery has nothing to do with the courier.
    let world = start(as_usual).await;
    let path = format!("{path}?fields=ticket");
    read_until(&world, &path, Some("5"), "TicketPreparing").await;
    assert_eq!(reads(&world), 0);
}

/// Nor is it when it comes live: the rest is worth telling.
#[tokio::test]
async fn what_is_no_event_is_not_told_and_stops_nobody() {
    let world = start(|seen| {
        let event = json!({
            "specversion": "1.0", "id": "event-7", "source": "/kitchen", "type": "TicketPreparing", "subject": "order-1",
            "time": "2030-01-01T18:10:00Z",
            "data": {"id": "order-1", "state": "PREPARING", "version": 3, "updatedAt": "2030-01-01T18:10:00Z"},
        });
        let items = json!([
            {"position": 6, "event": {"specversion": "1.1", "id": "event-6"}},
            {"position": 7, "event": event},
        ]);
        let asks = seen.call == "GET /orders/order-1/events" && seen.parameter("since").is_some();
        asks.then(|| (fake::SETUP.usual)(seen).changed("/items", &items))
    })
    .await;
    let path = "/orders/order-1/events?fields=ticket";
    let text = read_until(&world, path, Some("5"), "TicketPreparing").await;
    assert_eq!(names(&text), ["TicketPreparing"]);
}

#[tokio::test]
async fn what_was_missed_does_not_wait_for_a_delivery_service_that_hangs() {
    let world = TestGateway::start(&PATIENT, |seen| {
        (seen.call == "GET /deliveries/order-1").then(Answer::never)
    })
    .await;
    let path = "/orders/order-1/events";
    let told = read_until(&world, path, Some("5"), "TicketPreparing");
    let text = tokio::time::timeout(Duration::from_secs(20), told).await;
    assert_eq!(names(&text.unwrap()), ["TicketPreparing"]);
}

#[tokio::test]
async fn a_courier_who_carries_nothing_or_cannot_be_found_is_not_told_of() {
    fn changed(seen: &Seen, pointer: &str, value: Value) -> Option<Answer> {
        let usual = (super::fake::SETUP.usual)(seen);
        (seen.call == "GET /deliveries/order-1").then(|| usual.changed(pointer, &value))
    }
    let worlds: [fn(&Seen) -> Option<Answer>; 4] = [
        |seen| changed(seen, "/state", json!("DELIVERED")),
        |seen| changed(seen, "/courier", Value::Null),
        |seen| changed(seen, "/courier/location", Value::Null),
        |seen| {
            (seen.call == "GET /deliveries/order-1")
                .then(|| Answer::refused(500, "internal", json!({})))
        },
    ];
    for answers in worlds {
        let world = start(answers).await;
        let text = read_until(
            &world,
            "/orders/order-1/events",
            Some("5"),
            "TicketPreparing",
        )
        .await;
        // All that is told at the beginning comes at once.
        assert_eq!(names(&text), ["TicketPreparing"]);
    }
}

#[tokio::test]
async fn who_comes_back_after_an_event_is_not_told_what_was_asked_for_before_it() {
    // What is to be told after a position, and from which one on.
    for (since, last) in [(Some("5"), "TicketPreparing"), (None, "state")] {
        let is_first = AtomicBool::new(true);
        let world = TestGateway::start(&PATIENT, move |seen| {
            let held =
                seen.call == "GET /orders/order-1/events" && is_first.swap(false, Ordering::SeqCst);
            held.then(Answer::never)
        })
        .await;
        let path = "/orders/order-1/events";
        let asked = |world: &TestGateway| {
            let seen = world.seen();
            let asked = seen
                .iter()
                .filter(|seen| seen.call == "GET /orders/order-1/events");
            asked.count()
        };
        let mut before = world.get(path).header("accept", "text/event-stream");
        if let Some(since) = since {
            before = before.header("last-event-id", since);
        }
        let before = tokio::spawn(before.send());
        eventually("the first is asked for", || asked(&world) == 1).await;
        // As an event does.
        let purge = format!("http://{}/purge", world.gateway().admin_address());
        let purge = reqwest::Client::new().post(purge);
        let purged = purge.json(&json!({"tags": ["order:order-1"]})).send();
        assert!(purged.await.unwrap().status().is_success());
        let told = read_until(&world, path, since, last);
        let told = tokio::time::timeout(Duration::from_secs(20), told).await;
        assert!(told.is_ok(), "{since:?}: it waits for the first");
        assert_eq!(asked(&world), 2, "{since:?}");
        before.abort();
    }
}
