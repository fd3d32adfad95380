//! From a composed struct to the HTTP answer: JSON, validators, cache rules. What the parts are is `compose.rs`.

use std::marker::PhantomData;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Composition;
use crate::error::{Error, GatewayError};

/// The answer of a composed route: `S` as JSON. The type is what the route's documentation is made from.
#[must_use]
#[derive(Debug)]
pub struct Answer<S> {
    response: Response,
    shape: PhantomData<fn() -> S>,
}

impl<S> IntoResponse for Answer<S> {
    fn into_response(self) -> Response {
        self.response
    }
}

/// An answer that changes, with the word when to ask again.
#[must_use]
#[derive(Debug)]
pub struct Polled<S> {
    answer: Answer<S>,
    after: Option<Duration>,
}

impl<S> Answer<S> {
    /// Tells the client when asking again is worth it (`Retry-After`): not before this time, in whole seconds. `None` when
    /// nothing will change any more.
    pub fn ask_again(self, after: Option<Duration>) -> Polled<S> {
        Polled {
            answer: self,
            after,
        }
    }
}

impl<S> IntoResponse for Polled<S> {
    fn into_response(self) -> Response {
        let mut response = self.answer.into_response();
        if let Some(after) = self.after {
            let seconds = HeaderValue::from(after.as_secs().max(1));
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

impl<P> Composition<P> {
    /// The answer: 200, or 304 when the client has it already.
    ///
    /// A complete answer has a weak `ETag` over data and section status, never over ages or reasons, and belongs to its caller alone,
    /// who may use it again for as long as the shortest-lived of its parts allows; one with an `unavailable` section or a
    /// fallback has no validator and is stored by nobody, nor is the answer to a command. Sections that were not picked are left
    /// out.
    pub fn answer<S: Serialize>(&self, body: S) -> Answer<S> {
        Answer {
            response: self.respond(&body),
            shape: PhantomData,
        }
    }

    fn respond(&self, body: &impl Serialize) -> Response {
        let bytes = match serde_json::to_vec(&self.fields.shown(body)) {
            Ok(bytes) => bytes,
            Err(error) => {
                return Error::from(GatewayError::Bug(format!("answer: {error}"))).into_response();
            }
        };
        if self.is_command || self.incomplete.load(Ordering::Relaxed) {
            return json(bytes, HeaderValue::from_static("private, no-store"), None);
        }
        let etag = match self.any_stale.load(Ordering::Relaxed) {
            false => weak_etag(&bytes),
            true => weak_etag(&without_circumstances(&bytes)),
        };
        let cache_control = cache_control(self.context.lifetime().as_secs());
        let known = self
            .if_none_match
            .as_ref()
            .is_some_and(|value| matches_weakly(value, &etag));
        if known {
            let mut response = StatusCode::NOT_MODIFIED.into_response();
            set_headers(&mut response, cache_control, Some(etag));
            return response;
        }
        json(bytes, cache_control, Some(etag))
    }
}

fn json(bytes: Vec<u8>, cache_control: HeaderValue, etag: Option<HeaderValue>) -> Response {
    let mut response = bytes.into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    set_headers(&mut response, cache_control, etag);
    response
}

fn set_headers(response: &mut Response, cache_control: HeaderValue, etag: Option<HeaderValue>) {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, cache_control);
    if let Some(etag) = etag {
        headers.insert(ETAG, etag);
    }
}

fn cache_control(seconds: u64) -> HeaderValue {
    let text = match seconds {
        0 => return HeaderValue::from_static("private, no-cache"),
        seconds => format!("private, max-age={seconds}"),
    };
    // Letters, digits, and what stands between them: always a legal value.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("private, no-cache"))
}

/// The answer without the ages of its stale sections and why they are: these change while the data does not.
fn without_circumstances(bytes: &[u8]) -> Vec<u8> {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(members) => {
                if members
                    .get("status")
                    .is_some_and(|status| status == "stale")
                {
                    members.remove("age");
                    members.remove("reason");
                }
                members.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let Ok(mut value) = serde_json::from_slice(bytes) else {
        return bytes.to_vec();
    };
    strip(&mut value);
    value.to_string().into_bytes()
}

/// Half of a SHA-256 over the answer, in hexadecimal.
pub(crate) fn weak_etag(bytes: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(bytes);
    let mut text = String::with_capacity(36);
    text.push_str("W/\"");
    for byte in &digest[..16] {
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    text.push('"');
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("W/\"\""))
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// `If-None-Match` uses weak comparison (RFC 9110, 13.1.2): `W/` does not count.
pub(crate) fn matches_weakly(if_none_match: &HeaderValue, etag: &HeaderValue) -> bool {
    let Ok(wanted) = if_none_match.to_str() else {
        return false;
    };
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let Ok(etag) = etag.to_str().map(opaque) else {
        return false;
    };
    wanted.trim() == "*" || wanted.split(',').any(|tag| opaque(tag) == etag)
}
