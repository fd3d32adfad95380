//! `Expect` (RFC 9110, 10.1.1): the one expectation there is, and OPTIONS that is meant for whoever it reaches
//! (`Max-Forwards`, 7.6.2). When a body is asked for is up to who reads it (`proxy/expect.rs`).

use axum::body::Body;
use axum::response::Response;
use http::header::{ALLOW, EXPECT, MAX_FORWARDS};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};

use crate::error::{ClientError, Error};

/// Nobody knows how to fulfil another one; nor this one over HTTP/2, where hyper says nothing before the answer: who
/// would wait for a 100 has to be told so.
pub(super) fn check(headers: &HeaderMap, version: Version, has_body: bool) -> Result<(), Error> {
    let can_be_told = version < Version::HTTP_2 || !has_body;
    let known = headers
        .get_all(EXPECT)
        .iter()
        .all(|value| can_be_told && value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if known {
        Ok(())
    } else {
        Err(ClientError::ExpectationFailed.into())
    }
}

/// One hop less; whether this was the last one.
pub(super) fn is_last_hop(request: &mut Request<Body>) -> bool {
    if request.method() != Method::OPTIONS {
        return false;
    }
    let headers = request.headers_mut();
    if !headers.contains_key(MAX_FORWARDS) {
        return false;
    }
    let left = headers
        .get(MAX_FORWARDS)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match left {
        None => false,
        Some(0) => true,
        Some(left) => {
            headers.insert(MAX_FORWARDS, HeaderValue::from(left - 1));
            false
        }
    }
}

/// What a path can do, as far as the gateway knows.
pub(super) fn options<'a>(methods: impl Iterator<Item = &'a Method>) -> Response {
    let methods: Vec<&str> = methods.map(Method::as_str).collect();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(allow) = HeaderValue::from_str(&methods.join(", ")) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn there_is_one_expectation() {
        for (value, known) in [
            ("100-continue", true),
            ("100-Continue", true),
            ("200-ok", false),
            ("100-continue, x", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(EXPECT, value.parse().unwrap());
            let check = |version, body| check(&headers, version, body).is_ok();
            assert_eq!(check(Version::HTTP_11, true), known, "{value}");
            assert_eq!(check(Version::HTTP_2, false), known, "{value}");
            assert!(!check(Version::HTTP_2, true), "{value}");
        }
    }

    #[test]
    fn hops_are_counted_for_options() {
        for (method, before, last, after) in [
            (Method::OPTIONS, "0", true, "0"),
            (Method::OPTIONS, "3", false, "2"),
            (Method::OPTIONS, "x", false, "x"),
            (Method::GET, "0", false, "0"),
        ] {
            let mut request = Request::builder()
                .method(method)
                .header(MAX_FORWARDS, before)
                .body(Body::empty())
                .unwrap();
            assert_eq!(is_last_hop(&mut request), last, "{before}");
            assert_eq!(request.headers()[MAX_FORWARDS], after);
        }
    }
}
