//! Entity tags made of an aggregate's version, and the preconditions on them (RFC 9110, section 13). Which routes need
//! one is decided by the services.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::problem::ServiceError;

/// The strong tag of a version: `"v3"`, with the quotes.
pub fn etag(version: i64) -> HeaderValue {
    HeaderValue::try_from(tag(version)).unwrap_or_else(|_| HeaderValue::from_static("\"v0\""))
}

/// The `If-Match` of a request, if any.
#[derive(Clone, Debug)]
pub struct IfMatch(Option<Vec<String>>);

/// The `If-None-Match` of a request, if any.
#[derive(Clone, Debug)]
pub struct IfNoneMatch(Option<Vec<String>>);

impl IfMatch {
    /// Passes without an `If-Match`, and with one that names this version.
    ///
    /// # Errors
    /// `PreconditionFailed` (412).
    pub fn check(&self, version: i64) -> Result<(), ServiceError> {
        match &self.0 {
            Some(tags)
                if !tags
                    .iter()
                    .any(|known| known == "*" || *known == tag(version)) =>
            {
                Err(ServiceError::PreconditionFailed)
            }
            _ => Ok(()),
        }
    }

    /// Passes only with an `If-Match` that names this version.
    ///
    /// # Errors
    /// `PreconditionRequired` (428) without one, else `PreconditionFailed` (412).
    pub fn require(&self, version: i64) -> Result<(), ServiceError> {
        if self.0.is_none() {
            return Err(ServiceError::PreconditionRequired);
        }
        self.check(version)
    }
}

impl IfNoneMatch {
    /// Whether the client has this version already: answer 304 with the same `ETag`. The comparison is weak.
    pub fn has(&self, version: i64) -> bool {
        let current = tag(version);
        self.0
            .iter()
            .flatten()
            .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == current)
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<IfMatch, Infallible> {
        Ok(IfMatch(tags(&parts.headers, &IF_MATCH)))
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<IfNoneMatch, Infallible> {
        Ok(IfNoneMatch(tags(&parts.headers, &IF_NONE_MATCH)))
    }
}

fn tag(version: i64) -> String {
    format!("\"v{version}\"")
}

/// Our own tags have no comma in them, so splitting at commas can only break foreign ones, which match nothing anyway.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let mut lines = headers.get_all(name).iter().peekable();
    lines.peek()?;
    Some(
        lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(|tag| tag.trim().to_owned())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::{IfMatch, IfNoneMatch, etag, tags};
    use crate::problem::ServiceError;
    use http::header::{IF_MATCH, IF_NONE_MATCH};
    use http::{HeaderMap, HeaderValue};

    fn if_match(value: &'static str) -> IfMatch {
        let mut headers = HeaderMap::new();
        headers.insert(IF_MATCH, HeaderValue::from_static(value));
        IfMatch(tags(&headers, &IF_MATCH))
    }

    #[test]
    fn if_match_compares_strongly() {
        assert_eq!(etag(3), "\"v3\"");
        assert!(if_match("\"v3\"").check(3).is_ok());
        assert!(if_match("\"v1\", \"v3\"").check(3).is_ok());
        assert!(if_match("*").check(3).is_ok());
        for other in ["\"v4\"", "W/\"v3\"", "v3", ""] {
            let result = if_match(other).check(3);
            assert!(
                matches!(result, Err(ServiceError::PreconditionFailed)),
                "{other}"
            );
        }
    }

    #[test]
    fn an_absent_if_match_passes_unless_it_is_required() {
        assert!(IfMatch(None).check(3).is_ok());
        let required = IfMatch(None).require(3);
        assert!(matches!(required, Err(ServiceError::PreconditionRequired)));
    }

    #[test]
    fn if_none_match_compares_weakly() {
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("W/\"v3\""));
        let known = IfNoneMatch(tags(&headers, &IF_NONE_MATCH));
        assert!(known.has(3));
        assert!(!known.has(4));
        assert!(!IfNoneMatch(None).has(3));
    }
}
