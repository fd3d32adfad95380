//! Cookies as a browser sends and takes them (RFC 6265bis). Which there are, and what is in them, is decided beside.

use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// All cookies that a request has, in order: the name, and the value of those that have one. Leniently: whatever any
/// parser could take for a cookie is one, and one that is no text hides none of the others.
pub(crate) fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .map(|pair| match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (pair[..at].trim_ascii(), Some(pair[at + 1..].trim_ascii())),
            None => (pair.trim_ascii(), None),
        })
}

/// The value of the cookie `name`. None when it is there twice: a browser keeps one of a name with the prefix `__Host-`, so
/// somebody else has had a hand in it.
pub(super) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = pairs(headers).filter(|(found, _)| *found == name.as_bytes());
    let (_, value) = values.next()?;
    if values.next().is_some() {
        return None;
    }
    std::str::from_utf8(value?).ok()
}

/// What sets the cookie `name`: sent back to this host alone, never over plain text, never to scripts, and to us from other
/// sites only when a person follows a link. Without `max_age` it goes with the browser's session.
///
/// `None` for a text that cannot stand in a header.
pub(super) fn set(name: &str, value: &str, max_age: Option<Duration>) -> Option<HeaderValue> {
    let max_age = max_age.map_or_else(String::new, |age| format!("; Max-Age={}", age.as_secs()));
    let text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{max_age}");
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What makes a browser forget the cookie `name`.
pub(super) fn clear(name: &str) -> Option<HeaderValue> {
    set(name, "", Some(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn a_cookie_is_found_once_or_not_at_all() {
        for (lines, found) in [
            (&["__Host-s=1"][..], Some("1")),
            (&["a=b; __Host-s=1;c=d"], Some("1")),
            (&["a=b", "__Host-s=1"], Some("1")),
            (&["__Host-s="], Some("")),
            (&["__Host-s=1=2"], Some("1=2")),
            (&["theme=d\u{fc}ster; __Host-s=1"], Some("1")),
            (&["__Host-s=1; d\u{fc}ster"], Some("1")),
            (&["\u{2003}__Host-s=2; __Host-s=1"], Some("1")),
            (&["__Host-s; __Host-s=1"], None),
            (&["__Host-s=1; __Host-s=2"], None),
            (&["__Host-s=1", "__Host-s=1"], None),
            (&["__host-s=1"], None),
            (&["__Host-session=1"], None),
            (&["__Host-s"], None),
            (&[], None),
        ] {
            assert_eq!(find(&headers(lines), "__Host-s"), found, "{lines:?}");
        }
    }

    #[test]
    fn cookies_are_for_this_host_over_tls_and_not_for_scripts() {
        assert_eq!(
            set("__Host-s", "abc", None).unwrap(),
            "__Host-s=abc; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            clear("__Host-s").unwrap(),
            "__Host-s=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"
        );
    }
}
