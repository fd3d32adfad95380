//! A gateway with a small app, and clients that write bytes. What is claimed of it is in the files below.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod conformance;
mod endings;
mod http2;
mod limits;
mod resting;
mod slow;
mod timeouts;
mod tls;

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::error::Error;
use crate::extract::read_body;
use crate::gateway::{App, Gateway, RunningGateway};
use crate::route::Routes;
use crate::testkit::log::{access_lines, listen};
use crate::upstream::{UnknownUpstream, Upstreams};

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

#[expect(clippy::unnecessary_wraps, reason = "what an App has")]
fn routes(_upstreams: &Upstreams, _config: &Config) -> Result<Routes, UnknownUpstream> {
    Ok(Routes::new()
        .get("ok", "/ok", async || "ok")
        .get("secret", "/secret", async || "secret")
        .get("pause", "/pause", async || {
            sleep(Duration::from_millis(300)).await;
            "paused"
        })
        .get("long", "/long", async || {
            sleep(Duration::from_secs(2)).await;
            "at last"
        })
        .get("stops", "/stops", async || pieces("text/plain", true))
        .get("events", "/events", async || {
            pieces("text/event-stream", true)
        })
        .get("large", "/large", async || pieces("text/plain", false))
        .get("whole", "/whole", async || Bytes::from(vec![b'x'; WHOLE]))
        .get("pieces", "/pieces", async || large_pieces())
        .get("breaks", "/breaks", async || breaks_off())
        .get("refusal", "/refusal", async || quoted(REFUSAL))
        .get("switch", "/switch", async || quoted(SWITCH))
        .post("count", "/count", count)
        .post("small", "/small", count)
        .with_state(()))
}

async fn count(request: Request) -> Result<String, Error> {
    let (parts, body) = request.into_parts();
    Ok(read_body(&parts, body).await?.len().to_string())
}

/// More than sockets hold, in one piece.
const WHOLE: usize = 16 << 20;

/// A body that stops after two bytes, or one that goes on for 64 MiB.
fn pieces(media_type: &'static str, stops: bool) -> Response {
    let piece = |piece: &'static [u8]| Ok::<_, Infallible>(Bytes::from_static(piece));
    let body = if stops {
        Body::from_stream(stream::iter([piece(b"ab")]).chain(stream::pending()))
    } else {
        Body::from_stream(stream::iter(
            (0..1024).map(move |_| piece(&[b'x'; 64 << 10])),
        ))
    };
    Response::builder()
        .header("content-type", media_type)
        .body(body)
        .unwrap()
}

/// What a service that is faster than its client gives at once, and how often.
const PIECE: usize = 1 << 20;
const PIECES: usize = 2;

/// A body that breaks off when its first piece is out.
fn breaks_off() -> Response {
    let first = stream::iter([Ok("all that came")]);
    let gone = stream::once(async {
        tokio::task::yield_now().await;
        Err(std::io::Error::other("gone"))
    });
    Response::new(Body::from_stream(first.chain(gone)))
}

fn large_pieces() -> Response {
    let piece = || Ok::<_, Infallible>(Bytes::from(vec![b'x'; PIECE]));
    Response::new(Body::from_stream(stream::iter(
        (0..PIECES).map(move |_| piece()),
    )))
}

/// Texts that look like heads, but aren't.
const REFUSAL: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 is what it says";

/// A body that goes out in two pieces, of which `text` is the second.
fn quoted(text: &'static str) -> Response {
    let first = stream::iter([Ok::<_, Infallible>("It says: ")]);
    let second = stream::once(async move {
        tokio::task::yield_now().await;
        Ok(text)
    });
    Response::builder()
        .header("content-length", "It says: ".len() + text.len())
        .body(Body::from_stream(first.chain(second)))
        .unwrap()
}

const APP: App = App {
    name: "test",
    routes,
    tags: crate::events::no_tags,
    tables: &[],
    announce: None,
};

/// Starts a gateway on ports of its own; `server` are more keys of `[server]`.
fn start(server: &str) -> RunningGateway {
    crate::install_crypto();
    listen();
    let config = format!(
        "[server]\naddress = \"127.0.0.1:0\"\nworkers = 2\nlame_duck = \"0ms\"\n{server}\n\
         [admin]\naddress = \"127.0.0.1:0\"\n\
         [policies]\n\
         ok = {{ access = \"public\" }}\n\
         secret = {{ access = \"authenticated\" }}\n\
         pause = {{ access = \"public\" }}\n\
         long = {{ access = \"public\" }}\n\
         stops = {{ access = \"public\" }}\n\
         events = {{ access = \"public\" }}\n\
         large = {{ access = \"public\" }}\n\
         whole = {{ access = \"public\" }}\n\
         pieces = {{ access = \"public\", deadline = \"20s\" }}\n\
         breaks = {{ access = \"public\" }}\n\
         refusal = {{ access = \"public\" }}\n\
         switch = {{ access = \"public\" }}\n\
         count = {{ access = \"public\", max_body = \"4MiB\", deadline = \"20s\" }}\n\
         small = {{ access = \"public\", max_body = \"1KiB\" }}\n"
    );
    let config = crate::config::from_text(&[&config]).unwrap();
    Gateway::start(APP, config).unwrap()
}

async fn connect(gateway: &RunningGateway) -> TcpStream {
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends `bytes` on a connection of their own and reads until the gateway closes it. A gateway that does not close is
/// asked to, by the end of our side, after `quiet` without a byte.
async fn exchange(gateway: &RunningGateway, bytes: &[u8]) -> String {
    let mut stream = connect(gateway).await;
    stream.write_all(bytes).await.unwrap();
    until_closed(&mut stream).await
}

async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("the gateway closes the connection")
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads one answer with a Content-Length.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    timeout(PATIENCE, async {
        loop {
            assert!(
                stream.read_buf(&mut text).await.unwrap() > 0,
                "closed early"
            );
            let so_far = String::from_utf8_lossy(&text);
            if let Some((head, body)) = so_far.split_once("\r\n\r\n") {
                let length = header(head, "content-length").map_or(0, |text| text.parse().unwrap());
                if body.len() >= length {
                    return;
                }
            }
        }
    })
    .await
    .expect("an answer");
    String::from_utf8(text).unwrap()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

fn status(answer: &str) -> u16 {
    answer.get(9..12).map_or(0, |text| text.parse().unwrap())
}

/// How many answers there are.
fn answers(text: &str) -> usize {
    text.matches("HTTP/1.1 ").count()
}

/// Asks until a condition is true.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    timeout(PATIENCE, async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("never: {what}"));
}

/// A line of `/metrics`, without its name and labels.
async fn metric(gateway: &RunningGateway, line: &str) -> Option<f64> {
    let mut stream = TcpStream::connect(gateway.admin_address()).await.unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let text = until_closed(&mut stream).await;
    text.lines()
        .find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
}
