//! Paths that routers and services could read differently are refused, not guessed at: dot segments, encoded slashes,
//! backslashes and NULs. Percent-decoding of what is left is the router's.

use http::Uri;

use crate::error::{ClientError, Error};

pub(super) fn check(uri: &Uri, max_bytes: usize) -> Result<(), Error> {
    let length = uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if length > max_bytes {
        return Err(ClientError::UriTooLong.into());
    }
    if ambiguous(uri.path()) {
        return Err(Error::bad_request(
            "The path has a dot segment, an empty segment, an encoded slash or a backslash.",
        ));
    }
    Ok(())
}

fn ambiguous(path: &str) -> bool {
    // Only a path with one of these characters can be ambiguous; most have none of them and are done here.
    if !path.bytes().any(|b| matches!(b, b'%' | b'.' | b'\\')) && !path.contains("//") {
        return false;
    }
    let lower = path.to_ascii_lowercase();
    let forbidden = ["//", "\\", "%2f", "%5c", "%00"];
    forbidden.iter().any(|text| lower.contains(text))
        || lower
            .split('/')
            .any(|segment| matches!(segment.replace("%2e", ".").as_str(), "." | ".."))
        || !well_encoded(&lower)
}

/// Every `%` is followed by two hexadecimal digits (RFC 3986, 2.1).
fn well_encoded(path: &str) -> bool {
    path.split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for path in [
            "/a/../b",
            "/a/%2e%2E/b",
            "/a/./b",
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
            "/.well-known/x",
            "/a/",
        ] {
            assert!(!ambiguous(path), "{path}");
        }
    }
}
