//! Percent-encoding (RFC 3986, 2.1) for path segments and query values that come from a client.
//! Decoding is `axum`'s; normalizing whole paths is `edge/normalize.rs`.

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
    use super::*;

    #[test]
    fn a_segment_stays_a_segment() {
        assert_eq!(segment("a b/c?d#e%").to_string(), "a%20b%2Fc%3Fd%23e%25");
        assert_eq!(segment("..").to_string(), "%2E%2E");
        assert_eq!(segment("a.b-c_d~e").to_string(), "a.b-c_d~e");
        assert_eq!(query_value("a&b=ü").to_string(), "a%26b%3D%C3%BC");
    }
}
