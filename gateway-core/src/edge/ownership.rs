//! Whose an answer is, as caches between us and the client are told: what was made for one caller must not be given to another
//! (RFC 9111, 3.5 and 4.1). Services cannot say it: they do not see by what callers are known. What our own cache shares is
//! the route's business.

use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderValue};

use super::vary;

/// The fields by which callers are known, in the order of the alphabet.
const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "x-api-key"];
const ALL: HeaderValue = HeaderValue::from_static("authorization, cookie, x-api-key");

/// Names, in an answer that may differ from caller to caller, what tells them apart. `known`: the caller is known by something
/// other than `Authorization`, the only field whose meaning caches know.
pub(super) fn mark(headers: &mut HeaderMap, known: bool) {
    let mut says_whose = false;
    for name in directives(headers) {
        if name.eq_ignore_ascii_case("no-store") {
            return;
        }
        says_whose |= ["private", "public", "s-maxage"]
            .iter()
            .any(|word| name.eq_ignore_ascii_case(word));
    }
    if known && !says_whose {
        headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    if headers.contains_key(VARY) {
        for field in CREDENTIALS {
            vary::add(headers, field);
        }
    } else {
        headers.insert(VARY, ALL);
    }
}

/// The names in `Cache-Control`.
fn directives(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|directive| match directive.split_once('=') {
            // What only some fields are is not said of the whole (RFC 9111, 5.2.2.7).
            Some((name, _)) if name.trim().eq_ignore_ascii_case("private") => "",
            Some((name, _)) => name.trim(),
            None => directive.trim(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(says: &'static str, varies: Option<&'static str>, known: bool) -> [Vec<String>; 2] {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(says));
        if let Some(varies) = varies {
            headers.insert(VARY, HeaderValue::from_static(varies));
        }
        mark(&mut headers, known);
        let lines = |name| {
            let lines = headers.get_all(name).iter();
            lines
                .map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned())
                .collect()
        };
        [lines(CACHE_CONTROL), lines(VARY)]
    }

    #[test]
    fn what_is_one_callers_is_kept_apart() {
        let all = "authorization, cookie, x-api-key";
        let [says, varies] = marked("max-age=60", None, true);
        assert_eq!(says, ["max-age=60", "private"]);
        assert_eq!(varies, [all]);
        // Caches know of `Authorization` that nobody else gets it.
        let [says, varies] = marked("max-age=60", Some("Accept, Cookie"), false);
        assert_eq!(says, ["max-age=60"]);
        assert_eq!(varies, ["Accept, Cookie", "authorization", "x-api-key"]);
    }

    #[test]
    fn what_a_service_says_of_it_counts() {
        for says in ["Public, max-age=60", "s-maxage=5", "Private"] {
            let [lines, varies] = marked(says, None, true);
            assert_eq!(lines, [says]);
            assert_eq!(varies.len(), 1);
        }
        // Of some fields only.
        let [lines, _] = marked("private=\"x-name\", max-age=60", None, true);
        assert_eq!(lines, ["private=\"x-name\", max-age=60", "private"]);
        let [_, varies] = marked("no-cache, No-Store", None, true);
        assert!(varies.is_empty());
    }
}
