//! Clients and services that are slow, or silent. Timeouts are short here; what counts is what they are counted from.

use tokio::time::Instant;

use super::*;

const SHORT: &str =
    "header_timeout = \"400ms\"\nidle_timeout = \"1200ms\"\nbody_timeout = \"600ms\"";

/// How long it took since `started`, which is before anything was sent, until the gateway closed; and what it had said.
async fn closed(started: Instant, mut stream: TcpStream) -> (Duration, String) {
    let text = until_closed(&mut stream).await;
    (started.elapsed(), text)
}

fn about(took: Duration, expected: u64) {
    let expected = Duration::from_millis(expected);
    assert!(
        took >= expected && took < expected + Duration::from_millis(800),
        "{took:?} instead of {expected:?}"
    );
}

#[tokio::test]
async fn nothing_or_half_a_preface() {
    let gateway = start(SHORT);
    for early in [&b""[..], b"PRI * HT", b"GE", b"\r\n"] {
        let started = Instant::now();
        let mut stream = connect(&gateway).await;
        stream.write_all(early).await.unwrap();
        let (took, _) = closed(started, stream).await;
        about(took, 400);
    }
}

#[tokio::test]
async fn slow_heads_are_counted_from_their_first_byte() {
    let gateway = start(SHORT);
    let mut stream = connect(&gateway).await;
    stream
        .write_all(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(status(&answer(&mut stream).await), 200);
    // Longer than a head may take, shorter than a connection may be idle.
    sleep(Duration::from_millis(700)).await;
    let started = Instant::now();
    let (mut read, mut write) = stream.into_split();
    let drip = tokio::spawn(async move {
        for byte in b"GET /ok HTTP/1.1\r\nHost: abcdefghijklmnopqrstuvwxyz\r\n\r\n" {
            if write.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    });
    let mut text = Vec::new();
    let read = timeout(PATIENCE, async {
        while !String::from_utf8_lossy(&text).contains("requestId") {
            assert!(read.read_buf(&mut text).await.unwrap() > 0);
        }
    });
    read.await.expect("408");
    about(started.elapsed(), 400);
    let text = String::from_utf8(text).unwrap();
    assert_eq!(status(&text), 408, "{text}");
    assert_eq!(header(&text, "connection"), Some("close"));
    drip.await.unwrap();
}

#[tokio::test]
async fn idle_connections_are_closed_without_a_word() {
    let gateway = start(SHORT);
    for path in ["/ok", "/pause"] {
        let mut stream = connect(&gateway).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let asked = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(status(&answer(&mut stream).await), 200);
        let answered = Instant::now();
        let (took, text) = closed(asked, stream).await;
        // Idle since a moment in between.
        let idle = Duration::from_millis(1200);
        assert!(took >= idle, "{took:?}");
        about(answered.elapsed().max(idle), 1200);
        assert_eq!(text, "");
    }
}

#[tokio::test]
async fn a_body_without_progress() {
    let gateway = start(SHORT);
    let mut stream = connect(&gateway).await;
    let started = Instant::now();
    stream
        .write_all(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        .await
        .unwrap();
    let (took, text) = closed(started, stream).await;
    about(took, 600);
    assert_eq!(status(&text), 408, "{text}");

    // Slow, but with progress.
    let mut stream = connect(&gateway).await;
    stream
        .write_all(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
        .await
        .unwrap();
    for _ in 0..5 {
        sleep(Duration::from_millis(300)).await;
        stream.write_all(b"ab").await.unwrap();
    }
    assert_eq!(status(&answer(&mut stream).await), 200);
}

/// The one place is free again.
async fn free(gateway: &RunningGateway) {
    eventually("the place is given back", async || {
        let text = exchange(
            gateway,
            b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
        .await;
        status(&text) == 200
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_stops_gives_its_place_back() {
    let gateway = start(&format!("max_requests = 1\nmax_wait = \"0ms\"\n{SHORT}"));
    let mut stream = connect(&gateway).await;
    let started = Instant::now();
    stream
        .write_all(b"GET /stops HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let (took, text) = closed(started, stream).await;
    about(took, 600);
    assert!(
        text.contains("ab") && !text.ends_with("0\r\n\r\n"),
        "{text}"
    );
    free(&gateway).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_gives_its_place_back() {
    let gateway = start(&format!("max_requests = 1\nmax_wait = \"0ms\"\n{SHORT}"));
    let mut stream = connect(&gateway).await;
    stream
        .write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    eventually("it is running", async || {
        metric(&gateway, "gateway_requests_in_flight ").await == Some(1.0)
    })
    .await;
    free(&gateway).await;
    drop(stream);
}

#[tokio::test]
async fn event_streams_may_be_silent() {
    let gateway = start(SHORT);
    let mut stream = connect(&gateway).await;
    stream
        .write_all(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut text = Vec::new();
    let ended = timeout(Duration::from_millis(2500), stream.read_to_end(&mut text)).await;
    assert!(ended.is_err(), "{}", String::from_utf8_lossy(&text));
}
