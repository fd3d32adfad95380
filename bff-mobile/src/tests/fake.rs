//! All of FTGO's services on one socket, as the app's tests need them: canned answers, and a record of what was asked.
//! The real services, and how they fail, are in `tests/`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use gateway_core::auth::api_key::{self, Environment};
use gateway_core::config;
use gateway_core::{Gateway, RunningGateway};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use prost::Message;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::clients::accounting::{Bill, proto::Money};

/// A request that a service has got.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

/// What a service answers.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: Value,
}

pub(super) fn ok(body: Value) -> Answer {
    Answer {
        status: 200,
        headers: Vec::new(),
        body,
    }
}

pub(super) fn refused(status: u16, slug: &str, body: Value) -> Answer {
    let mut problem =
        json!({"type": format!("/problems/{slug}"), "title": "Refused", "status": status});
    if let (Value::Object(problem), Value::Object(more)) = (&mut problem, body) {
        problem.extend(more);
    }
    Answer {
        status,
        headers: Vec::new(),
        body: problem,
    }
}

/// The gateway with the app's screens, in front of services that answer as a test says.
pub(super) struct World {
    gateway: RunningGateway,
    http: reqwest::Client,
    key: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl World {
    /// Services that answer with `answers`, and as [`usual`] where that has nothing to say. The caller is consumer-1.
    pub(super) async fn start(answers: fn(&Seen) -> Option<Answer>) -> Self {
        gateway_core::install_crypto();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::clone(&seen);
        let service =
            axum::Router::new().fallback(move |request: Request| answer(request, answers, record));
        tokio::spawn(async { axum::serve(listener, service).await });

        let key = api_key::generate("ftgo", Environment::Test).unwrap();
        let shipped = include_str!("../../../config/mobile.toml");
        let config = config::from_text(&[shipped, &overlay(address, &key.hash_hex)]).unwrap();
        let gateway = Gateway::start(crate::app(), config).unwrap();
        Self {
            gateway,
            http: reqwest::Client::new(),
            key: key.secret,
            seen,
        }
    }

    pub(super) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(self.url(path)).bearer_auth(&self.key)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.http
            .post(self.url(path))
            .bearer_auth(&self.key)
            .json(body)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.address())
    }

    /// What services were asked so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Methods and targets of what services were asked, sorted: calls at the same time have no order.
    pub(super) fn calls(&self) -> Vec<String> {
        let mut calls: Vec<_> = self
            .seen()
            .iter()
            .map(|seen| format!("{} {}", seen.method, seen.target))
            .collect();
        calls.sort();
        calls
    }
}

/// Ports of this test's own, and an API key for a consumer: the routes' roles are for tokens, which `tests/` has.
fn overlay(services: SocketAddr, key_hash: &str) -> String {
    let mut text = format!(
        "[server]\naddress = \"127.0.0.1:0\"\nworkers = 1\nlame_duck = \"0ms\"\n\
         [admin]\naddress = \"127.0.0.1:0\"\n\
         [api_keys]\nprefix = \"ftgo\"\n\
         [[api_keys.keys]]\nid = \"k1\"\nowner = \"consumer-1\"\nhash = \"sha256:{key_hash}\"\n"
    );
    for service in [
        "order",
        "kitchen",
        "delivery",
        "accounting",
        "restaurant",
        "order-history",
    ] {
        let _ = write!(
            text,
            "[upstreams.{service}]\naddress = \"http://{services}\"\n"
        );
    }
    for route in [
        "home",
        "order-details",
        "order-history",
        "place-order",
        "cancel-order",
        "revise-order",
    ] {
        let _ = write!(text, "[policies.{route}]\naccess = \"authenticated\"\n");
    }
    text
}

async fn answer(
    request: Request,
    answers: fn(&Seen) -> Option<Answer>,
    record: Arc<Mutex<Vec<Seen>>>,
) -> Response {
    let (parts, body) = request.into_parts();
    if parts.uri.path() == "/events" {
        return StatusCode::NOT_FOUND.into_response();
    }
    let bytes = body.collect().await.unwrap().to_bytes();
    let seen = Seen {
        method: parts.method,
        target: parts.uri.path_and_query().unwrap().to_string(),
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    };
    record.lock().unwrap().push(seen.clone());
    let answer = answers(&seen).unwrap_or_else(|| usual(&seen));
    let is_grpc = seen
        .headers
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        return grpc(&answer);
    }
    let media_type = if answer.status < 400 {
        "application/json"
    } else {
        "application/problem+json"
    };
    let mut response = (
        StatusCode::from_u16(answer.status).unwrap(),
        answer.body.to_string(),
    )
        .into_response();
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static(media_type));
    for (name, value) in answer.headers {
        response.headers_mut().insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    response
}

/// A unary answer of gRPC over HTTP/2: a length-prefixed message, and the status in trailers.
fn grpc(answer: &Answer) -> Response {
    let bill: Bill = bill(&answer.body);
    let mut message = vec![0];
    message.extend(u32::try_from(bill.encoded_len()).unwrap().to_be_bytes());
    message.extend(bill.encode_to_vec());
    let status = match answer.status {
        200 => "0",
        404 => "5",
        _ => "13",
    };
    let trailers = HeaderMap::from_iter([(
        HeaderName::from_static("grpc-status"),
        HeaderValue::from_static(status),
    )]);
    let body = if status == "0" {
        Full::from(message)
    } else {
        Full::default()
    };
    let body = Body::new(body.with_trailers(async { Some(Ok(trailers)) }));
    ([("content-type", "application/grpc")], body).into_response()
}

