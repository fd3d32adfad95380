//! The OpenAPI document of the routes. What they do is beside them, in `http`.

use ftgo_chassis::openapi::{Document, Operation, schema_ref};
use serde_json::{Value, json};

pub(crate) fn document() -> Document {
    let mut restaurant = draft();
    restaurant["required"] = json!([
        "id",
        "name",
        "address",
        "location",
        "cuisine",
        "timeZone",
        "openingHours",
        "orderMinimum",
        "menu",
        "version",
        "createdAt"
    ]);
    restaurant["properties"]["id"] = json!({"type": "string"});
    restaurant["properties"]["version"] = json!({"type": "integer", "minimum": 1});
    restaurant["properties"]["createdAt"] = json!({"type": "string", "format": "date-time"});

    Document::new("restaurant")
        .schema("Money", money())
        .schema("Menu", menu())
        .schema("RestaurantDraft", draft())
        .schema("Restaurant", restaurant)
        .operation(
            Operation::post("/restaurants", "Creates a restaurant")
                .header(
                    "Idempotency-Key",
                    false,
                    "The same key with the same body creates nothing a second time",
                )
                .request(schema_ref("RestaurantDraft"))
                .status(201)
                .response(schema_ref("Restaurant")),
        )
        .operation(
            Operation::get(
                "/restaurants",
                "Restaurants by their ids, in the order of the question; unknown ids are left out",
            )
            .query("ids", true, "At most 200 ids with commas between them")
            .response(json!({
                "type": "object",
                "required": ["items"],
                "properties": {"items": {"type": "array", "items": schema_ref("Restaurant")}},
            })),
        )
        .operation(
            Operation::get(
                "/restaurants/{id}",
                "One restaurant with its menu; 304 for who has its version already",
            )
            .header("If-None-Match", false, "The entity tags that the caller has")
            .response(schema_ref("Restaurant")),
        )
        .operation(
            Operation::put(
                "/restaurants/{id}/menu",
                "Replaces the menu of the version that the caller knows; the same menu again is no new version. For those whose \
                 restaurant_ids name the restaurant; 404 for others",
            )
            .header("If-Match", true, "The ETag of the restaurant: 428 without, 412 when it is not current")
            .request(schema_ref("Menu"))
            .response(schema_ref("Restaurant")),
        )
}

fn money() -> Value {
    json!({
        "type": "object",
        "required": ["amount", "currency"],
        "properties": {
            "amount": {"type": "string", "description": "Exact, at most 2 decimals", "examples": ["61.70"]},
            "currency": {"type": "string", "description": "ISO 4217", "examples": ["USD"]},
        },
    })
}

fn menu() -> Value {
    json!({
        "type": "object",
        "required": ["items"],
        "properties": {"items": {"type": "array", "maxItems": 500, "items": {
            "type": "object",
            "required": ["id", "name", "price"],
            "properties": {
                "id": {"type": "string", "maxLength": 100, "description": "Unique in the menu"},
                "name": {"type": "string", "maxLength": 200},
                "description": {"type": "string", "maxLength": 2000, "default": ""},
                "price": {
                    "$ref": "#/components/schemas/Money",
                    "description": "More than zero, in the currency of orderMinimum",
                },
            },
        }}},
    })
}

fn draft() -> Value {
    json!({
        "type": "object",
        "required": ["name", "address", "location", "cuisine", "timeZone", "openingHours", "orderMinimum"],
        "properties": {
            "name": {"type": "string", "maxLength": 200},
            "address": {
                "type": "object",
                "required": ["street1", "city", "state", "zip"],
                "properties": {
                    "street1": {"type": "string"},
                    "street2": {"type": "string"},
                    "city": {"type": "string"},
                    "state": {"type": "string"},
                    "zip": {"type": "string"},
                },
            },
            "location": {
                "type": "object",
                "required": ["lat", "lng"],
                "properties": {
                    "lat": {"type": "number", "minimum": -90, "maximum": 90},
                    "lng": {"type": "number", "minimum": -180, "maximum": 180},
                },
            },
            "cuisine": {"type": "string", "maxLength": 200},
            "timeZone": {"type": "string", "description": "IANA name", "examples": ["America/Los_Angeles"]},
            "openingHours": {"type": "array", "minItems": 1, "maxItems": 50, "items": {
                "type": "object",
                "description": "Local time; `closes` at or before `opens` is the next day's",
                "required": ["day", "opens", "closes"],
                "properties": {
                    "day": {"enum": ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]},
                    "opens": {"type": "string", "examples": ["18:00"]},
                    "closes": {"type": "string", "examples": ["02:00", "24:00"]},
                },
            }},
            "orderMinimum": schema_ref("Money"),
            "menu": schema_ref("Menu"),
        },
    })
}
