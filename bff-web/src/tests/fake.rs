//! All of FTGO's services on one socket, as the schema's tests need them: canned answers, and a record of what was asked.
//! The real services, and how they fail, are in `tests/`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use gateway_core::auth::api_key::{self, Environment, NewApiKey};
use gateway_core::config;
use gateway_core::{Gateway, RunningGateway};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A request that a service has got.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Method and target, for example `GET /tickets?ids=a,b`.
    pub(super) call: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

/// A status and a body.
pub(super) type Answer = (u16, Value);

/// The gateway with the schema, in front of services that answer as a test says.
pub(super) struct World {
    gateway: RunningGateway,
    http: reqwest::Client,
    key: NewApiKey,
    narrow_key: NewApiKey,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Told when a call for the id `hang`, which is never answered, is given up.
    pub(super) given_up: Arc<Notify>,
}

/// With which credentials.
#[derive(Clone, Copy)]
pub(super) enum As {
    Nobody,
    /// consumer-1, who may read and write orders.
    Consumer,
    /// consumer-1, with credentials for neither.
    Narrow,
}

impl World {
    /// Services that answer with `answers`, and as [`usual`] where that has nothing to say.
    pub(super) async fn start(answers: fn(&str) -> Option<Answer>) -> Self {
        gateway_core::install_crypto();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::clone(&seen);
        let given_up = Arc::new(Notify::new());
        let notify = Arc::clone(&given_up);
        let service = axum::Router::new()
            .fallback(move |request: Request| answer(request, answers, record, notify));
        tokio::spawn(async { axum::serve(listener, service).await });

        let [key, narrow_key] =
            [(); 2].map(|()| api_key::generate("ftgo", Environment::Test).unwrap());
        let shipped = include_str!("../../../config/web.toml");
        let overlay = overlay(address, &key.hash_hex, &narrow_key.hash_hex);
        let config = config::from_text(&[shipped, &overlay]).unwrap();
        let gateway = Gateway::start(crate::app(), config).unwrap();
        Self {
            gateway,
            http: reqwest::Client::new(),
            key,
            narrow_key,
            seen,
            given_up,
        }
    }

    pub(super) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(self.url(path))
    }

    /// What `query` answers, whose text is also what a client reads.
    pub(super) async fn ask(&self, who: As, query: &str, variables: Value) -> Value {
        let body = json!({"query": query, "variables": variables});
        let request = self.http.post(self.url("/graphql")).json(&body);
        let request = match who {
            As::Nobody => request,
            As::Consumer => request.bearer_auth(&self.key.secret),
            As::Narrow => request.bearer_auth(&self.narrow_key.secret),
        };
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{response:?}");
        response.json().await.unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.address())
    }

    /// What services were asked so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The calls so far, sorted: calls at the same time have no order.
    pub(super) fn calls(&self) -> Vec<String> {
        let mut calls: Vec<_> = self.seen().into_iter().map(|seen| seen.call).collect();
        calls.sort();
        calls
    }
}

/// Ports of this test's own, and API keys for a consumer: tokens are tested in `tests/`.
fn overlay(services: SocketAddr, key_hash: &str, narrow_key_hash: &str) -> String {
    let mut text = format!(
        "[server]\naddress = \"127.0.0.1:0\"\nworkers = 1\nlame_duck = \"0ms\"\n\
         [policies.graphql]\ndeadline = \"60s\"\n\
         [admin]\naddress = \"127.0.0.1:0\"\n\
         [api_keys]\nprefix = \"ftgo\"\n\
         [[api_keys.keys]]\nid = \"k1\"\nowner = \"consumer-1\"\nhash = \"sha256:{key_hash}\"\n\
         scopes = [\"orders:read\", \"orders:write\"]\n\
         [[api_keys.keys]]\nid = \"k2\"\nowner = \"consumer-1\"\nhash = \"sha256:{narrow_key_hash}\"\n"
    );
    for service in [
        "order",
        "kitchen",
        "delivery",
        "consumer",
        "restaurant",
        "order-history",
    ] {
        let _ = write!(
            text,
            "[upstreams.{service}]\naddress = \"http://{services}\"\ntimeout = \"60s\"\n"
        );
    }
    text
}

