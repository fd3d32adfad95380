//! `GET /events`: the feed of all domain events as server-sent events (WHATWG HTML, 9.2). Not here: what the stream
//! carries (`feed.rs`).

use axum::extract::State;
use axum::response::sse::Sse;
use axum::response::{IntoResponse, Response};
use ftgo_chassis::{Caller, Query, ServiceError};
use http::header::{CACHE_CONTROL, HeaderValue};
use http::{HeaderMap, HeaderName};
use serde::Deserialize;

use super::AppState;
use crate::feed::{Start, TypeFilter};

static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Deserialize)]
pub(super) struct EventsQuery {
    /// As `Last-Event-ID`, for the first request of a client; the header wins, since a browser that reconnects sends the
    /// old address with the new header.
    since: Option<i64>,
    /// Separated by commas.
    #[serde(rename = "type")]
    kinds: Option<String>,
}

pub(super) async fn follow(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, ServiceError> {
    // Everybody's events are in it: it is for gateways, which show each of their clients its own.
    caller.require_internal()?;
    let start = start(&headers, query.since);
    let filter = filter(query.kinds.as_deref());
    let stream = state.feed.follow(start, filter).await?;
    let mut response = Sse::new(stream).into_response();
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn start(headers: &HeaderMap, since: Option<i64>) -> Start {
    let last_event_id = headers.get(&LAST_EVENT_ID).filter(|id| !id.is_empty());
    match (last_event_id, since) {
        (Some(id), _) => id
            .to_str()
            .ok()
            .and_then(|id| id.parse::<i64>().ok())
            .map_or(Start::Nowhere, Start::After),
        (None, Some(since)) => Start::After(since),
        (None, None) => Start::Live,
    }
}

fn filter(kinds: Option<&str>) -> TypeFilter {
    let kinds = kinds
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|kind| !kind.is_empty())
        .map(str::to_owned)
        .collect::<std::collections::HashSet<_>>();
    (!kinds.is_empty()).then_some(kinds)
}
