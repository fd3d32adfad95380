//! Where requests go, on the wire: weights, copies, and services whose answers break off.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::world::World;

const PATIENCE: Duration = Duration::from_secs(10);

/// What a service was asked: method and target, whether its body was whole, and the body.
type Asked = (String, bool, Vec<u8>);

/// A service that says its name, with `status`; and what it is asked.
async fn service(name: &'static str, status: u16) -> (String, UnboundedReceiver<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (tell, asked) = unbounded_channel();
    let router = Router::new().fallback(async move |request: Request| {
        let line = format!("{} {}", request.method(), request.uri());
        let mut body = request.into_body();
        let (mut bytes, mut whole) = (Vec::new(), true);
        while let Some(frame) = body.frame().await {
            match frame.map(http_body::Frame::into_data) {
                Ok(data) => bytes.extend_from_slice(&data.unwrap_or_default()),
                Err(_) => whole = false,
            }
        }
        // The test may have seen enough.
        let _ = tell.send((line, whole, bytes));
        (StatusCode::from_u16(status).unwrap(), name).into_response()
    });
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, asked)
}

/// A gateway with the upstreams `old` and `new` and a route to them.
async fn world(old: &str, new: &str, route: &str) -> World {
    World::with(&configuration(old, new, route)).await
}

fn configuration(old: &str, new: &str, route: &str) -> String {
    format!(
        r#"
        [upstreams.old]
        address = "{old}"
        [upstreams.new]
        address = "{new}"
        [[routes]]
        name = "parts"
        path = "/parts/{{*rest}}"
        methods = ["GET", "POST"]
        rewrite = "/shelf/{{rest}}"
        access = "authenticated"
        deadline = "2s"
        max_body = "64MiB"
        {route}
        "#
    )
}

async fn next(asked: &mut UnboundedReceiver<Asked>) -> Asked {
    timeout(PATIENCE, asked.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn weights_say_where_callers_go() {
    let (old, _old) = service("old", 200).await;
    let (new, _new) = service("new", 200).await;
    for (weights, expected) in [("old = 1, new = 0", "old"), ("old = 0, new = 7", "new")] {
        let world = world(&old, &new, &format!("weights = {{ {weights} }}")).await;
        for _ in 0..10 {
            let said = world.raw(&world.head("GET /parts/a", &[])).await.content();
            assert_eq!(said, expected.as_bytes(), "{weights}");
        }
    }
    // One caller does not go back and forth.
    let world = world(&old, &new, "weights = { old = 1, new = 1 }").await;
    let first = world.raw(&world.head("GET /parts/a", &[])).await.content();
    for _ in 0..10 {
        let said = world.raw(&world.head("GET /parts/a", &[])).await.content();
        assert_eq!(said, first);
    }
}

#[tokio::test]
async fn a_copy_goes_to_the_mirror_and_its_answer_nowhere() {
    let (old, mut of_old) = service("old", 200).await;
    let (new, mut of_new) = service("new", 500).await;
    let route = "upstream = \"old\"\nmirror = { upstream = \"new\" }";
    let world = world(&old, &new, route).await;
    let body = "x".repeat(100_000);
    let reply = world.send("POST /parts/a?b=c", &[], &body).await;
    assert_eq!(reply.content(), b"old");
    let (line, whole, bytes) = next(&mut of_old).await;
    assert_eq!((line.as_str(), whole), ("POST /shelf/a?b=c", true));
    assert_eq!(bytes, body.as_bytes());
    assert_eq!(next(&mut of_new).await, (line, whole, bytes));

    let reply = world.raw(&world.head("GET /parts/a", &[])).await;
    assert_eq!(reply.content(), b"old");
    assert_eq!(next(&mut of_new).await.0, "GET /shelf/a");
    // The client is not told of the copy; the operator is.
    let timing = reply.header("server-timing").unwrap_or_default();
    assert!(!timing.contains("new"), "{timing}");
    let metrics = world.metrics().await;
    assert!(metrics.contains("upstream=\"new\""), "{metrics}");
}

#[tokio::test]
async fn a_mirror_that_hangs_holds_nobody_up() {
    let (old, mut of_old) = service("old", 200).await;
    // It takes connections, and reads nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let new = format!("http://{}", listener.local_addr().unwrap());
    let route = "upstream = \"old\"\nmirror = { upstream = \"new\" }";
    let world = world(&old, &new, route).await;
    // More than sockets and the copy's own room can hold.
    let body = "x".repeat(24 << 20);
    let reply = world.send("POST /parts/a", &[], &body).await;
    assert_eq!(reply.content(), b"old");
    let (_, whole, bytes) = next(&mut of_old).await;
    assert!(whole && bytes.len() == body.len());
    let (mut socket, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut copied = Vec::new();
    // What has not been cut off in time would never end.
    let end = timeout(PATIENCE, socket.read_to_end(&mut copied)).await;
    assert!(end.is_ok());
    assert!(copied.len() < body.len());
}

#[tokio::test]
async fn answers_that_break_off_count_against_their_service() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let old = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let mut head = [0; 4096];
            let _ = socket.read(&mut head).await;
            let half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
            let _ = socket.write_all(half).await;
        }
    });
    let route =
        "upstream = \"old\"\n[upstreams.old.breaker]\nmin_calls = 10\nfailure_rate = \"100%\"";
    let world = world(&old, &old, route).await;
    for _ in 0..10 {
        let reply = world.raw(&world.head("GET /parts/a", &[])).await;
        assert_eq!(reply.status, 200);
    }
    let reply = world.raw(&world.head("GET /parts/a", &[])).await;
    reply.problem(503);
    assert_eq!(asked.load(Ordering::Relaxed), 10);
}

