//! How a service says no: RFC 9457 problem details, and the one place that picks a status for a failure. What went wrong
//! inside is logged here and never leaves.

use std::error::Error;

use axum::response::{IntoResponse, Response};
use ftgo_messaging::BoxError;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An RFC 9457 problem. `type` is always `about:blank`: the status tells the class, `code` the case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// For programs, as `ORDER_NOT_APPROVED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// What is wrong with one part of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// A JSON pointer (RFC 6901), as `/lineItems/0/quantity`; empty for the whole body.
    pub pointer: String,
    pub detail: String,
}

impl FieldError {
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> FieldError {
        FieldError {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }
}

/// All the ways in which a request to a service fails.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// 404: there is no such thing.
    #[error("there is no such resource")]
    NotFound,
    /// 409: the thing is in a state that does not allow it.
    #[error("{detail}")]
    Conflict { code: String, detail: String },
    /// 422: well-formed, but not what is expected.
    #[error("the request does not fit")]
    Validation(Vec<FieldError>),
    /// 422: the idempotency key came with another request before.
    #[error("this Idempotency-Key was used for another request")]
    IdempotencyKeyReused,
    /// 400: not even well-formed.
    #[error("{0}")]
    BadRequest(String),
    /// 401: the call does not say on whose behalf it comes.
    #[error("the call has no valid internal token")]
    Unauthenticated,
    /// 403: the caller may know of it, and not do it.
    #[error("the caller may not do this")]
    Forbidden,
    /// 412: `If-Match` names another version.
    #[error("the resource has another version")]
    PreconditionFailed,
    /// 428: the request needs an `If-Match`.
    #[error("the request needs an If-Match with the resource's ETag")]
    PreconditionRequired,
    /// 415.
    #[error("the body must be application/json")]
    UnsupportedMediaType,
    /// 413.
    #[error("the body is larger than {limit} bytes")]
    PayloadTooLarge { limit: usize },
    /// 503: it may work in a moment.
    #[error("the service is busy")]
    Unavailable(#[source] BoxError),
    /// 500: a bug, or a broken database. The client learns nothing of it.
    #[error("the request failed inside the service")]
    Internal(#[source] BoxError),
}

impl ServiceError {
    pub fn conflict(code: impl Into<String>, detail: impl Into<String>) -> ServiceError {
        ServiceError::Conflict {
            code: code.into(),
            detail: detail.into(),
        }
    }

    pub fn internal(error: impl Into<BoxError>) -> ServiceError {
        ServiceError::Internal(error.into())
    }

    /// A 422 about one field.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> ServiceError {
        ServiceError::Validation(vec![FieldError::new(pointer, detail)])
    }

    pub fn status(&self) -> StatusCode {
        match self {
            ServiceError::NotFound => StatusCode::NOT_FOUND,
            ServiceError::Conflict { .. } => StatusCode::CONFLICT,
            ServiceError::Validation(_) | ServiceError::IdempotencyKeyReused => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            ServiceError::BadRequest(_) => StatusCode::BAD_REQUEST,
            ServiceError::Unauthenticated => StatusCode::UNAUTHORIZED,
            ServiceError::Forbidden => StatusCode::FORBIDDEN,
            ServiceError::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            ServiceError::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
            ServiceError::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ServiceError::PayloadTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ServiceError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            ServiceError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<sqlx::Error> for ServiceError {
    fn from(error: sqlx::Error) -> ServiceError {
        match error {
            // No connection became free in time, or the service is stopping.
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
                ServiceError::Unavailable(Box::new(error))
            }
            error => ServiceError::Internal(Box::new(error)),
        }
    }
}

/// What a service wrote as JSON itself and can't write or read now is its own fault. Bodies of requests come through
/// [`crate::Json`].
impl From<serde_json::Error> for ServiceError {
    fn from(error: serde_json::Error) -> ServiceError {
        ServiceError::Internal(Box::new(error))
    }
}

impl Problem {
    pub fn new(status: StatusCode) -> Problem {
        Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: None,
            code: None,
            errors: Vec::new(),
        }
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Problem {
        self.detail = Some(detail.into());
        self
    }
}

impl From<&ServiceError> for Problem {
    fn from(error: &ServiceError) -> Problem {
        let mut problem = Problem::new(error.status()).detail(error.to_string());
        match error {
            ServiceError::Conflict { code, .. } => problem.code = Some(code.clone()),
            ServiceError::IdempotencyKeyReused => {
                problem.code = Some("IDEMPOTENCY_KEY_REUSED".to_owned());
            }
            ServiceError::Validation(errors) => problem.errors.clone_from(errors),
            ServiceError::NotFound
            | ServiceError::BadRequest(_)
            | ServiceError::Unauthenticated
            | ServiceError::Forbidden
            | ServiceError::PreconditionFailed
            | ServiceError::PreconditionRequired
            | ServiceError::UnsupportedMediaType
            | ServiceError::PayloadTooLarge { .. }
            | ServiceError::Unavailable(_)
            | ServiceError::Internal(_) => {}
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (status, [(CONTENT_TYPE, PROBLEM_JSON)], body).into_response()
    }
}

impl IntoResponse for ServiceError {
    fn into_response(self) -> Response {
        match &self {
            ServiceError::Internal(source) => {
                let error: &(dyn Error + 'static) = source.as_ref();
                tracing::error!(error, "a request failed");
            }
            ServiceError::Unavailable(source) => {
                let error: &(dyn Error + 'static) = source.as_ref();
                tracing::warn!(error, "a request was turned away");
            }
            _ => {}
        }
        let mut response = Problem::from(&self).into_response();
        if matches!(self, ServiceError::Unauthenticated) {
            // RFC 9110, 15.5.2: a 401 names what is missing.
            let scheme = HeaderValue::from_static("Internal-Token");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        if matches!(self, ServiceError::Unavailable(_)) {
            let second = HeaderValue::from_static("1");
            response.headers_mut().insert(RETRY_AFTER, second);
        }
        response
    }
}

/// Gives every failure that left the router without a body of its own (unknown path, wrong method, a rejected path
/// parameter) a problem.
pub(crate) async fn describe(response: Response) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let plain = match response.headers().get(CONTENT_TYPE) {
        None => true,
        Some(kind) => kind.as_bytes().starts_with(b"text/plain"),
    };
    if !plain {
        return response;
    }
    let allow = response.headers().get(ALLOW).cloned();
    let text = axum::body::to_bytes(response.into_body(), 4096).await;
    let text = text.map(|text| String::from_utf8_lossy(&text).into_owned());
    let detail = match (status, text) {
        (StatusCode::NOT_FOUND, _) => "there is nothing at this path".to_owned(),
        (StatusCode::METHOD_NOT_ALLOWED, _) => "the path does not take this method".to_owned(),
        (_, Ok(text)) if status.is_client_error() && !text.is_empty() => text,
        _ => "the request failed".to_owned(),
    };
    let mut response = Problem::new(status).detail(detail).into_response();
    if let Some(allow) = allow {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}
