//! Paths that routers and services could read differently: what may be encoded and need not is decoded (RFC 3986, 6.2.2.2), and
//! what is left of doubt is refused, not guessed at: dot segments, encoded slashes, backslashes, NULs, and an encoded character
//! that decides which route it is. Percent-decoding of parameters is the router's.

use std::borrow::Cow;

use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use memchr::memchr;

use crate::error::{ClientError, Error, GatewayError};
use crate::route::{Matched, RouteTable};

/// Checks the target, and leaves its path as router and services have to see it: without encoded letters, digits, `-`, `.`,
/// `_` and `~`, for `/%61dmin` is `/admin` to whoever decodes it.
pub(super) fn settle<B>(request: &mut Request<B>, max_bytes: usize) -> Result<(), Error> {
    let uri = request.uri();
    let length = uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if length > max_bytes {
        return Err(ClientError::UriTooLong.into());
    }
    let path = uri.path();
    if ambiguous(path) {
        return Err(refused());
    }
    if memchr(b'%', path.as_bytes()).is_none() {
        return Ok(());
    }
    let decoded = decode(path, is_unreserved);
    // What has been decoded must not be what is looked for before.
    if ambiguous(&decoded) {
        return Err(refused());
    }
    if let Cow::Owned(path) = decoded {
        let target = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let bug = |error: &dyn std::fmt::Display| GatewayError::Bug(format!("a path: {error}"));
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|e| bug(&e))?);
        *request.uri_mut() = Uri::from_parts(parts).map_err(|e| bug(&e))?;
    }
    Ok(())
}

/// Refuses a path whose route hangs on whether a reserved character in it is encoded: `/a%3Ab` beside a route `/a:b`. To many
/// services both are the same, and the other route may be the stricter one.
pub(super) fn is_one_route(
    table: &RouteTable,
    method: &Method,
    path: &str,
    matched: &Matched<'_, '_>,
) -> Result<(), ClientError> {
    if memchr(b'%', path.as_bytes()).is_none() {
        return Ok(());
    }
    let decoded = decode(path, |_| true);
    match table.find(method, &decoded) {
        Ok(other) if other.route.name == matched.route.name => Ok(()),
        _ => Err(ClientError::BadRequest(
            "The path has an encoded character that would be another route's if it were not encoded.".to_owned(),
        )),
    }
}

fn refused() -> Error {
    Error::bad_request(
        "The path has a dot segment, an empty segment, an encoded slash or a backslash.",
    )
}

fn ambiguous(path: &str) -> bool {
    // Only a path with one of these characters can be ambiguous; most have none of them and are done here.
    if !path.bytes().any(|b| matches!(b, b'%' | b'.' | b'\\')) && !path.contains("//") {
        return false;
    }
    let lower = path.to_ascii_lowercase();
    let forbidden = ["//", "\\", "%2f", "%5c", "%00"];
    forbidden.iter().any(|text| lower.contains(text))
        || lower.split('/').any(is_dots)
        || !well_encoded(&lower)
}

/// Whether somebody could take the segment for `.` or `..`: containers of servlets cut off what follows a `;` first.
fn is_dots(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    matches!(name.replace("%2e", ".").as_str(), "." | "..")
}

/// Every `%` is followed by two hexadecimal digits (RFC 3986, 2.1).
fn well_encoded(path: &str) -> bool {
    path.split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit()))
}

/// RFC 3986, 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// `path`, which is well encoded, with the bytes decoded that are `wanted`; borrowed when there are none.
fn decode(path: &str, wanted: impl Fn(u8) -> bool) -> Cow<'_, str> {
    let mut decoded = Vec::new();
    let mut rest = path.as_bytes();
    let mut changed = false;
    while let Some(at) = memchr(b'%', rest) {
        let digit = |at: usize| rest.get(at).and_then(|b| char::from(*b).to_digit(16));
        let byte = match (digit(at + 1), digit(at + 2)) {
            (Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        decoded.extend_from_slice(&rest[..at]);
        match byte.filter(|byte| wanted(*byte)) {
            Some(byte) => {
                decoded.push(byte);
                rest = &rest[at + 3..];
                changed = true;
            }
            None => {
                decoded.push(b'%');
                rest = &rest[at + 1..];
            }
        }
    }
    if !changed {
        return Cow::Borrowed(path);
    }
    decoded.extend_from_slice(rest);
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn what_need_not_be_encoded_is_decoded() {
        for (target, expected) in [
            ("/api/%61dmin", "/api/admin"),
            ("/%41%5A%7a%30%39%2D%5F%7E", "/AZz09-_~"),
            ("/a%2Eb?%61=%2F", "/a.b?%61=%2F"),
            // What means something else when it is not encoded, or is no ASCII, stays.
            ("/a%3Ab%20c%25%C3%A9", "/a%3Ab%20c%25%C3%A9"),
            // Decoded once, it is what it was: an encoded percent sign and two letters.
            ("/%25%36%31", "/%2561"),
            ("/plain?%61", "/plain?%61"),
        ] {
            let mut request = Request::builder().uri(target).body(()).unwrap();
            settle(&mut request, 1000).unwrap();
            assert_eq!(request.uri().to_string(), expected, "{target}");
        }
        for target in ["/a/%2E%2e/b", "/a/%2e/b", "/a/.%2E"] {
            let mut request = Request::builder().uri(target).body(()).unwrap();
            assert!(settle(&mut request, 1000).is_err(), "{target}");
        }
        assert_eq!(decode("/a%3ab%20", |_| true), "/a:b ");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for path in [
            "/a/../b",
            "/a/%2e%2E/b",
            "/a/./b",
            "/a/..;/b",
            "/a/%2e%2e;x=1/b",
            "/a/.;x",
            "/..",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "//a",
            "/a//b",
            "/a%0",
            "/a%zz",
            "/%00",
        ] {
            assert!(ambiguous(path), "{path}");
        }
        for path in [
            "/",
            "/a/b",
            "/a.b/c",
            "/a%20b",
            "/a/...",
            "/a;x=1/b",
            "/a.b;v=..;w/c",
            "/.well-known/x",
            "/a/",
        ] {
            assert!(!ambiguous(path), "{path}");
        }
    }
}