/// A service that says its name, which is good for ten minutes; below `/shelf/held` when it is let.
async fn cacheable(name: &'static str) -> (String, Arc<AtomicUsize>, Arc<Semaphore>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (asked, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (count, wait) = (Arc::clone(&asked), Arc::clone(&go));
    let router = Router::new().fallback(async move |request: Request| {
        count.fetch_add(1, Ordering::SeqCst);
        if request.uri().path().starts_with("/shelf/held") {
            wait.acquire().await.unwrap().forget();
        }
        ([("cache-control", "max-age=600")], name)
    });
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, asked, go)
}

#[tokio::test]
async fn a_command_ends_what_is_stored_and_joined_of_all_upstreams_of_its_route() {
    let (old, of_old, go) = cacheable("old").await;
    let (new, of_new, _go) = cacheable("new").await;
    let route = r#"
        weights = { old = 1, new = 1 }
        cache = "shared"
        [[routes]]
        name = "probe"
        path = "/probe/{rest}"
        weights = { old = 1, new = 1 }
        access = "public"
        [server]
        trusted_proxies = ["127.0.0.1/32"]
    "#;
    let world = Arc::new(
        World::with(
            &configuration(&old, &new, route)
                .replace("access = \"authenticated\"", "access = \"public\"")
                .replace("deadline = \"2s\"", "deadline = \"60s\""),
        )
        .await,
    );
    let ask = |line: &str, host: u8| {
        let head = format!(
            "{line} HTTP/1.1\r\nHost: gateway.example\r\nConnection: close\r\n\
             X-Forwarded-For: 192.0.2.{host}\r\nContent-Length: 0\r\n\r\n"
        );
        let world = Arc::clone(&world);
        async move { world.raw(&head).await }
    };
    // Nobody in particular is told apart by address.
    let mut callers = [None, None];
    for host in 1..100 {
        let said = ask("GET /probe/a", host).await.content();
        callers[usize::from(said == b"new")].get_or_insert(host);
    }
    let [first, second] = callers.map(Option::unwrap);
    let asked = || (of_old.load(Ordering::SeqCst), of_new.load(Ordering::SeqCst));
    let ((before, _), get) = (asked(), "GET /parts/1");
    for _ in 0..2 {
        assert_eq!(ask(get, first).await.content(), b"old");
    }
    assert_eq!(asked().0, before + 1);
    assert_eq!(ask("POST /parts/1", second).await.content(), b"new");
    assert_eq!(ask(get, first).await.content(), b"old");
    assert_eq!(asked().0, before + 2, "from the store");

    // Nor is anything joined that began before the command, whatever it is.
    let one = tokio::spawn(ask("GET /parts/held", first));
    eventually(|| asked().0 == before + 3).await;
    ask("POST /parts/1", second).await;
    let other = tokio::spawn(ask("GET /parts/held", first));
    eventually(|| asked().0 == before + 4).await;
    go.add_permits(2);
    for asked in [one, other] {
        assert_eq!(asked.await.unwrap().content(), b"old");
    }
}

async fn eventually(condition: impl Fn() -> bool) {
    let came = timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(came.await.is_ok(), "it never came");
}
