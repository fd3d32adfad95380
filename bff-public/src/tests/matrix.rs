//! Every part of every answer, through every fault. What has to hold then is `gateway_core::testkit`'s.

use gateway_core::testkit::{Matrix, Screen};
use serde_json::json;

use super::SETUP;

#[tokio::test]
async fn every_part_may_fail_in_every_way() {
    let address =
        json!({"street1": "1 Main Library", "city": "Oakland", "state": "CA", "zip": "94612"});
    let items = json!([{"menuItemId": "item-1", "quantity": 5}]);
    let order =
        json!({"restaurantId": "restaurant-1", "deliveryAddress": address, "lineItems": items});
    let price = json!({"amount": "12.34", "currency": "USD"});
    let menu = json!({"items": [{"id": "item-1", "name": "Chicken Vindaloo", "price": price}]});
    #[rustfmt::skip]
    let screens = vec![
        Screen::get("v1-order", "/v1/orders/order-1")
            .required("", "order", "GET /orders/order-1").or_not_found(),
        Screen::get("v1-restaurants", "/v1/restaurants?lat=37.8&lng=-122.27")
            .required("", "order-history", "GET /restaurants/available"),
        Screen::get("v2-order", "/v2/orders/order-1")
            .required("", "order", "GET /orders/order-1").or_not_found(),
        Screen::get("v2-orders", "/v2/orders")
            .required("", "order-history", "GET /orders"),
        Screen::post("v2-place-order", "/v2/orders", order).header("idempotency-key", "the-one")
            .required("", "order", "POST /orders").or_not_found(),
        Screen::get("v2-restaurants", "/v2/restaurants?lat=37.8&lng=-122.27")
            .required("", "order-history", "GET /restaurants/available"),
        Screen::get("v2-restaurants", "/v2/restaurants")
            .required("", "restaurant", "GET /restaurants"),
        Screen::get("v2-menu", "/v2/restaurants/restaurant-1/menu")
            .required("", "restaurant", "GET /restaurants/restaurant-1").or_not_found(),
        Screen::put("v2-revise-menu", "/v2/restaurants/restaurant-1/menu", menu).header("if-match", "\"v4\"")
            .required("", "restaurant", "PUT /restaurants/restaurant-1/menu").or_not_found(),
    ];
    let matrix = Matrix {
        setup: SETUP,
        screens,
        without_upstreams: &[
            "v2-usage",
            "v2-webhooks",
            "v2-add-webhook",
            "v2-webhook",
            "v2-remove-webhook",
            "v2-rotate-webhook",
            "v2-enable-webhook",
            "v2-test-webhook",
            "v2-webhook-deliveries",
            "v2-replay-webhook",
            "openapi",
            "docs",
        ],
    };
    matrix.run().await;
}
