//! What a client asks of a route that has both: the state as JSON, or the stream, and from where. How the stream is made is
//! `streams.rs`.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::header::ACCEPT;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use super::LAST_EVENT_ID;
use crate::openapi::{Describe, Operation};

/// A stream for who names `text/event-stream` in `Accept`, and likes JSON no better; else the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    State,
    Stream(Start),
}

/// Where a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what is so now.
    Now,
    /// With what came after this position.
    After(u64),
    /// The client names a place that is none.
    Nowhere,
}

impl Asked {
    fn of(headers: &HeaderMap) -> Self {
        let stream = quality(headers, "text/event-stream");
        if stream == 0 || stream < quality(headers, "application/json") {
            return Self::State;
        }
        let last = headers.get(&LAST_EVENT_ID).filter(|id| !id.is_empty());
        Self::Stream(match last.map(|id| position(id.as_bytes())) {
            None => Start::Now,
            Some(Some(position)) => Start::After(position),
            Some(None) => Start::Nowhere,
        })
    }
}

/// Digits alone: `+7` would be somebody else's.
fn position(id: &[u8]) -> Option<u64> {
    let digits = id.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(id).ok().filter(|_| digits)?;
    text.parse().ok()
}

/// How much the client likes a media type that it names, in thousandths (RFC 9110, 12.4.2); 0 when it does not name it.
fn quality(headers: &HeaderMap, media_type: &str) -> u16 {
    let fields = headers.get_all(ACCEPT).iter().map(HeaderValue::to_str);
    let ranges = fields.flatten().flat_map(|field| field.split(','));
    ranges
        .filter_map(|range| named(range, media_type))
        .max()
        .unwrap_or(0)
}

fn named(range: &str, media_type: &str) -> Option<u16> {
    let mut parts = range.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(media_type) {
        return None;
    }
    let weight = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let weight = name.trim().eq_ignore_ascii_case("q");
        weight.then(|| value.trim().parse::<f32>().unwrap_or(0.0))
    });
    // Between 0 and 1, so that thousandths fit.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped before"
    )]
    Some((weight.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0) as u16)
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

impl Describe for Asked {
    fn describe(operation: &mut Operation<'_>) {
        operation.header(
            "Last-Event-ID",
            false,
            "The `id` of the last event that the client has seen: the stream goes on after it. After an event `reset` it could \
             not, and begins with the state.",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Start};
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn asked(headers: &[(&'static str, &'static str)]) -> Asked {
        let pairs = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        Asked::of(&pairs.collect::<HeaderMap>())
    }

    #[test]
    fn a_stream_is_for_who_names_it() {
        for accept in [
            "text/event-stream",
            "TEXT/Event-Stream; q=0.5",
            "text/html, text/event-stream;q=0.9, */*;q=0.1",
            "application/json;q=0.4, text/event-stream;q=0.5",
        ] {
            assert_eq!(
                asked(&[("accept", accept)]),
                Asked::Stream(Start::Now),
                "{accept}"
            );
        }
        for accept in [
            "*/*",
            "text/*",
            "application/json",
            "text/event-stream;q=0",
            "text/event-streams",
            "application/json, text/event-stream;q=0.5",
        ] {
            assert_eq!(asked(&[("accept", accept)]), Asked::State, "{accept}");
        }
        assert_eq!(asked(&[]), Asked::State);
    }

    #[test]
    fn where_it_goes_on_is_a_position() {
        for (id, start) in [
            ("17", Start::After(17)),
            ("0", Start::After(0)),
            ("", Start::Now),
            ("x", Start::Nowhere),
            ("-1", Start::Nowhere),
            ("+1", Start::Nowhere),
            ("99999999999999999999999", Start::Nowhere),
        ] {
            let headers = [("accept", "text/event-stream"), ("last-event-id", id)];
            assert_eq!(asked(&headers), Asked::Stream(start), "{id}");
        }
    }
}
