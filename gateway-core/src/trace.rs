//! W3C Trace Context (Level 1): continue the caller's trace or start one. Spans and their export live in `telemetry.rs`.

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header that carries a trace across processes.
const TRACEPARENT: &str = "traceparent";

/// What tracing systems on the way have added to it.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The most members and bytes of a `tracestate` (section 3.3.1) that go on; a longer one is dropped as a whole.
const MAX_MEMBERS: usize = 32;
const MAX_STATE: usize = 512;

/// A trace that this request belongs to, and the span that stands for the request in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
    state: Option<HeaderValue>,
}

impl TraceContext {
    /// Continues the trace in `traceparent`, or starts one when there is none or it is malformed.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let incoming = match (parents.next(), parents.next()) {
            (Some(parent), None) => parse(parent.as_bytes()),
            (_, _) => None,
        };
        // A state belongs to a parent: of another trace it would say what is not true.
        let state = incoming.and_then(|_| state(headers));
        let (trace_id, flags) = incoming.unwrap_or_else(|| (Uuid::new_v4().as_u128(), 0));
        Self {
            trace_id,
            span_id: new_span_id(),
            flags,
            state,
        }
    }

    /// Makes an upstream call part of the trace, whatever its headers said before.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        headers.insert(HeaderName::from_static(TRACEPARENT), self.child_header());
        match &self.state {
            Some(state) => headers.insert(TRACESTATE, state.clone()),
            None => headers.remove(TRACESTATE),
        };
    }

    /// The header for an upstream call: the same trace, a span of its own.
    #[must_use]
    pub fn child_header(&self) -> HeaderValue {
        let text = format!(
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id,
            new_span_id(),
            self.flags
        );
        // Hexadecimal digits and dashes are always legal in a header.
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }

    /// The trace's id as a number.
    pub(crate) fn trace(&self) -> u128 {
        self.trace_id
    }

    /// The trace's id in 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }
}

/// The members of all `tracestate` fields in one, when they are well-formed.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut members = Vec::new();
    for value in headers.get_all(TRACESTATE) {
        let text = value.to_str().ok()?;
        members.extend(text.split(',').map(str::trim).filter(|m| !m.is_empty()));
    }
    let joined = members.join(",");
    let sane = !members.is_empty()
        && members.len() <= MAX_MEMBERS
        && joined.len() <= MAX_STATE
        && members.iter().all(|member| is_member(member));
    sane.then(|| HeaderValue::from_str(&joined).ok()).flatten()
}

/// `key "=" value` (section 3.3.1.3).
fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else {
        return false;
    };
    let of_key = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/@".contains(&b);
    let of_value = |b: u8| (0x20..=0x7e).contains(&b) && b != b'=';
    !key.is_empty() && key.bytes().all(of_key) && !value.is_empty() && value.bytes().all(of_value)
}

fn new_span_id() -> u64 {
    // The low half of a random UUID holds 62 random bits; zero is not a legal span id.
    (Uuid::new_v4().as_u64_pair().1).max(1)
}

/// `version "-" trace-id "-" parent-id "-" flags`; a later version may go on after another dash (section 3.2.2).
fn parse(value: &[u8]) -> Option<(u128, u8)> {
    let text = std::str::from_utf8(value).ok()?;
    let mut fields = text.split('-');
    let (version, trace, span, flags) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    let hex = |s: &str, len: usize| {
        s.len() == len && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    if !hex(version, 2) || version == "ff" || !hex(trace, 32) || !hex(span, 16) || !hex(flags, 2) {
        return None;
    }
    if version == "00" && fields.next().is_some() {
        return None;
    }
    let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
    u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
    // Only the sampled flag means something to us.
    Some((trace_id, u8::from_str_radix(flags, 16).ok()? & 1))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn context(header: &'static str) -> TraceContext {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(header));
        TraceContext::from_headers(&headers)
    }

    #[test]
    fn a_sane_trace_goes_on_with_a_span_of_our_own() {
        let trace = context("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let child = trace.child_header();
        let child = child.to_str().unwrap();
        assert!(child.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(child.ends_with("-01"));
        assert!(!child.contains("00f067aa0ba902b7"));
    }

    #[test]
    fn a_malformed_one_starts_a_new_trace() {
        for bad in [
            "",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_ne!(
                context(bad).trace_id(),
                "4bf92f3577b34da6a3ce929d0e0e4736",
                "{bad}"
            );
        }
    }
}
