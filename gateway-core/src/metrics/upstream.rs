//! What is counted of calls to services: handles for one upstream, made when it is put together. The calls are `upstream/*`.

use std::time::Duration;

use super::cells::Counter;
use super::family::{
    UPSTREAM_BREAKER, UPSTREAM_CALLS, UPSTREAM_CONNECT_SECONDS, UPSTREAM_CONNECTS,
    UPSTREAM_EJECTIONS, UPSTREAM_FAILED_LOOKUPS, UPSTREAM_RETRIES, UPSTREAM_SECONDS,
};
use super::histogram::{Buckets, Histogram};
use super::registry::Registry;

/// How an upstream call can end, as a label.
const OUTCOMES: [&str; 13] = [
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
    "open_circuit",
    "overloaded",
    "other",
];

/// Handles for one upstream.
pub(crate) struct UpstreamMetrics {
    outcomes: [Counter; OUTCOMES.len()],
    duration: Histogram,
    pub(crate) retried: Counter,
    /// Retries that the budget did not allow.
    pub(crate) out_of_budget: Counter,
    /// Second attempts beside the first.
    pub(crate) hedged: Counter,
    pub(crate) opened: Counter,
    pub(crate) half_opened: Counter,
    pub(crate) closed: Counter,
    pub(crate) ejections: Counter,
    pub(crate) failed_lookups: Counter,
    pub(crate) connects: ConnectMetrics,
}

/// Handles for the connections to one upstream.
#[derive(Clone)]
pub(crate) struct ConnectMetrics {
    pub(crate) made: Counter,
    pub(crate) failed: Counter,
    pub(crate) timed_out: Counter,
    /// Not tried: there were as many as there may be.
    pub(crate) over_limit: Counter,
    pub(crate) duration: Histogram,
}

impl UpstreamMetrics {
    pub(super) fn new(registry: &Registry, upstream: &str) -> Self {
        let labels = &[("upstream", upstream)];
        let [retried, out_of_budget, hedged] = registry.counters(
            &UPSTREAM_RETRIES,
            labels,
            "outcome",
            ["sent", "out_of_budget", "hedged"],
        );
        let [opened, half_opened, closed] = registry.counters(
            &UPSTREAM_BREAKER,
            labels,
            "to",
            ["open", "half_open", "closed"],
        );
        let [made, failed, timed_out, over_limit] = registry.counters(
            &UPSTREAM_CONNECTS,
            labels,
            "outcome",
            ["ok", "failed", "timeout", "over_limit"],
        );
        Self {
            connects: ConnectMetrics {
                made,
                failed,
                timed_out,
                over_limit,
                duration: registry.histogram(&UPSTREAM_CONNECT_SECONDS, labels),
            },
            retried,
            out_of_budget,
            hedged,
            opened,
            half_opened,
            closed,
            ejections: registry.counter(&UPSTREAM_EJECTIONS, labels),
            failed_lookups: registry.counter(&UPSTREAM_FAILED_LOOKUPS, labels),
            outcomes: registry.counters(&UPSTREAM_CALLS, labels, "outcome", OUTCOMES),
            duration: registry.histogram(&UPSTREAM_SECONDS, labels),
        }
    }

    pub(super) fn outcomes(&self) -> impl Iterator<Item = (&'static str, &Counter)> {
        OUTCOMES.into_iter().zip(&self.outcomes)
    }

    pub(super) fn durations(&self) -> Buckets {
        self.duration.buckets()
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
