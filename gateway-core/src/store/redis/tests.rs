//! Servers that are silent, and the way back to them. What is kept in Redis is tested with who keeps it.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

use super::test_server::{TestRedis, ping, store_at};
use super::{CONNECT_TIMEOUT, MAX_ASKED, MAX_RETRY, RedisStore};

/// Attempts to reach a server that accepts and never answers, all at once: why each failed.
async fn many(store: &Arc<RedisStore>, count: usize) -> Vec<String> {
    let outcomes = join_all((0..count).map(|_| ping(store))).await;
    outcomes.into_iter().map(Result::unwrap_err).collect()
}

#[tokio::test(start_paused = true)]
async fn nobody_queues_up_behind_a_server_that_swallows_what_it_is_sent() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = store_at(silent.local_addr().unwrap());
    store.live_on(&Handle::current());
    let began = Instant::now();
    // All of them wait for one attempt, and none for another's.
    many(&store, 100).await;
    assert!(began.elapsed() < 2 * CONNECT_TIMEOUT);
    let began = Instant::now();
    many(&store, 100).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "there is a pause first");
    sleep(2 * MAX_RETRY).await;
    let began = Instant::now();
    let one = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { ping(&store).await })
    };
    tokio::task::yield_now().await;
    many(&store, 100).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "one at a time tries");
    assert!(one.await.unwrap().is_err());
    assert!(began.elapsed() >= CONNECT_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_at_once_is_bounded_also_when_those_who_asked_have_gone() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = store_at(silent.local_addr().unwrap());
    store.live_on(&Handle::current());
    let asked = (0..MAX_ASKED).map(|_| timeout(Duration::from_millis(1), ping(&store)));
    assert!(join_all(asked).await.iter().all(Result::is_err));
    let began = Instant::now();
    assert_eq!(many(&store, 10).await, ["too much waits for an answer"; 10]);
    assert_eq!(began.elapsed(), Duration::ZERO);
    sleep(2 * CONNECT_TIMEOUT).await;
    assert_eq!(store.room.available_permits(), MAX_ASKED);
}

#[tokio::test]
async fn a_server_that_was_silent_is_found_again() {
    let redis = TestRedis::start().await;
    let store = redis.store().await;
    store.live_on(&Handle::current());
    redis.pause();
    let began = Instant::now();
    many(&store, 100).await;
    // By one timeout of an answer, and not by one for each.
    assert!(began.elapsed() < Duration::from_secs(20));
    redis.resume();
    let found = async {
        while ping(&store).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), found).await.unwrap();
}

#[tokio::test]
async fn what_is_said_late_of_a_connection_does_not_end_the_next_one() {
    let redis = TestRedis::start().await;
    let store = redis.store().await;
    let (first, _) = store.connect().await.unwrap();
    store.lost(first, true).await;
    let (second, _) = store.connect().await.unwrap();
    assert_ne!(first, second);
    // Another that was asked over the first one has its timeout only now.
    store.lost(first, true).await;
    assert_eq!(store.connect().await.unwrap().0, second);
    store.lost(second, false).await;
    assert_ne!(store.connect().await.unwrap().0, second);
}
