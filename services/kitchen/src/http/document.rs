//! The kitchen's OpenAPI document. The routes themselves stand in `http`.

use ftgo_chassis::openapi::{Document, Operation, schema_ref};
use serde_json::{Value, json};

use crate::NAME;
use crate::ticket::TicketState;

#[must_use]
pub fn document() -> Document {
    let staff_move = |path, summary| {
        Operation::post(path, summary)
            .header("If-Match", false, "The ETag of the ticket that was seen")
            .response(schema_ref("Ticket"))
    };
    Document::new(NAME)
        .schema("Ticket", ticket())
        .schema("TicketList", ticket_list())
        .operation(
            Operation::get("/tickets", "Tickets by ids, or those of a restaurant, oldest first")
                .query("ids", false, "Comma-separated; unknown ids are left out")
                .query("restaurantId", false, "Instead of ids: a page of the restaurant's tickets")
                .query("state", false, "Only tickets in this state")
                .query("pageSize", false, "1 to 100, default 20")
                .query("cursor", false, "nextCursor of the page before")
                .response(schema_ref("TicketList")),
        )
        .operation(Operation::get("/tickets/{id}", "One ticket").response(schema_ref("Ticket")))
        .operation(
            staff_move("/tickets/{id}/accept", "Accepts the order").request(json!({
                "type": "object",
                "required": ["readyBy"],
                "properties": {"readyBy": {"type": "string", "format": "date-time", "description": "In the future"}},
            })),
        )
        .operation(staff_move("/tickets/{id}/preparing", "Cooking has begun"))
        .operation(staff_move("/tickets/{id}/ready", "Ready to be picked up"))
        .operation(staff_move("/tickets/{id}/picked-up", "The courier has it"))
}

fn ticket() -> Value {
    let text = json!({"type": "string"});
    let time = json!({"type": "string", "format": "date-time"});
    let perhaps_time = json!({"type": ["string", "null"], "format": "date-time"});
    let states = TicketState::ALL.map(TicketState::as_str);
    json!({
        "type": "object",
        "required": ["id", "orderId", "restaurantId", "state", "version", "lineItems", "createdAt", "updatedAt"],
        "properties": {
            "id": text, "orderId": text, "restaurantId": text,
            "state": {"type": "string", "enum": states},
            "version": {"type": "integer"},
            "lineItems": {"type": "array", "items": {
                "type": "object",
                "required": ["menuItemId", "name", "quantity"],
                "properties": {"menuItemId": text, "name": text, "quantity": {"type": "integer", "minimum": 1}},
            }},
            "readyBy": perhaps_time, "acceptedAt": perhaps_time, "preparingAt": perhaps_time,
            "readyForPickupAt": perhaps_time, "pickedUpAt": perhaps_time,
            "createdAt": time, "updatedAt": time,
        },
    })
}

fn ticket_list() -> Value {
    json!({
        "type": "object",
        "required": ["items", "nextCursor"],
        "properties": {
            "items": {"type": "array", "items": schema_ref("Ticket")},
            "nextCursor": {"type": ["string", "null"]},
        },
    })
}
