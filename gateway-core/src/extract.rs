//! Extractors that turn a malformed request into the right problem: JSON bodies, query parameters, path segments.
//! Size limits are set by the edge (`edge/body_limit.rs`); meaning is checked by handlers and services.

mod limits;
mod preconditions;

use std::marker::PhantomData;

use axum::body::Body;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use strict_json::Fault;

use crate::context::RequestContext;
use crate::edge::BodyLimit;
use crate::error::{ClientError, Error, FieldError, GatewayError};
use crate::server::BodyError;
use crate::upstream::is_json;
pub use preconditions::{IfMatch, IfNoneMatch};

/// A JSON body. 415 for another media type, 413 when too large, 400 with the position when it is not JSON, 422 with
/// pointers when it does not fit `T` or is beyond the limits that `T`'s schema states (lengths, counts, ranges, patterns).
#[derive(Clone, Copy, Debug)]
pub struct JsonBody<T>(pub T);

/// Query parameters. 400 when they do not fit `T`.
#[derive(Clone, Copy, Debug)]
pub struct QueryParams<T>(pub T);

/// The variable segments of the path, decoded. 400 when they do not fit `T`.
#[derive(Clone, Copy, Debug)]
pub struct PathParam<T>(pub T);

/// A JSON body that is read when the handler asks for it, so that other things can be refused before.
#[derive(Debug)]
pub struct LaterBody<T> {
    request: Request,
    shape: PhantomData<fn() -> T>,
}

impl<S: Send + Sync, T> FromRequest<S> for LaterBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Error> {
        Ok(Self {
            request,
            shape: PhantomData,
        })
    }
}

impl<T: DeserializeOwned + JsonSchema + 'static> LaterBody<T> {
    /// # Errors
    /// As [`JsonBody`].
    pub async fn read(self) -> Result<T, Error> {
        let JsonBody(body) = JsonBody::from_request(self.request, &()).await?;
        Ok(body)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + JsonSchema + 'static> FromRequest<S> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Error> {
        let (_head, text) = json_text(request).await?;
        fitting(&text).map(Self)
    }
}

/// The head of a request and its body, which says that it is JSON and is not too large.
pub(crate) async fn json_text(request: Request) -> Result<(Parts, Bytes), Error> {
    let (parts, body) = request.into_parts();
    expect_json(&parts.headers)?;
    let text = read_body(&parts, body).await?;
    Ok((parts, text))
}

/// A JSON text as `T`, within the limits that `T`'s schema states.
pub(crate) fn fitting<T: DeserializeOwned + JsonSchema + 'static>(text: &[u8]) -> Result<T, Error> {
    let body = parse(text)?;
    limits::check::<T>(text)?;
    Ok(body)
}

fn expect_json(headers: &HeaderMap) -> Result<(), Error> {
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if media_type.is_some_and(is_json) {
        Ok(())
    } else {
        Err(ClientError::UnsupportedMediaType {
            expected: "application/json",
        }
        .into())
    }
}

/// The whole body, within the request's limits of size and time.
///
/// # Errors
/// 413 when it is too large, 408 when it does not arrive within the deadline, 400 when it breaks off.
pub async fn read_body(parts: &Parts, body: Body) -> Result<Bytes, Error> {
    let context = parts.extensions.get::<RequestContext>();
    let limit = parts.extensions.get::<BodyLimit>();
    if let Some(limit) = limit {
        limit.check_announced(&parts.headers)?;
    }
    let limit = limit.map_or(0, |limit| limit.bytes());
    let collected = match context {
        Some(context) => tokio::time::timeout_at(context.deadline().at(), body.collect())
            .await
            .map_err(|_elapsed| ClientError::BodyTimeout)?,
        None => body.collect().await,
    };
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if is_length_limit(&error) => Err(ClientError::BodyTooLarge { limit }.into()),
        Err(error) if is_stalled(&error) => Err(ClientError::BodyTimeout.into()),
        Err(_broken) => Err(Error::bad_request("The body broke off.")),
    }
}

pub(crate) fn is_length_limit(error: &axum::Error) -> bool {
    sources(error).any(<dyn std::error::Error>::is::<LengthLimitError>)
}

