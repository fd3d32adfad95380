//! GraphQL over server-sent events, distinct connections mode (graphql-sse's protocol): one operation, its results as `next`
//! events, then `complete`. How long a stream may last, and its last word then, is `edge/event_stream.rs`'s.

use std::convert::Infallible;
use std::time::Duration;

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

/// Proxies between us and the client close what is silent.
const HEARTBEAT: Duration = Duration::from_secs(12);

/// The results of an operation, or why there are none: a client that reads events is told by an event.
pub(super) fn answer<E: Executor>(
    transport: &Transport<E>,
    prepared: Result<Ready, ServerError>,
    context: &RequestContext,
) -> Response {
    // It goes on when the request has been answered, and gives its place to others.
    context.give_place_back();
    let context = context.renewed();
    let results: BoxStream<'static, Executed> = match prepared {
        Ok(ready) => transport.results(ready, context),
        Err(error) => {
            let mut answer = Executed::from_errors(vec![error]);
            response::complete(&mut answer, &context);
            stream::once(async { answer }).boxed()
        }
    };
    let body = Body::from_stream(events(results).map(Ok::<_, Infallible>));
    response::with_headers(StatusCode::OK, body, MediaType::EventStream)
}

fn events(results: BoxStream<'static, Executed>) -> impl Stream<Item = Bytes> + Send {
    let mut beat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    stream::unfold(Some((results, beat)), |state| async {
        let (mut results, mut beat) = state?;
        let answer = tokio::select! {
            biased;
            answer = results.next() => answer,
            _ = beat.tick() => return Some((Bytes::from_static(b":\n\n"), Some((results, beat)))),
        };
        let complete = Bytes::from_static(b"event: complete\ndata:\n\n");
        // What cannot be written is a bug, and the end.
        let Some(json) = answer.and_then(|answer| to_json(&response::Body::of(&answer)).ok())
        else {
            return Some((complete, None));
        };
        // JSON has no line breaks outside of strings, where they are escaped.
        let event = [b"event: next\ndata: ", &json[..], b"\n\n"].concat();
        Some((event.into(), Some((results, beat))))
    })
}
