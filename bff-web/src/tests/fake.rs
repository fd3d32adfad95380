//! FTGO's services as the schema's tests need them: what they usually answer. The sockets, the record of what was asked and
//! the faults are `gateway_core::testkit`; the real services, and how they fail, are in `tests/`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::ops::Deref;

use gateway_core::testkit::{self, Key, Seen, Service, Setup, TestGateway};
use http::{Method, StatusCode};
use prost::Message;
use serde_json::{Value, json};

use crate::clients::accounting::Bill;
use crate::clients::accounting::proto::{ListBillsResponse, Money};

/// A status and a body.
pub(super) type Answer = (u16, Value);

pub(super) const SETUP: Setup = Setup {
    app: crate::APP,
    config: &[SHIPPED],
    services: &[
        Service::Json("order"),
        Service::Json("kitchen"),
        Service::Json("delivery"),
        Service::Json("consumer"),
        Service::Json("restaurant"),
        Service::Json("order-history"),
        Service::Grpc("accounting"),
    ],
    key_prefix: "ftgo",
    keys: &[
        Key {
            owner: "consumer-1",
            scopes: &["orders:read", "orders:write"],
            attributes: &[],
        },
        Key {
            owner: "consumer-1",
            scopes: &[],
            attributes: &[],
        },
        Key {
            owner: "staff-1",
            scopes: &["tickets:read", "tickets:write", "menus:write"],
            attributes: &[("restaurant_ids", "restaurant-1 restaurant-2")],
        },
    ],
    usual: |seen| {
        if seen.call == LIST_BILLS {
            return testkit::Answer::grpc(&bills().encode_to_vec());
        }
        answer(usual(&seen.whole_call()))
    },
};

/// The place of staff-1 among the callers.
pub(super) const STAFF: usize = 2;

pub(super) const LIST_BILLS: &str = "POST /ftgo.accounting.v1.Accounting/ListBills";

const SHIPPED: &str = include_str!("../../../config/web.toml");

/// A call that hangs ends with its client or not at all.
const PATIENT: &str =
    "[policies.graphql]\ndeadline = \"60s\"\n[upstreams.restaurant]\ntimeout = \"60s\"\n";

fn answer((status, body): Answer) -> testkit::Answer {
    testkit::Answer::json(status, &body)
}

/// The gateway with the schema, in front of services that answer as a test says.
pub(super) struct World(TestGateway);

impl Deref for World {
    type Target = TestGateway;

    fn deref(&self) -> &TestGateway {
        &self.0
    }
}

/// With which credentials.
#[derive(Clone, Copy)]
pub(super) enum As {
    Nobody,
    /// consumer-1, who may read and write orders.
    Consumer,
    /// consumer-1, with credentials for neither.
    Narrow,
    /// staff-1, who works for restaurant-1 and restaurant-2.
    Staff,
}

impl World {
    /// Services that answer with `answers`, and as [`usual`] where that has nothing to say; for the id `hang`, never.
    pub(super) async fn start(answers: fn(&str) -> Option<Answer>) -> Self {
        Self::holding(|seen| seen.query == "ids=hang", answers).await
    }

    /// The same, without an answer to what is `held`.
    pub(super) async fn holding(
        held: impl Fn(&Seen) -> bool + Send + Sync + 'static,
        answers: fn(&str) -> Option<Answer>,
    ) -> Self {
        let setup = Setup {
            config: &[SHIPPED, PATIENT],
            ..SETUP
        };
        let answers = move |seen: &Seen| {
            if held(seen) {
                return Some(testkit::Answer::never());
            }
            answers(&seen.whole_call()).map(answer)
        };
        Self(TestGateway::start(&setup, answers).await)
    }

