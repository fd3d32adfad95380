//! The proxy on the wire: WebSockets, event streams, trailers, `Expect`, what is said of the way, and clients that go away.
//! Services are bytes here where it matters in which order they say what.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::world::{World, reply};

const PATIENCE: Duration = Duration::from_secs(10);

/// Reads until `end` has come; what was read.
async fn until(socket: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while memchr::memmem::find(&bytes, end.as_bytes()).is_none() {
            if socket.read_buf(&mut bytes).await.unwrap() == 0 {
                break;
            }
        }
    };
    let in_time = timeout(PATIENCE, read).await.is_ok();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(in_time, "{end:?} did not come: {text}");
    text
}

/// A gateway before a service that a test plays itself.
async fn played(more: &str) -> (World, TcpListener) {
    played_on(&format!("upgrade = \"websocket\"\n{more}")).await
}

/// The same with nothing in its route but what is needed.
async fn played_on(more: &str) -> (World, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let world = World::with(&format!(
        r#"
        [upstreams.parts]
        address = "http://{address}"
        [[routes]]
        name = "parts"
        path = "/parts/{{*rest}}"
        methods = ["GET", "POST"]
        upstream = "parts"
        access = "authenticated"
        deadline = "2s"
        {more}
        "#
    ))
    .await;
    (world, listener)
}

const HANDSHAKE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];
const AGREED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nServer: acme\r\n\r\n";

/// `World::head` says `Connection: close`, which a handshake does not.
fn handshake(world: &World, fields: &[&str]) -> String {
    world
        .head("GET /parts/live", fields)
        .replacen("Connection: close\r\n", "", 1)
}

#[tokio::test]
async fn a_websocket_goes_through_and_is_closed_when_it_is_silent() {
    let (world, listener) = played("[streams]\nidle = \"300ms\"").await;
    let service = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let head = until(&mut socket, "\r\n\r\n").await.to_ascii_lowercase();
        for field in [
            "connection: upgrade",
            "upgrade: websocket",
            "sec-websocket-version: 13",
        ] {
            assert!(head.contains(field), "{head}");
        }
        assert!(!head.contains("x-api-key"), "{head}");
        socket.write_all(AGREED).await.unwrap();
        let mut frame = [0; 11];
        socket.read_exact(&mut frame).await.unwrap();
        assert_eq!(&frame[6..], b"hello");
        socket.write_all(b"\x81\x05world").await.unwrap();
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
        rest
    });
    let mut client = world.connect().await;
    let head = handshake(&world, &HANDSHAKE);
    client.write_all(head.as_bytes()).await.unwrap();
    let answer = until(&mut client, "\r\n\r\n").await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    for field in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-accept",
        "x-request-id",
    ] {
        assert!(answer.contains(field), "{answer}");
    }
    assert!(!answer.contains("acme"), "{answer}");
    client
        .write_all(b"\x81\x85\x00\x00\x00\x00hello")
        .await
        .unwrap();
    let mut frames = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut frames))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(frames, b"\x81\x05world\x88\x06\x11\x33idle");
    drop(client);
    let told = timeout(PATIENCE, service).await.unwrap().unwrap();
    assert_eq!(told[..2], [0x88, 0x82]);
}

