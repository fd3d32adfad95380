//! JSON bodies: read with errors that say what is wrong and where. What a body means is the business of its type.

mod strict;
#[cfg(test)]
mod tests;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, LengthLimitError};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_path_to_error::{Path, Segment};

use crate::http::BODY_LIMIT;
use crate::problem::{FieldError, ServiceError};
use strict::Strict;

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
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let misfit = match serde_path_to_error::deserialize(Strict::new(&mut deserializer)) {
        Ok(value) => {
            deserializer.end().map_err(|error| malformed(&error))?;
            return Ok(value);
        }
        Err(error) => error,
    };
    // What does not fit may be followed by what is not JSON at all, which comes first for whoever has to mend it.
    serde_json::from_slice::<IgnoredAny>(text).map_err(|error| malformed(&error))?;
    let detail = without_position(misfit.inner());
    Err(ServiceError::invalid(pointer(misfit.path()), detail))
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

fn malformed(error: &serde_json::Error) -> ServiceError {
    ServiceError::BadRequest(format!("the body is not JSON: {error}"))
}

/// The message of a `serde_json` error; the pointer says where better than line and column.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&position) {
        Some(message) => message.to_owned(),
        None => text,
    }
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                pointer.push('/');
                pointer.push_str(&index.to_string());
            }
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => {}
        }
    }
    pointer
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
