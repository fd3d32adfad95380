//! Many slow clients at once: all are closed at their timeout. That nobody else notices is measured in `tests/quiet`.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;

const SLOW: usize = 200;

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

async fn all_are_closed(early: &'static str, pause: Duration, within: Duration) {
    let gateway = Arc::new(start(
        "header_timeout = \"2s\"\nbody_timeout = \"1500ms\"\nmax_requests = 1000",
    ));
    let mut slow = JoinSet::new();
    for _ in 0..SLOW {
        let gateway = Arc::clone(&gateway);
        slow.spawn(async move { drip(&gateway, early, pause).await });
    }
    eventually("all are connected", async || {
        metric(&gateway, "gateway_connections ").await >= Some(SLOW as f64)
    })
    .await;
    while let Some(ended) = slow.join_next().await {
        let (took, text) = ended.unwrap();
        assert!(took < within, "{took:?}");
        assert_eq!(status(&text), 408, "{text:?}");
    }
    eventually("nothing is left", async || {
        metric(&gateway, "gateway_connections ").await == Some(0.0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads() {
    let head = "GET /ok HTTP/1.1\r\nHost: a\r\nX: ";
    all_are_closed(head, Duration::from_millis(300), Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies() {
    let head = "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc";
    // Slower than the timeout: no progress. What drips faster is ended by the request's deadline.
    all_are_closed(head, Duration::from_secs(4), Duration::from_secs(6)).await;
}