async fn answer(
    request: Request,
    answers: fn(&str) -> Option<Answer>,
    record: Arc<Mutex<Vec<Seen>>>,
    given_up: Arc<Notify>,
) -> Response {
    let (parts, body) = request.into_parts();
    if parts.uri.path() == "/events" {
        return StatusCode::NOT_FOUND.into_response();
    }
    let bytes = body.collect().await.unwrap().to_bytes();
    let call = format!("{} {}", parts.method, parts.uri.path_and_query().unwrap());
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    record.lock().unwrap().push(Seen {
        call: call.clone(),
        headers: parts.headers,
        body,
    });
    if call.ends_with("ids=hang") {
        let _guard = GivenUp(given_up);
        return std::future::pending().await;
    }
    let (status, body) = answers(&call).unwrap_or_else(|| usual(&call));
    let mut response = (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response();
    let media_type = if status < 400 {
        "application/json"
    } else {
        "application/problem+json"
    };
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static(media_type));
    response
}

/// Says so when it goes.
struct GivenUp(Arc<Notify>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Every id that is asked for exists, but `none`; orders are consumer-1's, but `foreign`.
fn usual(call: &str) -> Answer {
    let (path, query) = call.split_once('?').unwrap_or((call, ""));
    let parameter = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    };
    let ids = parameter("ids")
        .unwrap_or_default()
        .split(',')
        .filter(|id| *id != "none");
    let found = |item: fn(&str) -> Value| json!({"items": ids.map(item).collect::<Vec<_>>()});
    let body = match path {
        "GET /orders" if parameter("ids").is_some() => found(order),
        "GET /tickets" => {
            found(|id| json!({"id": id, "state": "ACCEPTED", "readyBy": "2030-01-01T18:30:00Z"}))
        }
        "GET /deliveries" => found(|id| {
            let courier = json!({"id": "courier-1", "name": "Elena Marsh", "location": {"lat": 37.81, "lng": -122.26}});
            json!({"id": id, "state": "ON_A_DRONE", "courier": courier})
        }),
        "GET /restaurants" => found(restaurant),
        "GET /consumers/consumer-1" => {
            json!({"id": "consumer-1", "name": {"first": "Consumer", "last": "One"}})
        }
        "GET /orders" => listed(parameter("cursor"), parameter("pageSize")),
        "GET /restaurants/available" => {
            let near = json!({"id": "restaurant-1", "name": "Ajanta", "cuisine": "Indian", "distance": 420.5});
            json!({"items": [near], "nextCursor": null})
        }
        "POST /orders" => json!({"orderId": "order-2", "state": "APPROVAL_PENDING"}),
        _ => {
            return (
                404,
                json!({"type": "/problems/not-found", "detail": "internal words"}),
            );
        }
    };
    (200, body)
}

fn usd(amount: &str) -> Value {
    json!({"amount": amount, "currency": "USD"})
}

fn order(id: &str) -> Value {
    json!({
        "id": id, "consumerId": if id == "foreign" { "consumer-2" } else { "consumer-1" },
        "restaurantId": "restaurant-1", "restaurantName": "Ajanta", "state": "APPROVED", "total": usd("61.70"),
        "lineItems": [{"menuItemId": "item-1", "name": "Chicken Vindaloo", "price": usd("12.34"), "quantity": 5}],
        "deliveryAddress": {"street1": "1 Main Library", "city": "Oakland", "state": "CA", "zip": "94612"},
        "deliveryTime": null, "rejectionReason": null,
        "createdAt": "2030-01-01T18:00:00Z", "updatedAt": "2030-01-01T18:00:01Z",
    })
}

fn restaurant(id: &str) -> Value {
    json!({
        "id": id, "name": "Ajanta", "cuisine": "Indian", "location": {"lat": 37.8, "lng": -122.27},
        "address": {"street1": "1888 Solano Ave", "city": "Berkeley", "state": "CA", "zip": "94707"},
        "orderMinimum": usd("15.00"),
        "menu": {"items": [{"id": "item-1", "name": "Chicken Vindaloo", "description": "Hot", "price": usd("12.34")}]},
    })
}

/// A list of 60 orders, `order-00` to `order-59`; a cursor is the number of the page's first one.
fn listed(cursor: Option<&str>, size: Option<&str>) -> Value {
    let first = cursor.map_or(0, |cursor| cursor.parse().unwrap());
    let last = (first + size.unwrap().parse::<usize>().unwrap()).min(60);
    let items = (first..last).map(|number| {
        json!({
            "id": format!("order-{number:02}"), "restaurantId": format!("restaurant-{}", number % 3),
            "restaurantName": "Ajanta", "state": "APPROVED", "total": usd("61.70"),
            "lineItems": [{"menuItemId": "item-1", "name": "Chicken Vindaloo", "quantity": 5}],
            "createdAt": "2030-01-01T18:00:00Z", "updatedAt": "2030-01-01T18:00:01Z",
        })
    });
    let next = (last < 60).then(|| last.to_string());
    json!({"items": items.collect::<Vec<_>>(), "nextCursor": next})
}
