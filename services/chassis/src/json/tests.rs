//! What the JSON extractor answers on a real socket, and what it points at.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::HashMap;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;

use super::{Json, read};
use crate::http::BODY_LIMIT;
use crate::money::Money;
use crate::problem::ServiceError;
use crate::testing::{Client, start};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    line_items: Vec<LineItem>,
    #[serde(default)]
    notes: HashMap<String, u8>,
}

#[derive(Debug, Deserialize)]
struct LineItem {
    quantity: u32,
    #[serde(default = "free")]
    price: Money,
}

fn free() -> Money {
    Money::usd(0)
}

fn place(Json(order): Json<Order>) -> Json<serde_json::Value> {
    let quantity: u32 = order.line_items.iter().map(|item| item.quantity).sum();
    let prices: Vec<Money> = order.line_items.iter().map(|item| item.price).collect();
    Json(json!({"quantity": quantity, "prices": prices, "notes": order.notes}))
}

#[tokio::test]
async fn every_kind_of_bad_body_has_its_status() {
    let (service, _directory) = start(
        Router::new().route("/orders", post(async |order| place(order))),
        false,
    )
    .await;
    let client = Client::new(&service);
    let good = r#"{"lineItems":[{"quantity":2}],"unknown":1}"#;
    for kind in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.ftgo+json",
    ] {
        let reply = client
            .try_send("POST", "/orders", &[("content-type", kind)], good)
            .await
            .unwrap();
        assert_eq!(reply.status, 200, "{kind}");
        assert_eq!(reply.value()["quantity"], 2);
    }
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "text/json")],
    ] {
        let reply = client
            .try_send("POST", "/orders", headers, good)
            .await
            .unwrap();
        reply.problem(415);
    }
    for malformed in ["", "{", "{\"lineItems\":[}", "{} {}", "nonsense", "\u{0}"] {
        let problem = client.json("POST", "/orders", malformed).await.problem(400);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("line 1 column"), "{detail}");
    }
    let reply = client
        .try_send(
            "POST",
            "/orders",
            &[("content-type", "application/json")],
            &b"\"\xff\xfe\""[..],
        )
        .await
        .unwrap();
    assert!(reply.status.is_client_error());
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_told_where() {
    let (service, _directory) = start(
        Router::new().route("/orders", post(async |order| place(order))),
        false,
    )
    .await;
    let client = Client::new(&service);
    for (body, pointer) in [
        ("{}", ""),
        ("[]", ""),
        ("null", ""),
        // An array is no object, whatever its members.
        ("[[]]", ""),
        (r#"{"lineItems":[[1]]}"#, "/lineItems/0"),
        (
            r#"{"lineItems":[{"quantity":1,"price":["1.00","USD"]}]}"#,
            "/lineItems/0/price",
        ),
        (r#"{"lineItems":3}"#, "/lineItems"),
        (
            r#"{"lineItems":[{"quantity":1},{"quantity":-1}]}"#,
            "/lineItems/1/quantity",
        ),
        (r#"{"lineItems":[{}]}"#, "/lineItems/0"),
        (
            r#"{"lineItems":[{"quantity":1,"price":{"amount":61.7,"currency":"USD"}}]}"#,
            "/lineItems/0/price/amount",
        ),
        (
            r#"{"lineItems":[{"quantity":1,"price":{"amount":"x","currency":"USD"}}]}"#,
            "/lineItems/0/price",
        ),
        (
            r#"{"lineItems":[],"notes":{"a/b~c":"x"}}"#,
            "/notes/a~1b~0c",
        ),
    ] {
        let problem = client.json("POST", "/orders", body).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        let detail = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(!detail.is_empty() && !detail.contains("line 1"), "{detail}");
        // Nor does it matter to a caller what our types are called.
        assert!(
            !detail.contains("struct") && !detail.contains("Order"),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let (service, _directory) = start(
        Router::new().route("/orders", post(async |order| place(order))),
        false,
    )
    .await;
    let client = Client::new(&service);
    let headers = [("content-type", "application/json")];
    let announced = vec![b' '; BODY_LIMIT + 1];
    let reply = client.try_send("POST", "/orders", &headers, announced);
    reply.await.unwrap().problem(413);
    let chunk = Bytes::from(vec![b' '; 64 * 1024]);
    let chunks = std::iter::repeat_n(chunk, 17).map(Ok::<_, std::io::Error>);
    let chunked = Body::from_stream(stream::iter(chunks));
    let reply = client.try_send("POST", "/orders", &headers, chunked);
    reply.await.unwrap().problem(413);
    let mut largest = br#"{"lineItems":[]}"#.to_vec();
    largest.resize(BODY_LIMIT, b' ');
    let reply = client
        .try_send("POST", "/orders", &headers, largest)
        .await
        .unwrap();
    assert_eq!(reply.status, 200);
}

#[test]
fn trailing_text_is_not_json() {
    assert!(matches!(
        read::<u8>(b"1 2"),
        Err(ServiceError::BadRequest(_))
    ));
    assert_eq!(read::<u8>(b" 1 ").unwrap(), 1);
    assert!(matches!(
        read::<u8>(b"256"),
        Err(ServiceError::Validation(_))
    ));
}
