//! `GET /orders`: a consumer's order history. Not here: the query (`orders.rs` of the crate).

use axum::extract::State;
use chrono::{DateTime, Utc};
use ftgo_chassis::{Caller, Json, Query, ServiceError};
use serde::Deserialize;

use super::AppState;
use super::page::{Page, page_size};
use crate::orders::{self, HistoryError, HistoryFilter, HistoryPlace, ORDER_STATES, OrderRow};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HistoryQuery {
    consumer_id: String,
    since: Option<DateTime<Utc>>,
    /// Separated by commas.
    status: Option<String>,
    active: Option<bool>,
    keyword: Option<String>,
    page_size: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn find(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Page<OrderRow>>, ServiceError> {
    if query.consumer_id.is_empty() {
        return Err(ServiceError::BadRequest(
            "consumerId: must not be empty".to_owned(),
        ));
    }
    if !caller.is_consumer(&query.consumer_id) {
        return Err(ServiceError::Forbidden);
    }
    let page_size = page_size(query.page_size)?;
    let after = query
        .cursor
        .map(|text| HistoryPlace::read(&text))
        .transpose()
        .map_err(|error| ServiceError::BadRequest(format!("cursor: {error}")))?;
    let filter = HistoryFilter {
        consumer_id: query.consumer_id,
        since: query.since,
        states: states(query.status.as_deref())?,
        active: query.active,
        keyword: query
            .keyword
            .map(|keyword| keyword.trim().to_owned())
            .filter(|keyword| !keyword.is_empty()),
    };
    let page = orders::find(state.database.read(), &filter, after.as_ref(), page_size).await?;
    Ok(Json(Page {
        items: page.items,
        next_cursor: page.next.map(|place| place.cursor()),
    }))
}

fn states(status: Option<&str>) -> Result<Vec<String>, ServiceError> {
    let named = status.unwrap_or_default().split(',').map(str::trim);
    named
        .filter(|state| !state.is_empty())
        .map(|state| {
            if ORDER_STATES.contains(&state) {
                Ok(state.to_owned())
            } else {
                Err(ServiceError::BadRequest(format!(
                    "status: one of {}",
                    ORDER_STATES.join(", ")
                )))
            }
        })
        .collect()
}

impl From<HistoryError> for ServiceError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Storage(error) => error.into(),
            HistoryError::Stored { .. } => ServiceError::internal(error),
        }
    }
}
