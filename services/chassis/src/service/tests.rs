//! A service from start to stop, on real sockets.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::convert::Infallible;
use std::io::ErrorKind;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::response::Sse;
use axum::response::sse::Event;
use axum::routing::{get, post};
use futures_util::stream::{self, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Environment, Service, StartError};
use crate::openapi::{Document, Operation};
use crate::problem::ServiceError;
use crate::testing::{Client, NO_MIGRATIONS, environment, start};

/// What `stop` promises.
const STOP_LIMIT: Duration = Duration::from_secs(3);

#[tokio::test]
async fn the_operational_routes_answer() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::bind("greeter", environment(directory.path()), &NO_MIGRATIONS)
        .await
        .unwrap();
    let service = service
        .openapi(
            Document::new("greeter").operation(Operation::get("/greeting/{name}", "Says hello")),
        )
        .routes(Router::new().route(
            "/greeting/{name}",
            get(async |Path(name): Path<String>| name),
        ))
        .start();
    let client = Client::new(&service);
    assert_eq!(client.get("/health/live").await.value()["status"], "UP");
    assert_eq!(client.get("/health/ready").await.value()["status"], "UP");
    assert_eq!(client.get("/greeting/ada").await.body, "ada");
    let document = client.get("/openapi.json").await.value();
    assert!(document["paths"]["/greeting/{name}"]["get"].is_object());

    let other = Service::bind("other", environment(directory.path()), &NO_MIGRATIONS)
        .await
        .unwrap()
        .start();
    let metrics = client.get("/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain"));
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    let sample = text
        .lines()
        .find(|line| {
            line.starts_with("ftgo_http_requests_total") && line.contains("/greeting/{name}")
        })
        .unwrap();
    assert!(
        sample.contains("service=\"greeter\"") && sample.contains("status=\"200\""),
        "{sample}"
    );
    let text = Client::new(&other).get("/metrics").await.body;
    assert!(
        !String::from_utf8(text.to_vec())
            .unwrap()
            .contains("greeter")
    );
    service.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_broken_database_makes_the_service_not_ready() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::bind("test", environment(directory.path()), &NO_MIGRATIONS)
        .await
        .unwrap();
    let database = service.database().clone();
    let service = service.start();
    database.close().await;
    let client = Client::new(&service);
    client.get("/health/ready").await.problem(503);
    assert_eq!(client.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn what_the_router_refuses_is_a_problem() {
    let routes = Router::new().route(
        "/things/{id}",
        get(async |Path(id): Path<u32>| id.to_string()).put(async || ()),
    );
    let (service, _directory) = start(routes, false).await;
    let client = Client::new(&service);
    client.get("/nowhere").await.problem(404);
    client.get("/faults").await.problem(404);
    let reply = client.json("DELETE", "/things/1", "").await;
    reply.problem(405);
    assert_eq!(reply.header("allow"), "GET,HEAD,PUT");
    client.get("/things/x").await.problem(400);
    client.get("/things/%FF").await.problem(400);
    assert_eq!(client.get("/things/7").await.body, "7");
}

#[tokio::test]
async fn failures_inside_stay_inside() {
    let routes = Router::new()
        .route("/panic", get(async || -> () { panic!("secret") }))
        .route(
            "/broken",
            get(async || Err::<(), _>(ServiceError::internal("secret"))),
        )
        .route(
            "/busy",
            get(async || Err::<(), _>(ServiceError::from(sqlx::Error::PoolTimedOut))),
        );
    let (service, _directory) = start(routes, false).await;
    let client = Client::new(&service);
    for path in ["/panic", "/broken"] {
        let problem = client.get(path).await.problem(500);
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
    let reply = client.get("/busy").await;
    reply.problem(503);
    assert_eq!(reply.header("retry-after"), "1");
}

#[tokio::test]
async fn a_request_keeps_its_id_or_gets_one() {
    let (service, _directory) = start(Router::new(), false).await;
    let client = Client::new(&service);
    let reply = client
        .try_send("GET", "/health/live", &[("x-request-id", "abc")], "")
        .await
        .unwrap();
    assert_eq!(reply.header("x-request-id"), "abc");
    assert_eq!(
        client
            .get("/health/live")
            .await
            .header("x-request-id")
            .len(),
        36
    );
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served() {
    let routes = Router::new().route("/echo", post(async |body: String| body));
    let (service, _directory) = start(routes, false).await;
    let client = Client::http2(&service);
    let reply = client
        .try_send("POST", "/echo", &[], "hello")
        .await
        .unwrap();
    assert_eq!(reply.body, "hello");
    service.stop().await;
}

#[tokio::test]
async fn an_address_in_use_is_said() {
    let (first, directory) = start(Router::new(), false).await;
    let taken = Environment {
        address: first.address(),
        ..environment(directory.path())
    };
    let error = Service::bind("second", taken, &NO_MIGRATIONS)
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {}", first.address())
    );
    assert!(matches!(error, StartError::Address { .. }));
    assert!(
        !directory.path().join("second.db").exists(),
        "nothing else happened"
    );
}

/// A stream of events that ends with the token, or never.
fn events(end: Option<CancellationToken>) -> Router {
    let handler = async move || {
        let first = stream::iter([Ok::<_, Infallible>(Event::default().data("first"))]);
        let rest = first.chain(stream::pending());
        match end {
            Some(end) => Sse::new(rest.take_until(end.cancelled_owned()).left_stream()),
            None => Sse::new(rest.right_stream()),
        }
    };
    Router::new().route("/events", get(handler))
}

/// A connection on which the first event has arrived.
async fn listen(address: std::net::SocketAddr) -> TcpStream {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection
        .write_all(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"data: first\n\n\r\n") {
        assert_ne!(connection.read_buf(&mut text).await.unwrap(), 0);
    }
    connection
}

#[tokio::test]
async fn stop_ends_streams_that_never_end_and_idle_connections() {
    let (service, directory) = start(events(None), false).await;
    let address = service.address();
    let mut stream = listen(address).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let client = Client::new(&service);
    client.get("/health/live").await;

    let started = Instant::now();
    service.stop().await;
    assert!(started.elapsed() < STOP_LIMIT, "{:?}", started.elapsed());
    let mut rest = Vec::new();
    // Cut off: without the last chunk of the body.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"));
    let _ = silent.read_to_end(&mut rest).await;
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    // The files are free for the next one.
    let again = Service::bind("test", environment(directory.path()), &NO_MIGRATIONS)
        .await
        .unwrap();
    again.start().stop().await;
}

#[tokio::test]
async fn a_stream_that_watches_the_shutdown_ends_properly_and_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::bind("test", environment(directory.path()), &NO_MIGRATIONS)
        .await
        .unwrap();
    let shutdown = service.shutdown();
    let service = service.routes(events(Some(shutdown))).start();
    let mut stream = listen(service.address()).await;
    let started = Instant::now();
    service.stop().await;
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_end() {
    let (entered, mut enters) = tokio::sync::mpsc::channel(1);
    let slow = async move || {
        entered.send(()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        "done"
    };
    let (service, _directory) = start(Router::new().route("/slow", get(slow)), false).await;
    let client = Client::new(&service);
    let request = tokio::spawn(async move { client.get("/slow").await });
    enters.recv().await.unwrap();
    service.stop().await;
    assert_eq!(request.await.unwrap().body, "done");
}

#[tokio::test]
async fn background_work_is_told_to_end_and_cut_off_if_it_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::bind("test", environment(directory.path()), &NO_MIGRATIONS)
        .await
        .unwrap();
    let shutdown = service.shutdown();
    let ended = CancellationToken::new();
    let tell = ended.clone();
    let service = service
        .background("polite", async move {
            shutdown.cancelled().await;
            tell.cancel();
        })
        .background("stubborn", std::future::pending())
        .background("panics", async { panic!("on purpose") })
        .start();
    let started = Instant::now();
    service.stop().await;
    assert!(started.elapsed() < STOP_LIMIT);
    assert!(ended.is_cancelled());
}

#[tokio::test]
async fn dropping_a_service_stops_it() {
    let (service, _directory) = start(Router::new(), false).await;
    let address = service.address();
    drop(service);
    let end = Instant::now() + STOP_LIMIT;
    while TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
