//! Every part of every screen and action of the app, through every fault. What has to hold then is
//! `gateway_core::testkit`'s.

use gateway_core::testkit::{Matrix, Screen};
use serde_json::json;

use super::fake::{COURIER, SETUP};

const BILL: &str = "POST /ftgo.accounting.v1.Accounting/GetBill";

fn matrix() -> Matrix {
    let items = json!([{"menuItemId": "item-1", "quantity": 2}]);
    let address =
        json!({"street1": "1 Main Library", "city": "Oakland", "state": "CA", "zip": "94612"});
    let order =
        json!({"restaurantId": "restaurant-1", "deliveryAddress": address, "lineItems": items});
    #[rustfmt::skip]
    let screens = vec![
        Screen::get("home", "/home?lat=37.8&lng=-122.27")
            .optional("restaurants", "order-history", "GET /restaurants/available")
            .optional_for(&["activeOrders", "recentOrders"], "order-history", "GET /orders"),
        Screen::get("order-details", "/orders/order-1")
            .required("order", "order", "GET /orders/order-1").or_not_found()
            .optional("ticket", "kitchen", "GET /tickets/order-1")
            .optional("delivery", "delivery", "GET /deliveries/order-1")
            .optional("bill", "accounting", BILL)
            .optional("restaurant", "restaurant", "GET /restaurants/restaurant-1"),
        Screen::get("order-events", "/orders/order-1/events")
            .required("order", "order", "GET /orders/order-1").or_not_found()
            .optional("ticket", "kitchen", "GET /tickets/order-1")
            .optional("delivery", "delivery", "GET /deliveries/order-1"),
        // As a stream, with the feed of events lost: where the log ends has to be asked, too.
        Screen::get("order-events", "/orders/order-1/events").as_stream_of("state")
            .required("order", "order", "GET /orders/order-1").or_not_found()
            .required("", "order-history", "GET /orders/order-1/events").or_not_found()
            .optional("ticket", "kitchen", "GET /tickets/order-1")
            .optional("delivery", "delivery", "GET /deliveries/order-1"),
        // Who comes back is told what was missed, and where the courier is, if that can be found out.
        Screen::get("order-events", "/orders/order-1/events").as_stream_of("TicketPreparing").header("last-event-id", "5")
            .required("", "order", "GET /orders/order-1").or_not_found()
            .required("", "order-history", "GET /orders/order-1/events").or_not_found()
            .optional("", "delivery", "GET /deliveries/order-1"),
        Screen::get("order-history", "/orders")
            .required("", "order-history", "GET /orders"),
        Screen::get("restaurants", "/restaurants?lat=37.8&lng=-122.27")
            .required("", "order-history", "GET /restaurants/available"),
        Screen::get("restaurant", "/restaurants/restaurant-1")
            .required("", "restaurant", "GET /restaurants/restaurant-1").or_not_found(),
        Screen::post("place-order", "/orders", order)
            .required("", "order", "POST /orders").or_not_found(),
        Screen::post("cancel-order", "/orders/order-1/cancel", json!({}))
            .required("", "order", "GET /orders/order-1").or_not_found()
            .required("", "order", "POST /orders/order-1/cancel").or_not_found(),
        Screen::post("revise-order", "/orders/order-1/revise", json!({"lineItems": items}))
            .required("", "order", "GET /orders/order-1").or_not_found()
            .required("", "order", "POST /orders/order-1/revise").or_not_found(),
        Screen::get("courier-plan", "/courier/plan").as_caller(COURIER)
            .required("", "delivery", "GET /couriers/courier-1/plan").or_not_found()
            .optional("deliveries", "delivery", "GET /deliveries")
            .optional("restaurants", "restaurant", "GET /restaurants"),
        Screen::post("courier-availability", "/courier/availability", json!({"available": true})).as_caller(COURIER)
            .required("", "delivery", "POST /couriers/courier-1/availability").or_not_found(),
        Screen::put("courier-location", "/courier/location", json!({"lat": 37.8, "lng": -122.27})).as_caller(COURIER)
            .required("", "delivery", "PUT /couriers/courier-1/location").or_not_found(),
        Screen::post("courier-pickup", "/courier/deliveries/order-1/pickup", json!({})).as_caller(COURIER)
            .required("", "delivery", "GET /deliveries/order-1").or_not_found()
            .required("", "delivery", "POST /deliveries/order-1/pickup").or_not_found(),
        Screen::post("courier-dropoff", "/courier/deliveries/order-1/dropoff", json!({})).as_caller(COURIER)
            .required("", "delivery", "GET /deliveries/order-1").or_not_found()
            .required("", "delivery", "POST /deliveries/order-1/dropoff").or_not_found(),
    ];
    Matrix {
        setup: SETUP,
        screens,
        without_upstreams: &["openapi", "docs"],
    }
}

#[tokio::test]
async fn every_part_may_fail_in_every_way() {
    matrix().run().await;
}
