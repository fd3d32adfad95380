//! `Cache-Control` of requests and answers (RFC 9111, 5.2, and RFC 5861), read once and strictly where it forbids. What follows from
//! an answer's directives is `cache/freshness.rs`; where a request's are minded is `cache/lookup.rs`.

use std::borrow::Cow;

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName};

/// Seconds that do not fit are as good as for ever (RFC 9111, 1.2.2).
const FOR_EVER: u64 = 1 << 31;

/// What an answer says of storing it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AnswerControl {
    pub(super) no_store: bool,
    pub(super) no_cache: Limited,
    pub(super) private: Limited,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) must_understand: bool,
    /// In seconds, like all times here. What cannot be read counts as 0.
    pub(super) max_age: Option<u64>,
    pub(super) s_maxage: Option<u64>,
    pub(super) stale_while_revalidate: Option<u64>,
    pub(super) stale_if_error: Option<u64>,
}

/// Whether a directive is there, and whether it is about some fields alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Limited {
    #[default]
    Absent,
    Fields(Vec<HeaderName>),
    Whole,
}

/// What a request says of using what is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestControl {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) only_if_cached: bool,
    /// In seconds, like all times here. What cannot be read is as if it were not there.
    pub(super) max_age: Option<u64>,
    pub(super) min_fresh: Option<u64>,
    pub(super) max_stale: Option<u64>,
    pub(super) stale_if_error: Option<u64>,
}

impl AnswerControl {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        each(headers, |name, value| {
            // A lifetime that is given twice is the shorter one, and one that cannot be read is over.
            let shorten = |known: &mut Option<u64>| {
                let seconds = value.as_deref().and_then(seconds).unwrap_or(0);
                *known = Some(known.map_or(seconds, |known| known.min(seconds)));
            };
            match name {
                b"no-store" => control.no_store = true,
                b"no-cache" => control.no_cache.extend(value.as_deref()),
                b"private" => control.private.extend(value.as_deref()),
                b"public" => control.public = true,
                b"must-revalidate" => control.must_revalidate = true,
                b"proxy-revalidate" => control.proxy_revalidate = true,
                b"must-understand" => control.must_understand = true,
                b"max-age" => shorten(&mut control.max_age),
                b"s-maxage" => shorten(&mut control.s_maxage),
                b"stale-while-revalidate" => shorten(&mut control.stale_while_revalidate),
                b"stale-if-error" => shorten(&mut control.stale_if_error),
                _ => {}
            }
        });
        control
    }
}

impl Limited {
    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Self::Whole)
    }

    pub(super) fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(fields) => fields,
            Self::Absent | Self::Whole => &[],
        }
    }

    /// The wider one counts; a list that cannot be read is about everything.
    fn extend(&mut self, value: Option<&[u8]>) {
        let named = value.and_then(|list| {
            list.split(|byte| *byte == b',')
                .map(<[u8]>::trim_ascii)
                .filter(|name| !name.is_empty())
                .map(|name| HeaderName::from_bytes(name).ok())
                .collect::<Option<Vec<_>>>()
                .filter(|names| !names.is_empty())
        });
        match (self, named) {
            (Self::Whole, _) => {}
            (this, None) => *this = Self::Whole,
            (Self::Fields(known), Some(named)) => known.extend(named),
            (this @ Self::Absent, Some(named)) => *this = Self::Fields(named),
        }
    }
}

impl RequestControl {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            // RFC 9111, 5.4: for clients of HTTP/1.0.
            control.no_cache = headers.get_all(PRAGMA).iter().any(|value| {
                let mut words = value.as_bytes().split(|byte| *byte == b',');
                words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"no-cache"))
            });
            return control;
        }
        each(headers, |name, value| {
            let value = || value.as_deref().and_then(seconds);
            let less = |known: Option<u64>| {
                value().map_or(known, |new| Some(known.map_or(new, |known| known.min(new))))
            };
            let more = |known: Option<u64>| {
                value().map_or(known, |new| Some(known.map_or(new, |known| known.max(new))))
            };
            match name {
                b"no-store" => control.no_store = true,
                b"no-cache" => control.no_cache = true,
                b"only-if-cached" => control.only_if_cached = true,
                b"max-age" => control.max_age = less(control.max_age),
                b"min-fresh" => control.min_fresh = more(control.min_fresh),
                b"stale-if-error" => control.stale_if_error = less(control.stale_if_error),
                _ => {}
            }
        });
        // Without a value: however stale.
        each(headers, |name, value| {
            if name == b"max-stale" {
                let accepted = match value.as_deref() {
                    None => Some(FOR_EVER),
                    Some(text) => seconds(text),
                };
                control.max_stale = match (control.max_stale, accepted) {
                    (Some(known), Some(new)) => Some(known.min(new)),
                    (known, new) => known.or(new),
                };
            }
        });
        control
    }
}

