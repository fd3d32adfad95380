//! Many slow clients at once: all are closed at their timeout, and nobody else notices.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;

const SLOW: usize = 200;
const NORMAL: usize = 600;

/// The p99 of requests one after the other, each on the same two connections in turn.
async fn p99(gateway: &RunningGateway) -> Duration {
    let mut streams = [connect(gateway).await, connect(gateway).await];
    let mut took = Vec::with_capacity(NORMAL);
    for number in 0..NORMAL {
        let stream = &mut streams[number % 2];
        let started = Instant::now();
        stream
            .write_all(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let text = answer(stream).await;
        took.push(started.elapsed());
        assert_eq!(status(&text), 200, "{text}");
        sleep(Duration::from_millis(2)).await;
    }
    took.sort_unstable();
    took[NORMAL * 99 / 100]
}

/// Sends `early` at once and then a byte now and then, until the gateway closes. How long that took, and what it said.
async fn drip(gateway: &RunningGateway, early: &str, pause: Duration) -> (Duration, String) {
    let started = Instant::now();
    let mut stream = connect(gateway).await;
    stream.write_all(early.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let closed = timeout(PATIENCE * 2, async {
        loop {
            match timeout(pause, stream.read_buf(&mut text)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(_)) => {}
                Err(_elapsed) => {
                    // Refused when the gateway has closed already: then there is something to read.
                    let _ = stream.write_all(b"a").await;
                }
            }
        }
    });
    closed.await.expect("it is closed");
    (
        started.elapsed(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

async fn nobody_notices(early: &'static str, pause: Duration, within: Duration) {
    let gateway = Arc::new(start(
        "header_timeout = \"2s\"\nbody_timeout = \"1500ms\"\nmax_requests = 1000",
    ));
    let quiet = p99(&gateway).await;
    let mut slow = JoinSet::new();
    for _ in 0..SLOW {
        let gateway = Arc::clone(&gateway);
        slow.spawn(async move { drip(&gateway, early, pause).await });
    }
    eventually("all are connected", async || {
        metric(&gateway, "gateway_connections ").await >= Some(SLOW as f64)
    })
    .await;
    let beside = p99(&gateway).await;
    while let Some(ended) = slow.join_next().await {
        let (took, text) = ended.unwrap();
        assert!(took < within, "{took:?}");
        assert_eq!(status(&text), 408, "{text:?}");
    }
    eventually("nothing is left", async || {
        metric(&gateway, "gateway_connections ").await == Some(0.0)
    })
    .await;
    // Below a millisecond it is the scheduler of a busy machine that is measured.
    let floor = Duration::from_millis(2);
    assert!(
        beside <= 2 * quiet.max(floor),
        "p99 {beside:?} beside them, {quiet:?} without"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads() {
    let head = "GET /ok HTTP/1.1\r\nHost: a\r\nX: ";
    nobody_notices(head, Duration::from_millis(300), Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies() {
    let head = "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc";
    // Slower than the timeout: no progress. What drips faster is ended by the request's deadline.
    nobody_notices(head, Duration::from_secs(4), Duration::from_secs(6)).await;
}
