//! The record of a call: one entry for each attempt, in the request's context and in the metrics, however it ends.
//! How attempts are made is `stack.rs`.

use std::sync::Arc;

use tokio::time::Instant;

use super::shared::Upstream;
use crate::context::RequestContext;

/// A call under way.
pub(crate) struct Attempt {
    upstream: Arc<Upstream>,
    context: RequestContext,
    began: Instant,
    is_noted: bool,
}

impl Attempt {
    pub(super) fn begin(upstream: &Arc<Upstream>, context: &RequestContext) -> Self {
        Self {
            upstream: Arc::clone(upstream),
            context: context.clone(),
            began: Instant::now(),
            is_noted: false,
        }
    }

    pub(super) fn context(&self) -> &RequestContext {
        &self.context
    }

    /// The call came to an end of its own: `ok`, or the reason why not.
    pub(crate) fn finished(mut self, outcome: &'static str) {
        self.finish(outcome);
    }

    /// As [`finished`](Self::finished), for who shares it with others.
    pub(super) fn finish(&mut self, outcome: &'static str) {
        self.note(outcome);
        self.is_noted = true;
    }

    /// An attempt failed, and another one follows.
    pub(super) fn again(&mut self, outcome: &'static str) {
        self.note(outcome);
        self.began = Instant::now();
    }

    fn note(&self, outcome: &'static str) {
        self.context.record(self.upstream.name, self.began, outcome);
        self.upstream.metrics.observe(outcome, self.began.elapsed());
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_noted {
            self.note("cancelled");
        }
    }
}