#[tokio::test]
async fn handshakes_that_are_none_do_not_get_through() {
    let (world, listener) = played("").await;
    let old = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 8",
    ];
    let refused = world.raw(&world.head("GET /parts/live", &old)).await;
    refused.problem(426);
    assert_eq!(refused.header("sec-websocket-version"), Some("13"));
    let keyless = [HANDSHAKE[0], HANDSHAKE[1], HANDSHAKE[3]];
    world
        .raw(&world.head("GET /parts/live", &keyless))
        .await
        .problem(400);
    let anonymous = format!(
        "GET /parts/live HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n",
        HANDSHAKE.join("\r\n")
    );
    let mut client = world.connect().await;
    client.write_all(anonymous.as_bytes()).await.unwrap();
    assert!(
        until(&mut client, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 401 ")
    );
    // A service that does not want it answers like to any other request.
    let service = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        until(&mut socket, "\r\n\r\n").await;
        let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
        socket.write_all(answer).await.unwrap();
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
    });
    let mut client = world.connect().await;
    client
        .write_all(handshake(&world, &HANDSHAKE).as_bytes())
        .await
        .unwrap();
    assert!(
        until(&mut client, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 403 ")
    );
    drop((client, world));
    service.abort();

    // A route that has not said so forwards the request without the wish.
    let world = World::start().await;
    let mut client = world.connect().await;
    client
        .write_all(handshake(&world, &HANDSHAKE).as_bytes())
        .await
        .unwrap();
    assert!(
        until(&mut client, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    assert!(!world.last_seen().contains_key("upgrade"));
}

#[tokio::test]
async fn a_body_is_asked_for_when_the_service_asks_for_it() {
    let (world, listener) = played("").await;
    let (ask, asked) = oneshot::channel();
    let service = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let head = until(&mut socket, "\r\n\r\n").await.to_ascii_lowercase();
        assert!(head.contains("expect: 100-continue"), "{head}");
        assert!(head.ends_with("\r\n\r\n"), "{head}");
        asked.await.unwrap();
        socket
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .unwrap();
        let mut body = [0; 4];
        socket.read_exact(&mut body).await.unwrap();
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
            .await
            .unwrap();
        socket.write_all(&body).await.unwrap();
        let _ = socket.read(&mut body).await;
    });
    let mut client = world.connect().await;
    let fields = ["Content-Length: 4", "Expect: 100-continue"];
    let head = world.head("POST /parts/a", &fields);
    client.write_all(head.as_bytes()).await.unwrap();
    let early = timeout(Duration::from_millis(200), client.readable()).await;
    assert!(
        early.is_err(),
        "the client was told to go on before the service said so"
    );
    ask.send(()).unwrap();
    assert_eq!(
        until(&mut client, "\r\n\r\n").await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    client.write_all(b"body").await.unwrap();
    let answer = reply(client).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "body"));
    drop(world);
    service.await.unwrap();
}

#[tokio::test]
async fn a_service_that_cannot_ask_for_the_body_gets_it_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(async |body: String| body);
    tokio::spawn(async { axum::serve(listener, router).await });
    // Less than what another service would have to say that it wants the body.
    let world = World::with(&format!(
        r#"
        [upstreams.parts]
        address = "http://{address}"
        protocol = "http2"
        [[routes]]
        name = "parts"
        path = "/parts/{{*rest}}"
        methods = ["POST"]
        upstream = "parts"
        access = "authenticated"
        deadline = "900ms"
        "#
    ))
    .await;
    let mut client = world.connect().await;
    let fields = ["Content-Length: 4", "Expect: 100-continue"];
    let head = world.head("POST /parts/a", &fields);
    client.write_all(head.as_bytes()).await.unwrap();
    let asked = until(&mut client, "\r\n\r\n").await;
    assert_eq!(asked, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"body").await.unwrap();
    let answer = reply(client).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "body"));
}

#[tokio::test]
async fn a_body_that_is_not_wanted_is_not_asked_for() {
    let (world, listener) = played("").await;
    let service = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        until(&mut socket, "\r\n\r\n").await;
        let answer = b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n";
        socket.write_all(answer).await.unwrap();
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
        rest
    });
    let fields = ["Content-Length: 4", "Expect: 100-continue"];
    let refused = world.raw(&world.head("POST /parts/a", &fields)).await;
    // The first line that comes is the answer's.
    refused.problem(409);
    assert_eq!(refused.header("connection"), Some("close"));
    let rest = timeout(PATIENCE, service).await.unwrap().unwrap();
    assert!(rest.is_empty(), "{rest:?}");

    let anonymous =
        "POST /parts/a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    world.raw(anonymous).await.problem(401);
    let unknown = world.head("POST /parts/a", &["Content-Length: 4", "Expect: 200-ok"]);
    world.raw(&unknown).await.problem(417);
}

