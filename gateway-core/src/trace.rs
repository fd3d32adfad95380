//! W3C Trace Context (Level 1): continue the caller's trace or start one, and decide whether it is recorded. Spans and
//! their export live in `telemetry/`.

use std::cell::Cell;
use std::num::NonZeroU64;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header that carries a trace across processes.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What tracing systems on the way have added to it.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The most members and bytes of a `tracestate` (section 3.3.1) that go on; a longer one is dropped as a whole.
const MAX_MEMBERS: usize = 32;
const MAX_STATE: usize = 512;

/// The flag that says that whoever sent it records the trace (section 3.2.2.5.1).
const SAMPLED: u8 = 1;

/// The id of a span: 64 random bits that are not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanId(NonZeroU64);

impl SpanId {
    pub(crate) fn new() -> Self {
        Self(NonZeroU64::new(random()).unwrap_or(NonZeroU64::MIN))
    }

    pub(crate) fn get(self) -> u64 {
        self.0.get()
    }
}

/// Which traces this process records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampling {
    /// None: there is nobody to tell. What callers decided goes on to services all the same.
    Off,
    /// What the caller decided; of the traces that begin here those whose id is below this bound. So all processes with
    /// the same ratio choose the same traces.
    ParentOrBelow(u64),
}

impl Sampling {
    /// `ratio` of the traces that begin here: 0 none, 1 all.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a cast to an integer saturates, and a ratio needs no 64 exact bits"
    )]
    pub(crate) fn ratio(ratio: f64) -> Self {
        Self::ParentOrBelow((ratio * u64::MAX as f64) as u64)
    }

    /// Whether a trace that begins here is sampled.
    fn takes(self, trace_id: u128) -> bool {
        match self {
            Self::Off | Self::ParentOrBelow(0) => false,
            Self::ParentOrBelow(bound) => trace_id as u64 <= bound,
        }
    }
}

/// A trace that this request belongs to, and the span that stands for the request in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: SpanId,
    /// The caller's span.
    parent: Option<NonZeroU64>,
    flags: u8,
    /// Whether our spans of it are exported.
    recorded: bool,
    state: Option<HeaderValue>,
}

impl TraceContext {
    /// Continues the trace in `traceparent`, or starts one when there is none or it is malformed.
    #[must_use]
    pub(crate) fn from_headers(headers: &HeaderMap, sampling: Sampling) -> Self {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let incoming = match (parents.next(), parents.next()) {
            (Some(parent), None) => parse(parent.as_bytes()),
            (_, _) => None,
        };
        // A state belongs to a parent: of another trace it would say what is not true.
        let state = incoming.as_ref().and_then(|_| state(headers));
        let (trace_id, parent, flags) = match incoming {
            Some(incoming) => (incoming.trace_id, Some(incoming.parent), incoming.flags),
            None => {
                let trace_id = new_trace_id();
                let sampled = sampling.takes(trace_id);
                (trace_id, None, if sampled { SAMPLED } else { 0 })
            }
        };
        Self {
            trace_id,
            span_id: SpanId::new(),
            parent,
            flags,
            recorded: sampling != Sampling::Off && flags & SAMPLED != 0,
            state,
        }
    }

    /// Makes an upstream call part of the trace, whatever its headers said before. `span` stands for the call.
    pub(crate) fn inject(&self, headers: &mut HeaderMap, span: SpanId) {
        headers.insert(TRACEPARENT, self.header(span));
        match &self.state {
            Some(state) => headers.insert(TRACESTATE, state.clone()),
            None => headers.remove(TRACESTATE),
        };
    }

