//! `Vary` (RFC 9110, 12.5.5): the request fields that an answer depends on. Who depends on what is known where it is decided.

use http::header::VARY;
use http::{HeaderMap, HeaderValue};

/// Adds a field's name, in lower case, unless it is there already.
pub(super) fn add(headers: &mut HeaderMap, field: &'static str) {
    let known = headers.get_all(VARY).iter().any(|line| {
        line.as_bytes().split(|byte| *byte == b',').any(|member| {
            let member = member.trim_ascii();
            member == b"*" || member.eq_ignore_ascii_case(field.as_bytes())
        })
    });
    if !known {
        headers.append(VARY, HeaderValue::from_static(field));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_named_once() {
        let mut headers = HeaderMap::new();
        headers.insert(VARY, HeaderValue::from_static("Accept, Origin"));
        add(&mut headers, "origin");
        add(&mut headers, "accept-encoding");
        add(&mut headers, "accept-encoding");
        let lines: Vec<_> = headers.get_all(VARY).iter().collect();
        assert_eq!(lines, ["Accept, Origin", "accept-encoding"]);
        headers.insert(VARY, HeaderValue::from_static("*"));
        add(&mut headers, "origin");
        assert_eq!(headers.get_all(VARY).iter().count(), 1);
    }
}
