//! One line in the log and one sample in the metrics for every request, when its answer's last byte has been sent or the
//! client has gone. Query values, tokens and bodies never come here.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::{Arrival, RateLimitHeaders};
use crate::context::RequestContext;
use crate::error::ErrorSource;
use crate::gateway::Shared;
use crate::problem::{Problem, chain};
use crate::route::Route;

/// What the log says of a request whose client went away before there was an answer. It is nobody's status on the wire.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What is known of a request so far. It speaks when it is dropped: after the answer's body, or with the request's future
/// when the client has gone.
pub(super) struct Observation {
    shared: Arc<Shared>,
    arrival: Arrival,
    method: Method,
    path: String,
    pub(super) route: Option<Arc<Route>>,
    pub(super) principal: Option<&'static str>,
    pub(super) rate_limits: RateLimitHeaders,
    pub(super) context: Option<RequestContext>,
    status: Option<StatusCode>,
    fault: Option<Fault>,
    bytes: u64,
    complete: bool,
}

/// Who is at fault, and what for the log.
struct Fault {
    source: ErrorSource,
    cause: String,
    upstream: Option<&'static str>,
}

impl Observation {
    pub(super) fn begin<B>(shared: &Arc<Shared>, request: &Request<B>, arrival: Arrival) -> Self {
        shared.metrics.in_flight.up();
        Self {
            shared: Arc::clone(shared),
            arrival,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            route: None,
            principal: None,
            rate_limits: RateLimitHeaders::default(),
            context: None,
            status: None,
            fault: None,
            bytes: 0,
            complete: false,
        }
    }

    pub(super) fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn failed(&mut self, problem: &Problem) {
        self.fault = Some(Fault {
            source: problem.source,
            cause: problem.cause.clone(),
            upstream: problem.upstream,
        });
    }

    /// Hands the observation over to the answer's body: it ends when the body does.
    pub(super) fn finish(mut self, response: Response) -> Response {
        self.status = Some(response.status());
        response.map(|body| {
            self.complete = body.is_end_stream();
            Body::new(ObservedBody {
                body,
                observation: self,
            })
        })
    }

    fn emit(&self) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.arrival.at);
        let status = self
            .status
            .map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16());
        let metrics = match &self.route {
            Some(route) => &route.metrics,
            None => &*self.shared.metrics.unmatched,
        };
        let trace = self.arrival.trace.trace();
        metrics.observe(status, took, self.bytes, now, trace);
        let fault = self.fault.as_ref();
        let upstream_calls = self.context.as_ref().map(|context| {
            let texts: Vec<String> = context
                .calls()
                .iter()
                .map(|call| {
                    let took = call.took.as_secs_f64() * 1e3;
                    format!("{}={}:{took:.1}ms", call.part, call.outcome)
                })
                .collect();
            texts.join(" ")
        });
        tracing::info!(
            target: "access",
            method = %self.method,
            path = %self.path,
            route = self.route.as_ref().map(|route| route.name),
            status,
            duration_ms = took.as_secs_f64() * 1e3,
            bytes = self.bytes,
            complete = self.complete,
            principal = self.principal.unwrap_or("unknown"),
            request_id = self.arrival.request_id.as_str(),
            trace_id = %self.arrival.trace.trace_id(),
            error_source = fault.map(|fault| fault.source.as_str()),
            error = fault.map(|fault| fault.cause.as_str()),
            upstream = fault.and_then(|fault| fault.upstream),
            upstream_calls = upstream_calls.as_deref().filter(|calls| !calls.is_empty()),
            "request"
        );
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        self.shared.metrics.in_flight.down();
        self.emit();
    }
}

struct ObservedBody {
    body: Body,
    observation: Observation,
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.observation.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.observation.complete = self.body.is_end_stream();
            }
            // Only an upstream's body can break: ours are in memory.
            Poll::Ready(Some(Err(error))) => {
                let cause = chain(error);
                self.observation.fault = Some(Fault {
                    source: ErrorSource::Upstream,
                    cause,
                    upstream: None,
                });
            }
            Poll::Ready(None) => self.observation.complete = true,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
