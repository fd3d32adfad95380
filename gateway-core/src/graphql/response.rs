//! The answer to a GraphQL request: its members, its status, and what every error carries. No HTTP failure is rendered
//! here (`problem.rs`), and no error of a resolver is worded (`error.rs`).

use std::collections::BTreeMap;

use async_graphql::{Response as Executed, ServerError, Value};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::media_type::MediaType;
use crate::context::RequestContext;
use crate::error::{Error, GatewayError};

#[derive(Serialize)]
struct Body<'a> {
    // First, so that nobody overlooks them in a log (GraphQL, 7.1.5).
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
    /// Absent when nothing was executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extensions: &'a BTreeMap<String, Value>,
}

/// The answer to a document that was not executed: it is malformed, or it does not say which operation is meant.
pub(super) fn refused(
    mut error: ServerError,
    code: &str,
    media_type: MediaType,
    context: &RequestContext,
) -> Result<Response, Error> {
    error.extensions.get_or_insert_default().set("code", code);
    executed(Executed::from_errors(vec![error]), media_type, context)
}

/// The answer to a document that the executor has seen.
pub(super) fn executed(
    mut answer: Executed,
    media_type: MediaType,
    context: &RequestContext,
) -> Result<Response, Error> {
    // An error without a path happened before any field: the document was refused.
    let refused = answer.data == Value::Null
        && !answer.errors.is_empty()
        && answer.errors.iter().all(|error| error.path.is_empty());
    for error in &mut answer.errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set(
                "code",
                if refused {
                    "GRAPHQL_VALIDATION_FAILED"
                } else {
                    "BAD_USER_INPUT"
                },
            );
        }
        extensions.set("requestId", context.request_id().as_str());
    }
    let body = Body {
        errors: &answer.errors,
        data: (!refused).then_some(&answer.data),
        extensions: &answer.extensions,
    };
    let bytes = serde_json::to_vec(&body)
        .map_err(|error| GatewayError::Bug(format!("graphql answer: {error}")))?;
    let status = match media_type {
        MediaType::GraphqlResponse if refused => StatusCode::BAD_REQUEST,
        MediaType::GraphqlResponse | MediaType::Json => StatusCode::OK,
    };
    let mut response = (status, bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type.header());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept, authorization"));
    Ok(response)
}
