//! `POST /orders/{id}/revise`: proposes other line items and starts the saga that confirms or rejects them.
//! Not here: prices and the order minimum (`domain`).

use axum::extract::{Path, State};
use ftgo_chassis::etag::IfMatch;
use ftgo_chassis::idempotency::{Attempt, IdempotencyKey, StoredResponse, begin};
use ftgo_chassis::{Caller, Json, ServiceError};
use serde::{Deserialize, Serialize};

use super::error::not_started;
use super::selection::{RequestedLine, selection};
use super::{App, accepted, now, own};
use crate::domain::{Order, Restaurant};
use crate::sagas::{REVISE_ORDER, SagaData};
use crate::store;

/// All line items that the order shall have, not only those that change.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReviseOrder {
    line_items: Vec<RequestedLine>,
}

pub(super) async fn revise(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    key: IdempotencyKey,
    if_match: IfMatch,
    Json(body): Json<ReviseOrder>,
) -> Result<StoredResponse, ServiceError> {
    let known = own(&caller, store::find(app.database.read(), &id).await?)?;
    let operation = format!("POST /orders/{id}/revise of {}", known.consumer_id());
    if let Some(answer) = app.earlier_answer(&operation, &key, &body).await? {
        return Ok(answer);
    }
    let selection = selection(&body.line_items).map_err(ServiceError::Validation)?;
    // Waiting for a new menu item must not hold up the writer, so it comes before the transaction.
    let offers_all = |restaurant: &Restaurant| {
        selection
            .menu_item_ids()
            .all(|id| has(&known, id) || restaurant.menu_item(id).is_some())
    };
    let restaurant = app
        .replica
        .wait_for(app.database.read(), known.restaurant_id(), offers_all)
        .await?;

    let mut tx = app.database.write().await?;
    let slot = match begin(&mut tx, &operation, &key, &body).await? {
        Attempt::First(slot) => slot,
        Attempt::Repeated(answer) => return Ok(answer),
    };
    let mut order = store::find_in(&mut tx, &id)
        .await?
        .ok_or(ServiceError::NotFound)?;
    if_match.check(order.version())?;
    let menu_item = |id: &str| {
        restaurant
            .as_ref()
            .and_then(|restaurant| restaurant.menu_item(id))
    };
    let event = order.propose_revision(&selection, menu_item, now())?;
    store::update(&mut tx, &order, event).await?;
    let proposed = order.proposed().unwrap_or(order.items());
    let data = SagaData::of(&order, proposed);
    app.orchestrator
        .start(&mut tx, REVISE_ORDER, &id, data)
        .await
        .map_err(not_started)?;
    let answer = accepted(&order)?;
    slot.store(&mut tx, &answer).await?;
    app.commit(tx, REVISE_ORDER).await?;
    Ok(answer)
}

fn has(order: &Order, menu_item_id: &str) -> bool {
    order
        .items()
        .line_items()
        .iter()
        .any(|item| item.menu_item_id == menu_item_id)
}
