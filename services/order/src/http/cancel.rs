//! `POST /orders/{id}/cancel`: begins to cancel an order and starts the saga that ends it.
//! Not here: whether the kitchen still allows it, which the saga finds out.

use axum::extract::{Path, State};
use ftgo_chassis::etag::IfMatch;
use ftgo_chassis::idempotency::{Attempt, IdempotencyKey, StoredResponse, begin};
use ftgo_chassis::{Caller, ServiceError};

use super::error::not_started;
use super::{App, accepted, now, own};
use crate::sagas::{CANCEL_ORDER, SagaData};
use crate::store;

pub(super) async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    key: IdempotencyKey,
    if_match: IfMatch,
) -> Result<StoredResponse, ServiceError> {
    let mut tx = app.database.write().await?;
    let mut order = own(&caller, store::find_in(&mut tx, &id).await?)?;
    let operation = format!("POST /orders/{id}/cancel of {}", order.consumer_id());
    let slot = match begin(&mut tx, &operation, &key, &()).await? {
        Attempt::First(slot) => slot,
        Attempt::Repeated(answer) => return Ok(answer),
    };
    if_match.check(order.version())?;
    let event = order.begin_cancel(now())?;
    store::update(&mut tx, &order, event).await?;
    let data = SagaData::of(&order, order.items());
    app.orchestrator
        .start(&mut tx, CANCEL_ORDER, &id, data)
        .await
        .map_err(not_started)?;
    let answer = accepted(&order)?;
    slot.store(&mut tx, &answer).await?;
    app.commit(tx, CANCEL_ORDER).await?;
    Ok(answer)
}