/// RFC 9111, 1.2.2; also within quotation marks, which `each` has removed.
pub(super) fn seconds(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| {
        text.iter().fold(0, |seconds, digit| {
            FOR_EVER.min(seconds * 10 + u64::from(digit - b'0'))
        })
    })
}

/// Each directive, with its name in lower case and its value without quotation marks. A comma between quotation marks
/// separates nothing.
fn each(headers: &HeaderMap, mut take: impl FnMut(&[u8], Option<Cow<'_, [u8]>>)) {
    for line in headers.get_all(CACHE_CONTROL) {
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            let (directive, after) = rest.split_at(end_of_directive(rest));
            rest = after.get(1..).unwrap_or_default();
            let mut halves = directive.splitn(2, |byte| *byte == b'=');
            let name = halves.next().unwrap_or_default().trim_ascii();
            if name.is_empty() {
                continue;
            }
            let value = halves.next().map(|value| unquoted(value.trim_ascii()));
            take(&name.to_ascii_lowercase(), value);
        }
    }
}

fn end_of_directive(text: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

fn unquoted(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""))
    else {
        return Cow::Borrowed(value);
    };
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        let byte = if *byte == b'\\' {
            bytes.next()
        } else {
            Some(byte)
        };
        plain.extend(byte);
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn lines(values: &[&'static str]) -> HeaderMap {
        let lines = values.iter().map(|value| HeaderValue::from_static(value));
        lines.map(|value| (CACHE_CONTROL, value)).collect()
    }

    #[test]
    fn an_answers_directives_are_read_as_the_grammar_says() {
        let of = |values: &[&'static str]| AnswerControl::of(&lines(values));
        for (values, max_age) in [
            (&["max-age=60"][..], Some(60)),
            (&["Max-Age=60"], Some(60)),
            (&["max-age=\"60\""], Some(60)),
            (&["public,, max-age=60 ,x=\"a, max-age=1\""], Some(60)),
            (&["max-age=60", "max-age=30"], Some(30)),
            (&["max-age=99999999999999999999999"], Some(1 << 31)),
            (&["max-age=-1"], Some(0)),
            (&["max-age=1.5"], Some(0)),
            (&["max-age"], Some(0)),
            (&["max-age="], Some(0)),
            (&["x-max-age=1"], None),
        ] {
            assert_eq!(of(values).max_age, max_age, "{values:?}");
        }
        let named = of(&["private=\"X-Name, x-mail\", no-cache=x-token"]);
        assert_eq!(named.private.fields(), ["x-name", "x-mail"]);
        assert_eq!(named.no_cache.fields(), ["x-token"]);
        for whole in [
            "private",
            "private=\"\"",
            "private=\"a b\"",
            "private=x, private",
            "private, private=x",
        ] {
            assert!(of(&[whole]).private.is_whole(), "{whole}");
        }
        assert!(of(&["x=\"open, no-store"]).max_age.is_none());
        assert!(of(&["x=\"\\\"\", no-store"]).no_store);
    }

    #[test]
    fn a_requests_directives_are_read_as_the_grammar_says() {
        let of = |values: &[&'static str]| RequestControl::of(&lines(values));
        let all = of(&["max-age=5, MIN-FRESH=3", "max-stale, only-if-cached"]);
        assert_eq!((all.max_age, all.min_fresh), (Some(5), Some(3)));
        assert_eq!(all.max_stale, Some(FOR_EVER));
        assert!(all.only_if_cached && !all.no_cache && !all.no_store);
        assert_eq!(of(&["max-stale=7, max-stale"]).max_stale, Some(7));
        assert_eq!(of(&["max-stale=x, max-age=x"]), RequestControl::default());
        let mut pragma = HeaderMap::new();
        pragma.insert(PRAGMA, HeaderValue::from_static("x, No-Cache"));
        assert!(RequestControl::of(&pragma).no_cache);
        pragma.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=5"));
        assert!(!RequestControl::of(&pragma).no_cache);
    }
}
