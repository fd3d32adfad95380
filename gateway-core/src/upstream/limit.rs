//! How many calls to one upstream may be under way at once, over all workers: a service that hangs takes no more of the
//! gateway than this. A call above the limit fails at once; nothing waits here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::shared::Upstream;

pub(super) struct ConcurrencyLimit {
    in_flight: AtomicUsize,
    limit: usize,
}

impl ConcurrencyLimit {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            limit,
        }
    }

    fn enter(&self) -> bool {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        if before >= self.limit {
            self.leave();
            return false;
        }
        true
    }

    fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }
}

/// A call's place, from before its first attempt to the end of its answer's body.
pub(super) struct Permit {
    upstream: Arc<Upstream>,
}

impl Permit {
    /// Nothing when the limit is reached.
    pub(super) fn of(upstream: &Arc<Upstream>) -> Option<Self> {
        upstream.limit.enter().then(|| Self {
            upstream: Arc::clone(upstream),
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.upstream.limit.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_at_the_limit_and_not_before() {
        let limit = ConcurrencyLimit::new(2);
        assert!(limit.enter() && limit.enter());
        assert!(!limit.enter());
        assert_eq!(limit.in_flight(), 2);
        limit.leave();
        assert!(limit.enter());
    }
}
