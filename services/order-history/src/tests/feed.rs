//! `GET /events` over real sockets: order, resumption, filter, reset, heartbeats, couriers, slow readers, the end.

use std::time::Duration;

use ftgo_messaging::Transport;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{History, courier_location, event, order_event, ticket_event};
use crate::Settings;

/// Far more than anything here takes; a test that waits so long has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// One frame of the stream.
#[derive(Clone, Debug, Default, PartialEq)]
struct Frame {
    id: Option<i64>,
    event: String,
    data: String,
}

impl Frame {
    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

/// A client that reads frame by frame.
struct Reader {
    response: Response,
    buffer: String,
}

impl Reader {
    /// `header` is the Last-Event-ID; empty for none.
    async fn open(history: &History, query: &str, header: &str) -> Self {
        let mut request = history.client.get(history.url(&format!("/events{query}")));
        if !header.is_empty() {
            request = request.header("last-event-id", header);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Reader {
            response,
            buffer: String::new(),
        }
    }

    /// The next frame; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((text, rest)) = self.buffer.split_once("\n\n") {
                let mut frame = Frame::default();
                for line in text.lines() {
                    match line.split_once(": ").unwrap() {
                        ("id", id) => frame.id = Some(id.parse().unwrap()),
                        ("event", event) => frame.event = event.to_owned(),
                        ("data", data) => frame.data.push_str(data),
                        other => panic!("{other:?}"),
                    }
                }
                self.buffer = rest.to_owned();
                return Some(frame);
            }
            let chunk = timeout(LIMIT, self.response.chunk()).await.unwrap();
            let chunk = chunk.ok().flatten()?;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next frame that is no heartbeat.
    async fn next_event(&mut self) -> Frame {
        loop {
            let frame = self.next().await.unwrap();
            if frame.event != "heartbeat" {
                return frame;
            }
        }
    }
}

#[tokio::test]
async fn an_event_comes_after_its_effect_can_be_read() {
    let history = History::start().await;
    let mut reader = Reader::open(&history, "", "").await;
    let message = order_event("OrderCreated", "o-1", 1, "APPROVAL_PENDING");
    let (frame, ()) = tokio::join!(reader.next_event(), history.offer(&message));
    let page = history.get_json("/orders?consumerId=consumer-1").await;
    assert_eq!(page["items"][0]["state"], "APPROVAL_PENDING");
    assert_eq!((frame.id, frame.event.as_str()), (Some(1), "OrderCreated"));
    let envelope = frame.json();
    assert_eq!(envelope["specversion"], "1.0");
    assert_eq!(envelope["id"], message.id);
    assert_eq!(envelope["type"], "OrderCreated");
    assert_eq!(envelope["partitionkey"], "o-1");
    assert_eq!(envelope["data"]["state"], "APPROVAL_PENDING");

    // a duplicate is no second event
    history.offer(&message).await;
    history
        .offer(&order_event("OrderAuthorized", "o-1", 2, "APPROVED"))
        .await;
    let next = reader.next_event().await;
    assert_eq!((next.id, next.event.as_str()), (Some(2), "OrderAuthorized"));
}

#[tokio::test]
async fn a_reader_that_comes_back_again_and_again_misses_nothing() {
    const EVENTS: i64 = 400;
    let history = History::start().await;
    let transport = history.transport.clone();
    let writer = tokio::spawn(async move {
        for number in 1..=EVENTS {
            let id = format!("o-{}", number % 7);
            let message = order_event("OrderRevised", &id, number, "APPROVED");
            transport.offer(&message).await.unwrap();
        }
    });
    let mut seen = Vec::new();
    let mut first = true;
    // Every reader leaves after a different number of events, while the writer goes on.
    for visit in 1.. {
        let last = seen.last().map_or_else(String::new, i64::to_string);
        let query = if first { "?since=0" } else { "" };
        let mut reader = Reader::open(&history, query, &last).await;
        first = false;
        for _ in 0..(visit % 11 + 1) * 3 {
            if seen.len() as i64 == EVENTS {
                break;
            }
            let frame = reader.next_event().await;
            assert_eq!(frame.event, "OrderRevised");
            assert_eq!(frame.json()["aggregateversion"], frame.id.unwrap());
            seen.push(frame.id.unwrap());
        }
        if seen.len() as i64 == EVENTS {
            break;
        }
    }
    writer.await.unwrap();
    assert_eq!(seen, (1..=EVENTS).collect::<Vec<_>>());
}

#[tokio::test]
async fn readers_of_the_same_moment_see_the_same_events_once() {
    const EVENTS: i64 = 100;
    let history = History::start().await;
    let mut readers = Vec::new();
    for _ in 0..8 {
        readers.push(Reader::open(&history, "?since=0", "").await);
    }
    let write = async {
        for number in 1..=EVENTS {
            let id = format!("o-{number}");
            history
                .offer(&order_event("OrderCreated", &id, 1, "APPROVAL_PENDING"))
                .await;
        }
    };
    let read = futures_util::future::join_all(readers.into_iter().map(async |mut reader| {
        let mut ids = Vec::new();
        for _ in 0..EVENTS {
            ids.push(reader.next_event().await.id.unwrap());
        }
        ids
    }));
    let ((), all) = tokio::join!(write, read);
    for ids in all {
        assert_eq!(ids, (1..=EVENTS).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn the_filter_keeps_the_numbers_of_the_log() {
    let history = History::start().await;
    for number in 1..=3 {
        let id = format!("o-{number}");
        history
            .offer(&order_event("OrderCreated", &id, 1, "APPROVAL_PENDING"))
            .await;
        history
            .offer(&ticket_event(
                "TicketCreated",
                &id,
                2,
                "AWAITING_ACCEPTANCE",
            ))
            .await;
        history
            .offer(&event("consumer", "ConsumerCreated", &id, 1, json!({})))
            .await;
    }
    let mut reader = Reader::open(&history, "?type=TicketCreated,ConsumerCreated", "2").await;
    for expected in [
        (3, "ConsumerCreated"),
        (5, "TicketCreated"),
        (6, "ConsumerCreated"),
        (8, "TicketCreated"),
        (9, "ConsumerCreated"),
    ] {
        let frame = reader.next_event().await;
        assert_eq!((frame.id.unwrap(), frame.event.as_str()), expected);
    }
    history
        .offer(&order_event("OrderAuthorized", "o-1", 2, "APPROVED"))
        .await;
    history
        .offer(&ticket_event(
            "TicketCreated",
            "o-4",
            2,
            "AWAITING_ACCEPTANCE",
        ))
        .await;
    assert_eq!(reader.next_event().await.id, Some(11));
}

#[tokio::test]
async fn a_place_that_the_log_does_not_have_is_a_reset() {
    let settings = Settings {
        log_capacity: 5,
        ..Settings::default()
    };
    let history = History::start_with(settings).await;
    for number in 1..=10 {
        let id = format!("o-{number}");
        history
            .offer(&order_event("OrderCreated", &id, 1, "APPROVAL_PENDING"))
            .await;
    }
    let mut live = Vec::new();
    for (query, header) in [
        ("", "4"),
        ("", "11"),
        ("", "-1"),
        ("", "abc"),
        ("", "99999999999999999999"),
        ("?since=0", ""),
        ("?since=4", ""),
        ("?since=7&type=TicketCreated,OrderCreated", "12"),
    ] {
        let mut reader = Reader::open(&history, query, header).await;
        let frame = reader.next_event().await;
        assert_eq!(
            (frame.id, frame.event.as_str()),
            (Some(10), "reset"),
            "{query} {header}"
        );
        assert_eq!(frame.json()["head"], 10);
        live.push(reader);
    }
    // what is still there is resumed, also right at its edges
    for (header, expected) in [("5", 6), ("9", 10)] {
        let mut reader = Reader::open(&history, "?since=0", header).await;
        assert_eq!(reader.next_event().await.id, Some(expected));
    }
    let mut at_the_head = Reader::open(&history, "", "10").await;
    history
        .offer(&order_event("OrderCreated", "o-11", 1, "APPROVAL_PENDING"))
        .await;
    assert_eq!(at_the_head.next_event().await.id, Some(11));
    for mut reader in live {
        assert_eq!(reader.next_event().await.id, Some(11));
    }
}

#[tokio::test]
async fn silence_is_broken_by_heartbeats_without_a_number() {
    let settings = Settings {
        heartbeat: Duration::from_millis(30),
        ..Settings::default()
    };
    let history = History::start_with(settings).await;
    history
        .offer(&order_event("OrderCreated", "o-1", 1, "APPROVAL_PENDING"))
        .await;
    let mut reader = Reader::open(&history, "", "").await;
    for _ in 0..3 {
        let frame = reader.next().await.unwrap();
        assert_eq!((frame.id, frame.event.as_str()), (None, "heartbeat"));
        assert_eq!(frame.json()["position"], 1);
    }
}

#[tokio::test]
async fn courier_locations_are_live_and_leave_no_trace() {
    let history = History::start().await;
    history.offer(&courier_location("courier-1", 1.0)).await;
    let mut all = Reader::open(&history, "", "").await;
    let mut couriers = Reader::open(&history, "?type=CourierLocationChanged", "").await;
    let mut orders = Reader::open(&history, "?type=OrderCreated", "").await;
    history.offer(&courier_location("courier-1", 2.0)).await;
    for reader in [&mut all, &mut couriers] {
        let frame = reader.next_event().await;
        assert_eq!(
            (frame.id, frame.event.as_str()),
            (None, "CourierLocationChanged")
        );
        assert_eq!(frame.json()["data"]["location"]["lat"], 2.0);
    }
    history
        .offer(&order_event("OrderCreated", "o-1", 1, "APPROVAL_PENDING"))
        .await;
    for reader in [&mut all, &mut orders] {
        assert_eq!(reader.next_event().await.id, Some(1));
    }
    // the log has the order only
    let mut resumed = Reader::open(&history, "?since=0", "").await;
    assert_eq!(resumed.next_event().await.event, "OrderCreated");
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nobody_and_misses_nothing() {
    const EVENTS: i64 = 300;
    let history = History::start().await;
    let mut slow = Reader::open(&history, "", "").await;
    // Together more than any socket buffers on the way hold.
    let padding = "x".repeat(64 * 1024);
    for number in 1..=EVENTS {
        let message = event(
            "account",
            "AccountAuthorized",
            "a-1",
            number,
            json!({"padding": padding}),
        );
        timeout(LIMIT, history.offer(&message)).await.unwrap();
    }
    for expected in 1..=EVENTS {
        assert_eq!(slow.next_event().await.id, Some(expected));
    }
}

#[tokio::test]
async fn a_reader_overtaken_by_the_pruning_is_reset() {
    const EVENTS: i64 = 600;
    let settings = Settings {
        log_capacity: 10,
        ..Settings::default()
    };
    let history = History::start_with(settings).await;
    let mut slow = Reader::open(&history, "", "").await;
    let padding = "x".repeat(64 * 1024);
    for number in 1..=EVENTS {
        let message = event(
            "account",
            "AccountAuthorized",
            "a-1",
            number,
            json!({"padding": padding}),
        );
        history.offer(&message).await;
    }
    // What was on its way still comes in order; then one reset, and everything from there on.
    let mut last = 0;
    let head = loop {
        let frame = slow.next_event().await;
        let id = frame.id.unwrap();
        if frame.event == "reset" {
            break id;
        }
        assert_eq!(id, last + 1);
        last = id;
    };
    assert!(head > last);
    history
        .offer(&order_event("OrderCreated", "o-1", 1, "APPROVAL_PENDING"))
        .await;
    let mut expected = head;
    while expected <= EVENTS {
        expected += 1;
        assert_eq!(slow.next_event().await.id, Some(expected));
    }
}

#[tokio::test]
async fn streams_end_with_the_service() {
    let history = History::start().await;
    let mut reader = Reader::open(&history, "", "").await;
    let stopped = timeout(Duration::from_secs(3), history.service.stop());
    let (stopped, end) = tokio::join!(stopped, reader.next());
    assert!(stopped.is_ok());
    assert_eq!(end, None);
}