#[tokio::test]
async fn trailers_cross_both_ways() {
    let (world, listener) = played("").await;
    let service = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let request = until(&mut socket, "x-sum: 3\r\n\r\n")
            .await
            .to_ascii_lowercase();
        assert!(request.contains("te: trailers"), "{request}");
        assert!(request.contains("trailer: x-sum"), "{request}");
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Total\r\n\r\n\
            2\r\nok\r\n0\r\nX-Total: 7\r\nX-Other: 1\r\n\r\n";
        socket.write_all(answer.as_bytes()).await.unwrap();
        let _ = socket.read(&mut [0; 1]).await;
    });
    let fields = [
        "Transfer-Encoding: chunked",
        "Trailer: X-Sum",
        "TE: trailers",
    ];
    let head = world.head("POST /parts/a", &fields);
    let answer = world
        .raw(&format!("{head}3\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n"))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("trailer"), Some("X-Total"));
    assert!(answer.body.contains("x-total: 7"), "{answer:?}");
    // HTTP/1.1 knows only what was announced.
    assert!(!answer.body.contains("x-other"), "{answer:?}");
    drop(world);
    service.await.unwrap();
}

#[tokio::test]
async fn trailers_say_no_more_than_heads_may() {
    let (world, listener) = played_on("").await;
    let service = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let request = until(&mut socket, "x-sum: 3\r\n\r\n").await;
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
            Trailer: X-Total, X-Powered-By, Server-Timing\r\n\r\n\
            2\r\nok\r\n0\r\nX-Total: 7\r\nX-Powered-By: acme\r\nServer-Timing: db;dur=5\r\n\r\n";
        socket.write_all(answer.as_bytes()).await.unwrap();
        let _ = socket.read(&mut [0; 1]).await;
        request.to_ascii_lowercase()
    });
    let fields = [
        "Transfer-Encoding: chunked",
        "Trailer: X-Sum, X-Internal-Token, X-Forwarded-User, X-Api-Key",
        "TE: trailers",
    ];
    let head = world.head("POST /parts/a", &fields);
    let forged = "X-Internal-Token: me\r\nX-Forwarded-User: me\r\nX-Api-Key: mine";
    let body = format!("3\r\nabc\r\n0\r\n{forged}\r\nX-Sum: 3\r\n\r\n");
    let answer = world.raw(&(head + &body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let (_, behind) = answer.body.split_once("\r\n0\r\n").unwrap();
    assert_eq!(behind, "x-total: 7\r\n\r\n");
    drop(world);
    let request = service.await.unwrap();
    let (_, behind) = request.split_once("\r\n0\r\n").unwrap();
    assert_eq!(behind, "x-sum: 3\r\n\r\n");
}

/// A service that answers everything with `answer`, on connections that stay; how many were opened.
async fn always(listener: TcpListener, answer: &'static str, opened: Arc<AtomicUsize>) {
    loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        opened.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            while !until(&mut socket, "\r\n\r\n").await.is_empty() {
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
    }
}

#[tokio::test]
async fn a_refusal_does_not_cost_the_services_connection() {
    for status in ["404 Not Found", "500 Internal Server Error"] {
        let (world, listener) =
            played_on("[server]\nworkers = 1\n[upstreams.parts.breaker]\nmin_calls = 1000").await;
        let opened = Arc::new(AtomicUsize::new(0));
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nnot there"
        );
        tokio::spawn(always(listener, answer.leak(), Arc::clone(&opened)));
        for _ in 0..20 {
            let reply = world.raw(&world.head("GET /parts/a", &[])).await;
            assert!(reply.status == 404 || reply.status == 502, "{reply:?}");
        }
        // What is left of an answer is read beside.
        assert!(opened.load(Ordering::SeqCst) < 5, "{opened:?}");
    }
}

