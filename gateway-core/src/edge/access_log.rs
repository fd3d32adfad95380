//! One line in the log and one sample in the metrics for every request, when its answer's last byte has been sent or the
//! client has gone. Query values, tokens and bodies never come here.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::{Arrival, Findings};
use crate::context::{RequestContext, RequestId};
use crate::metrics::{Metrics, RouteMetrics};
use crate::problem::Problem;

/// Collects what the line will say.
pub(super) struct Observation {
    method: Method,
    path: String,
    request_id: RequestId,
    trace_id: String,
    started: Instant,
    error: Option<(&'static str, String, Option<&'static str>)>,
    _in_flight: InFlight,
}

/// Counts a request for as long as it lives.
struct InFlight(metrics::Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl Observation {
    pub(super) fn begin<B>(metrics: &Metrics, request: &Request<B>, arrival: &Arrival) -> Self {
        metrics.in_flight.increment(1.0);
        Self {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            request_id: arrival.request_id.clone(),
            trace_id: arrival.trace.trace_id(),
            started: arrival.at,
            error: None,
            _in_flight: InFlight(metrics.in_flight.clone()),
        }
    }

    pub(super) fn failed(&mut self, problem: &Problem) {
        self.error = Some((
            problem.source.as_str(),
            problem.cause.clone(),
            problem.upstream,
        ));
    }

    /// Hands the observation over to the answer's body: it ends when the body does.
    pub(super) fn finish(self, response: Response, findings: Findings<'_>) -> Response {
        let record = Record {
            observation: self,
            status: response.status(),
            route: findings
                .route
                .map(|route| (route.name, route.metrics.clone())),
            principal: findings.principal_kind.unwrap_or("unknown"),
            context: findings.context,
            bytes: 0,
            complete: false,
        };
        response.map(|body| {
            let complete = body.is_end_stream();
            Body::new(ObservedBody {
                body,
                record: Record { complete, ..record },
            })
        })
    }
}

struct Record {
    observation: Observation,
    status: StatusCode,
    route: Option<(&'static str, RouteMetrics)>,
    principal: &'static str,
    context: Option<RequestContext>,
    bytes: u64,
    complete: bool,
}

struct ObservedBody {
    body: Body,
    record: Record,
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
                self.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.record.complete = self.body.is_end_stream();
            }
            Poll::Ready(None) => self.record.complete = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
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

impl Drop for ObservedBody {
    fn drop(&mut self) {
        self.record.emit();
    }
}

impl Record {
    fn emit(&self) {
        let took = self.observation.started.elapsed();
        if let Some((_, metrics)) = &self.route {
            metrics.observe(self.status, took, self.bytes);
        }
        let (source, cause, upstream) = match &self.observation.error {
            Some((source, cause, upstream)) => (Some(*source), Some(cause.as_str()), *upstream),
            None => (None, None, None),
        };
        let upstream_calls = self.context.as_ref().map(|context| {
            let calls = context.calls();
            let texts: Vec<String> = calls
                .iter()
                .map(|call| {
                    format!(
                        "{}={}:{:.1}ms",
                        call.part,
                        call.outcome,
                        call.took.as_secs_f64() * 1e3
                    )
                })
                .collect();
            texts.join(" ")
        });
        tracing::info!(
            target: "access",
            method = %self.observation.method,
            path = %self.observation.path,
            route = self.route.as_ref().map(|(name, _)| *name),
            status = self.status.as_u16(),
            duration_ms = took.as_secs_f64() * 1e3,
            bytes = self.bytes,
            complete = self.complete,
            principal = self.principal,
            request_id = self.observation.request_id.as_str(),
            trace_id = %self.observation.trace_id,
            error_source = source,
            error = cause,
            upstream = upstream,
            upstream_calls = upstream_calls.as_deref().filter(|calls| !calls.is_empty()),
            "request"
        );
    }
}
