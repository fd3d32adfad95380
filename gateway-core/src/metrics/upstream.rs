//! What is counted of calls to services: handles for one upstream, made when its pool is. The calls are `upstream/*`.

use std::time::Duration;

use super::cells::Counter;
use super::family::{UPSTREAM_CALLS, UPSTREAM_SECONDS};
use super::histogram::Histogram;
use super::registry::Registry;

/// How an upstream call can end, as a label.
const OUTCOMES: [&str; 11] = [
    "ok",
    "cancelled",
    "client",
    "refused",
    "unreachable",
    "timeout",
    "not_found",
    "upstream_error",
    "invalid_response",
    "response_too_large",
    "other",
];

/// Handles for one upstream.
pub(crate) struct UpstreamMetrics {
    outcomes: [Counter; OUTCOMES.len()],
    duration: Histogram,
}

impl UpstreamMetrics {
    pub(super) fn new(registry: &Registry, upstream: &str) -> Self {
        let labels = &[("upstream", upstream)];
        Self {
            outcomes: registry.counters(&UPSTREAM_CALLS, labels, "outcome", OUTCOMES),
            duration: registry.histogram(&UPSTREAM_SECONDS, labels),
        }
    }

    pub(crate) fn observe(&self, outcome: &'static str, took: Duration) {
        let index = OUTCOMES
            .iter()
            .position(|name| *name == outcome)
            .unwrap_or(OUTCOMES.len() - 1);
        self.outcomes[index].increment(1);
        self.duration.observe(took);
    }
}
