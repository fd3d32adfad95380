//! The parameters of a query or a form (application/x-www-form-urlencoded), each at most once: what a server and a proxy
//! read differently could be two requests in one. What they mean is decided beside.

use std::borrow::Cow;

/// Nobody who means well sends more; each is compared with all before it.
const MOST: usize = 32;

/// Why parameters cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("a parameter is there twice")]
    Repeated,
    #[error("a parameter is not text in UTF-8, percent-encoded")]
    Encoding,
    #[error("there are more than {MOST} parameters")]
    TooMany,
}

/// What stands in a query or a form, decoded.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == MOST {
                return Err(Fault::TooMany);
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Fault::Repeated);
            }
            pairs.push((name, decode(value)?));
        }
        Ok(Self(pairs))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find_map(|(found, value)| (found == name).then_some(value.as_str()))
    }
}

fn decode(text: &str) -> Result<String, Fault> {
    let spaced = if text.contains('+') {
        Cow::Owned(text.replace('+', " "))
    } else {
        Cow::Borrowed(text)
    };
    let bytes = percent_decoded(&spaced).ok_or(Fault::Encoding)?;
    String::from_utf8(bytes).map_err(|_| Fault::Encoding)
}

/// The bytes that `text` stands for; `None` for a `%` without two digits.
pub(super) fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digits = after
            .get(..2)
            .filter(|two| two.iter().all(u8::is_ascii_hexdigit))?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn parameters_are_decoded_once_and_stand_once() {
        let parameters = Parameters::parse("a=b%20c+d&e=%2526&f&&g=").unwrap();
        assert_eq!(parameters.get("a"), Some("b c d"));
        assert_eq!(parameters.get("e"), Some("%26"));
        assert_eq!(parameters.get("f"), Some(""));
        assert_eq!(parameters.get("g"), Some(""));
        assert_eq!(parameters.get("h"), None);
        for (text, fault) in [
            ("a=1&a=2", Fault::Repeated),
            ("a=1&%61=1", Fault::Repeated),
            ("a=%", Fault::Encoding),
            ("a=%2", Fault::Encoding),
            ("a=%zz", Fault::Encoding),
            ("a=%+1", Fault::Encoding),
            ("a=%ff", Fault::Encoding),
        ] {
            assert_eq!(Parameters::parse(text).unwrap_err(), fault, "{text}");
        }
    }

    #[test]
    fn there_are_never_so_many_that_comparing_them_is_work() {
        let many = |count: usize| {
            let pairs: Vec<String> = (0..count).map(|at| format!("p{at}=x")).collect();
            pairs.join("&")
        };
        assert!(Parameters::parse(&many(MOST)).is_ok());
        // Neither what comes behind is looked at, nor whether it is there twice.
        for text in [
            many(MOST + 1),
            format!("{}&p0=%", many(MOST)),
            many(100_000),
        ] {
            assert_eq!(Parameters::parse(&text).unwrap_err(), Fault::TooMany);
        }
    }
}
