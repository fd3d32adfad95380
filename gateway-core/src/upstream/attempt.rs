//! The record of a call: one entry for each attempt, in the request's context and in the metrics, however it ends.
//! How attempts are made is `stack.rs`.

use std::sync::Arc;

use tokio::time::Instant;

use super::endpoints::Endpoint;
use super::shared::Upstream;
use crate::context::{CallNote, RequestContext};
use crate::trace::SpanId;
use crate::waterfall::{CallSource, CallTarget};

/// A call under way: the attempt that is being made.
pub(crate) struct Attempt {
    upstream: Arc<Upstream>,
    /// Of this attempt: it names its span.
    context: RequestContext,
    parent: SpanId,
    target: CallTarget,
    endpoint: Option<Arc<str>>,
    number: u8,
    began: Instant,
    answered: Option<Instant>,
    /// Of HTTP, or the code of gRPC.
    status: Option<u16>,
    is_noted: bool,
}

impl Attempt {
    pub(super) fn begin(
        upstream: &Arc<Upstream>,
        context: &RequestContext,
        target: CallTarget,
    ) -> Self {
        Self {
            upstream: Arc::clone(upstream),
            context: context.for_call(),
            parent: context.span(),
            target,
            endpoint: None,
            number: 1,
            began: Instant::now(),
            answered: None,
            status: None,
            is_noted: false,
        }
    }

    /// The context that the attempt is sent with.
    pub(super) fn context(&self) -> &RequestContext {
        &self.context
    }

    /// Where it goes.
    pub(super) fn goes_to(&mut self, endpoint: &Endpoint) {
        self.endpoint = Some(Arc::clone(&endpoint.name));
    }

    /// The head of an answer came at `at`: with this HTTP status, or gRPC code.
    pub(super) fn answered(&mut self, at: Instant, status: Option<u16>) {
        self.answered = Some(at);
        self.status = status;
    }

    /// The gRPC code, which comes after the head.
    pub(super) fn coded(&mut self, code: Option<u16>) {
        self.status = code;
    }

    /// The call came to an end of its own: `ok`, or the reason why not.
    pub(crate) fn finished(mut self, outcome: &'static str) {
        self.ended(outcome);
    }

    /// This attempt is over; another one may follow.
    pub(super) fn ended(&mut self, outcome: &'static str) {
        self.note(outcome);
        self.is_noted = true;
    }

    /// Another one begins.
    pub(super) fn again(&mut self) {
        self.context = self.context.for_call();
        self.number = self.number.saturating_add(1);
        self.began = Instant::now();
        self.endpoint = None;
        self.answered = None;
        self.status = None;
        self.is_noted = false;
    }

    /// What another attempt beside this one begins with.
    pub(super) fn beside(&self) -> Beside {
        Beside {
            upstream: Arc::clone(&self.upstream),
            context: self.context.for_call(),
            parent: self.parent,
            target: self.target.clone(),
            number: self.number.saturating_add(1),
        }
    }

    fn note(&self, outcome: &'static str) {
        self.upstream.metrics.observe(outcome, self.began.elapsed());
        self.context.record(CallNote {
            upstream: self.upstream.name,
            endpoint: self.endpoint.clone(),
            target: self.target.clone(),
            source: CallSource::Upstream,
            attempt: self.number,
            began: self.began,
            answered: self.answered,
            outcome,
            status: self.status,
            parent: self.parent,
        });
    }
}

/// An attempt that may be made while another one is under way.
pub(super) struct Beside {
    upstream: Arc<Upstream>,
    context: RequestContext,
    parent: SpanId,
    target: CallTarget,
    number: u8,
}

impl Beside {
    pub(super) fn begin(self) -> Attempt {
        Attempt {
            upstream: self.upstream,
            context: self.context,
            parent: self.parent,
            target: self.target,
            endpoint: None,
            number: self.number,
            began: Instant::now(),
            answered: None,
            status: None,
            is_noted: false,
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_noted {
            self.note("cancelled");
        }
    }
}
