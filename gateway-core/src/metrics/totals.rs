//! What handles have counted so far, for who compares two moments. What is made of it is `admin/console/`.

use super::histogram::Buckets;
use super::{LimitMetrics, RouteMetrics, UpstreamMetrics};

/// Requests, calls or checks since the start, by whose fault they failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) all: u64,
    /// By ours or a service's fault.
    pub(crate) failed: u64,
    /// By the caller's.
    pub(crate) refused: u64,
}

/// The same, with how long they took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) counts: Counts,
    pub(crate) durations: Buckets,
}

impl Counts {
    #[must_use]
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self {
            all: self.all + other.all,
            failed: self.failed + other.failed,
            refused: self.refused + other.refused,
        }
    }

    /// What has been counted after `before`.
    #[must_use]
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            failed: self.failed.saturating_sub(before.failed),
            refused: self.refused.saturating_sub(before.refused),
        }
    }
}

impl Totals {
    #[must_use]
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self {
            counts: self.counts.plus(&other.counts),
            durations: self.durations.plus(&other.durations),
        }
    }
}

impl RouteMetrics {
    pub(crate) fn totals(&self) -> Totals {
        let class = |class: usize| self.by_class[class - 1].value();
        Totals {
            counts: Counts {
                all: (1..=5).map(class).sum(),
                failed: class(5),
                refused: class(4),
            },
            durations: self.duration.buckets(),
        }
    }
}

impl UpstreamMetrics {
    /// Failed is what the service is at fault for; refused are calls that were not made or not waited for.
    pub(crate) fn totals(&self) -> Totals {
        let mut counts = Counts::default();
        for (outcome, counter) in self.outcomes() {
            let value = counter.value();
            counts.all += value;
            match outcome {
                "ok" | "client" | "not_found" | "refused" => {}
                "cancelled" | "open_circuit" | "overloaded" => counts.refused += value,
                _ => counts.failed += value,
            }
        }
        Totals {
            counts,
            durations: self.durations(),
        }
    }
}

impl LimitMetrics {
    pub(crate) fn totals(&self) -> Totals {
        let denied = self.denied.value();
        Totals {
            counts: Counts {
                all: self.allowed.value() + denied,
                failed: 0,
                refused: denied,
            },
            durations: Buckets::default(),
        }
    }
}
