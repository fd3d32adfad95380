//! `POST /orders`: places an order and starts the saga that approves or rejects it.
//! Not here: what an order may be (`domain`), nor the saga's steps (`sagas`).

use axum::extract::State;
use chrono::{DateTime, Utc};
use ftgo_chassis::idempotency::{Attempt, IdempotencyKey, StoredResponse, begin};
use ftgo_chassis::{Address, Caller, FieldError, Json, ServiceError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::not_started;
use super::selection::{RequestedLine, selection};
use super::{App, accepted, now};
use crate::domain::{NewOrder, Order, Restaurant, Selection};
use crate::sagas::{CREATE_ORDER, SagaData};
use crate::store;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlaceOrder {
    consumer_id: String,
    restaurant_id: String,
    delivery_address: Address,
    #[serde(default)]
    delivery_time: Option<DateTime<Utc>>,
    line_items: Vec<RequestedLine>,
}

pub(super) async fn place(
    State(app): State<App>,
    caller: Caller,
    key: IdempotencyKey,
    Json(body): Json<PlaceOrder>,
) -> Result<StoredResponse, ServiceError> {
    if !caller.is_consumer(&body.consumer_id) {
        return Err(ServiceError::Forbidden);
    }
    let operation = format!("POST /orders of {}", body.consumer_id);
    // Before any check: what was accepted once stays accepted, though the delivery time may have passed since.
    if let Some(answer) = app.earlier_answer(&operation, &key, &body).await? {
        return Ok(answer);
    }
    let selection = check(&body).map_err(ServiceError::Validation)?;
    let offers_all = |restaurant: &Restaurant| offers(restaurant, &selection);
    let restaurant = app
        .replica
        .wait_for(app.database.read(), &body.restaurant_id, offers_all)
        .await?
        .ok_or(ServiceError::NotFound)?;
    let new = NewOrder {
        id: Uuid::now_v7().to_string(),
        consumer_id: body.consumer_id.clone(),
        restaurant_id: body.restaurant_id.clone(),
        selection,
        delivery_address: body.delivery_address.clone(),
        delivery_time: body.delivery_time,
    };
    let (order, event) = Order::place(new, &restaurant, now())?;

    let mut tx = app.database.write().await?;
    // Again, now that nobody else can write: the same request may have come twice at the same time.
    let slot = match begin(&mut tx, &operation, &key, &body).await? {
        Attempt::First(slot) => slot,
        Attempt::Repeated(answer) => return Ok(answer),
    };
    store::insert(&mut tx, &order, event).await?;
    let data = SagaData::of(&order, order.items());
    app.orchestrator
        .start(&mut tx, CREATE_ORDER, order.id(), data)
        .await
        .map_err(not_started)?;
    let answer = accepted(&order)?;
    slot.store(&mut tx, &answer).await?;
    app.commit(tx, CREATE_ORDER).await?;
    Ok(answer)
}

fn check(body: &PlaceOrder) -> Result<Selection, Vec<FieldError>> {
    let mut faults = body.delivery_address.check("/deliveryAddress");
    if body.consumer_id.trim().is_empty() {
        faults.push(FieldError::new("/consumerId", "must not be empty"));
    }
    match selection(&body.line_items) {
        Ok(selection) if faults.is_empty() => Ok(selection),
        Ok(_) => Err(faults),
        Err(more) => {
            faults.extend(more);
            Err(faults)
        }
    }
}

fn offers(restaurant: &Restaurant, selection: &Selection) -> bool {
    selection
        .menu_item_ids()
        .all(|id| restaurant.menu_item(id).is_some())
}
