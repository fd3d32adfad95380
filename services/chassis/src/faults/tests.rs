//! The faults on real sockets.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io::ErrorKind;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::service::RunningService;
use crate::testing::{Client, Reply, start};

const TEXT: &str = "0123456789";

async fn faulty() -> (RunningService, TempDir) {
    let routes = Router::new()
        .route("/orders", get(async || TEXT).post(async || TEXT))
        .route("/tickets", get(async || TEXT));
    start(routes, true).await
}

async fn set(client: &Client, rules: &serde_json::Value) {
    let reply = client.json("PUT", "/faults", &rules.to_string()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

async fn timed(request: impl Future<Output = Reply>) -> Duration {
    let started = Instant::now();
    assert_eq!(request.await.status, 200);
    started.elapsed()
}

#[tokio::test]
async fn latency_meets_its_route_and_method_only() {
    let (service, _directory) = faulty().await;
    let client = Client::new(&service);
    let delay = Duration::from_millis(300);
    set(
        &client,
        &json!([{"path": "/orders", "method": "GET", "kind": "latency", "milliseconds": 300}]),
    )
    .await;
    assert!(timed(client.get("/orders")).await >= delay);
    assert!(timed(client.get("/tickets")).await < delay);
    assert!(timed(client.json("POST", "/orders", "")).await < delay);
    let rules = client.get("/faults").await.value();
    assert_eq!(
        rules,
        json!([{"path": "/orders", "method": "GET", "probability": 1.0, "kind": "latency", "milliseconds": 300}])
    );
    assert_eq!(client.json("DELETE", "/faults", "").await.status, 204);
    assert!(timed(client.get("/orders")).await < delay);
}

#[tokio::test]
async fn errors_come_at_their_rate() {
    let (service, _directory) = faulty().await;
    let client = Client::new(&service);
    set(
        &client,
        &json!([{"path": "/", "probability": 0.25, "kind": "error", "status": 500}]),
    )
    .await;
    let mut failures = 0;
    for _ in 0..20 {
        let reply = client.get("/orders").await;
        if reply.status != 200 {
            reply.problem(500);
            failures += 1;
        }
    }
    assert_eq!(failures, 5);
    set(&client, &json!([{"path": "/", "kind": "error"}])).await;
    client.get("/orders").await.problem(503);
    let grpc = [("content-type", "application/grpc")];
    let reply = client.try_send("POST", "/orders", &grpc, "").await.unwrap();
    assert_eq!(
        (reply.status.as_u16(), reply.header("grpc-status")),
        (200, "14")
    );
}

#[tokio::test]
async fn health_fails_only_when_it_is_named() {
    let (service, _directory) = faulty().await;
    let client = Client::new(&service);
    set(&client, &json!([{"path": "/", "kind": "error"}])).await;
    assert_eq!(client.get("/health/ready").await.status, 200);
    assert_eq!(client.get("/metrics").await.status, 200);
    set(
        &client,
        &json!([{"path": "/health/ready", "kind": "error"}]),
    )
    .await;
    client.get("/health/ready").await.problem(503);
    assert_eq!(client.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    let (service, _directory) = faulty().await;
    let client = Client::new(&service);
    set(&client, &json!([{"path": "/orders", "kind": "reset"}])).await;
    let mut connection = TcpStream::connect(service.address()).await.unwrap();
    connection
        .write_all(b"GET /orders HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let error = connection.read_to_end(&mut answer).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(answer.is_empty());
    assert_eq!(client.get("/tickets").await.status, 200);
    let http2 = Client::http2(&service);
    assert!(http2.try_send("GET", "/orders", &[], "").await.is_err());
    assert_eq!(http2.get("/tickets").await.status, 200);
}

#[tokio::test]
async fn a_hang_lasts_until_the_rules_change() {
    let (service, _directory) = faulty().await;
    let client = Client::new(&service);
    set(&client, &json!([{"path": "/orders", "kind": "hang"}])).await;
    let hanging = client.get("/orders");
    tokio::pin!(hanging);
    let early = tokio::time::timeout(Duration::from_millis(200), hanging.as_mut()).await;
    assert!(early.is_err());
    client.json("DELETE", "/faults", "").await;
    assert_eq!(hanging.await.body, TEXT);
}

#[tokio::test]
async fn a_hang_does_not_outlive_its_service() {
    let (service, _directory) = faulty().await;
    let client = Client::new(&service);
    set(&client, &json!([{"path": "/orders", "kind": "hang"}])).await;
    let hanging = client.try_send("GET", "/orders", &[], "");
    tokio::pin!(hanging);
    let early = tokio::time::timeout(Duration::from_millis(100), hanging.as_mut()).await;
    assert!(early.is_err());
    let started = Instant::now();
    service.stop().await;
    assert!(started.elapsed() < Duration::from_secs(3));
    assert!(hanging.await.is_err());
}

#[tokio::test]
async fn a_slow_drip_keeps_the_body() {
    let (service, _directory) = faulty().await;
    let client = Client::new(&service);
    set(
        &client,
        &json!([{"path": "/orders", "kind": "drip", "bytes": 3, "intervalMilliseconds": 50}]),
    )
    .await;
    let started = Instant::now();
    assert_eq!(client.get("/orders").await.body, TEXT);
    assert!(
        started.elapsed() >= Duration::from_millis(200),
        "four pieces: {:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn rules_add_up() {
    let (service, _directory) = faulty().await;
    let client = Client::new(&service);
    set(
        &client,
        &json!([
            {"path": "/orders", "kind": "latency", "milliseconds": 100},
            {"path": "/orders", "kind": "error", "status": 502},
        ]),
    )
    .await;
    let started = Instant::now();
    client.get("/orders").await.problem(502);
    assert!(started.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn rules_that_make_no_sense_are_refused_and_change_nothing() {
    let (service, _directory) = faulty().await;
    let client = Client::new(&service);
    for (rule, pointer) in [
        (json!({"path": "orders", "kind": "hang"}), "/0/path"),
        (
            json!({"path": "/", "kind": "error", "status": 200}),
            "/0/status",
        ),
        (
            json!({"path": "/", "kind": "error", "probability": 1.5}),
            "/0/probability",
        ),
        (
            json!({"path": "/", "kind": "drip", "bytes": 0, "intervalMilliseconds": 1}),
            "/0/bytes",
        ),
    ] {
        let reply = client
            .json("PUT", "/faults", &json!([rule]).to_string())
            .await;
        assert_eq!(reply.problem(422)["errors"][0]["pointer"], pointer);
    }
    client
        .json("PUT", "/faults", r#"[{"path": "/", "kind": "magic"}]"#)
        .await
        .problem(422);
    assert_eq!(client.get("/faults").await.value(), json!([]));
}
