//! The outermost layer: request id, log line, metrics, trace, and panics turned into answers. It changes nothing else.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::SystemTime;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use metrics::{counter, histogram};
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::problem::Problem;
use crate::traces::{self, Answered, Traces};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who observes.
#[derive(Clone)]
pub(super) struct Observer {
    pub(super) service: &'static str,
    pub(super) traces: Option<Traces>,
}

pub(super) async fn observe(
    State(Observer { service, traces }): State<Observer>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let at = SystemTime::now();
    let parent = traces::parent(request.headers());
    let is_grpc = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let id = request
        .headers()
        .get(REQUEST_ID)
        .cloned()
        .or_else(|| HeaderValue::try_from(Uuid::now_v7().to_string()).ok())
        .unwrap_or_else(|| HeaderValue::from_static("unknown"));
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    // Never the raw path: a label for each id would grow without bound.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_owned();

    let span = tracing::info_span!(
        "request",
        service,
        request_id = id.to_str().unwrap_or_default(),
        trace_id = parent
            .as_ref()
            .map(|parent| tracing::field::display(parent.trace_id()))
    );
    let mut response = AssertUnwindSafe(next.run(request).instrument(span.clone()))
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| span.in_scope(|| panicked(&*panic)));

    let status = response.status().as_u16();
    let seconds = started.elapsed().as_secs_f64();
    span.in_scope(|| {
        tracing::debug!(%method, path, status, milliseconds = seconds * 1000.0, "request");
    });
    if let (Some(traces), Some(parent)) = (&traces, &parent) {
        let answered = Answered {
            method: &method,
            route: Some(route.as_str()).filter(|route| *route != "unmatched"),
            path: &path,
            is_grpc,
            status: response.status(),
            started: at,
        };
        traces.tell(parent, &answered);
    }
    let method = known_method(&method);
    counter!("ftgo_http_requests_total", "service" => service, "method" => method, "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    histogram!("ftgo_http_request_seconds", "service" => service, "method" => method, "route" => route)
        .record(seconds);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

fn panicked(panic: &(dyn Any + Send)) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is no text");
    tracing::error!("a handler panicked: {text}");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR)
        .detail("the request failed inside the service")
        .into_response()
}

/// Methods are a label, and anybody can make one up.
fn known_method(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