/// Whether the client has stopped sending, and the server has stopped waiting.
pub(crate) fn is_stalled(error: &axum::Error) -> bool {
    sources(error).any(|source| matches!(source.downcast_ref(), Some(BodyError::Stalled)))
}

fn sources<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |error| (*error).source())
}

/// Decodes a JSON document.
///
/// # Errors
/// 400 with line and column when it is not JSON, 422 with a pointer when it does not fit `T`.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    strict_json::from_slice(bytes).map_err(|fault| match fault {
        Fault::NotUtf8 { line, column } => malformed("no UTF-8", line, column),
        Fault::Syntax(error) => not_json(&error),
        Fault::Misfit { pointer, detail } => {
            ClientError::Unprocessable(vec![FieldError { pointer, detail }]).into()
        }
    })
}

pub(crate) fn not_json(error: &serde_json::Error) -> Error {
    let what = if error.is_eof() {
        "it ends too early"
    } else {
        "syntax error"
    };
    malformed(what, error.line(), error.column())
}

fn malformed(what: &str, line: usize, column: usize) -> Error {
    Error::bad_request(format!(
        "The body is not JSON: {what} at line {line}, column {column}."
    ))
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Error::bad_request(unfit(&rejection.body_text()))),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathParam<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) if rejection.status().is_server_error() => {
                Err(GatewayError::Bug(format!("path: {}", rejection.body_text())).into())
            }
            Err(rejection) => Err(Error::bad_request(misfit(&rejection))),
        }
    }
}

/// Which parameter of the query it is, and what is wrong with it, of what axum and serde say in words of their own.
fn unfit(said: &str) -> String {
    let said = said
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(said);
    let named = |fault: &str| said.split_once(fault)?.1.split('`').next();
    if let Some(name) = named("missing field `") {
        format!("{name}: is missing.")
    } else if let Some(name) = named("duplicate field `") {
        format!("{name}: is there more than once.")
    } else if let Some(name) = named("unknown field `") {
        format!("{name}: is not known.")
    } else {
        let is_name = |name: &&str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        match said.split(':').next().filter(is_name) {
            Some(name) if said.len() > name.len() => format!("{name}: is not valid."),
            Some(_) | None => "The query is not valid.".to_owned(),
        }
    }
}