    /// `00-` trace id, span id and flags in hexadecimal digits.
    fn header(&self, span: SpanId) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex(&self.trace_id.to_be_bytes(), &mut text[3..35]);
        hex(&span.get().to_be_bytes(), &mut text[36..52]);
        hex(&[self.flags], &mut text[53..55]);
        // Hexadecimal digits and dashes are always legal in a header.
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
    }

    /// The trace's id as a number.
    pub(crate) fn trace(&self) -> u128 {
        self.trace_id
    }

    /// The trace's id in 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.trace_id_text().as_str().to_owned()
    }

    /// The same for a log line, without memory of its own.
    pub(crate) fn trace_id_text(&self) -> TraceIdText {
        let mut text = [0; 32];
        hex(&self.trace_id.to_be_bytes(), &mut text);
        TraceIdText(text)
    }

    /// The span that stands for the request.
    pub(crate) fn span(&self) -> SpanId {
        self.span_id
    }

    /// The caller's span, if it sent one.
    pub(crate) fn parent(&self) -> Option<NonZeroU64> {
        self.parent
    }

    /// Whether our spans of it are exported.
    pub(crate) fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// `tracestate` as it goes on.
    pub(crate) fn state(&self) -> Option<&str> {
        self.state.as_ref().and_then(|state| state.to_str().ok())
    }
}

/// A trace's id in 32 hexadecimal digits.
pub(crate) struct TraceIdText([u8; 32]);

impl TraceIdText {
    pub(crate) fn as_str(&self) -> &str {
        // Digits are always text.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

fn hex(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, digits) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Ids have to be unique, not secret: a generator per thread costs no call of the system for each. (SplitMix64, Steele et
/// al. 2014.)
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new({
            let (high, low) = Uuid::new_v4().as_u64_pair();
            // A version and a variant stand in these halves; together their fixed bits do not meet.
            high ^ low.rotate_left(32)
        });
    }
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let mut z = next;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

fn new_trace_id() -> u128 {
    (u128::from(random()) << 64 | u128::from(random())).max(1)
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

struct Incoming {
    trace_id: u128,
    parent: NonZeroU64,
    flags: u8,
}

/// `version "-" trace-id "-" parent-id "-" flags`; a later version may go on after another dash (section 3.2.2).
fn parse(value: &[u8]) -> Option<Incoming> {
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
    Some(Incoming {
        trace_id,
        parent: NonZeroU64::new(u64::from_str_radix(span, 16).ok()?)?,
        // Only the sampled flag means something to us.
        flags: u8::from_str_radix(flags, 16).ok()? & SAMPLED,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn context(header: &'static str) -> TraceContext {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(header));
        TraceContext::from_headers(&headers, Sampling::Off)
    }

    #[test]
    fn a_sane_trace_goes_on_with_a_span_of_our_own() {
        let trace = context("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let span = SpanId::new();
        let mut headers = HeaderMap::new();
        trace.inject(&mut headers, span);
        let expected = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{:016x}-01", span.get());
        assert_eq!(headers.get(TRACEPARENT).unwrap(), &expected);
        assert_eq!(trace.parent().unwrap().get(), 0x00f0_67aa_0ba9_02b7);
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

    #[test]
    fn the_caller_decides_what_is_recorded() {
        let sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let not = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        for (parent, sampling, recorded, flag) in [
            (Some(sampled), Sampling::ratio(0.0), true, "-01"),
            (Some(not), Sampling::ratio(1.0), false, "-00"),
            (Some(sampled), Sampling::Off, false, "-01"),
            (None, Sampling::ratio(1.0), true, "-01"),
            (None, Sampling::ratio(0.0), false, "-00"),
            (None, Sampling::Off, false, "-00"),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(parent) = parent {
                headers.insert(TRACEPARENT, HeaderValue::from_static(parent));
            }
            let trace = TraceContext::from_headers(&headers, sampling);
            assert_eq!(trace.is_recorded(), recorded, "{parent:?} {sampling:?}");
            let header = trace.header(SpanId::new());
            assert!(header.to_str().unwrap().ends_with(flag), "{header:?}");
        }
    }

    #[test]
    fn the_ratio_is_kept() {
        let none = HeaderMap::new();
        let taken = (0..10_000)
            .filter(|_| TraceContext::from_headers(&none, Sampling::ratio(0.1)).is_recorded())
            .count();
        // Six standard deviations of a binomial with 10,000 and 0.1 are 180.
        assert!((820..=1180).contains(&taken), "{taken}");
    }
}
