//! What becomes of a passthrough that went wrong: whose fault it is, and the answer in the gateway's form. A service's own
//! words for its errors never leave, except those that a problem document has for callers.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CONTENT_RANGE, CONTENT_TYPE, ETAG, RETRY_AFTER,
};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Limited};

use super::upload::{Progress, Upload};
use crate::context::RequestContext;
use crate::edge::BodyLimit;
use crate::error::{ClientError, Error, Refusal};
use crate::problem::Problem;
use crate::upstream::{Stack, UpstreamError, UpstreamErrorKind, forget, refusal};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The largest problem document that is read from a service.
const MAX_PROBLEM: usize = 64 << 10;

/// How a call ended, as the metrics and the log say it.
pub(super) fn outcome<B>(
    result: &Result<http::Response<B>, UpstreamError>,
    upload: &Upload,
) -> &'static str {
    match result {
        Ok(response) => match response.status() {
            status if UpstreamError::is_failure(status) => "upstream_error",
            StatusCode::NOT_FOUND => "not_found",
            status if status.is_client_error() => "refused",
            _ => "ok",
        },
        Err(error) => match client_fault(error, upload, None) {
            Some(_) => "client",
            None => error.reason(),
        },
    }
}

/// The failure of a call, blamed on whoever did it: an upload that fails on the client's side fails the call, too.
pub(super) fn at_fault(error: UpstreamError, upload: &Upload, limit: Option<BodyLimit>) -> Error {
    match client_fault(&error, upload, limit) {
        Some(fault) => fault.into(),
        None => error.into(),
    }
}

fn client_fault(
    error: &UpstreamError,
    upload: &Upload,
    limit: Option<BodyLimit>,
) -> Option<ClientError> {
    match upload.progress() {
        Progress::TooLarge => Some(ClientError::BodyTooLarge {
            limit: limit.map_or(0, BodyLimit::bytes),
        }),
        Progress::Broken => Some(ClientError::BadRequest("The body broke off.".to_owned())),
        Progress::Stalled => Some(ClientError::BodyTimeout),
        // The time passed while everybody waited for the client.
        Progress::Awaited if error.kind == UpstreamErrorKind::Timeout => {
            Some(ClientError::BodyTimeout)
        }
        Progress::Awaited | Progress::Offered | Progress::Ended => None,
    }
}

/// A service's answer as it may leave: an error as a problem of ours, anything else as it is.
pub(super) async fn in_our_form(
    stack: &Stack,
    response: Response,
    context: &RequestContext,
) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    // Boxed: most answers are not.
    Box::pin(as_problem(stack, response, context)).await
}

async fn as_problem(stack: &Stack, response: Response, context: &RequestContext) -> Response {
    let status = response.status();
    let (parts, body) = response.into_parts();
    let header = |name| parts.headers.get(name).cloned();
    if UpstreamError::is_failure(status) {
        forget(body);
        let error = stack.error(UpstreamErrorKind::Status(bare(status)));
        let mut problem = Problem::of_failed(error, header(RETRY_AFTER));
        if let Some(value) = header(CACHE_STATUS) {
            problem = problem.header(CACHE_STATUS, value);
        }
        return carry(problem);
    }
    let refusal = if is_problem(parts.headers.get(CONTENT_TYPE)) {
        match read(body, context).await {
            Some(bytes) => refusal(status, &parts.headers, &bytes),
            None => bare(status),
        }
    } else {
        forget(body);
        bare(status)
    };
    let mut problem = Problem::from(&Error::from(ClientError::Refused(refusal)));
    problem.upstream = Some(stack.name());
    // What makes these statuses of use (RFC 9110, 15.5), and what the cache has said.
    let of_use = match status {
        StatusCode::PRECONDITION_FAILED => &[ETAG][..],
        StatusCode::UNSUPPORTED_MEDIA_TYPE => &[ACCEPT, ACCEPT_ENCODING],
        StatusCode::RANGE_NOT_SATISFIABLE => &[CONTENT_RANGE],
        _ => &[],
    };
    for name in [ALLOW, RETRY_AFTER, CACHE_STATUS].iter().chain(of_use) {
        if let Some(value) = header(name.clone()) {
            problem = problem.header(name.clone(), value);
        }
    }
    carry(problem)
}

/// Only that media type promises that its members are meant for callers.
fn is_problem(media_type: Option<&HeaderValue>) -> bool {
    media_type
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/problem+json"))
}

/// A refusal that says nothing but its status.
fn bare(status: StatusCode) -> Refusal {
    Refusal {
        status,
        slug: None,
        detail: None,
        errors: Vec::new(),
    }
}

/// A problem's text, when it comes in time and is of a sane size.
async fn read(body: Body, context: &RequestContext) -> Option<Bytes> {
    let collected = Limited::new(body, MAX_PROBLEM).collect();
    match tokio::time::timeout_at(context.deadline().at(), collected).await {
        Ok(Ok(collected)) => Some(collected.to_bytes()),
        Ok(Err(_)) | Err(_) => None,
    }
}

/// The edge renders it, and notes it for the log.
fn carry(problem: Problem) -> Response {
    let mut response = problem.status.into_response();
    response.extensions_mut().insert(problem);
    response
}
