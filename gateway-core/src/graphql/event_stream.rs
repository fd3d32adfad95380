//! GraphQL over server-sent events, distinct connections mode (graphql-sse's protocol): one operation, its results as `next`
//! events, then `complete`. How long a stream may last, and its last word then, is `edge/event_stream.rs`'s.

use std::convert::Infallible;
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use async_graphql::{Executor, Response as Executed, ServerError};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use http::StatusCode;
use tokio::time::{Instant, interval_at};

use super::media_type::MediaType;
use super::response::{self, to_json};
use super::transport::{Ready, Transport};
use crate::context::RequestContext;
use crate::error::Error;
use crate::streams::{HasPlace, Place};

/// Proxies between us and the client close what is silent.
const HEARTBEAT: Duration = Duration::from_secs(12);

/// The results of an operation, or why there are none: a client that reads events is told by an event.
///
/// # Errors
/// 429 for a subscription of a caller who has as many streams as one may have.
pub(super) fn answer<E: Executor>(
    transport: &Transport<E>,
    prepared: Result<Ready, ServerError>,
    context: &RequestContext,
) -> Result<Response, Error> {
    // It waits for something to happen, is counted as a stream, and takes no place from those who work. Whatever else is
    // told by events is work, and keeps its place to its end.
    let follows = |ready: &Ready| ready.kind == OperationType::Subscription;
    let is_stream = prepared.as_ref().is_ok_and(follows);
    let place = if is_stream {
        context.stream_place()?
    } else {
        None
    };
    let context = context.renewed();
    let results: BoxStream<'static, Executed> = match prepared {
        Ok(ready) => transport.results(ready, context),
        Err(error) => {
            let mut answer = Executed::from_errors(vec![error]);
            response::complete(&mut answer, &context);
            stream::once(async { answer }).boxed()
        }
    };
    let body = Body::from_stream(events(results, place).map(Ok::<_, Infallible>));
    let mut response = response::with_headers(StatusCode::OK, body, MediaType::EventStream);
    if is_stream {
        response.extensions_mut().insert(HasPlace);
    }
    Ok(response)
}

fn events(
    results: BoxStream<'static, Executed>,
    place: Option<Place>,
) -> impl Stream<Item = Bytes> + Send {
    let mut beat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    stream::unfold(Some((results, beat, place)), |state| async {
        let (mut results, mut beat, place) = state?;
        let answer = tokio::select! {
            biased;
            answer = results.next() => answer,
            _ = beat.tick() => {
                let silence = Bytes::from_static(b":\n\n");
                return Some((silence, Some((results, beat, place))));
            }
        };
        let complete = Bytes::from_static(b"event: complete\ndata:\n\n");
        // What cannot be written is a bug, and the end.
        let Some(json) = answer.and_then(|answer| to_json(&response::Body::of(&answer)).ok())
        else {
            return Some((complete, None));
        };
        // JSON has no line breaks outside of strings, where they are escaped.
        let event = [b"event: next\ndata: ", &json[..], b"\n\n"].concat();
        Some((event.into(), Some((results, beat, place))))
    })
}
