//! What partners see of version 1, in front of services that answer as each test says, over real sockets. The snapshots
//! are the contract: they never change.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use gateway_core::auth::api_key::{self, Environment};
use gateway_core::config;
use gateway_core::{Gateway, RunningGateway};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The gateway with the partners' API, and what the services behind it were asked.
struct World {
    gateway: RunningGateway,
    http: reqwest::Client,
    bound_key: String,
    unbound_key: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl World {
    async fn start() -> Self {
        gateway_core::install_crypto();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let services = listener.local_addr().unwrap();
        let record = Arc::clone(&seen);
        let service = axum::Router::new().fallback(move |request: Request| answer(request, record));
        tokio::spawn(async { axum::serve(listener, service).await });

        let [bound, unbound] =
            [(); 2].map(|()| api_key::generate("ftgo", Environment::Test).unwrap());
        let overlay = format!(
            "[server]\naddress = \"127.0.0.1:0\"\nworkers = 1\nlame_duck = \"0ms\"\n\
             [admin]\naddress = \"127.0.0.1:0\"\n\
             [[api_keys.keys]]\nid = \"k1\"\nowner = \"partner-1\"\nhash = \"sha256:{}\"\n\
             scopes = [\"orders:read\", \"restaurants:read\"]\nattributes = {{ consumer = \"consumer-3\" }}\n\
             [[api_keys.keys]]\nid = \"k2\"\nowner = \"partner-2\"\nhash = \"sha256:{}\"\n\
             scopes = [\"orders:read\", \"restaurants:read\"]\n\
             [upstreams.order]\naddress = \"http://{services}\"\n\
             [upstreams.order-history]\naddress = \"http://{services}\"\n",
            bound.hash_hex, unbound.hash_hex
        );
        let config =
            config::from_text(&[include_str!("../../config/public.toml"), &overlay]).unwrap();
        let gateway = Gateway::start(crate::app(), config).unwrap();
        let http = reqwest::Client::new();
        Self {
            gateway,
            http,
            bound_key: bound.secret,
            unbound_key: unbound.secret,
            seen,
        }
    }

    async fn get(&self, path: &str, key: &str) -> reqwest::Response {
        let url = format!("http://{}{path}", self.gateway.address());
        self.http
            .get(url)
            .header("x-api-key", key)
            .send()
            .await
            .unwrap()
    }
}

async fn answer(request: Request, record: Arc<Mutex<Vec<String>>>) -> Response {
    let target = request.uri().path_and_query().unwrap().to_string();
    if target == "/events" {
        return StatusCode::NOT_FOUND.into_response();
    }
    record.lock().unwrap().push(target.clone());
    let address =
        json!({"street1": "1 Main Library", "city": "Oakland", "state": "CA", "zip": "94612"});
    let usd = |amount: &str| json!({"amount": amount, "currency": "USD"});
    let order = |id: &str, consumer: &str| {
        let item = json!({"menuItemId": "item-1", "name": "Chicken Vindaloo", "price": usd("12.34"), "quantity": 5});
        json!({
            "id": id, "consumerId": consumer, "restaurantId": "restaurant-1", "restaurantName": "Ajanta",
            "state": "APPROVED", "version": 3, "lineItems": [item], "total": usd("61.70"), "deliveryAddress": address,
            "deliveryTime": null, "createdAt": "2030-01-01T18:00:00Z", "updatedAt": "2030-01-01T18:00:01Z",
            "added": "later, and no partner's business",
        })
    };
    let body = match target.split('?').next().unwrap() {
        "/orders/order-1" => order("order-1", "consumer-3"),
        "/orders/foreign" => order("foreign", "consumer-1"),
        "/restaurants/available" if !target.contains("cursor=made-up") => json!({
            "items": [{
                "id": "restaurant-1", "name": "Ajanta", "address": address, "location": {"lat": 37.8, "lng": -122.27},
                "cuisine": "Indian", "distance": 420.5, "openUntil": "2030-01-02T07:00:00Z",
                "orderMinimum": usd("15.00"), "added": "later, and no partner's business",
            }],
            "nextCursor": "restaurants-2",
        }),
        "/restaurants/available" => {
            return (StatusCode::BAD_REQUEST, "no such cursor").into_response();
        }
        _ => return (StatusCode::NOT_FOUND, "no such thing").into_response(),
    };
    axum::Json(body).into_response()
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
    let world = World::start().await;
    let order = world.get("/v1/orders/order-1", &world.bound_key).await;
    is_deprecated(&order, "/v2/orders/order-1");
    insta::assert_snapshot!("v1_order", order.text().await.unwrap());

    let restaurants = world
        .get("/v1/restaurants?lat=37.8&lng=-122.27", &world.bound_key)
        .await;
    is_deprecated(&restaurants, "/v2/restaurants");
    insta::assert_snapshot!("v1_restaurants", restaurants.text().await.unwrap());
}

#[tokio::test]
async fn a_partner_sees_the_orders_of_its_account_only() {
    let world = World::start().await;
    let foreign = world.get("/v1/orders/foreign", &world.bound_key).await;
    let unknown = world.get("/v1/orders/none", &world.bound_key).await;
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

    let unbound = world.get("/v1/orders/order-1", &world.unbound_key).await;
    assert_eq!(unbound.status(), StatusCode::FORBIDDEN);
    let restaurants = world
        .get("/v1/restaurants?lat=37.8&lng=-122.27", &world.unbound_key)
        .await;
    assert_eq!(restaurants.status(), StatusCode::OK);
}

#[tokio::test]
async fn parameters_are_checked_and_passed_on() {
    let world = World::start().await;
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
        let response = world
            .get(&format!("/v1/restaurants{query}"), &world.bound_key)
            .await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json",
            "{query}"
        );
    }
    let query = "?lat=37.8&lng=-122.27&radius=100&limit=7&cuisine=Thai%20food&at=2030-01-01T00:00:00Z&cursor=c%3D";
    world
        .get(&format!("/v1/restaurants{query}"), &world.bound_key)
        .await;
    assert_eq!(
        world.seen.lock().unwrap().last().unwrap(),
        "/restaurants/available?lat=37.8&lng=-122.27&radius=100&pageSize=7\
         &at=2030-01-01T00%3A00%3A00Z&cuisine=Thai%20food&cursor=c%3D"
    );
}
