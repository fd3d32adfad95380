//! The answer to a GraphQL request: its members, its status, and what every error carries. No HTTP failure is rendered
//! here (`problem.rs`), and no error of a resolver is worded (`error.rs`).

use std::collections::BTreeMap;

use async_graphql::{Response as Executed, ServerError, Value};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::limits::code_of;
use super::media_type::MediaType;
use crate::context::RequestContext;
use crate::error::{Error, GatewayError};

#[derive(Serialize)]
pub(super) struct Body<'a> {
    // First, so that nobody overlooks them in a log (GraphQL, 7.1.5).
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
    /// Absent when nothing was executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extensions: &'a BTreeMap<String, Value>,
}

/// Whether nothing was executed: an error without a path happened before any field.
pub(super) fn is_refused(answer: &Executed) -> bool {
    answer.data == Value::Null
        && !answer.errors.is_empty()
        && answer.errors.iter().all(|error| error.path.is_empty())
}

/// So many things that are wrong with a document are told; with all of them the answer could be far longer than it.
const MOST_TOLD: usize = 50;

/// Gives every error a code and the request's id.
pub(super) fn complete(answer: &mut Executed, context: &RequestContext) {
    let refused = is_refused(answer);
    if refused && answer.errors.len() > MOST_TOLD {
        let more = answer.errors.len() - MOST_TOLD;
        answer.errors.truncate(MOST_TOLD);
        let message = format!("{more} more things are wrong with the document.");
        answer.errors.push(ServerError::new(message, None));
    }
    for error in &mut answer.errors {
        let code = if refused {
            code_of(&error.message)
        } else {
            "BAD_USER_INPUT"
        };
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", code);
        }
        extensions.set("requestId", context.request_id().as_str());
    }
}

impl<'a> Body<'a> {
    pub(super) fn of(answer: &'a Executed) -> Self {
        Self {
            errors: &answer.errors,
            data: (!is_refused(answer)).then_some(&answer.data),
            extensions: &answer.extensions,
        }
    }
}

/// As JSON.
///
/// # Errors
/// A bug: every answer can be written.
pub(super) fn to_json(body: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(body)
        .map_err(|error| GatewayError::Bug(format!("graphql answer: {error}")).into())
}

/// One answer, to one request.
pub(super) fn single(answer: &Executed, media_type: MediaType) -> Result<Response, Error> {
    let status = if media_type == MediaType::GraphqlResponse && is_refused(answer) {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    };
    Ok(with_headers(
        status,
        to_json(&Body::of(answer))?,
        media_type,
    ))
}

/// The answers to a batch, in its order. Each says by itself what became of it.
pub(super) fn batch(answers: &[Executed], media_type: MediaType) -> Result<Response, Error> {
    let bodies: Vec<_> = answers.iter().map(Body::of).collect();
    Ok(with_headers(StatusCode::OK, to_json(&bodies)?, media_type))
}

pub(super) fn with_headers(
    status: StatusCode,
    body: impl Into<axum::body::Body>,
    media_type: MediaType,
) -> Response {
    let mut response = (status, body.into()).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type.header());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}
