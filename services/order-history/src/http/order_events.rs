//! `GET /orders/{id}/events`: what the feed has told of one order, for who comes back to it. Whoever wants to hear what
//! happens from now on follows the feed (`events.rs`).

use axum::extract::{Path, State};
use ftgo_chassis::{Caller, Json, Query, ServiceError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::AppState;
use super::page::page_size;
use crate::event_log;
use crate::orders;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Since {
    /// As the feed's `Last-Event-ID`.
    since: Option<i64>,
    page_size: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct OrderEvents {
    items: Vec<Item>,
    /// Up to here the feed has been looked through.
    position: i64,
    /// Whether to ask again, since `position`.
    more: bool,
    /// `since` is no place in the feed any more: what came between cannot be told.
    reset: bool,
}

#[derive(Serialize)]
struct Item {
    position: i64,
    /// The CloudEvents envelope.
    event: Box<RawValue>,
}

/// For the consumer whose order it is; for everybody else it does not exist.
pub(super) async fn read(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<Since>,
) -> Result<Json<OrderEvents>, ServiceError> {
    let page_size = page_size(query.page_size)?;
    let pool = state.database.read();
    let limit = match orders::consumer_of(pool, &id).await? {
        Some(consumer) if !caller.is_consumer(&consumer) => return Err(ServiceError::NotFound),
        Some(_) => page_size,
        // It may have been placed a moment ago. Whose it is is not known yet, so nothing is told of it.
        None => 0,
    };
    let limit = u32::try_from(limit).map_err(ServiceError::internal)?;
    let passage = event_log::read_subject(pool, &id, query.since, limit).await?;
    let items = passage.events.into_iter().map(|logged| {
        Ok(Item {
            position: logged.sequence,
            event: RawValue::from_string(logged.event)?,
        })
    });
    Ok(Json(OrderEvents {
        items: items
            .collect::<Result<_, serde_json::Error>>()
            .map_err(ServiceError::internal)?,
        position: passage.position,
        more: passage.more,
        reset: passage.reset,
    }))
}
