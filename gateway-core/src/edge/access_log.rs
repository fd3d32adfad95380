//! The end of every request, when its answer's last byte has been sent or the client has gone: one line in the log, one
//! sample in the metrics, its record for the console. Query values, tokens and bodies never come here.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::HOST;
use http::uri::Authority;
use http::{Method, Request, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::Arrival;
use super::rate_limit::RateLimitHeaders;
use crate::context::RequestContext;
use crate::digits::push_millis;
use crate::error::ErrorSource;
use crate::finished::{CLIENT_CLOSED_REQUEST, CUT, Fault, FinishedRequest, shown_path};
use crate::gateway::Shared;
use crate::problem::{Problem, chain};
use crate::route::Route;
use crate::waterfall::UpstreamCall;

/// The longest host name with its port that is kept for a trace.
const MAX_AUTHORITY: usize = 255 + 6;

/// What is known of a request so far. It speaks when it is dropped: after the answer's body, or with the request's future
/// when the client has gone.
pub(super) struct Observation {
    shared: Arc<Shared>,
    worker: usize,
    arrival: Arrival,
    method: Method,
    version: Version,
    authority: Option<Box<str>>,
    path: String,
    pub(super) route: Option<Arc<Route>>,
    pub(super) principal: Option<&'static str>,
    pub(super) rate_limits: RateLimitHeaders,
    pub(super) context: Option<RequestContext>,
    /// The answer is a stream of events: nobody waits for its end.
    pub(super) is_stream: bool,
    /// From the request's head to the answer's.
    head: Option<Duration>,
    status: Option<StatusCode>,
    fault: Option<Fault>,
    bytes: u64,
    complete: bool,
}

impl Observation {
    pub(super) fn begin<B>(
        shared: &Arc<Shared>,
        worker: usize,
        request: &Request<B>,
        arrival: Arrival,
    ) -> Self {
        shared.metrics.in_flight.up();
        let authority = arrival.trace.is_recorded().then(|| authority(request));
        Self {
            shared: Arc::clone(shared),
            worker,
            arrival,
            method: request.method().clone(),
            version: request.version(),
            authority: authority.flatten(),
            path: request.uri().path().to_owned(),
            route: None,
            principal: None,
            rate_limits: RateLimitHeaders::default(),
            context: None,
            is_stream: false,
            head: None,
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
        self.head = Some(self.arrival.at.elapsed());
        response.map(|body| {
            self.complete = body.is_end_stream();
            Body::new(ObservedBody {
                body,
                observation: self,
            })
        })
    }

    /// What is known of the request at its end.
    fn end(&mut self) -> FinishedRequest {
        // The request's place is free again before anything is told of it.
        let context = self.context.take();
        let waterfall = context
            .as_ref()
            .map(RequestContext::take_waterfall)
            .unwrap_or_default();
        drop(context);
        let took = self.arrival.at.elapsed();
        let cut = !self.complete && self.shared.lifecycle.is_cut();
        if cut && self.fault.is_none() {
            self.fault = Some(Fault {
                source: ErrorSource::Gateway,
                cause: "cut: the grace period is over".to_owned(),
                upstream: None,
            });
        }
        let unanswered = if cut { CUT } else { CLIENT_CLOSED_REQUEST };
        let path = match shown_path(&self.path) {
            Cow::Borrowed(_) => std::mem::take(&mut self.path),
            Cow::Owned(shown) => shown,
        };
        FinishedRequest {
            route: self.route.take(),
            method: std::mem::take(&mut self.method),
            version: self.version,
            authority: self.authority.take(),
            path,
            status: self.status.map_or(unanswered, |status| status.as_u16()),
            bytes: self.bytes,
            complete: self.complete,
            principal: self.principal,
            request_id: self.arrival.request_id.clone(),
            trace: self.arrival.trace.clone(),
            arrived: self.arrival.at,
            took,
            waited: self.head.filter(|_| self.is_stream).unwrap_or(took),
            is_stream: self.is_stream,
            fault: self.fault.take(),
            waterfall,
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let request = self.end();
        let metrics = &self.shared.metrics;
        metrics.in_flight.down();
        let of_route = match &request.route {
            Some(route) => &route.metrics,
            None => &*metrics.unmatched,
        };
        of_route.observe(
            request.status,
            request.waited,
            request.bytes,
            request.arrived + request.took,
            request.trace.trace(),
        );
        log(&request);
        let request = Arc::new(request);
        if request.trace.is_recorded() {
            self.shared.traces.offer(Arc::clone(&request));
        }
        self.shared.recent.push(self.worker, request);
    }
}

/// As the client wrote it, in the target or in `Host`; whether it is sane is found out later.
fn authority<B>(request: &Request<B>) -> Option<Box<str>> {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().map(Authority::as_str).or(host);
    authority
        .filter(|authority| authority.len() <= MAX_AUTHORITY && !authority.contains('@'))
        .map(Box::from)
}

fn log(request: &FinishedRequest) {
    let fault = request.fault.as_ref();
    let calls = &request.waterfall.calls;
    tracing::info!(
        target: "access",
        message = "request",
        method = request.method.as_str(),
        path = request.path,
        route = request.route.as_ref().map(|route| route.name),
        status = request.status,
        duration_ms = millis(request.took),
        head_ms = request.is_stream.then(|| millis(request.waited)),
        bytes = request.bytes,
        complete = request.complete,
        principal = request.principal.unwrap_or("unknown"),
        request_id = request.request_id.as_str(),
        trace_id = request.trace.trace_id_text().as_str(),
        error_source = fault.map(|fault| fault.source.as_str()),
        error = fault.map(|fault| fault.cause.as_str()),
        upstream = fault.and_then(|fault| fault.upstream),
        upstream_calls = (!calls.is_empty()).then(|| upstream_calls(calls)).as_deref(),
    );
}

/// In whole microseconds: what is finer is noise.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// `part=outcome:1.2ms` for each call.
fn upstream_calls(calls: &[UpstreamCall]) -> String {
    let mut text = String::with_capacity(calls.len() * 32);
    for call in calls {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(call.part);
        text.push('=');
        text.push_str(call.outcome);
        text.push(':');
        push_millis(&mut text, call.took);
        text.push_str("ms");
    }
    text
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