/// Which segment it is; axum's own words would name Rust's types.
fn misfit(rejection: &PathRejection) -> String {
    let kind = match rejection {
        PathRejection::FailedToDeserializePathParams(failure) => Some(failure.kind()),
        _ => None,
    };
    match kind {
        Some(ErrorKind::InvalidUtf8InPathParam { key }) => {
            format!("The path's `{key}` is not UTF-8.")
        }
        Some(ErrorKind::ParseErrorAtKey { key, .. } | ErrorKind::DeserializeError { key, .. }) => {
            format!("The path's `{key}` is not valid.")
        }
        _ => "A segment of the path is not valid.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[derive(serde::Deserialize, Debug)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "only the shape matters here")]
    struct Search {
        lat: f64,
        page_size: Option<u8>,
    }

    #[tokio::test]
    async fn a_query_that_does_not_fit_is_told_in_our_words() {
        let cases = [
            ("/", "lat: is missing."),
            ("/?lat=", "lat: is not valid."),
            ("/?lat=x", "lat: is not valid."),
            ("/?lat=1&pageSize=-1", "pageSize: is not valid."),
            (
                "/?lat=1&pageSize=1&pageSize=2",
                "pageSize: is there more than once.",
            ),
            ("/?lat=1&other=1", "other: is not known."),
        ];
        for (uri, expected) in cases {
            let (mut parts, ()) = http::Request::get(uri).body(()).unwrap().into_parts();
            let found = QueryParams::<Search>::from_request_parts(&mut parts, &()).await;
            let error = found.map(|QueryParams(found)| found).unwrap_err();
            assert!(
                matches!(&error, Error::Client(ClientError::BadRequest(said)) if said == expected),
                "{uri}: {error:?}"
            );
        }
    }

    #[derive(serde::Deserialize, Debug)]
    #[expect(dead_code, reason = "only the shape matters here")]
    struct Widget {
        name: String,
        parts: Vec<Part>,
    }

    #[derive(serde::Deserialize, Debug)]
    #[expect(dead_code, reason = "only the shape matters here")]
    struct Part {
        count: u8,
    }

    #[test]
    fn what_is_not_json_says_where() {
        let Err(Error::Client(ClientError::BadRequest(detail))) =
            parse::<Widget>(b"{\n  \"name\": }")
        else {
            panic!("not refused");
        };
        assert!(detail.contains("line 2, column 11"), "{detail}");
    }

    #[test]
    fn what_does_not_fit_says_which_member() {
        let Err(Error::Client(ClientError::Unprocessable(errors))) =
            parse::<Widget>(br#"{"name":"a","parts":[{"count":1},{"count":"x"}]}"#)
        else {
            panic!("not refused");
        };
        assert_eq!(errors[0].pointer, "/parts/1/count");
        assert!(!errors[0].detail.contains("line"), "{}", errors[0].detail);
    }

    #[test]
    fn what_cannot_be_parsed_is_not_said_to_misfit() {
        for text in [
            &br#"{"name": 5, "x": "#[..],
            br#"{"name":"a","parts":[{"count":"x"}] "#,
            b"{\"name\": \"\xff\"}",
            b"",
        ] {
            let Err(Error::Client(ClientError::BadRequest(detail))) = parse::<Widget>(text) else {
                panic!("not refused");
            };
            assert!(detail.contains("line 1, column "), "{detail}");
        }
        let Err(Error::Client(ClientError::BadRequest(detail))) =
            parse::<Widget>(b"{\n \"name\": \"\xff\"}")
        else {
            panic!("not refused");
        };
        assert!(detail.contains("line 2, column 11"), "{detail}");
    }

    #[test]
    fn an_array_is_no_object_and_rust_is_not_mentioned() {
        #[derive(serde::Deserialize, Debug)]
        #[expect(dead_code, reason = "only the shape matters here")]
        struct Assembly {
            widget: Widget,
            material: Material,
            finish: Option<Finish>,
            size: (u8, u8),
        }
        #[derive(serde::Deserialize, Debug)]
        #[serde(rename_all = "lowercase")]
        enum Material {
            Wood,
            Steel,
        }
        #[derive(serde::Deserialize, Debug)]
        #[expect(dead_code, reason = "only the shape matters here")]
        enum Finish {
            Paint { colour: String },
        }
        let good = r#"{"widget":{"name":"a","parts":[{"count":1}]},"material":"wood","size":[1,2],
            "finish":{"Paint":{"colour":"red"}}}"#;
        assert!(parse::<Assembly>(good.as_bytes()).is_ok());
        for (from, to, pointer, says) in [
            (good, r#"["a",[[1]]]"#, "", "an object"),
            (good, "5", "", "an object"),
            (
                r#"{"name":"a","parts":[{"count":1}]}"#,
                r#"["a",[]]"#,
                "/widget",
                "an object",
            ),
            (r#"{"count":1}"#, "[1]", "/widget/parts/0", "an object"),
            (
                r#"{"colour":"red"}"#,
                r#"["red"]"#,
                "/finish/Paint",
                "an object",
            ),
            (r#""wood""#, "5", "/material", "value"),
            (
                r#""wood""#,
                r#""gold""#,
                "/material",
                "expected `wood` or `steel`",
            ),
            (r#""wood""#, r#"{"wood":{}}"#, "/material/wood", "unit"),
            ("[1,2]", "5", "/size", "an array"),
            ("[1,2]", "[1]", "/size", "of size 2"),
            (r#""size":[1,2],"#, "", "", "missing field `size`"),
        ] {
            let text = good.replace(from, to);
            let Err(Error::Client(ClientError::Unprocessable(errors))) =
                parse::<Assembly>(text.as_bytes())
            else {
                panic!("not refused: {text}");
            };
            let FieldError {
                pointer: found,
                detail,
            } = &errors[0];
            assert!(found == pointer, "{found} for {text}: {detail}");
            assert!(detail.contains(says), "{detail} for {text}");
            for name in ["struct", "Widget", "Assembly", "Part", "Material", "enum"] {
                assert!(!detail.contains(name), "{detail} for {text}");
            }
        }
    }

    #[test]
    fn what_follows_the_document_is_not_ignored() {
        assert!(matches!(
            parse::<Widget>(br#"{"name":"a","parts":[]} {}"#),
            Err(Error::Client(ClientError::BadRequest(_)))
        ));
    }
}
