//! Answers from what is stored: in full, as a head, or as 304 when the client has it already (RFC 9110, 13.2).
//! Whether what is stored may be used is decided in `cache.rs`.

use std::time::SystemTime;

use axum::body::Body;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, DATE, ETAG, EXPIRES, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};

use super::members;
use super::stored::Stored;

/// What a 304 says of the answer that it stands for (RFC 9110, 15.4.5), and how old it is.
const IN_NOT_MODIFIED: [HeaderName; 7] = [
    AGE,
    CACHE_CONTROL,
    CONTENT_LOCATION,
    DATE,
    ETAG,
    EXPIRES,
    VARY,
];

pub(super) fn respond<B>(stored: &Stored, request: &Request<B>, now: SystemTime) -> Response<Body> {
    let mut headers = stored.headers().clone();
    headers.insert(AGE, HeaderValue::from(stored.age(now).as_secs()));
    let not_modified =
        stored.status() == StatusCode::OK && client_has_it(stored.headers(), request.headers());
    let mut response = Response::new(Body::empty());
    if not_modified {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        for name in IN_NOT_MODIFIED {
            for value in headers.get_all(&name) {
                response.headers_mut().append(&name, value.clone());
            }
        }
        return response;
    }
    *response.status_mut() = stored.status();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(stored.body().len()));
    *response.headers_mut() = headers;
    if request.method() != Method::HEAD {
        *response.body_mut() = Body::from(stored.body().clone());
    }
    response
}

/// `If-None-Match`, or `If-Modified-Since` when there is none.
fn client_has_it(stored: &HeaderMap, request: &HeaderMap) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let Some(etag) = stored.get(ETAG).and_then(|etag| etag.to_str().ok()) else {
            return members(request, &IF_NONE_MATCH).any(|tag| tag == "*");
        };
        return members(request, &IF_NONE_MATCH).any(|tag| tag == "*" || same_tag(tag, etag));
    }
    let date = |headers: &HeaderMap, name| -> Option<SystemTime> {
        httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
    };
    match (
        date(stored, LAST_MODIFIED),
        date(request, IF_MODIFIED_SINCE),
    ) {
        (Some(modified), Some(since)) => modified <= since,
        _ => false,
    }
}

/// The weak comparison (RFC 9110, 8.8.3.2). A comma inside a tag splits it here: then it just does not match.
fn same_tag(one: &str, other: &str) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    opaque(one) == opaque(other)
}
