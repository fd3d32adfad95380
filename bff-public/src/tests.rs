//! What partners see of version 1, in front of services that answer as each test says, over real sockets. The snapshots
//! are the contract: they never change.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod limits;
mod matrix;
mod openapi;
mod v2;

use gateway_core::testkit::{Answer, Key, Seen, Service, Setup, TestGateway};
use http::{Method, StatusCode};
use serde_json::{Value, json};

const SETUP: Setup = Setup {
    app: crate::APP,
    config: &[include_str!("../../config/public.toml"), PARTNERS],
    services: &[
        Service::Json("order"),
        Service::Json("order-history"),
        Service::Json("restaurant"),
    ],
    key_prefix: "ftgo",
    keys: &[
        Key {
            owner: "partner-1",
            scopes: SCOPES,
            attributes: &[],
        },
        Key {
            owner: "partner-2",
            scopes: SCOPES,
            attributes: &[],
        },
    ],
    usual,
};

const SCOPES: &[&str] = &[
    "orders:read",
    "orders:write",
    "restaurants:read",
    "menus:write",
    "webhooks:write",
];

const PARTNERS: &str = r#"
[partners.partner-1]
plan = "scale"
attributes = { consumer = "consumer-3", restaurant_ids = "restaurant-1 restaurant-2" }
[partners.partner-2]
plan = "starter"
"#;

/// The partner that is bound to an account, and the one that is not: their places in [`SETUP`].
const BOUND: usize = 0;
const UNBOUND: usize = 1;

async fn start() -> TestGateway {
    TestGateway::start(&SETUP, |_| None).await
}

async fn get(world: &TestGateway, path: &str, caller: usize) -> reqwest::Response {
    let request = world.request(Method::GET, path, caller);
    request.send().await.unwrap()
}

fn usual(seen: &Seen) -> Answer {
    let address =
        json!({"street1": "1 Main Library", "city": "Oakland", "state": "CA", "zip": "94612"});
    let usd = |amount: &str| json!({"amount": amount, "currency": "USD"});
    let order = |id: &str, consumer: &str| {
        let item = json!({"menuItemId": "item-1", "name": "Chicken Vindaloo", "price": usd("12.34"), "quantity": 5});
        json!({
            "id": id, "consumerId": consumer, "restaurantId": "restaurant-1", "restaurantName": "Ajanta",
            "state": "APPROVED", "version": 3, "lineItems": [item], "total": usd("61.70"), "deliveryAddress": address,
            "deliveryTime": null, "rejectionReason": null, "createdAt": "2030-01-01T18:00:00Z", "updatedAt": "2030-01-01T18:00:01Z",
            "added": "later, and no partner's business",
        })
    };
    let restaurant = |id: &str| {
        let item = json!({"id": "item-1", "name": "Chicken Vindaloo", "description": "", "price": usd("12.34")});
        json!({
            "id": id, "name": "Ajanta", "address": address, "location": {"lat": 37.8, "lng": -122.27}, "cuisine": "Indian",
            "orderMinimum": usd("15.00"), "menu": {"items": [item]}, "version": 4, "openingHours": [],
            "added": "later, and no partner's business",
        })
    };
    Answer::ok(&match seen.call.as_str() {
        "POST /orders" => {
            return Answer::json(
                202,
                &json!({"orderId": "order-9", "state": "APPROVAL_PENDING"}),
            );
        }
        "GET /orders" if seen.parameter("cursor") == Some("made-up") => {
            return Answer::refused(400, "bad-request", json!({}));
        }
        "GET /orders" => json!({
            "items": [{
                "id": "order-1", "consumerId": "consumer-3", "restaurantId": "restaurant-1", "restaurantName": "Ajanta",
                "state": "APPROVED", "total": usd("61.70"), "createdAt": "2030-01-01T18:00:00Z",
                "updatedAt": "2030-01-01T18:00:01Z", "lineItems": [],
            }],
            "nextCursor": if seen.parameter("cursor").is_none() { json!("orders=2") } else { Value::Null },
        }),
        "GET /restaurants" => {
            json!({"items": [restaurant("restaurant-1"), restaurant("restaurant-2")]})
        }
        "GET /restaurants/restaurant-1" | "PUT /restaurants/restaurant-1/menu" => {
            let stale = seen
                .headers
                .get("if-match")
                .is_some_and(|tag| tag != "\"v4\"");
            return match stale {
                true => Answer::refused(412, "precondition-failed", json!({})),
                false => Answer::ok(&restaurant("restaurant-1")).header("etag", "\"v4\""),
            };
        }
        "GET /orders/order-1" => order("order-1", "consumer-3"),
        "GET /orders/foreign" => order("foreign", "consumer-1"),
        "GET /restaurants/available" if seen.parameter("cursor") != Some("made-up") => json!({
            "items": [{
                "id": "restaurant-1", "name": "Ajanta", "address": address, "location": {"lat": 37.8, "lng": -122.27},
                "cuisine": "Indian", "distance": 420.5, "openUntil": "2030-01-02T07:00:00Z",
                "orderMinimum": usd("15.00"), "added": "later, and no partner's business",
            }],
            "nextCursor": "restaurants-2",
        }),
        "GET /restaurants/available" => {
            return Answer::refused(400, "bad-request", json!({}));
        }
        _ => return Answer::refused(404, "not-found", json!({})),
    })
}

