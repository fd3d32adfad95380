//! Connections on which nothing is asked for a while: they do without hyper, and nobody notices.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use tokio::io::{AsyncRead, DuplexStream, ReadBuf};
use tokio::time::Instant;

use super::*;
use crate::server::activity::{Activity, Running};
use crate::server::client_io::{ClientIo, Ended, Patience};

/// Longer than it takes until a connection rests.
const A_WHILE: Duration = Duration::from_millis(800);

const REQUEST: &[u8] = b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n";

const MINUTE: Duration = Duration::from_secs(60);

/// HTTP/1 on a connection that has had a request, as hyper has it, and the client's end.
fn used(buffer: usize) -> (ClientIo<DuplexStream>, DuplexStream) {
    let (io, clients, running) = busy(buffer);
    drop(running);
    (io, clients)
}

/// The same, with a request that is being answered.
fn busy(buffer: usize) -> (ClientIo<DuplexStream>, DuplexStream, Running) {
    let (ours, clients) = tokio::io::duplex(buffer);
    let activity = Activity::new();
    let running = activity.begin();
    let patience = Patience {
        header: MINUTE,
        idle: MINUTE,
        body: 2 * MINUTE,
    };
    let early = axum::body::Bytes::new();
    (
        ClientIo::http1(ours, early, 1024, patience, activity),
        clients,
        running,
    )
}

/// Reads until hyper is told that there is nothing more; how long it took.
async fn end_of(io: &mut (impl AsyncRead + Unpin)) -> Duration {
    let began = Instant::now();
    assert_eq!(io.read(&mut [0; 64]).await.unwrap(), 0);
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_rests_long_before_it_is_closed() {
    let (mut io, _client) = used(64);
    let took = end_of(&mut io).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(io.ended(), Some(Ended::Rests));
}

/// Counts how often the task is woken.
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_is_hardly_disturbed() {
    let (mut io, _client, _running) = busy(64);
    let woken = Arc::new(Counting(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    for _ in 0..600 {
        let mut space = [0; 8];
        let mut buffer = ReadBuf::new(&mut space);
        assert!(
            Pin::new(&mut io)
                .poll_read(&mut cx, &mut buffer)
                .is_pending()
        );
        sleep(Duration::from_secs(1)).await;
    }
    let woken = woken.0.load(Ordering::Relaxed);
    assert!(woken <= 20, "{woken} times in ten minutes");
}

/// hyper looks once while it answers, and not again when the answer has ended.
#[tokio::test(start_paused = true)]
async fn it_rests_also_when_nobody_looks_at_the_end_of_its_answer() {
    let (mut io, _client, running) = busy(64);
    let reading = tokio::spawn(async move {
        let took = end_of(&mut io).await;
        (took, io.ended())
    });
    sleep(Duration::from_secs(5)).await;
    assert!(!reading.is_finished());
    drop(running);
    let (took, ended) = reading.await.unwrap();
    // Not much later than the answer took.
    assert!(took < Duration::from_secs(11), "{took:?}");
    assert_eq!(ended, Some(Ended::Rests));
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_client_has_not_taken_its_answer_does_not_rest() {
    let (mut io, mut client) = used(64);
    // More than there is room for.
    let stalled = timeout(Duration::from_millis(1), io.write_all(&[b'x'; 100]));
    assert!(stalled.await.is_err());
    let took = end_of(&mut io).await;
    assert!(took >= MINUTE - Duration::from_secs(1), "{took:?}");
    assert_eq!(io.ended(), Some(Ended::IdleTimeout));
    client.read_exact(&mut [0; 64]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn half_a_head_is_waited_for_as_ever() {
    let (mut io, mut client) = used(64);
    client.write_all(b"GET /").await.unwrap();
    assert_eq!(io.read(&mut [0; 64]).await.unwrap(), 5);
    assert!(end_of(&mut io).await >= MINUTE - Duration::from_secs(1));
    assert_eq!(io.ended(), Some(Ended::HeadTimeout));
}

#[tokio::test]
async fn requests_go_on_after_a_rest() {
    let gateway = start("");
    let mut stream = connect(&gateway).await;
    for _ in 0..2 {
        stream.write_all(REQUEST).await.unwrap();
        assert_eq!(status(&answer(&mut stream).await), 200);
        sleep(A_WHILE).await;
        // In pieces: an empty line, which a client may send, one byte, and the rest.
        for piece in [&b"\r\n"[..], &REQUEST[..1], &REQUEST[1..]] {
            stream.write_all(piece).await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(status(&answer(&mut stream).await), 200);
        sleep(A_WHILE).await;
        // A body, and more than is read at once where nothing is expected.
        let body = vec![b'x'; 5000];
        let head = format!(
            "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let text = answer(&mut stream).await;
        assert!(text.ends_with("\r\n\r\n5000"), "{text}");
        sleep(A_WHILE).await;
    }
    // Two at once.
    let last = b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream
        .write_all(&[REQUEST, &last[..]].concat())
        .await
        .unwrap();
    assert_eq!(answers(&until_closed(&mut stream).await), 2);
    // What cannot be read is refused as ever.
    let mut stream = connect(&gateway).await;
    stream.write_all(REQUEST).await.unwrap();
    assert_eq!(status(&answer(&mut stream).await), 200);
    sleep(A_WHILE).await;
    stream
        .write_all(b"GET /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let text = until_closed(&mut stream).await;
    assert_eq!(status(&text), 400);
    assert!(text.contains("requestId"), "{text}");
}

#[tokio::test]
async fn an_answer_is_whole_however_late_it_is_read() {
    let gateway = start("");
    let mut stream = connect(&gateway).await;
    stream
        .write_all(b"GET /whole HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    sleep(2 * A_WHILE).await;
    let mut text = Vec::with_capacity(WHOLE + 1024);
    timeout(PATIENCE, async {
        let whole = |text: &[u8]| {
            let head = memchr::memmem::find(text, b"\r\n\r\n");
            head.is_some_and(|head| text.len() == head + 4 + WHOLE)
        };
        while !whole(&text) {
            assert!(stream.read_buf(&mut text).await.unwrap() > 0);
        }
    })
    .await
    .expect("all of it");
    sleep(A_WHILE).await;
    stream.write_all(REQUEST).await.unwrap();
    assert_eq!(status(&answer(&mut stream).await), 200);
}

#[tokio::test]
async fn on_drain_a_connection_at_rest_is_closed_and_a_late_request_answered() {
    let gateway = start("");
    let (mut idle, mut late) = (connect(&gateway).await, connect(&gateway).await);
    for stream in [&mut idle, &mut late] {
        stream.write_all(REQUEST).await.unwrap();
        assert_eq!(status(&answer(stream).await), 200);
    }
    sleep(A_WHILE).await;
    let address = gateway.address();
    let drained = tokio::spawn(gateway.drain());
    eventually("it has stopped listening", async || {
        TcpStream::connect(address).await.is_err()
    })
    .await;
    late.write_all(REQUEST).await.unwrap();
    let text = until_closed(&mut late).await;
    assert_eq!(status(&text), 200);
    assert_eq!(header(&text, "connection"), Some("close"), "{text}");
    assert_eq!(until_closed(&mut idle).await, "");
    timeout(PATIENCE, drained).await.unwrap().unwrap();
}