    pub(super) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.anonymous(Method::GET, path)
    }

    /// What `query` answers, whose text is also what a client reads.
    pub(super) async fn ask(&self, who: As, query: &str, variables: Value) -> Value {
        let request = match who {
            As::Nobody => self.anonymous(Method::POST, "/graphql"),
            As::Consumer => self.request(Method::POST, "/graphql", 0),
            As::Narrow => self.request(Method::POST, "/graphql", 1),
            As::Staff => self.request(Method::POST, "/graphql", STAFF),
        };
        let body = json!({"query": query, "variables": variables});
        let response = request.json(&body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{response:?}");
        response.json().await.unwrap()
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
        "GET /tickets" if parameter("ids").is_some() => found(|id| ticket(id, "ACCEPTED")),
        "GET /tickets" => {
            json!({"items": [ticket("order-1", "AWAITING_ACCEPTANCE")], "nextCursor": "tickets-2"})
        }
        "POST /tickets/order-1/accept" => ticket("order-1", "ACCEPTED"),
        "POST /tickets/order-1/preparing" => ticket("order-1", "PREPARING"),
        "POST /tickets/order-1/ready" => ticket("order-1", "READY_FOR_PICKUP"),
        "GET /deliveries" => found(|id| {
            let courier = json!({"id": "courier-1", "name": "Courier One", "location": {"lat": 37.81, "lng": -122.26}});
            json!({"id": id, "state": "ON_A_DRONE", "courier": courier})
        }),
        "GET /restaurants" => found(restaurant),
        "GET /consumers" => {
            found(|id| json!({"id": id, "name": {"first": "Consumer", "last": "One"}}))
        }
        "GET /orders" => listed(parameter("cursor"), parameter("pageSize")),
        "GET /restaurants/available" => {
            let near = json!({
                "id": "restaurant-1", "name": "Ajanta", "cuisine": "Indian", "distance": 420.5, "openUntil": null,
                "address": address(), "location": {"lat": 37.8, "lng": -122.27}, "orderMinimum": usd("15.00"),
            });
            json!({"items": [near], "nextCursor": null})
        }
        "POST /orders" => json!({"orderId": "order-2", "state": "APPROVAL_PENDING"}),
        "POST /orders/order-1/cancel" => json!({"orderId": "order-1", "state": "CANCEL_PENDING"}),
        "POST /orders/order-1/revise" => json!({"orderId": "order-1", "state": "REVISION_PENDING"}),
        "PUT /restaurants/restaurant-1/menu" => restaurant("restaurant-1"),
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
        "deliveryTime": "2030-01-01T19:30:00Z", "rejectionReason": "ORDER_MINIMUM_NOT_MET",
        "createdAt": "2030-01-01T18:00:00Z", "updatedAt": "2030-01-01T18:00:01Z",
    })
}

/// Of restaurant-1, but for the ticket `foreign`.
fn ticket(id: &str, state: &str) -> Value {
    json!({
        "id": id, "orderId": id, "restaurantId": if id == "foreign" { "restaurant-9" } else { "restaurant-1" },
        "state": state, "version": 2, "readyBy": "2030-01-01T18:30:00Z",
        "lineItems": [{"menuItemId": "item-1", "name": "Chicken Vindaloo", "quantity": 5}],
        "createdAt": "2030-01-01T18:00:00Z", "updatedAt": "2030-01-01T18:00:01Z",
    })
}

/// The bills of order-1 and of all orders of the list.
fn bills() -> ListBillsResponse {
    let listed = (0..60).map(|number| format!("order-{number:02}"));
    let bill = |order_id| Bill {
        order_id,
        amount: Some(Money {
            amount: "61.70".to_owned(),
            currency: "USD".to_owned(),
        }),
        state: "AUTHORIZED".to_owned(),
        authorized_at: "2030-01-01T18:00:01Z".to_owned(),
    };
    ListBillsResponse {
        bills: listed.chain(["order-1".to_owned()]).map(bill).collect(),
    }
}

fn address() -> Value {
    json!({"street1": "1888 Solano Ave", "city": "Berkeley", "state": "CA", "zip": "94707"})
}

fn restaurant(id: &str) -> Value {
    json!({
        "id": id, "name": "Ajanta", "cuisine": "Indian", "location": {"lat": 37.8, "lng": -122.27},
        "address": address(), "orderMinimum": usd("15.00"), "version": 4, "timeZone": "America/Los_Angeles",
        "openingHours": [{"day": "MONDAY", "opens": "11:00", "closes": "24:00"}],
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
