//! Placing an order. Here it is checked that the body has a sensible shape; whether the restaurant delivers there, and
//! whether the consumer may order, is the services' to say. The answer comes before they have: 202.

use axum::extract::State;
use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use gateway_core::RequestContext;
use gateway_core::encode::segment;
use gateway_core::error::{ClientError, Error, FieldError};
use gateway_core::idempotency::{Command, OnceAnswer, OptionalKey, Received};
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::caller;
use crate::clients::Clients;
use crate::clients::order::{Attempt, OrderClient, OrderRequest, Pending, Quantity};
use crate::values::Address;

/// An order to be placed.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{
    "restaurantId": "restaurant-1",
    "deliveryAddress": {"street1": "1432 Alice Street", "city": "Oakland", "state": "CA", "zip": "94612"},
    "lineItems": [{"menuItemId": "restaurant-1-item-1", "quantity": 5}],
}]))]
pub(crate) struct NewOrder {
    #[schemars(length(min = 1))]
    restaurant_id: String,
    delivery_address: Address,
    /// As soon as possible when absent.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    delivery_time: Option<DateTime<FixedOffset>>,
    #[schemars(length(min = 1))]
    line_items: Vec<Quantity>,
}

pub(crate) async fn place(
    context: RequestContext,
    State(clients): State<Clients>,
    command: Command<OptionalKey, NewOrder>,
) -> Result<OnceAnswer<Pending>, Error> {
    let consumer = caller::consumer(&context)?.to_owned();
    let Received {
        key: OptionalKey(key),
        body: order,
        payload,
    } = command.read().await?;
    check(&order)?;
    let call = context.for_required("order");
    let Some(key) = key else {
        return send(&clients.orders, call, &consumer, &order, None).await;
    };
    // An app that repeats its request after a broken connection gets one order; another caller's key is another key.
    let scope = ["mobile", &consumer.clone(), "POST /orders"];
    let orders = clients.orders.clone();
    clients
        .idempotency
        .once(&context, &key, &scope, &payload, move |derived| async move {
            send(&orders, call, &consumer, &order, Some(derived)).await
        })
        .await
}

async fn send(
    orders: &OrderClient,
    call: RequestContext,
    consumer_id: &str,
    order: &NewOrder,
    key: Option<HeaderValue>,
) -> Result<OnceAnswer<Pending>, Error> {
    let delivery_time = order.delivery_time.map(|time| time.to_utc());
    let delivery_time =
        delivery_time.map(|time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::AutoSi, true));
    let request = OrderRequest {
        consumer_id,
        restaurant_id: &order.restaurant_id,
        delivery_address: &order.delivery_address,
        delivery_time: delivery_time.as_deref(),
        line_items: &order.line_items,
    };
    let (attempt, pending) = orders.place(call, &request, key).await?;
    let location = order_path(&pending.order_id);
    let answer = OnceAnswer::new(StatusCode::ACCEPTED, Some(location), &pending)?;
    Ok(answer.replayed(attempt == Attempt::Replayed))
}

/// Where the app looks for what becomes of an order.
pub(super) fn order_path(id: &str) -> String {
    format!("/orders/{}", segment(id))
}

/// What can be said of an order without asking anybody; all faults at once.
fn check(order: &NewOrder) -> Result<(), Error> {
    let mut faults = Vec::new();
    let address = &order.delivery_address;
    for (pointer, text) in [
        ("/restaurantId", &order.restaurant_id),
        ("/deliveryAddress/street1", &address.street1),
        ("/deliveryAddress/city", &address.city),
        ("/deliveryAddress/state", &address.state),
        ("/deliveryAddress/zip", &address.zip),
    ] {
        if text.trim().is_empty() {
            faults.push(FieldError {
                pointer: pointer.to_owned(),
                detail: "must not be empty".to_owned(),
            });
        }
    }
    faults.extend(faults_of(&order.line_items));
    refuse(faults)
}

/// What is wrong with line items, for orders and for revisions.
pub(super) fn faults_of(line_items: &[Quantity]) -> Vec<FieldError> {
    if line_items.is_empty() {
        return vec![FieldError {
            pointer: "/lineItems".to_owned(),
            detail: "must have an item".to_owned(),
        }];
    }
    let mut faults = Vec::new();
    for (index, item) in line_items.iter().enumerate() {
        if item.menu_item_id.trim().is_empty() {
            let pointer = format!("/lineItems/{index}/menuItemId");
            faults.push(FieldError {
                pointer,
                detail: "must not be empty".to_owned(),
            });
        }
        if item.quantity == 0 {
            let pointer = format!("/lineItems/{index}/quantity");
            faults.push(FieldError {
                pointer,
                detail: "must be at least 1".to_owned(),
            });
        }
    }
    faults
}

pub(super) fn refuse(faults: Vec<FieldError>) -> Result<(), Error> {
    if faults.is_empty() {
        Ok(())
    } else {
        Err(ClientError::Unprocessable(faults).into())
    }
}
