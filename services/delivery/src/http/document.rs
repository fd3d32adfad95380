//! The OpenAPI document of deliveries and couriers. The routes themselves stand in `http`.

use ftgo_chassis::openapi::{Document, Operation, schema_ref};
use serde_json::{Value, json};

use crate::NAME;
use crate::delivery::DeliveryState;

#[must_use]
pub fn document() -> Document {
    let report = |path, summary| {
        Operation::post(path, summary)
            .header("If-Match", false, "The ETag of the delivery that was seen")
            .request(json!({
                "type": "object",
                "required": ["courierId"],
                "properties": {"courierId": {"type": "string", "description": "The assigned courier"}},
            }))
            .response(schema_ref("Delivery"))
    };
    Document::new(NAME)
        .schema("Address", address())
        .schema("GeoPoint", geo_point())
        .schema("Delivery", delivery())
        .schema("Courier", courier())
        .schema("Plan", plan())
        .operation(
            Operation::get("/deliveries", "Deliveries by their ids")
                .query("ids", true, "Comma-separated; unknown ids are left out")
                .response(json!({
                    "type": "object",
                    "required": ["items"],
                    "properties": {"items": {"type": "array", "items": schema_ref("Delivery")}},
                })),
        )
        .operation(
            Operation::get("/deliveries/{id}", "One delivery").response(schema_ref("Delivery")),
        )
        .operation(report(
            "/deliveries/{id}/pickup",
            "The courier has the food",
        ))
        .operation(report(
            "/deliveries/{id}/dropoff",
            "The consumer has the food",
        ))
        .operation(
            Operation::post(
                "/couriers/{id}/availability",
                "Whether the courier takes deliveries",
            )
            .request(json!({
                "type": "object",
                "required": ["available"],
                "properties": {"available": {"type": "boolean"}},
            }))
            .response(schema_ref("Courier")),
        )
        .operation(
            Operation::put("/couriers/{id}/location", "Where the courier is")
                .request(schema_ref("GeoPoint"))
                .response(schema_ref("Courier")),
        )
        .operation(
            Operation::get(
                "/couriers/{id}/plan",
                "What the courier does next, in the order of time",
            )
            .response(schema_ref("Plan")),
        )
}

fn address() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["street1", "city", "state", "zip"],
        "properties": {"street1": text, "street2": text, "city": text, "state": text, "zip": text},
    })
}

fn geo_point() -> Value {
    json!({
        "type": "object",
        "required": ["lat", "lng"],
        "properties": {
            "lat": {"type": "number", "minimum": -90, "maximum": 90},
            "lng": {"type": "number", "minimum": -180, "maximum": 180},
        },
    })
}

fn delivery() -> Value {
    let text = json!({"type": "string"});
    let time = json!({"type": "string", "format": "date-time"});
    let perhaps_time = json!({"type": ["string", "null"], "format": "date-time"});
    let states = DeliveryState::ALL.map(DeliveryState::as_str);
    json!({
        "type": "object",
        "required": [
            "id", "orderId", "restaurantId", "state", "version", "pickupAddress", "deliveryAddress", "lineItems",
            "courier", "createdAt", "updatedAt",
        ],
        "properties": {
            "id": text, "orderId": text, "restaurantId": text,
            "state": {"type": "string", "enum": states},
            "version": {"type": "integer"},
            "pickupAddress": schema_ref("Address"), "deliveryAddress": schema_ref("Address"),
            "lineItems": {"type": "array", "items": {
                "type": "object",
                "required": ["name", "quantity"],
                "properties": {"name": text, "quantity": {"type": "integer"}},
            }},
            "courier": {"oneOf": [{"type": "null"}, {
                "type": "object",
                "required": ["id", "name", "location"],
                "properties": {"id": text, "name": text, "location": perhaps_location()},
            }]},
            "scheduledPickupTime": perhaps_time, "scheduledDeliveryTime": perhaps_time,
            "pickedUpAt": perhaps_time, "deliveredAt": perhaps_time,
            "createdAt": time, "updatedAt": time,
        },
    })
}

fn courier() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["id", "name", "available", "location", "version"],
        "properties": {
            "id": text, "name": text, "available": {"type": "boolean"}, "location": perhaps_location(),
            "version": {"type": "integer"},
        },
    })
}

fn plan() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["courierId", "available", "location", "actions"],
        "properties": {
            "courierId": text, "available": {"type": "boolean"}, "location": perhaps_location(),
            "actions": {"type": "array", "items": {
                "type": "object",
                "required": ["type", "deliveryId", "orderId", "restaurantId", "address", "time"],
                "properties": {
                    "type": {"type": "string", "enum": ["PICKUP", "DROPOFF"]},
                    "deliveryId": text, "orderId": text, "restaurantId": text, "address": schema_ref("Address"),
                    "time": {"type": "string", "format": "date-time"},
                },
            }},
        },
    })
}

fn perhaps_location() -> Value {
    json!({"oneOf": [{"type": "null"}, schema_ref("GeoPoint")]})
}
