//! Percent-encoding (RFC 3986, 2.1) for path segments and query values that come from a client, and bytes in hexadecimal.
//! Decoding what a handler takes is `axum`'s; normalizing whole paths is `edge/normalize.rs`.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// A value that prints itself as one encoded path segment or query value.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a>(&'a str);

/// `text` as one path segment: it can neither end the segment nor start a query.
#[must_use]
pub fn segment(text: &str) -> Encoded<'_> {
    Encoded(text)
}

/// `text` as a query value.
#[must_use]
pub fn query_value(text: &str) -> Encoded<'_> {
    Encoded(text)
}

/// A request's target with those of `parameters` that have a value behind what it has already.
#[must_use]
pub fn with_parameters<'a>(
    mut target: String,
    parameters: impl IntoIterator<Item = (&'static str, Option<&'a str>)>,
) -> String {
    for (name, value) in parameters {
        if let Some(value) = value {
            let glue = if target.contains('?') { '&' } else { '?' };
            // Writing to a string does not fail.
            let _ = write!(target, "{glue}{name}={}", query_value(value));
        }
    }
    target
}

/// Two digits for each byte, in lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A path segment as it was before it was encoded; what is no encoding stays as it is.
pub(crate) fn decoded(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        match (first, digit(0), digit(1)) {
            // Two digits of four bits each: a byte.
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A segment of dots alone would be taken for a step up the path, even encoded.
        let dots = !self.0.is_empty() && self.0.bytes().all(|b| b == b'.');
        for byte in self.0.bytes() {
            let unreserved =
                byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) || byte == b'.' && !dots;
            if unreserved {
                f.write_char(char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_was_encoded_is_what_it_was() {
        for (encoded, text) in [
            ("a7", "a7"),
            ("%61%2F", "a/"),
            ("%C3%bc", "\u{fc}"),
            ("100%", "100%"),
            ("%4", "%4"),
            ("%zz%41", "%zzA"),
        ] {
            assert_eq!(super::decoded(encoded), text);
        }
    }

    use super::*;

    #[test]
    fn a_segment_stays_a_segment() {
        assert_eq!(segment("a b/c?d#e%").to_string(), "a%20b%2Fc%3Fd%23e%25");
        assert_eq!(segment("..").to_string(), "%2E%2E");
        assert_eq!(segment("a.b-c_d~e").to_string(), "a.b-c_d~e");
        let found = [("a", Some("b&c")), ("d", None), ("e", Some(""))];
        assert_eq!(with_parameters("/x".to_owned(), found), "/x?a=b%26c&e=");
        assert_eq!(
            with_parameters("/x?y=1".to_owned(), found),
            "/x?y=1&a=b%26c&e="
        );
        assert_eq!(query_value("a&b=ü").to_string(), "a%26b%3D%C3%BC");
    }
}
