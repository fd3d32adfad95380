//! What became of a request, step by step: the parts of its composition and its calls to services, with their times.
//! It is noted by `compose.rs` and `upstream/`, read by `Server-Timing`, the log, traces and the console. It decides
//! nothing.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use crate::trace::SpanId;

/// The most calls, and the most parts, that one request's record holds; later ones are only counted.
const MAX_ENTRIES: usize = 64;

/// What is called, as far as it is known without looking at the request: never an id, never a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallTarget {
    Http {
        method: Method,
        /// The path with its placeholders, for example `/widgets/{id}`; absent when the caller did not name it.
        template: Option<&'static str>,
    },
    /// `/package.Service/Method`.
    Grpc { method: &'static str },
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallSource {
    /// From the service, by a call of this request's own.
    #[default]
    Upstream,
    /// From a cache: nothing was sent.
    Cache,
    /// From a call that another request had under way.
    Coalesced,
}

impl CallSource {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Cache => "cache",
            Self::Coalesced => "coalesced",
        }
    }
}

/// One call to a service as it was. Every attempt is a call of its own.
#[derive(Clone, Debug)]
pub struct UpstreamCall {
    /// The part of the composition, or the upstream's name when it was not called for a part.
    pub part: &'static str,
    pub upstream: &'static str,
    /// `host:port` of whoever was called, if that is known.
    pub endpoint: Option<Arc<str>>,
    pub target: CallTarget,
    pub source: CallSource,
    /// 1 for the first attempt, 2 for its first repetition.
    pub attempt: u8,
    /// From the start of the request.
    pub started: Duration,
    /// From the start of the call to the head of its answer.
    pub first_byte: Option<Duration>,
    pub took: Duration,
    /// `ok`, or why not, in the words of the metrics.
    pub outcome: &'static str,
    /// The HTTP status, or for gRPC the status code; absent when there was no answer.
    pub status: Option<u16>,
    /// As it went out in `traceparent`: the service's own span is a child of this one.
    pub(crate) span: SpanId,
    /// The part's span, or the request's.
    pub(crate) parent: SpanId,
}

/// How a part of a composition ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartOutcome {
    Ok,
    /// There was no fresh answer, and an old one was good enough.
    Stale,
    /// The answer goes without it, for this reason.
    Unavailable(&'static str),
    /// A required part failed, and the whole answer with it.
    Failed,
    /// It was given up before its end: another required part had failed, or the client had gone.
    Cancelled,
}

impl PartOutcome {
    /// One word: `ok`, `stale`, `unavailable`, `failed` or `cancelled`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Stale => "stale",
            Self::Unavailable(_) => "unavailable",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Unavailable(reason) => Some(reason),
            Self::Ok | Self::Stale | Self::Failed | Self::Cancelled => None,
        }
    }
}

/// One part of a composed answer as it was.
#[derive(Clone, Debug)]
pub struct CompositionPart {
    pub name: &'static str,
    pub required: bool,
    /// From the start of the request.
    pub started: Duration,
    pub took: Duration,
    pub outcome: PartOutcome,
    pub(crate) span: SpanId,
    pub(crate) parent: SpanId,
}

/// The record of one request. It is bounded: what is too much is counted.
#[derive(Clone, Debug, Default)]
pub struct Waterfall {
    /// In the order in which they ended.
    pub calls: Vec<UpstreamCall>,
    /// In the order in which they ended.
    pub parts: Vec<CompositionPart>,
    /// Calls and parts that there was no more room for.
    pub omitted: u32,
}

impl Waterfall {
    pub(crate) fn add_call(&mut self, call: UpstreamCall) {
        if self.calls.len() < MAX_ENTRIES {
            self.calls.push(call);
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    pub(crate) fn add_part(&mut self, part: CompositionPart) {
        if self.parts.len() < MAX_ENTRIES {
            self.parts.push(part);
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_is_bounded() {
        let mut waterfall = Waterfall::default();
        let part = CompositionPart {
            name: "widget",
            required: true,
            started: Duration::ZERO,
            took: Duration::ZERO,
            outcome: PartOutcome::Ok,
            span: SpanId::new(),
            parent: SpanId::new(),
        };
        for _ in 0..MAX_ENTRIES + 3 {
            waterfall.add_part(part.clone());
        }
        assert_eq!(waterfall.parts.len(), MAX_ENTRIES);
        assert_eq!(waterfall.omitted, 3);
    }
}
