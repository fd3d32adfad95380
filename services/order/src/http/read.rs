//! Everything that only reads: one order, several orders, the sagas about an order. Another's order does not exist.
//! Not here: how an order looks to a client (`representation`).

use ::http::StatusCode;
use ::http::header::ETAG;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use ftgo_chassis::etag::{IfNoneMatch, etag};
use ftgo_chassis::{Caller, IdList, Json, Query, ServiceError};
use ftgo_messaging::saga::Instance;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{App, own};
use crate::representation::OrderResource;
use crate::store;

#[derive(Deserialize)]
pub(super) struct Ids {
    ids: IdList,
}

#[derive(Serialize)]
pub(super) struct Items<T> {
    items: Vec<T>,
}

pub(super) async fn one(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    known: IfNoneMatch,
) -> Result<Response, ServiceError> {
    let order = own(&caller, store::find(app.database.read(), &id).await?)?;
    let tag = [(ETAG, etag(order.version()))];
    if known.has(order.version()) {
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    Ok((tag, Json(OrderResource::from(&order))).into_response())
}

/// Unknown ids, and those of others' orders, are simply missing.
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(Ids { ids }): Query<Ids>,
) -> Result<Json<Items<Value>>, ServiceError> {
    let orders = store::find_all(app.database.read(), &ids).await?;
    let items = orders
        .iter()
        .filter(|order| caller.is_consumer(order.consumer_id()))
        .map(|order| serde_json::to_value(OrderResource::from(order)));
    Ok(Json(Items {
        items: items.collect::<Result<_, _>>()?,
    }))
}

pub(super) async fn sagas(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Items<Instance>>, ServiceError> {
    // How FTGO works inside is nobody else's business.
    caller.require_internal()?;
    let items = app.orchestrator.find(app.database.read(), &id).await?;
    // Every order begins with a saga, so that without one there is no such order.
    if items.is_empty() {
        return Err(ServiceError::NotFound);
    }
    Ok(Json(Items { items }))
}
