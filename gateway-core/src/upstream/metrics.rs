//! Handles of the metrics about how an upstream is called; how its calls came out is in `metrics.rs` above.
//! They are explained to operators in `docs/operations.md`.

use metrics::{Counter, Label};

use super::breaker::Transition;
use crate::metrics::Metrics;

const RETRIES: &str = "gateway_upstream_retries_total";
const BREAKER: &str = "gateway_upstream_breaker_transitions_total";
const EJECTIONS: &str = "gateway_upstream_ejections_total";

/// Handles for one upstream.
pub(super) struct UpstreamMeters {
    pub(super) retried: Counter,
    /// Retries that the budget did not allow.
    pub(super) out_of_budget: Counter,
    opened: Counter,
    half_opened: Counter,
    closed: Counter,
    pub(super) ejections: Counter,
}

impl UpstreamMeters {
    pub(super) fn register(upstream: &'static str, metrics: &Metrics) -> Self {
        let counter = |name: &'static str, label: Option<(&'static str, &'static str)>| {
            let mut labels = vec![Label::new("upstream", upstream)];
            labels.extend(label.map(|(key, value)| Label::new(key, value)));
            metrics.counter(name, labels)
        };
        Self {
            retried: counter(RETRIES, Some(("outcome", "sent"))),
            out_of_budget: counter(RETRIES, Some(("outcome", "out_of_budget"))),
            opened: counter(BREAKER, Some(("to", "open"))),
            half_opened: counter(BREAKER, Some(("to", "half_open"))),
            closed: counter(BREAKER, Some(("to", "closed"))),
            ejections: counter(EJECTIONS, None),
        }
    }

    pub(super) fn transition(&self, transition: Transition) {
        let counter = match transition {
            Transition::Opened { .. } => &self.opened,
            Transition::HalfOpened => &self.half_opened,
            Transition::Closed => &self.closed,
        };
        counter.increment(1);
    }
}

#[cfg(test)]
mod tests {
    /// Every name that is written in this file.
    #[test]
    fn every_metric_is_explained_to_operators() {
        let documented = include_str!("../../../docs/operations.md");
        for line in include_str!("metrics.rs").lines() {
            let Some((_, rest)) = line
                .strip_prefix("const ")
                .and_then(|line| line.split_once("= \""))
            else {
                continue;
            };
            let name = rest.trim_end_matches("\";");
            assert!(documented.contains(&format!("`{name}")), "{name}");
        }
    }
}
