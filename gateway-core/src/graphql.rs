//! GraphQL's transports: over HTTP, as server-sent events, over WebSockets. It knows no schema: a BFF brings one to a
//! [`Transport`].
//!
//! The stock integrations execute mutations over GET and from forms, ignore `Accept` and `operationName`, and answer
//! fields in the order in which they were resolved. This transport follows the GraphQL-over-HTTP draft instead:
//!
//! | stop | what it decides |
//! |---|---|
//! | `media_type` | what the client accepts, before anything is read (406) |
//! | `request` | GET or POST to query, variables and operation name (400, 415) |
//! | `documents` | the document by its text or hash; `limits` refuses what would cost too much to look at |
//! | `document` | the operation that is meant; only POST writes (405) |
//! | the schema | validation, weighted limits, resolvers (`transport`) |
//! | `field_order` | the fields in the order of the query |
//! | `response` | codes and request id on every error; status |
//!
//! Subscriptions travel as events (`event_stream`) or over a WebSocket (`socket`); queries and mutations may, too. Whichever
//! way they come, limits count operations, and each field of a mutation as one.
//!
//! # A trap for schemas
//!
//! async-graphql 7.2 leaves out a field whose resolver returns `Err`, instead of answering `null`. A resolver that can
//! fail therefore returns `Option<Result<T, async_graphql::Error>>`, which answers `null` and reports the error.

mod document;
mod documents;
mod error;
mod event_stream;
mod field_order;
mod limits;
mod media_type;
mod request;
mod response;
mod socket;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use async_graphql::{Executor, Response as Executed};
use axum::response::Response;
use futures_util::future::join_all;
use http::Method;

pub use documents::{BadDocuments, Documents, TrustedDocuments};
pub use error::error;
pub use limits::Limits;
pub use transport::Transport;

use crate::context::RequestContext;
use crate::error::{ClientError, Error, GatewayError};
use media_type::MediaType;
use request::{Asked, Incoming};

/// How a schema is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub limits: Limits,
    pub persisted: Persisted,
    /// What parsed documents may take.
    pub document_cache_bytes: u64,
    pub sockets: SocketLimits,
}

/// Which documents may be asked by their hash alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Persisted {
    Off,
    /// Those that a client has sent before (automatic persisted queries).
    Automatic,
    /// These, and no others, however they are asked.
    Trusted(Arc<TrustedDocuments>),
}

/// What bounds one WebSocket, besides its silence and lifetime (`streams.idle`, `streams.lifetime`). How many there may be is
/// `streams.max_per_caller` and `server.max_connections`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketLimits {
    /// Until the client says `connection_init`.
    pub init_timeout: Duration,
    /// Under way at once.
    pub operations: usize,
    pub operations_per_second: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            persisted: Persisted::Automatic,
            document_cache_bytes: 8 << 20,
            sockets: SocketLimits {
                init_timeout: Duration::from_secs(3),
                operations: 32,
                operations_per_second: 20,
            },
        }
    }
}

impl<E: Executor> Transport<E> {
    /// Answers one GraphQL request over GET or POST, or opens a WebSocket.
    ///
    /// # Errors
    /// What is wrong with the HTTP request: 400, 405, 406, 413, 415, 426; 429 for more operations than the limits of the route
    /// allow, or more streams than one caller may have. What is wrong with the document or happens in a
    /// resolver is an answer.
    pub async fn serve(&self, mut request: axum::extract::Request) -> Result<Response, Error> {
        if crate::proxy::upgrade::asks(&request) {
            return socket::open(self, &mut request);
        }
        let (parts, body) = request.into_parts();
        let media_type = media_type::negotiate(&parts.headers)?;
        let context = parts
            .extensions
            .get::<RequestContext>()
            .cloned()
            .ok_or_else(|| GatewayError::Bug("a handler ran without the edge".to_owned()))?;
        // HEAD comes here, too: whatever is not a POST only reads.
        let may_write = parts.method == Method::POST;
        let batch = self.inner.settings.limits.batch;
        match request::read(&parts, body, batch).await? {
            Incoming::One(asked) => self.one(asked, media_type, may_write, &context).await,
            Incoming::Batch(_) if media_type == MediaType::EventStream => {
                Err(Error::bad_request("A stream of events is for one request."))
            }
            Incoming::Batch(requests) => {
                let prepared: Vec<_> = requests
                    .into_iter()
                    .map(|asked| self.prepare(asked))
                    .collect();
                let operations = prepared.iter().map(transport::weight);
                charge(operations.fold(0, u32::saturating_add), &context).await?;
                let answers = prepared
                    .into_iter()
                    .map(|prepared| self.result(prepared, &context));
                response::batch(&join_all(answers).await, media_type)
            }
        }
    }

    async fn one(
        &self,
        asked: Asked,
        media_type: MediaType,
        may_write: bool,
        context: &RequestContext,
    ) -> Result<Response, Error> {
        let prepared = self.prepare(asked);
        let writes = prepared
            .as_ref()
            .is_ok_and(|ready| ready.kind == OperationType::Mutation);
        if writes && !may_write {
            return Err(ClientError::MethodNotAllowed {
                allow: http::HeaderValue::from_static("POST"),
            }
            .into());
        }
        charge(transport::weight(&prepared), context).await?;
        if media_type == MediaType::EventStream {
            return event_stream::answer(self, prepared, context);
        }
        response::single(&self.result(prepared, context).await, media_type)
    }

    /// The one result of what is no stream.
    async fn result(
        &self,
        prepared: Result<transport::Ready, async_graphql::ServerError>,
        context: &RequestContext,
    ) -> Executed {
        let refused = match prepared {
            Ok(ready) if ready.kind != OperationType::Subscription => {
                return self.execute(&ready, context).await;
            }
            Ok(_) => error::coded(
                "BAD_REQUEST",
                "A subscription needs Accept: text/event-stream, or a WebSocket.",
            ),
            Err(error) => error,
        };
        let mut answer = Executed::from_errors(vec![refused]);
        response::complete(&mut answer, context);
        answer
    }
}

/// Counts what one HTTP request does beyond one operation against the limits of its route, before any of it is done.
async fn charge(operations: u32, context: &RequestContext) -> Result<(), Error> {
    context.charge(operations.saturating_sub(1)).await
}

#[cfg(test)]
mod tests;
