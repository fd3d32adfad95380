//! FTGO's services as the app's tests need them: what they usually answer. The sockets, the record of what was asked and the
//! faults are `gateway_core::testkit`; the real services, and how they fail, are in `tests/`.
use gateway_core::testkit::{Answer, Key, Seen, Service, Setup};
use prost::Message;
use serde_json::{Value, json};

use crate::clients::accounting::{Bill, proto::Money};

/// The callers are consumer-1 and courier-1, by API keys: the routes' roles are for tokens, which `tests/` has.
pub(super) const SETUP: Setup = Setup {
    app: crate::APP,
    config: &[include_str!("../../../config/mobile.toml"), OVERLAY],
    services: &[
        Service::Json("order"),
        Service::Json("kitchen"),
        Service::Json("delivery"),
        Service::Grpc("accounting"),
        Service::Json("restaurant"),
        Service::Json("order-history"),
    ],
    key_prefix: "ftgo",
    keys: &[
        Key {
            owner: "consumer-1",
            scopes: &["orders:read", "orders:write"],
            attributes: &[],
        },
        Key {
            owner: "courier-1",
            scopes: &["deliveries:read", "deliveries:write"],
            attributes: &[],
        },
    ],
    usual,
};

/// The place of courier-1 among the callers.
pub(super) const COURIER: usize = 1;

pub(super) const OVERLAY: &str = r#"
    [policies.home]
    access = "authenticated"
    [policies.order-details]
    access = "authenticated"
    [policies.order-history]
    access = "authenticated"
    [policies.place-order]
    access = "authenticated"
    [policies.cancel-order]
    access = "authenticated"
    [policies.revise-order]
    access = "authenticated"
    [policies.order-events]
    access = "authenticated"
    [policies.courier-plan]
    access = "authenticated"
    [policies.courier-availability]
    access = "authenticated"
    [policies.courier-location]
    access = "authenticated"
    [policies.courier-pickup]
    access = "authenticated"
    [policies.courier-dropoff]
    access = "authenticated"
"#;

fn bill() -> Bill {
    Bill {
        order_id: "order-1".to_owned(),
        amount: Some(Money {
            amount: "61.70".to_owned(),
            currency: "USD".to_owned(),
        }),
        state: "AUTHORIZED".to_owned(),
        authorized_at: "2030-01-01T18:00:01Z".to_owned(),
        updated_at: "2030-01-01T18:00:01Z".to_owned(),
    }
}

/// One order of consumer-1 on its way, with more fields than the app knows.
fn usual(seen: &Seen) -> Answer {
    let address =
        json!({"street1": "1 Main Library", "city": "Oakland", "state": "CA", "zip": "94612"});
    let usd = |amount: &str| json!({"amount": amount, "currency": "USD"});
    Answer::ok(&match seen.call.as_str() {
        "GET /orders/order-1" => json!({
            "id": "order-1", "consumerId": "consumer-1", "restaurantId": "restaurant-1",
            "restaurantName": "Ajanta", "state": "APPROVED", "version": 3, "total": usd("61.70"),
            "lineItems": [{"menuItemId": "item-1", "name": "Chicken Vindaloo", "price": usd("12.34"), "quantity": 5}],
            "deliveryAddress": address, "deliveryTime": null, "rejectionReason": null,
            "createdAt": "2030-01-01T18:00:00Z", "updatedAt": "2030-01-01T18:00:01Z", "internalNote": "not for the app",
        }),
        "POST /orders" => {
            let placed = json!({"orderId": "order-2", "state": "APPROVAL_PENDING"});
            return Answer::json(202, &placed).header("location", "/orders/order-2");
        }
        "POST /orders/order-1/cancel" => {
            json!({"orderId": "order-1", "state": "CANCEL_PENDING"})
        }
        "POST /orders/order-1/revise" => {
            json!({"orderId": "order-1", "state": "REVISION_PENDING"})
        }
        "GET /tickets/order-1" => json!({
            "id": "order-1", "orderId": "order-1", "restaurantId": "restaurant-1", "state": "ACCEPTED", "version": 2,
            "lineItems": [], "updatedAt": "2030-01-01T18:02:00Z", "readyBy": "2030-01-01T18:30:00Z", "acceptedAt": "2030-01-01T18:02:00Z",
            "preparingAt": null, "readyForPickupAt": null, "pickedUpAt": null,
        }),
        "GET /deliveries/order-1" => json!({
            "id": "order-1", "orderId": "order-1", "state": "SCHEDULED", "version": 3, "updatedAt": "2030-01-01T18:02:01Z",
            "courier": {"id": "courier-1", "name": "Courier One", "location": {"lat": 37.81, "lng": -122.26}},
            "scheduledPickupTime": "2030-01-01T18:30:00Z", "scheduledDeliveryTime": "2030-01-01T18:45:00Z",
            "pickedUpAt": null, "deliveredAt": null,
        }),
        "POST /ftgo.accounting.v1.Accounting/GetBill" => {
            return Answer::grpc(&bill().encode_to_vec());
        }
        "GET /restaurants/restaurant-1" => json!({
            "id": "restaurant-1", "name": "Ajanta", "address": address, "location": {"lat": 37.8, "lng": -122.27},
            "cuisine": "Indian", "timeZone": "America/Los_Angeles", "orderMinimum": usd("15.00"), "version": 4,
            "openingHours": [{"day": "MONDAY", "opens": "11:00", "closes": "24:00"}],
            "menu": {"items": [
                {"id": "item-1", "name": "Chicken Vindaloo", "description": "Hot", "price": usd("12.34")},
                {"id": "item-2", "name": "Naan", "description": null, "price": usd("3.00")},
            ]},
        }),
        "GET /restaurants/available" => json!({
            "items": [nearby()],
            "nextCursor": "restaurants-2",
        }),
        "GET /orders" => json!({
            "items": past_orders(seen.parameter("active")),
            "nextCursor": "orders-2",
        }),
        // What was logged of the order, up to the end of the feed.
        "GET /orders/order-1/events" => {
            let event = json!({
                "specversion": "1.0", "id": "event-7", "source": "/kitchen", "type": "TicketPreparing", "subject": "order-1",
                "time": "2030-01-01T18:10:00Z",
                "data": {"id": "order-1", "state": "PREPARING", "version": 3, "updatedAt": "2030-01-01T18:10:00Z"},
            });
            let items = match seen.parameter("since") {
                Some(_) => vec![json!({"position": 7, "event": event})],
                None => Vec::new(),
            };
            json!({"items": items, "position": 9, "more": false, "reset": false})
        }
        "GET /couriers/courier-1/plan" => {
            let action = |kind: &str, time: &str| {
                json!({
                    "type": kind, "deliveryId": "order-1", "orderId": "order-1", "restaurantId": "restaurant-1",
                    "address": address, "time": time,
                })
            };
            json!({
                "courierId": "courier-1", "available": true, "location": {"lat": 37.81, "lng": -122.26},
                "actions": [action("PICKUP", "2030-01-01T18:30:00Z"), action("DROPOFF", "2030-01-01T18:45:00Z")],
            })
        }
        "GET /deliveries" => json!({"items": [carried("SCHEDULED")]}),
        "POST /deliveries/order-1/pickup" => carried("PICKED_UP"),
        "POST /deliveries/order-1/dropoff" => carried("DELIVERED"),
        "POST /couriers/courier-1/availability" | "PUT /couriers/courier-1/location" => json!({
            "id": "courier-1", "name": "Courier One", "available": true, "location": {"lat": 37.81, "lng": -122.26},
            "version": 7,
        }),
        "GET /restaurants" => json!({"items": [{
            "id": "restaurant-1", "name": "Ajanta", "address": address, "location": {"lat": 37.8, "lng": -122.27},
        }]}),
        _ => return Answer::refused(404, "not-found", json!({"detail": "internal words"})),
    })
}

