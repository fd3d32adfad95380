//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): reading it, and deriving the key that a service gets.
//! Reading the body beside it is `idempotency/command.rs`, doing something once for each key `idempotency/once.rs`; the service that does the work deduplicates in its own
//! transaction all the same.

mod command;
mod once;
mod records;

use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::encode::hex;
use crate::error::Error;
use crate::openapi::{Describe, Operation};
use crate::store::Store;
pub use command::{Command, Payload, Received};
pub use once::{Idempotency, OnceAnswer};
pub use records::TABLES;

pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says `true` on an answer that was given before.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

const MAX_LENGTH: usize = 255;

/// A client's name for one attempt at something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// The request's key, when it has one. 400 when the header is there and is no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionalKey(pub Option<IdempotencyKey>);

impl<S: Send + Sync> FromRequestParts<S> for OptionalKey {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        IdempotencyKey::from_headers(&parts.headers).map(Self)
    }
}

impl Describe for OptionalKey {
    fn describe(operation: &mut Operation<'_>) {
        describe(operation, false);
    }
}

/// The request's key, which it has to have. 400 when it has none, or when the header is no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredKey(pub IdempotencyKey);

impl<S: Send + Sync> FromRequestParts<S> for RequiredKey {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        let missing = "Idempotency-Key is required: the client's name for this attempt.";
        let key = IdempotencyKey::from_headers(&parts.headers)?;
        key.map(Self).ok_or_else(|| Error::bad_request(missing))
    }
}

impl Describe for RequiredKey {
    fn describe(operation: &mut Operation<'_>) {
        describe(operation, true);
    }
}

fn describe(operation: &mut Operation<'_>, required: bool) {
    operation.header_like(
        "Idempotency-Key",
        required,
        "The client's name for this attempt, 1 to 255 printable characters, bare or as a structured-field string: repeated \
         with the same name, it is done once. What came of it, also a refusal, is given again for 24 hours.",
        schema(),
    );
}

/// What [`IdempotencyKey::parse`] takes: a string between quotes, or visible characters with spaces at most between them.
fn schema() -> Value {
    json!({
        "type": "string",
        "pattern": r#"^("([ !#-\[\]-~]|\\["\\]){1,255}"|[!#-~]([ -~]{0,253}[!-~])?)$"#,
        "examples": ["8e03978e-40d5-43dd-bc93-6894a57f9324"],
    })
}

/// How often records that are over are forgotten.
const PRUNE: Duration = Duration::from_mins(5);

/// Forgets records that are over, until the process ends.
pub(crate) async fn keep(store: Store) {
    let mut ticks = tokio::time::interval(PRUNE);
    loop {
        ticks.tick().await;
        if let Err(error) = records::prune(&store).await {
            let error = crate::problem::chain(&error);
            tracing::warn!(error, "old idempotency keys are not forgotten");
        }
    }
}

impl IdempotencyKey {
    /// The key of a request: bare, or as a structured-field string (RFC 9651, 3.3.3). Both mean the same key.
    ///
    /// # Errors
    /// 400 when the header is there more than once or is not a key of 1 to 255 printable characters.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Error> {
        let mut values = headers.get_all(&IDEMPOTENCY_KEY).iter();
        let (Some(value), rest) = (values.next(), values.next()) else {
            return Ok(None);
        };
        let key = value
            .to_str()
            .ok()
            .filter(|_| rest.is_none())
            .and_then(Self::parse);
        let malformed =
            "Idempotency-Key has to be one string of 1 to 255 printable ASCII characters.";
        key.map(Some).ok_or_else(|| Error::bad_request(malformed))
    }

    /// A key from text, bare or as a structured-field string.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let key = match text.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => text.to_owned(),
        };
        let sane = (1..=MAX_LENGTH).contains(&key.len())
            && key.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        sane.then_some(Self(key))
    }

    /// The key that a service gets: nobody outside of `scope` (the caller, the method, the path) can hit upon it,
    /// and what the client chose does not leave the gateway.
    #[must_use]
    pub fn scoped_to(&self, scope: &[&str]) -> HeaderValue {
        let mut digest = Sha256::new();
        for part in scope.iter().chain([&self.0.as_str()]) {
            // With its length in front, no part can borrow characters from its neighbour.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        HeaderValue::from_str(&hex(&digest.finalize())).unwrap_or(HeaderValue::from_static(""))
    }
}

/// What follows the opening quote of a structured-field string; parameters after it mean nothing here.
fn unquote(text: &str) -> Option<String> {
    let mut key = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => key.push(characters.next().filter(|c| matches!(c, '"' | '\\'))?),
            other => key.push(other),
        }
    }
    let rest = characters.as_str().trim_start();
    (rest.is_empty() || rest.starts_with(';')).then_some(key)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn bare_and_quoted_are_the_same_key() {
        let bare = IdempotencyKey::parse("8e03978e-40d5-43dd").unwrap();
        assert_eq!(
            IdempotencyKey::parse("\"8e03978e-40d5-43dd\""),
            Some(bare.clone())
        );
        assert_eq!(
            IdempotencyKey::parse(" \"8e03978e-40d5-43dd\" ; a=1"),
            Some(bare)
        );
        assert_eq!(IdempotencyKey::parse(r#""a\"b\\""#).unwrap().0, r#"a"b\"#);
        for malformed in [
            "", "\"", "\"\"", "\"open", "\"a\"b", r#""a\x""#, "ä", "a\tb",
        ] {
            assert_eq!(IdempotencyKey::parse(malformed), None, "{malformed}");
        }
        assert!(IdempotencyKey::parse(&"k".repeat(255)).is_some());
        assert!(IdempotencyKey::parse(&"k".repeat(256)).is_none());
    }

    #[test]
    fn two_headers_are_no_key() {
        let mut headers = HeaderMap::new();
        assert_eq!(IdempotencyKey::from_headers(&headers).unwrap(), None);
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("a"));
        assert!(IdempotencyKey::from_headers(&headers).unwrap().is_some());
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("a"));
        assert!(IdempotencyKey::from_headers(&headers).is_err());
    }

    #[test]
    fn a_key_belongs_to_its_scope() {
        let key = IdempotencyKey::parse("k").unwrap();
        let mine = key.scoped_to(&["ann", "POST /widgets"]);
        assert_eq!(mine, key.scoped_to(&["ann", "POST /widgets"]));
        assert_eq!(mine.len(), 64);
        for other in [
            &["bob", "POST /widgets"][..],
            &["annP", "OST /widgets"],
            &["ann"],
        ] {
            assert_ne!(mine, key.scoped_to(other));
        }
    }
}
