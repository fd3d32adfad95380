//! The shared store's side that needs no store; the script and outages are tested against a real Redis in `tests/it`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Entry, Left, Store, Verdict};
use crate::config;
use crate::deadline::Deadline;
use crate::metrics::Metrics;

fn store(url: &str) -> Arc<Store> {
    let config = config::from_text(&[&format!(
        "[redis]\nurl = \"{url}\"\nreplicas = 3\ntimeout = \"30ms\""
    )])
    .unwrap();
    let metrics = Metrics::new().unwrap().limiter_store();
    Store::new(&config.redis.unwrap(), "app", metrics)
}

async fn ask(store: &Store, deadline: Duration) -> Option<Verdict> {
    let entry = Entry {
        key: "key".to_owned(),
        interval: "1000",
        burst: 10,
    };
    store.ask(&[entry], 1, Deadline::after(deadline)).await
}

#[test]
fn what_the_script_answers_becomes_a_verdict() {
    let left = |remaining, micros| Left {
        remaining,
        full_after: Duration::from_micros(micros),
    };
    for (answer, expected) in [
        (
            vec![0, 9, 1000, 4, 2500],
            Some(Verdict::Allowed(vec![left(9, 1000), left(4, 2500)])),
        ),
        (vec![0], Some(Verdict::Allowed(Vec::new()))),
        (
            vec![2, 700, 0, 10_000],
            Some(Verdict::Denied {
                policy: 1,
                wait: Duration::from_micros(700),
                left: left(0, 10_000),
            }),
        ),
        (vec![], None),
        (vec![0, 9], None),
        (vec![1, 700], None),
        (vec![-1, 700, 0, 10_000], None),
        (vec![0, -9, 1000], None),
    ] {
        assert_eq!(Verdict::read(&answer), expected, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_store_that_was_never_found() {
    let store = store("redis://user:hunter2@127.0.0.1:1/0");
    let began = Instant::now();
    assert_eq!(ask(&store, Duration::from_secs(3)).await, None);
    assert_eq!(began.elapsed(), Duration::ZERO);
    let readiness = store.readiness();
    assert!(!readiness.up);
    assert_eq!(
        readiness.detail,
        "127.0.0.1:1: not connected yet; this replica keeps to its share, 1/3 of each limit"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_costs_one_request_its_timeout_and_the_next_ones_nothing() {
    let store = store("redis://127.0.0.1:1");
    store.script.set("script".to_owned()).unwrap();
    store.found(false);
    let began = Instant::now();
    // A request with less time than the store is given says nothing about the store.
    assert_eq!(ask(&store, Duration::from_millis(10)).await, None);
    assert_eq!(began.elapsed(), Duration::from_millis(10));
    assert!(store.readiness().up);

    assert_eq!(ask(&store, Duration::from_secs(3)).await, None);
    assert_eq!(began.elapsed(), Duration::from_millis(40));
    assert!(!store.readiness().up);
    assert_eq!(ask(&store, Duration::from_secs(3)).await, None);
    assert_eq!(began.elapsed(), Duration::from_millis(40));
}

#[tokio::test]
async fn a_store_that_accepts_and_says_nothing_is_not_taken_for_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = store(&format!(
        "redis://:hunter2@{}",
        listener.local_addr().unwrap()
    ));
    let stop = CancellationToken::new();
    store.spawn_link(&tokio::runtime::Handle::current(), stop.clone());
    let (_socket, _) = listener.accept().await.unwrap();
    let (_second, _) = listener.accept().await.unwrap();
    let readiness = store.readiness();
    assert!(!readiness.up);
    assert!(
        readiness.detail.contains("cannot be reached in time")
            && !readiness.detail.contains("hunter2"),
        "{}",
        readiness.detail
    );
    stop.cancel();
}