#[tokio::test]
async fn refusals_keep_the_fields_that_make_them_useful() {
    for (status, field, value) in [
        ("416 Range Not Satisfiable", "Content-Range", "bytes */9"),
        ("415 Unsupported Media Type", "Accept", "application/json"),
        ("415 Unsupported Media Type", "Accept-Encoding", "gzip"),
        ("412 Precondition Failed", "ETag", "\"7\""),
        ("405 Method Not Allowed", "Allow", "PUT"),
    ] {
        let (world, listener) = played_on("").await;
        let answer = format!("HTTP/1.1 {status}\r\n{field}: {value}\r\nContent-Length: 0\r\n\r\n");
        tokio::spawn(always(listener, answer.leak(), Arc::default()));
        let reply = world.raw(&world.head("GET /parts/a", &[])).await;
        assert_eq!(reply.header(field), Some(value), "{reply:?}");
    }
}

#[tokio::test]
async fn what_is_said_of_the_way_is_true() {
    let (world, listener) = played("[server]\ntrusted_proxies = [\"127.0.0.1\"]").await;
    let service = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let head = until(&mut socket, "\r\n\r\n").await.to_ascii_lowercase();
        let answer = "HTTP/1.0 200 OK\r\nVia: 1.1 cache\r\nConnection: x-hop, close\r\nX-Hop: 1\r\n\
            Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\r\nok";
        socket.write_all(answer.as_bytes()).await.unwrap();
        head
    });
    let fields = [
        "Connection: x-mine",
        "X-Mine: 1",
        "Keep-Alive: 5",
        "Proxy-Authorization: Basic x",
        "Via: 1.0 office",
        "X-Forwarded-For: 203.0.113.7",
        "X-Forwarded-Proto: https",
    ];
    let answer = world.raw(&world.head("GET /parts/a", &fields)).await;
    assert_eq!(answer.all("via"), ["1.1 cache", "1.0 gateway"]);
    for name in ["x-hop", "keep-alive", "proxy-authenticate"] {
        assert!(answer.all(name).is_empty(), "{answer:?}");
    }
    let seen = service.await.unwrap();
    for field in [
        "via: 1.0 office\r\n",
        "via: 1.1 gateway\r\n",
        "x-forwarded-for: 203.0.113.7\r\n",
        "x-forwarded-proto: https\r\n",
        "forwarded: for=203.0.113.7;proto=https;host=\"gateway.example\"\r\n",
    ] {
        assert!(seen.contains(field), "{field}: {seen}");
    }
    for field in ["x-mine", "keep-alive", "proxy-authorization", "connection"] {
        assert!(!seen.contains(&format!("\n{field}:")), "{field}: {seen}");
    }
}

