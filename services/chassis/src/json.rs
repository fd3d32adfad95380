//! JSON bodies: read with errors that say what is wrong and where. What a body means is the business of its type.

#[cfg(test)]
mod tests;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, LengthLimitError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use strict_json::Fault;

use crate::http::BODY_LIMIT;
use crate::problem::{FieldError, ServiceError};

/// A JSON body, in a request or in an answer.
///
/// As an extractor it fails with 415 (not `application/json` or `+json`), 413 (over 1 MiB), 400 (not JSON; the detail has
/// line and column) or 422 (JSON that does not fit `T`; `errors` has the JSON pointer).
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = ServiceError;

    async fn from_request(request: Request, _state: &S) -> Result<Json<T>, ServiceError> {
        if !is_json(request.headers()) {
            return Err(ServiceError::UnsupportedMediaType);
        }
        read(&bytes(request).await?).map(Json)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => {
                let kind = HeaderValue::from_static("application/json");
                ([(CONTENT_TYPE, kind)], body).into_response()
            }
            Err(error) => ServiceError::internal(error).into_response(),
        }
    }
}

/// Reads a JSON text into `T`; the errors are those of [`Json`].
///
/// # Errors
/// `BadRequest` when it is not JSON, `Validation` when it does not fit.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, ServiceError> {
    strict_json::from_slice(text).map_err(|fault| match fault {
        Fault::Misfit { pointer, detail } => ServiceError::invalid(pointer, detail),
        Fault::Syntax(error) => malformed(&error),
        Fault::NotUtf8 { .. } => malformed(&fault),
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(kind)) = headers.get(CONTENT_TYPE).map(HeaderValue::to_str) else {
        return false;
    };
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

async fn bytes(request: Request) -> Result<Bytes, ServiceError> {
    match request.into_body().collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if is_too_large(&error) => {
            Err(ServiceError::PayloadTooLarge { limit: BODY_LIMIT })
        }
        Err(_) => Err(ServiceError::BadRequest(
            "the body did not arrive completely".to_owned(),
        )),
    }
}

fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(cause) = error {
        if cause.is::<LengthLimitError>() {
            return true;
        }
        error = cause.source();
    }
    false
}

fn malformed(error: &impl std::fmt::Display) -> ServiceError {
    ServiceError::BadRequest(format!("the body is not JSON: {error}"))
}

/// Used by checks beyond the shape of a body: 422 when there is anything to say.
///
/// # Errors
/// `Validation` with the given errors, unless there are none.
pub fn accept(errors: Vec<FieldError>) -> Result<(), ServiceError> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ServiceError::Validation(errors))
    }
}
