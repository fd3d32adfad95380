//! What a request's context notes: the parts of its composition and its upstream calls, each when it ends, however that is. What is
//! made of the notes is `waterfall.rs`.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::RequestContext;
use crate::trace::SpanId;
use crate::waterfall::{
    CallSource, CallTarget, CompositionPart, PartOutcome, UpstreamCall, Waterfall,
};

impl RequestContext {
    /// A part of a composition begins: its context, and the note that is written when it ends.
    pub(crate) fn begin_part(&self, name: &'static str, kind: PartKind) -> (Self, PartUnderWay) {
        let context = match kind {
            PartKind::Required => self.for_required(name),
            PartKind::Optional => self.for_optional(name),
        };
        let context = Self {
            span: SpanId::new(),
            ..context
        };
        let part = PartUnderWay {
            context: context.clone(),
            name,
            kind,
            parent: self.span,
            began: Instant::now(),
            outcome: PartOutcome::Cancelled,
        };
        (context, part)
    }

    /// Notes a call that began at `began` and ends now.
    pub(crate) fn record(&self, call: CallNote) {
        let call = UpstreamCall {
            part: self.part.unwrap_or(call.upstream),
            upstream: call.upstream,
            endpoint: call.endpoint,
            target: call.target,
            source: call.source,
            attempt: call.attempt,
            started: self.since_start(call.began),
            first_byte: call
                .answered
                .map(|at| at.saturating_duration_since(call.began)),
            took: call.began.elapsed(),
            outcome: call.outcome,
            status: call.status,
            span: self.span,
            parent: call.parent,
        };
        self.waterfall().add_call(call);
    }

    /// Notes that an answer of `upstream` was had without a call of this request's own.
    pub(crate) fn record_shared(
        &self,
        upstream: &'static str,
        target: CallTarget,
        source: CallSource,
        began: Instant,
        outcome: &'static str,
    ) {
        self.for_call().record(CallNote {
            upstream,
            endpoint: None,
            target,
            source,
            attempt: 1,
            began,
            answered: None,
            outcome,
            status: None,
            parent: self.span,
        });
    }

    fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.shared.started)
    }

    fn waterfall(&self) -> MutexGuard<'_, Waterfall> {
        // A poisoned lock only means that a panic happened elsewhere while noting a call; the notes are still good.
        self.shared
            .waterfall
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what has been noted so far. Nothing can be noted meanwhile: not the place for anything slow.
    pub(crate) fn with_waterfall<T>(&self, look: impl FnOnce(&Waterfall) -> T) -> T {
        look(&self.waterfall())
    }

    /// Ends the record: what has been noted so far.
    pub(crate) fn take_waterfall(&self) -> Waterfall {
        std::mem::take(&mut *self.waterfall())
    }

    /// The upstream calls made so far, in the order in which they ended.
    #[must_use]
    pub fn calls(&self) -> Vec<UpstreamCall> {
        self.waterfall().calls.clone()
    }
}

/// What a call says of itself when it ends; the rest of its record is the context's.
pub(crate) struct CallNote {
    pub(crate) upstream: &'static str,
    pub(crate) endpoint: Option<Arc<str>>,
    pub(crate) target: CallTarget,
    pub(crate) source: CallSource,
    pub(crate) attempt: u8,
    pub(crate) began: Instant,
    /// When the head of the answer was there.
    pub(crate) answered: Option<Instant>,
    pub(crate) outcome: &'static str,
    pub(crate) status: Option<u16>,
    /// The span that the call is a child of.
    pub(crate) parent: SpanId,
}

/// Whether an answer can do without a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartKind {
    Required,
    Optional,
}

/// A part of a composition under way. However it ends, it is noted.
#[derive(Debug)]
pub(crate) struct PartUnderWay {
    context: RequestContext,
    name: &'static str,
    kind: PartKind,
    parent: SpanId,
    began: Instant,
    outcome: PartOutcome,
}

impl PartUnderWay {
    /// The part came to an end of its own.
    pub(crate) fn finished(mut self, outcome: PartOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for PartUnderWay {
    fn drop(&mut self) {
        let part = CompositionPart {
            name: self.name,
            required: self.kind == PartKind::Required,
            started: self.context.since_start(self.began),
            took: self.began.elapsed(),
            outcome: self.outcome,
            span: self.context.span,
            parent: self.parent,
        };
        self.context.waterfall().add_part(part);
    }
}