#[tokio::test]
async fn an_event_stream_outlives_its_deadline_and_not_its_silence() {
    let (world, listener) = played("[streams]\nidle = \"3s\"").await;
    let service = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        until(&mut socket, "\r\n\r\n").await;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        for number in 0..3 {
            let event = format!("data: {number}\n\n");
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            socket.write_all(chunk.as_bytes()).await.unwrap();
            if number < 2 {
                tokio::time::sleep(Duration::from_millis(1300)).await;
            }
        }
        // It notices that nobody reads it any more.
        timeout(PATIENCE, socket.read(&mut [0; 1]))
            .await
            .unwrap()
            .unwrap_or(0)
    });
    let fields = ["Accept: text/event-stream", "Accept-Encoding: gzip"];
    let answer = world.raw(&world.head("GET /parts/a", &fields)).await;
    assert_eq!(answer.header("content-encoding"), None);
    let text = String::from_utf8(answer.content()).unwrap();
    let last = "event: end\ndata: {\"reason\":\"idle\"}\n\n";
    assert_eq!(text, format!("data: 0\n\ndata: 1\n\ndata: 2\n\n{last}"));
    assert_eq!(service.await.unwrap(), 0);
    // Its whole life, more than five seconds, is in the log; what its client waited for was the head.
    let metrics = world.metrics().await;
    let sum = metrics.lines().find_map(|line| {
        line.strip_prefix("gateway_request_duration_seconds_sum{route=\"parts\"} ")
    });
    let sum: f64 = sum.unwrap().parse().unwrap();
    assert!(sum > 0.0 && sum < 2.5, "{sum}");
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_what_only_reads() {
    let (world, listener) = played("").await;
    for (line, cancelled) in [("GET /parts/a", true), ("POST /parts/a", false)] {
        let head = world.head(line, &["Content-Length: 0"]);
        let mut client = world.connect().await;
        client.write_all(head.as_bytes()).await.unwrap();
        let (mut socket, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        until(&mut socket, "\r\n\r\n").await;
        drop(client);
        // The service sees the end of a call that is not wanted any more, and nothing while one goes on.
        let seen = timeout(Duration::from_secs(1), socket.read(&mut [0; 1])).await;
        assert_eq!(seen.is_ok(), cancelled, "{line}");
        if !cancelled {
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            socket.write_all(answer).await.unwrap();
        }
    }
}

/// A service whose thing has a version: read with `GET`, raised with `POST`, which answers when it is let.
async fn versioned(listener: TcpListener, begun: Arc<Notify>, let_go: Arc<Notify>) {
    let version = Arc::new(AtomicU32::new(1));
    let read = Arc::clone(&version);
    let thing = get(async move || {
        let fresh = [("cache-control", "max-age=600")];
        (fresh, read.load(Ordering::SeqCst).to_string())
    })
    .post(async move || {
        begun.notify_one();
        let_go.notified().await;
        version.fetch_add(1, Ordering::SeqCst);
    });
    let router = axum::Router::new().route("/parts/a", thing);
    axum::serve(listener, router).await.unwrap();
}

#[tokio::test]
async fn a_command_without_its_client_still_ends_what_is_stored() {
    let (world, listener) = played_on("cache = \"private\"").await;
    let (begun, let_go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    tokio::spawn(versioned(listener, Arc::clone(&begun), Arc::clone(&let_go)));
    let read = async || world.raw(&world.head("GET /parts/a", &[])).await.content();
    assert_eq!(read().await, b"1");
    let mut client = world.connect().await;
    let command = world.head("POST /parts/a", &["Content-Length: 0"]);
    client.write_all(command.as_bytes()).await.unwrap();
    timeout(PATIENCE, begun.notified()).await.unwrap();
    drop(client);
    // Its departure was noticed: a request of class 4xx (499).
    let departed = "gateway_requests_total{route=\"parts\",class=\"4xx\"} 1\n";
    let cancelled = async {
        while !world.metrics().await.contains(departed) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, cancelled).await.unwrap();
    assert_eq!(read().await, b"1");
    let_go.notify_one();
    let fresh = async {
        while read().await != b"2" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, fresh).await.unwrap();
}

#[tokio::test]
async fn options_can_be_for_the_gateway_itself() {
    let world = World::with(
        r#"
        [[routes]]
        name = "parts"
        path = "/parts/{*rest}"
        methods = ["GET", "OPTIONS"]
        upstream = "parts"
        access = "authenticated"
        "#,
    )
    .await;
    let last = world
        .raw(&world.head("OPTIONS /parts/a", &["Max-Forwards: 0"]))
        .await;
    assert_eq!((last.status, world.calls()), (204, 0));
    let mut allow: Vec<&str> = last.header("allow").unwrap().split(", ").collect();
    allow.sort_unstable();
    assert_eq!(allow, ["GET", "HEAD", "OPTIONS"]);
    let further = world
        .raw(&world.head("OPTIONS /parts/a", &["Max-Forwards: 3"]))
        .await;
    assert_eq!(further.status, 200);
    assert_eq!(world.last_seen()["max-forwards"], "2");
}
