//! Answers from what is stored: in full, as a head, or as 304 when the client has it already (RFC 9111, 4.3.2; RFC 9110, 13).
//! Whether what is stored may be used is decided in `cache/lookup.rs`.

use axum::body::Body;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::freshness::date;
use super::members;
use super::moment::Moment;
use super::stored::Stored;

/// What a 304 says of the answer that it stands for (RFC 9110, 15.4.5).
const IN_NOT_MODIFIED: [HeaderName; 6] =
    [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, VARY];

pub(super) fn respond(
    stored: &Stored,
    method: &Method,
    asked: &HeaderMap,
    now: Moment,
) -> Response<Body> {
    let age = HeaderValue::from(stored.freshness().age(now).as_secs());
    let mut response = Response::new(Body::empty());
    if stored.status() == StatusCode::OK && client_has_it(stored.headers(), asked) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        for name in IN_NOT_MODIFIED {
            for value in stored.headers().get_all(&name) {
                response.headers_mut().append(&name, value.clone());
            }
        }
        response.headers_mut().insert(AGE, age);
        return response;
    }
    let mut headers = stored.headers().clone();
    headers.insert(AGE, age);
    *response.status_mut() = stored.status();
    *response.headers_mut() = headers;
    if method != Method::HEAD {
        *response.body_mut() = Body::from(stored.body().clone());
    }
    response
}

/// `If-None-Match`, or `If-Modified-Since` when there is none.
fn client_has_it(stored: &HeaderMap, asked: &HeaderMap) -> bool {
    if asked.contains_key(IF_NONE_MATCH) {
        let etag = stored.get(ETAG).and_then(|etag| etag.to_str().ok());
        return members(asked, &IF_NONE_MATCH)
            .any(|tag| tag == "*" || etag.is_some_and(|etag| same_tag(tag, etag)));
    }
    let Some(since) = asked.get(IF_MODIFIED_SINCE).and_then(date) else {
        return false;
    };
    // Without the one the other is as good (RFC 9111, 4.3.2).
    let modified = stored.get(LAST_MODIFIED).or_else(|| stored.get(DATE));
    modified.and_then(date).is_some_and(|at| at <= since)
}

/// The weak comparison (RFC 9110, 8.8.3.2). A comma inside a tag splits it here: then it just does not match.
fn same_tag(one: &str, other: &str) -> bool {
    let opaque = |tag| str::strip_prefix(tag, "W/").unwrap_or(tag);
    opaque(one) == opaque(other)
}
