//! Whether a client takes JSON, which is all that most composed routes have (RFC 9110, 12.5.1). Routes that have more, streams of
//! events and GraphQL, negotiate by themselves.

use http::HeaderMap;
use http::header::ACCEPT;

use crate::error::{ClientError, Error};

/// # Errors
/// 406 for who says what it takes, and JSON is not in it.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Error> {
    if takes_json(headers) {
        Ok(())
    } else {
        Err(ClientError::NotAcceptable.into())
    }
}

/// The most specific range that JSON is in decides; of several like it, one that takes it.
fn takes_json(headers: &HeaderMap) -> bool {
    let mut says_something = false;
    let mut best: Option<(u8, bool)> = None;
    let lines = headers.get_all(ACCEPT).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    for range in lines.flat_map(|line| line.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        if media_type.is_empty() {
            continue;
        }
        says_something = true;
        let specific = match media_type {
            "*/*" => 0,
            _ if media_type.eq_ignore_ascii_case("application/*") => 1,
            _ if media_type.eq_ignore_ascii_case("application/json") => 2,
            _ => continue,
        };
        best = best.max(Some((specific, !parts.any(is_refusal))));
    }
    best.map_or(!says_something, |(_, takes)| takes)
}

/// Whether a parameter is a weight of nothing.
fn is_refusal(parameter: &str) -> bool {
    let weight = parameter.split_once('=');
    weight.is_some_and(|(name, value)| {
        name.trim().eq_ignore_ascii_case("q") && value.trim().parse::<f32>() == Ok(0.0)
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn who_takes_no_json_gets_none() {
        for (lines, takes) in [
            (&[][..], true),
            (&[""], true),
            (&["*/*"], true),
            (&["application/json"], true),
            (&["Application/JSON; charset=utf-8"], true),
            (&["application/*;q=0.1"], true),
            (&["text/html, application/xhtml+xml, */*;q=0.8"], true),
            (&["text/html", "application/json"], true),
            (&["application/json;q=0.001, */*;q=0"], true),
            (&["application/json, application/json;version=2;q=0"], true),
            (&["application/json;version=2;q=0, application/json"], true),
            (&["text/html"], false),
            (&["application/xml, text/*"], false),
            (&["application/problem+json"], false),
            (&["*/*;q=0"], false),
            (&["*/*, application/json;q=0"], false),
            (&["*/*", "application/json; Q=0.000"], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(ACCEPT, HeaderValue::from_static(line));
            }
            assert_eq!(takes_json(&headers), takes, "{lines:?}");
        }
    }
}