/// A restaurant in a list.
pub(super) fn nearby() -> Value {
    json!({
        "id": "restaurant-1", "name": "Ajanta", "location": {"lat": 37.8, "lng": -122.27},
        "address": {"street1": "1 Main Library", "city": "Oakland", "state": "CA", "zip": "94612"},
        "cuisine": "Indian", "distance": 420.5, "openUntil": "2030-01-02T07:00:00Z",
        "orderMinimum": {"amount": "15.00", "currency": "USD"},
    })
}

/// Those that `active` asks for, as order-history does.
pub(super) fn past_orders(active: Option<&str>) -> Vec<Value> {
    let under_way = vec![past("order-1", "APPROVED", Some("SCHEDULED"))];
    let ended = vec![
        past("order-0", "APPROVED", Some("DELIVERED")),
        past("order-00", "REJECTED", None),
    ];
    match active {
        Some("true") => under_way,
        Some(_) => ended,
        None => [under_way, ended].concat(),
    }
}

fn past(id: &str, state: &str, delivery: Option<&str>) -> Value {
    let ticket = delivery.map(|state| match state {
        "DELIVERED" => "PICKED_UP",
        _ => "ACCEPTED",
    });
    json!({
        "id": id, "consumerId": "consumer-1", "restaurantId": "restaurant-1", "restaurantName": "Ajanta",
        "state": state, "version": 3, "total": {"amount": "61.70", "currency": "USD"},
        "lineItems": [{"menuItemId": "item-1", "name": "Chicken Vindaloo", "quantity": 5}],
        "ticketState": ticket, "ticketVersion": delivery.map(|_| 2),
        "deliveryState": delivery, "deliveryVersion": delivery.map(|_| 4),
        "createdAt": "2030-01-01T18:00:00Z", "updatedAt": "2030-01-01T18:00:01Z",
    })
}

fn carried(state: &str) -> Value {
    let address =
        |street: &str| json!({"street1": street, "city": "Oakland", "state": "CA", "zip": "94612"});
    json!({
        "id": "order-1", "orderId": "order-1", "restaurantId": "restaurant-1", "state": state, "version": 3,
        "pickupAddress": address("9 Amazing View"), "deliveryAddress": address("1 Main Library"),
        "lineItems": [{"name": "Chicken Vindaloo", "quantity": 5}],
        "courier": {"id": "courier-1", "name": "Courier One", "location": null},
        "scheduledPickupTime": "2030-01-01T18:30:00Z", "scheduledDeliveryTime": "2030-01-01T18:45:00Z",
        "pickedUpAt": null, "deliveredAt": null,
    })
}
