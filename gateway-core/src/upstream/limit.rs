//! How many calls to one upstream may be under way at once, over all workers: a service that hangs takes no more of the
//! gateway than this. A call above the limit fails at once; nothing waits here. How a limit finds itself is `adaptive.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::adaptive::Gradient;
use super::shared::Upstream;
use crate::config::UpstreamConfig;

pub(super) struct ConcurrencyLimit {
    in_flight: AtomicUsize,
    limit: AtomicUsize,
    /// Where the limit is to find itself.
    gradient: Option<Mutex<Gradient>>,
}

impl ConcurrencyLimit {
    pub(super) fn new(config: &UpstreamConfig) -> Self {
        let gradient = config
            .min_in_flight
            .map(|min| Gradient::new(min, config.max_in_flight));
        let limit = gradient
            .as_ref()
            .map_or(config.max_in_flight, Gradient::limit);
        Self {
            in_flight: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            gradient: gradient.map(Mutex::new),
        }
    }

    fn enter(&self) -> bool {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        if before >= self.limit() {
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
        self.limit.load(Ordering::Relaxed)
    }

    /// An attempt took so long until it was answered.
    pub(super) fn answered(&self, took: Duration) {
        self.adapt(|gradient| gradient.answered(took, self.in_flight()));
    }

    /// An attempt was not answered.
    pub(super) fn failed(&self) {
        self.adapt(Gradient::failed);
    }

    fn adapt(&self, step: impl FnOnce(&mut Gradient) -> usize) {
        // While another thread is at it, this one has nothing to add that could not be done without.
        if let Some(gradient) = &self.gradient
            && let Ok(mut gradient) = gradient.try_lock()
        {
            self.limit.store(step(&mut gradient), Ordering::Relaxed);
        }
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
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::config;

    fn limit(settings: &str) -> ConcurrencyLimit {
        let text = format!("[upstreams.widgets]\naddress = \"http://127.0.0.1:1\"\n{settings}");
        let config = config::from_text(&[&text]).unwrap();
        ConcurrencyLimit::new(&config.upstreams["widgets"])
    }

    #[test]
    fn it_is_full_at_the_limit_and_not_before() {
        let limit = limit("max_in_flight = 2\n");
        assert!(limit.enter() && limit.enter());
        assert!(!limit.enter());
        assert_eq!(limit.in_flight(), 2);
        limit.leave();
        assert!(limit.enter());
        limit.failed();
        assert_eq!(limit.limit(), 2, "it is what it was configured to be");
    }

    #[test]
    fn an_adaptive_one_moves_within_its_bounds() {
        let limit = limit("max_in_flight = 100\nmin_in_flight = 4\n");
        assert_eq!(limit.limit(), 10);
        for _ in 0..100 {
            limit.failed();
        }
        assert_eq!(limit.limit(), 4);
    }
}
