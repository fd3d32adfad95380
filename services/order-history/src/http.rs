//! The routes of the order history. Not here: health, metrics and limits (the chassis).

mod events;
mod order_events;
mod orders;
mod page;
mod restaurants;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use ftgo_chassis::openapi::{Document, Operation, schema_ref};
use ftgo_messaging::Database;
use serde_json::{Value, json};

use crate::feed::Feed;

/// What the routes need.
#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) database: Database,
    pub(crate) feed: Arc<Feed>,
}

/// What anybody may read.
pub(crate) const PUBLIC: &[&str] = &["/restaurants/available"];

/// The service's own routes.
pub(crate) fn router(state: AppState) -> Router {
    Router::new()
        .route("/orders", get(orders::find))
        .route("/orders/{id}/events", get(order_events::read))
        .route("/restaurants/available", get(restaurants::find))
        .route("/events", get(events::follow))
        .with_state(state)
}

/// What the routes look like from outside, at `/openapi.json`.
pub(crate) fn document() -> Document {
    let text = json!({"type": "string"});
    let optional = json!({"type": ["string", "null"]});
    let optional_integer = json!({"type": ["integer", "null"]});
    let money = json!({"type": "object", "properties": {"amount": text, "currency": text}});
    let page = |item: &str| -> Value {
        json!({
            "type": "object",
            "required": ["items", "nextCursor"],
            "properties": {"items": {"type": "array", "items": schema_ref(item)}, "nextCursor": optional},
        })
    };
    Document::new(crate::NAME)
        .schema(
            "Order",
            json!({
                "type": "object",
                "properties": {
                    "id": text, "consumerId": text, "restaurantId": text, "restaurantName": text, "state": text,
                    "version": {"type": "integer"}, "total": money, "ticketState": optional, "ticketVersion": optional_integer,
                    "deliveryState": optional, "deliveryVersion": optional_integer,
                    "createdAt": text, "updatedAt": text,
                    "lineItems": {"type": "array", "items": {
                        "type": "object",
                        "properties": {"menuItemId": text, "name": text, "quantity": {"type": "integer"}},
                    }},
                },
            }),
        )
        .schema(
            "AvailableRestaurant",
            json!({
                "type": "object",
                "properties": {
                    "id": text, "name": text, "cuisine": text, "openUntil": optional, "orderMinimum": money,
                    "address": {"type": "object"}, "distance": {"type": "number"},
                    "location": {"type": "object", "properties": {"lat": {"type": "number"}, "lng": {"type": "number"}}},
                },
            }),
        )
        .operation(
            Operation::get("/orders", "A consumer's orders, newest first (findOrderHistory)")
                .query("consumerId", true, "Whose orders")
                .query("since", false, "RFC 3339: created then or later")
                .query("status", false, "Order states, separated by commas")
                .query("active", false, "true: neither rejected nor cancelled nor delivered; false: the others")
                .query("keyword", false, "Part of the restaurant's name or of an item's")
                .query("pageSize", false, "1 to 100; 20 unless given")
                .query("cursor", false, "nextCursor of the page before")
                .response(page("Order")),
        )
        .schema(
            "OrderEvents",
            json!({
                "type": "object",
                "required": ["items", "position", "more", "reset"],
                "properties": {
                    "items": {"type": "array", "items": {
                        "type": "object",
                        "required": ["position", "event"],
                        "properties": {"position": {"type": "integer"}, "event": {"type": "object"}},
                    }},
                    "position": {"type": "integer"}, "more": {"type": "boolean"}, "reset": {"type": "boolean"},
                },
            }),
        )
        .operation(
            Operation::get("/orders/{id}/events", "What happened to an order, its ticket and its delivery")
                .query("since", false, "A position in the feed: what came after it; nothing but the end's position without it")
                .query("pageSize", false, "1 to 100; 20 unless given")
                .response(schema_ref("OrderEvents")),
        )
        .operation(
            Operation::get("/restaurants/available", "Open restaurants nearby, nearest first (findAvailableRestaurants)")
                .query("lat", true, "Degrees")
                .query("lng", true, "Degrees")
                .query("radius", false, "Metres, at most 50000; 5000 unless given")
                .query("at", false, "RFC 3339: open then; now unless given")
                .query("cuisine", false, "Exactly this one")
                .query("pageSize", false, "1 to 100; 20 unless given")
                .query("cursor", false, "nextCursor of the page before")
                .response(page("AvailableRestaurant")),
        )
        .operation(
            Operation::get("/events", "All domain events as server-sent events, after their effect can be read here")
                .header("Last-Event-ID", false, "Resume after this event")
                .query("since", false, "The same for who can't send headers; 0 is the beginning")
                .query("type", false, "Types of events, separated by commas")
                .response(text.clone()),
        )
}