fn bill(json: &Value) -> Bill {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Bill {
        order_id: text(&json["orderId"]),
        amount: Some(Money {
            amount: text(&json["amount"]),
            currency: "USD".to_owned(),
        }),
        state: text(&json["state"]),
        authorized_at: text(&json["authorizedAt"]),
    }
}

/// One order of consumer-1 on its way, with more fields than the app knows.
fn usual(seen: &Seen) -> Answer {
    let path = seen.target.split('?').next().unwrap();
    let address =
        json!({"street1": "1 Main Library", "city": "Oakland", "state": "CA", "zip": "94612"});
    let usd = |amount: &str| json!({"amount": amount, "currency": "USD"});
    ok(match (seen.method.as_str(), path) {
        ("GET", "/orders/order-1") => json!({
            "id": "order-1", "consumerId": "consumer-1", "restaurantId": "restaurant-1",
            "restaurantName": "Ajanta", "state": "APPROVED", "version": 3, "total": usd("61.70"),
            "lineItems": [{"menuItemId": "item-1", "name": "Chicken Vindaloo", "price": usd("12.34"), "quantity": 5}],
            "deliveryAddress": address, "deliveryTime": null, "rejectionReason": null,
            "createdAt": "2030-01-01T18:00:00Z", "updatedAt": "2030-01-01T18:00:01Z", "internalNote": "not for the app",
        }),
        ("POST", "/orders") => {
            return Answer {
                status: 202,
                headers: vec![("location", "/orders/order-2")],
                body: json!({"orderId": "order-2", "state": "APPROVAL_PENDING"}),
            };
        }
        ("POST", "/orders/order-1/cancel") => {
            json!({"orderId": "order-1", "state": "CANCEL_PENDING"})
        }
        ("POST", "/orders/order-1/revise") => {
            json!({"orderId": "order-1", "state": "REVISION_PENDING"})
        }
        ("GET", "/tickets/order-1") => json!({
            "id": "order-1", "orderId": "order-1", "restaurantId": "restaurant-1", "state": "ACCEPTED", "version": 2,
            "lineItems": [], "readyBy": "2030-01-01T18:30:00Z", "acceptedAt": "2030-01-01T18:02:00Z",
            "preparingAt": null, "readyForPickupAt": null, "pickedUpAt": null,
        }),
        ("GET", "/deliveries/order-1") => json!({
            "id": "order-1", "orderId": "order-1", "state": "SCHEDULED",
            "courier": {"id": "courier-1", "name": "Elena Marsh", "location": {"lat": 37.81, "lng": -122.26}},
            "scheduledPickupTime": "2030-01-01T18:30:00Z", "scheduledDeliveryTime": "2030-01-01T18:45:00Z",
            "pickedUpAt": null, "deliveredAt": null,
        }),
        ("POST", "/ftgo.accounting.v1.Accounting/GetBill") => json!({
            "orderId": "order-1", "amount": "61.70", "state": "AUTHORIZED", "authorizedAt": "2030-01-01T18:00:01Z",
        }),
        ("GET", "/restaurants/restaurant-1") => json!({
            "id": "restaurant-1", "name": "Ajanta", "address": address, "location": {"lat": 37.8, "lng": -122.27},
            "cuisine": "Indian", "timeZone": "America/Los_Angeles", "orderMinimum": usd("15.00"), "version": 4,
            "openingHours": [{"day": "MONDAY", "opens": "11:00", "closes": "24:00"}],
            "menu": {"items": [
                {"id": "item-1", "name": "Chicken Vindaloo", "description": "Hot", "price": usd("12.34")},
                {"id": "item-2", "name": "Naan", "description": null, "price": usd("3.00")},
            ]},
        }),
        ("GET", "/restaurants/available") => json!({
            "items": [{
                "id": "restaurant-1", "name": "Ajanta", "address": address, "location": {"lat": 37.8, "lng": -122.27},
                "cuisine": "Indian", "distance": 420.5, "openUntil": "2030-01-02T07:00:00Z",
                "orderMinimum": usd("15.00"),
            }],
            "nextCursor": "restaurants-2",
        }),
        ("GET", "/orders") => json!({
            "items": [past("order-1", "APPROVED", Some("SCHEDULED")), past("order-0", "APPROVED", Some("DELIVERED")),
                past("order-00", "REJECTED", None)],
            "nextCursor": "orders-2",
        }),
        _ => return refused(404, "not-found", json!({"detail": "internal words"})),
    })
}

fn past(id: &str, state: &str, delivery: Option<&str>) -> Value {
    json!({
        "id": id, "consumerId": "consumer-1", "restaurantId": "restaurant-1", "restaurantName": "Ajanta",
        "state": state, "total": {"amount": "61.70", "currency": "USD"},
        "lineItems": [{"menuItemId": "item-1", "name": "Chicken Vindaloo", "quantity": 5}],
        "ticketState": delivery.map(|_| "ACCEPTED"), "deliveryState": delivery,
        "createdAt": "2030-01-01T18:00:00Z", "updatedAt": "2030-01-01T18:00:01Z",
    })
}