fn is_deprecated(response: &reqwest::Response, successor: &str) {
    let headers = response.headers();
    assert_eq!(headers["deprecation"], "@1793491200");
    assert_eq!(headers["sunset"], "Mon, 01 Nov 2027 00:00:00 GMT");
    assert_eq!(
        headers["link"],
        format!("<{successor}>; rel=\"successor-version\"")
    );
}

#[tokio::test]
async fn version_1_has_its_shapes_and_says_that_it_ends() {
    let world = start().await;
    let order = get(&world, "/v1/orders/order-1", BOUND).await;
    is_deprecated(&order, "/v2/orders/order-1");
    insta::assert_snapshot!("v1_order", order.text().await.unwrap());

    let restaurants = get(&world, "/v1/restaurants?lat=37.8&lng=-122.27", BOUND).await;
    is_deprecated(&restaurants, "/v2/restaurants");
    insta::assert_snapshot!("v1_restaurants", restaurants.text().await.unwrap());
}

#[tokio::test]
async fn a_partner_sees_the_orders_of_its_account_only() {
    let world = start().await;
    let foreign = get(&world, "/v1/orders/foreign", BOUND).await;
    let unknown = get(&world, "/v1/orders/none", BOUND).await;
    assert_eq!(
        (foreign.status(), unknown.status()),
        (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND)
    );
    let [foreign, unknown]: [Value; 2] =
        [foreign.json().await.unwrap(), unknown.json().await.unwrap()];
    assert_eq!(
        (&foreign["type"], &foreign["detail"]),
        (&unknown["type"], &unknown["detail"])
    );

    let unbound = get(&world, "/v1/orders/order-1", UNBOUND).await;
    assert_eq!(unbound.status(), StatusCode::FORBIDDEN);
    let restaurants = get(&world, "/v1/restaurants?lat=37.8&lng=-122.27", UNBOUND).await;
    assert_eq!(restaurants.status(), StatusCode::OK);
}

#[tokio::test]
async fn parameters_are_checked_and_passed_on() {
    let world = start().await;
    for query in [
        "",
        "?lat=37.8",
        "?lat=NaN&lng=0",
        "?lat=91&lng=0",
        "?lat=0&lng=181",
        "?lat=0&lng=0&radius=50001",
        "?lat=0&lng=0&limit=0",
        "?lat=0&lng=0&limit=101",
        "?lat=0&lng=0&at=noon",
        "?lat=0&lng=0&cursor=made-up",
    ] {
        let response = get(&world, &format!("/v1/restaurants{query}"), BOUND).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json",
            "{query}"
        );
    }
    let query = "?lat=37.8&lng=-122.27&radius=100&limit=7&cuisine=Thai%20food&at=2030-01-01T00:00:00Z&cursor=c%3D";
    get(&world, &format!("/v1/restaurants{query}"), BOUND).await;
    assert_eq!(
        world.seen().last().unwrap().target(),
        "/restaurants/available?lat=37.8&lng=-122.27&radius=100&pageSize=7\
         &at=2030-01-01T00%3A00%3A00Z&cuisine=Thai%20food&cursor=c%3D"
    );
}
