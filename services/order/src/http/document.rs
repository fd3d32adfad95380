//! The OpenAPI document of the order service. Its paths are those of the route table; a test compares them.

use ftgo_chassis::openapi::{Document, Operation, schema_ref};
use serde_json::{Value, json};

pub(crate) fn document() -> Document {
    let idempotent = |operation: Operation| {
        operation.header(
            "Idempotency-Key",
            false,
            "A repeated request with the same key gets the first answer",
        )
    };
    let guarded = |operation: Operation| {
        operation.header(
            "If-Match",
            false,
            "The order's ETag; 412 when it has changed",
        )
    };
    Document::new("FTGO order")
        .schema("Money", money())
        .schema("Address", address())
        .schema("RequestedLineItem", requested_line_item())
        .schema("PlaceOrder", place_order())
        .schema("ReviseOrder", object(&["lineItems"], json!({"lineItems": requested_line_items()})))
        .schema("Accepted", object(&["orderId", "state"], json!({"orderId": text(), "state": schema_ref("OrderState")})))
        .schema("OrderState", json!({"type": "string", "enum": [
            "APPROVAL_PENDING", "APPROVED", "REJECTED", "CANCEL_PENDING", "CANCELLED", "REVISION_PENDING",
        ]}))
        .schema("Order", order())
        .schema("Orders", items("Order"))
        .schema("Saga", saga())
        .schema("Sagas", items("Saga"))
        .operation(idempotent(
            Operation::post("/orders", "Places an order; a saga approves or rejects it")
                .status(202)
                .request(schema_ref("PlaceOrder"))
                .response(schema_ref("Accepted")),
        ))
        .operation(
            Operation::get("/orders", "Several orders; unknown ids are missing")
                .query("ids", true, "Comma-separated, at most 200")
                .response(schema_ref("Orders")),
        )
        .operation(
            Operation::get("/orders/{id}", "One order, with its version as ETag")
                .header("If-None-Match", false, "An ETag; 304 when the order has not changed")
                .response(schema_ref("Order")),
        )
        .operation(guarded(idempotent(
            Operation::post("/orders/{id}/cancel", "Begins to cancel an approved order")
                .status(202)
                .response(schema_ref("Accepted")),
        )))
        .operation(guarded(idempotent(
            Operation::post("/orders/{id}/revise", "Proposes other line items for an approved order")
                .status(202)
                .request(schema_ref("ReviseOrder"))
                .response(schema_ref("Accepted")),
        )))
        .operation(
            Operation::get("/sagas/{id}", "The sagas about an order, oldest first").response(schema_ref("Sagas")),
        )
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "required": required, "properties": properties})
}

fn items(schema: &str) -> Value {
    object(
        &["items"],
        json!({"items": {"type": "array", "items": schema_ref(schema)}}),
    )
}

fn text() -> Value {
    json!({"type": "string"})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn optional(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

fn money() -> Value {
    let amount = json!({"type": "string", "pattern": r"^-?\d+\.\d{2}$", "examples": ["61.70"]});
    object(
        &["amount", "currency"],
        json!({"amount": amount, "currency": {"type": "string", "examples": ["USD"]}}),
    )
}

fn address() -> Value {
    object(
        &["street1", "city", "state", "zip"],
        json!({"street1": text(), "street2": text(), "city": text(), "state": text(), "zip": text()}),
    )
}

fn requested_line_item() -> Value {
    let quantity =
        json!({"type": "integer", "minimum": 1, "maximum": crate::domain::Selection::MAX_QUANTITY});
    object(
        &["menuItemId", "quantity"],
        json!({"menuItemId": text(), "quantity": quantity}),
    )
}

fn requested_line_items() -> Value {
    let most = crate::domain::Selection::MAX_LINES;
    json!({"type": "array", "minItems": 1, "maxItems": most, "items": schema_ref("RequestedLineItem")})
}

fn place_order() -> Value {
    object(
        &["consumerId", "restaurantId", "deliveryAddress", "lineItems"],
        json!({
            "consumerId": text(),
            "restaurantId": text(),
            "deliveryAddress": schema_ref("Address"),
            "deliveryTime": optional(time()),
            "lineItems": requested_line_items(),
        }),
    )
}

fn order() -> Value {
    let line_item = object(
        &["menuItemId", "name", "price", "quantity"],
        json!({"menuItemId": text(), "name": text(), "price": schema_ref("Money"), "quantity": {"type": "integer"}}),
    );
    object(
        &[
            "id",
            "consumerId",
            "restaurantId",
            "restaurantName",
            "state",
            "version",
            "lineItems",
            "total",
            "deliveryAddress",
            "deliveryTime",
            "rejectionReason",
            "createdAt",
            "updatedAt",
        ],
        json!({
            "id": text(),
            "consumerId": text(),
            "restaurantId": text(),
            "restaurantName": text(),
            "state": schema_ref("OrderState"),
            "version": {"type": "integer"},
            "lineItems": {"type": "array", "items": line_item},
            "total": schema_ref("Money"),
            "deliveryAddress": schema_ref("Address"),
            "deliveryTime": optional(time()),
            "rejectionReason": optional(text()),
            "createdAt": time(),
            "updatedAt": time(),
        }),
    )
}

fn saga() -> Value {
    object(
        &[
            "id",
            "kind",
            "state",
            "step",
            "compensating",
            "attempt",
            "createdAt",
            "updatedAt",
        ],
        json!({
            "id": text(),
            "kind": {"type": "string", "enum": ["CreateOrder", "CancelOrder", "ReviseOrder"]},
            "state": {"type": "string", "enum": ["RUNNING", "COMPLETED", "COMPENSATED"]},
            "step": text(),
            "compensating": {"type": "boolean"},
            "attempt": {"type": "integer", "minimum": 1},
            "retryAt": optional(time()),
            "reason": optional(text()),
            "lastError": optional(text()),
            "createdAt": time(),
            "updatedAt": time(),
        }),
    )
}
