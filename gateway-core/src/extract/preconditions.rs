//! `If-Match` and `If-None-Match` (RFC 9110, 13.1) for handlers that answer with strong validators of their own. Composed
//! answers and stored ones see to theirs themselves.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::compose::matches_weakly;
use crate::error::{ClientError, Error};
use crate::openapi::{Describe, Operation};

/// The version that a client means to write over: all lines of `If-Match` in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfMatch(pub Option<HeaderValue>);

/// The versions that a client has: all lines of `If-None-Match` in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfNoneMatch(pub Option<HeaderValue>);

impl IfMatch {
    /// # Errors
    /// 428 when there is none.
    pub fn required(self) -> Result<HeaderValue, Error> {
        Ok(self.0.ok_or(ClientError::PreconditionRequired)?)
    }
}

impl IfNoneMatch {
    /// Whether the client has this version: answer 304 with the same `ETag`.
    #[must_use]
    pub fn has(&self, etag: &HeaderValue) -> bool {
        self.0
            .as_ref()
            .is_some_and(|known| matches_weakly(known, etag))
    }
}

/// RFC 9110, 5.3: several lines are one list.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    let Some(second) = lines.next() else {
        return Some(first.clone());
    };
    let lines = [first, second].into_iter().chain(lines);
    let bytes: Vec<&[u8]> = lines.map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&bytes.join(&b", "[..])).ok()
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(joined(&parts.headers, &IF_MATCH)))
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(joined(&parts.headers, &IF_NONE_MATCH)))
    }
}

impl Describe for IfMatch {
    fn describe(operation: &mut Operation<'_>) {
        operation.header(
            "If-Match",
            true,
            "The `ETag` of the version that is to be replaced: 428 without it, 412 when there is another by now.",
        );
    }
}

impl Describe for IfNoneMatch {
    fn describe(operation: &mut Operation<'_>) {
        operation.header(
            "If-None-Match",
            false,
            "The `ETag` of an answer that the client has: 304 when nothing has changed.",
        );
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::{HeaderValue, IF_MATCH, IF_NONE_MATCH};

    use super::{IfMatch, IfNoneMatch, joined};

    #[test]
    fn several_lines_are_one_list() {
        let mut headers = HeaderMap::new();
        assert!(IfMatch(joined(&headers, &IF_MATCH)).required().is_err());
        for tag in ["\"v1\"", "W/\"v2\"", "\"v3\""] {
            headers.append(IF_NONE_MATCH, HeaderValue::from_static(tag));
        }
        let known = IfNoneMatch(joined(&headers, &IF_NONE_MATCH));
        for (tag, has) in [("\"v1\"", true), ("\"v2\"", true), ("\"v4\"", false)] {
            assert_eq!(known.has(&HeaderValue::from_static(tag)), has, "{tag}");
        }
    }
}
