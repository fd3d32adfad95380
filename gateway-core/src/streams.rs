//! Streams of events to clients (server-sent events, WHATWG HTML 9.2): thousands of clients follow what concerns them behind
//! the process's one subscription to its feed. How long a stream may last and be silent, and its last event, are
//! `edge/event_stream.rs`'s; which events there are, and what they say, is a BFF's [`Source`].
//!
//! Nothing is missed and nothing told twice, because every event of the feed has a position, and each step begins before the
//! one before it ends: a stream takes its place among the followers of its tags, then its source tells what there is to tell
//! up to a position ([`Source::begin`]), then live events follow, those up to that position left out. When events may have
//! gone unheard, or a client is so slow that its queue is full, the source tells the rest from there on, and the stream goes
//! on. A client that comes back names its last position (`Last-Event-ID`), also to another replica.

mod asked;
mod body;
mod message;
mod pauses;
mod places;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;

pub use asked::{Asked, Start};
pub use message::Messages;
pub(crate) use message::end;
pub use pauses::Pauses;
pub(crate) use places::{HasPlace, Place, Places};

use crate::compose::Polled;
use crate::context::RequestContext;
use crate::error::{Error, GatewayError};
use crate::events::{ChangeEvent, Events};
use crate::openapi::{Describe, Operation};
use body::Live;

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// What one client's stream is made of.
pub trait Source: Send + Sync + 'static {
    /// What the client is told of an event with one of the stream's tags: nothing, when it is not for this client. It is
    /// called on the way of every event, and waits for nothing.
    fn tell(&self, event: &ChangeEvent, messages: &mut Messages);

    /// What the client is told first, up to a position from where live events go on; the same again, from
    /// [`Start::After`] the last position, when events may have been missed.
    ///
    /// # Errors
    /// At the stream's beginning it is the request's failure. Later a failure of a service is tried again, and a refusal
    /// ends the stream.
    fn begin(
        self: Arc<Self>,
        beginning: Beginning,
    ) -> impl Future<Output = Result<Begun, Error>> + Send;
}

/// What a source is asked to begin with.
#[derive(Debug)]
pub struct Beginning {
    pub context: RequestContext,
    pub start: Start,
    /// The position of the last event that the process has heard of, if any. What is read from now on shows it, and every
    /// later one, whatever it is about, comes live.
    pub heard: Option<u64>,
}

/// What a source begins with.
#[derive(Debug)]
pub struct Begun {
    pub messages: Messages,
    /// Everything up to here is told, or shown by what was told.
    pub position: u64,
}

/// A stream whose first messages are there: the answer to a request.
#[must_use]
pub struct EventStream {
    body: Body,
}

impl Events {
    /// Opens a stream of what changes with these tags. It begins within the deadline of the request, and costs it no place
    /// among the requests at work afterwards.
    ///
    /// # Errors
    /// 429 when the caller has as many streams as one may have (`streams.max_per_caller`), 503 when there are as many
    /// followers as there may be (`events.max_subscribers`); whatever the source's beginning fails with.
    pub async fn stream<S: Source, T: AsRef<str>>(
        &self,
        context: &RequestContext,
        tags: impl IntoIterator<Item = T>,
        start: Start,
        source: S,
    ) -> Result<EventStream, Error> {
        let place = self
            .places()
            .take(context.caller(), context.client_address())?;
        let budget = context.deadline().remaining();
        // Before anything is read: what changes meanwhile waits in the queue.
        let subscription = self
            .subscribe(tags)
            .map_err(|_too_many| GatewayError::Overloaded)?;
        let source = Arc::new(source);
        let beginning = Beginning {
            context: context.clone(),
            start,
            heard: subscription.heard(),
        };
        let begun = Arc::clone(&source).begin(beginning).await?;
        let live = Live::new(source, context.clone(), budget, subscription, begun, place);
        Ok(EventStream {
            body: Body::new(live),
        })
    }
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, EVENT_STREAM);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(VARY, HeaderValue::from_static("accept, authorization"));
        response.extensions_mut().insert(HasPlace);
        response
    }
}

/// The answer of a route that shows the present state as JSON, or every change of it as a stream, as the client asks
/// ([`Asked`]).
#[must_use]
pub enum StateOrStream<S> {
    State(Polled<S>),
    Stream(EventStream),
}

impl<S> IntoResponse for StateOrStream<S> {
    fn into_response(self) -> Response {
        match self {
            Self::State(state) => {
                let mut response = state.into_response();
                let vary = HeaderValue::from_static("accept");
                response.headers_mut().insert(VARY, vary);
                response
            }
            Self::Stream(stream) => stream.into_response(),
        }
    }
}

impl<S: JsonSchema> Describe for StateOrStream<S> {
    fn describe(operation: &mut Operation<'_>) {
        Polled::<S>::describe(operation);
        operation.event_stream();
    }
}

/// The client's place in the stream that it had before.
static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
