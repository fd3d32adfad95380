//! Reads the parameters of a GraphQL request from a URL or from a JSON body. What the query says is `document.rs`.

use async_graphql::Variables;
use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Method};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{ClientError, Error};
use crate::extract::read_body;

/// What was asked: one operation of one document.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) query: String,
    pub(super) operation_name: Option<String>,
    pub(super) variables: Variables,
}

/// The parameters as they travel in a URL: `variables` is JSON in text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UrlParameters {
    query: Option<String>,
    operation_name: Option<String>,
    variables: Option<String>,
}

/// Reads a request's parameters.
///
/// # Errors
/// 400 when they are malformed or there is no query, 413 and 415 for the body. None of these is a GraphQL request yet,
/// so the answer is a problem document.
pub(super) async fn read(parts: &Parts, body: Body) -> Result<Asked, Error> {
    if parts.method != Method::POST {
        return from_url(parts);
    }
    expect_json(&parts.headers)?;
    from_body(&read_body(parts, body).await?)
}

fn from_url(parts: &Parts) -> Result<Asked, Error> {
    let parameters = axum::extract::Query::<UrlParameters>::try_from_uri(&parts.uri)
        .map_err(|rejection| Error::bad_request(rejection.body_text()))?
        .0;
    let variables = match parameters.variables.as_deref() {
        None | Some("") => None,
        Some(text) => serde_json::from_str::<Option<Map<String, Value>>>(text)
            .map_err(|_| Error::bad_request("variables: has to be a JSON object."))?,
    };
    asked(parameters.query, parameters.operation_name, variables)
}

/// A form or plain text would let any site send mutations without a preflight, so there is one type (and one charset).
fn expect_json(headers: &HeaderMap) -> Result<(), Error> {
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let mut parts = media_type.split(';').map(str::trim);
    let json = parts
        .next()
        .is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    let utf8 = parts
        .filter_map(|parameter| parameter.split_once('='))
        .all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset")
                || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        });
    if json && utf8 {
        Ok(())
    } else {
        Err(ClientError::UnsupportedMediaType {
            expected: "application/json in UTF-8",
        }
        .into())
    }
}

fn from_body(bytes: &[u8]) -> Result<Asked, Error> {
    let body: Value = crate::extract::parse(bytes)?;
    let Value::Object(mut members) = body else {
        return Err(Error::bad_request(
            "The body has to be a JSON object; batches are not supported.",
        ));
    };
    let query = text(&mut members, "query")?;
    let operation_name = text(&mut members, "operationName")?;
    let variables = object(&mut members, "variables")?;
    object(&mut members, "extensions")?;
    asked(query, operation_name, variables)
}

fn text(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Error> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::bad_request(format!("{name}: has to be a string."))),
    }
}

fn object(
    members: &mut Map<String, Value>,
    name: &str,
) -> Result<Option<Map<String, Value>>, Error> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(Error::bad_request(format!("{name}: has to be an object."))),
    }
}

fn asked(
    query: Option<String>,
    operation_name: Option<String>,
    variables: Option<Map<String, Value>>,
) -> Result<Asked, Error> {
    let Some(query) = query else {
        return Err(Error::bad_request("query: is missing."));
    };
    let variables = Variables::from_json(Value::Object(variables.unwrap_or_default()));
    // A form field that was left empty names no operation.
    let operation_name = operation_name.filter(|name| !name.is_empty());
    Ok(Asked {
        query,
        operation_name,
        variables,
    })
}
