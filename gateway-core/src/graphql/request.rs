//! Reads the parameters of a GraphQL request from a URL or from a JSON body. What the query says is `document.rs`.

use async_graphql::Variables;
use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Method};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::documents::{Hash, parse_hash};
use crate::error::{ClientError, Error};
use crate::extract::read_body;

/// What was asked: one operation of one document, by its text or by its hash.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) query: Option<String>,
    pub(super) hash: Option<Hash>,
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
    extensions: Option<String>,
    document_id: Option<String>,
}

/// What one HTTP request asks.
#[derive(Debug)]
pub(super) enum Incoming {
    One(Asked),
    Batch(Vec<Asked>),
}

/// Reads a request's parameters.
///
/// # Errors
/// 400 when they are malformed or there is no query, 413 and 415 for the body. None of these is a GraphQL request yet,
/// so the answer is a problem document.
pub(super) async fn read(parts: &Parts, body: Body, batch: usize) -> Result<Incoming, Error> {
    if parts.method != Method::POST {
        return from_url(parts).map(Incoming::One);
    }
    expect_json(&parts.headers)?;
    from_body(&read_body(parts, body).await?, batch)
}

fn from_url(parts: &Parts) -> Result<Asked, Error> {
    let parameters = axum::extract::Query::<UrlParameters>::try_from_uri(&parts.uri)
        .map_err(|rejection| Error::bad_request(rejection.body_text()))?
        .0;
    let object = |name: &str, text: Option<String>| match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => serde_json::from_str::<Option<Map<String, Value>>>(text)
            .map_err(|_| Error::bad_request(format!("{name}: has to be a JSON object."))),
    };
    let variables = object("variables", parameters.variables)?;
    let extensions = object("extensions", parameters.extensions)?;
    let hash = hash(extensions.as_ref(), parameters.document_id.as_deref())?;
    asked(parameters.query, hash, parameters.operation_name, variables)
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

fn from_body(bytes: &[u8], batch: usize) -> Result<Incoming, Error> {
    match crate::extract::parse(bytes)? {
        Value::Object(members) => from_members(members).map(Incoming::One),
        Value::Array(requests) if (1..=batch).contains(&requests.len()) => {
            let requests = requests.into_iter().map(|request| match request {
                Value::Object(members) => from_members(members),
                _ => Err(Error::bad_request("A request has to be a JSON object.")),
            });
            Ok(Incoming::Batch(requests.collect::<Result<_, _>>()?))
        }
        Value::Array(_) if batch > 0 => Err(Error::bad_request(format!(
            "A batch has 1 to {batch} requests."
        ))),
        _ => Err(Error::bad_request(
            "The body has to be a JSON object; batches are not supported.",
        )),
    }
}

/// A request as a JSON object: the body of a POST, or the payload of a message.
pub(super) fn from_members(mut members: Map<String, Value>) -> Result<Asked, Error> {
    let query = text(&mut members, "query")?;
    let operation_name = text(&mut members, "operationName")?;
    let variables = object(&mut members, "variables")?;
    let extensions = object(&mut members, "extensions")?;
    let document_id = text(&mut members, "documentId")?;
    let hash = hash(extensions.as_ref(), document_id.as_deref())?;
    asked(query, hash, operation_name, variables)
}

/// `extensions.persistedQuery.sha256Hash` (automatic persisted queries), or `documentId`.
fn hash(
    extensions: Option<&Map<String, Value>>,
    document_id: Option<&str>,
) -> Result<Option<Hash>, Error> {
    const AT: &str = "extensions.persistedQuery";
    let persisted = extensions.and_then(|extensions| extensions.get("persistedQuery"));
    let (at, text) = match (persisted, document_id) {
        (None | Some(Value::Null), None) => return Ok(None),
        (None | Some(Value::Null), Some(id)) => ("documentId", Some(id)),
        (Some(persisted), _) => {
            if persisted.get("version").and_then(Value::as_u64) != Some(1) {
                return Err(Error::bad_request(format!(
                    "{AT}: only version 1 is known."
                )));
            }
            (AT, persisted.get("sha256Hash").and_then(Value::as_str))
        }
    };
    match text.and_then(parse_hash) {
        Some(hash) => Ok(Some(hash)),
        None => Err(Error::bad_request(format!(
            "{at}: has to be a SHA-256 in hexadecimal digits."
        ))),
    }
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
    hash: Option<Hash>,
    operation_name: Option<String>,
    variables: Option<Map<String, Value>>,
) -> Result<Asked, Error> {
    if query.is_none() && hash.is_none() {
        return Err(Error::bad_request("query: is missing."));
    }
    let variables = Variables::from_json(Value::Object(variables.unwrap_or_default()));
    // A form field that was left empty names no operation.
    let operation_name = operation_name.filter(|name| !name.is_empty());
    Ok(Asked {
        query,
        hash,
        operation_name,
        variables,
    })
}
