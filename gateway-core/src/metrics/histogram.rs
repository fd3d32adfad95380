//! Durations in buckets, each bucket with a recent request as its example. How a scrape shows them is `text.rs`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::cells::Cells;

/// Upper bounds of the buckets in nanoseconds, and as they are written: from a cache hit to the longest deadline.
pub(crate) const BOUNDS: [(u64, &str); 14] = [
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1.0"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5.0"),
    (10_000_000_000, "10.0"),
];

/// With the one that has no bound.
pub(crate) const BUCKETS: usize = BOUNDS.len() + 1;
/// Where the sum of all durations is counted, in nanoseconds.
const SUM: usize = BUCKETS;
/// Buckets and sum fill two lines of cells.
pub(super) const WIDTH: usize = BUCKETS + 1;

/// For so long a bucket keeps its example: examples are looked at by people.
const EXAMPLE_HOLDS: Duration = Duration::from_secs(1);

/// The trace of a request that a bucket has counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) trace_id: u128,
    pub(crate) took: Duration,
    pub(crate) at: SystemTime,
}

/// Durations of something. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    cells: Arc<Cells>,
    exemplars: Option<Arc<Exemplars>>,
}

#[derive(Debug)]
struct Exemplars {
    since: Instant,
    /// For each bucket the time from which on it may take another, in nanoseconds after `since`.
    next: [AtomicU64; BUCKETS],
    kept: Mutex<[Option<Exemplar>; BUCKETS]>,
}

/// What a histogram has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Buckets {
    /// Of each bucket by itself.
    pub(crate) counts: [u64; BUCKETS],
    pub(crate) nanos: u64,
}

impl Histogram {
    pub(super) fn new(cells: Arc<Cells>) -> Self {
        Self {
            cells,
            exemplars: None,
        }
    }

    pub(super) fn with_exemplars(cells: Arc<Cells>) -> Self {
        Self {
            cells,
            exemplars: Some(Arc::new(Exemplars {
                since: Instant::now(),
                next: Default::default(),
                kept: Mutex::default(),
            })),
        }
    }

    pub(crate) fn observe(&self, took: Duration) {
        let nanos = nanos(took);
        let writer = self.cells.writer();
        writer.add(bucket(nanos), 1);
        writer.add(SUM, nanos);
    }

    /// A duration that ended `now`, in the trace `trace_id`.
    pub(crate) fn observe_traced(&self, took: Duration, now: Instant, trace_id: u128) {
        self.observe(took);
        if let Some(exemplars) = &self.exemplars {
            exemplars.offer(took, now, trace_id);
        }
    }

    pub(crate) fn buckets(&self) -> Buckets {
        Buckets {
            counts: std::array::from_fn(|index| self.cells.sum(index)),
            nanos: self.cells.sum(SUM),
        }
    }

    pub(super) fn exemplars(&self) -> [Option<Exemplar>; BUCKETS] {
        self.exemplars
            .as_ref()
            .map_or([None; BUCKETS], |exemplars| *exemplars.lock())
    }
}

impl Exemplars {
    /// A comparison for nearly every request, and a lock for one a second and bucket.
    fn offer(&self, took: Duration, now: Instant, trace_id: u128) {
        let bucket = bucket(nanos(took));
        let now = nanos(now.saturating_duration_since(self.since));
        let next = &self.next[bucket];
        if now < next.load(Ordering::Relaxed) {
            return;
        }
        next.store(now + nanos(EXAMPLE_HOLDS), Ordering::Relaxed);
        self.lock()[bucket] = Some(Exemplar {
            trace_id,
            took,
            at: SystemTime::now(),
        });
    }

    fn lock(&self) -> MutexGuard<'_, [Option<Exemplar>; BUCKETS]> {
        // Whole examples are replaced: there is nothing half done.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buckets {
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    #[must_use]
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self {
            counts: std::array::from_fn(|index| self.counts[index] + other.counts[index]),
            nanos: self.nanos + other.nanos,
        }
    }

    /// What has been counted after `before`.
    #[must_use]
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            counts: std::array::from_fn(|index| {
                self.counts[index].saturating_sub(before.counts[index])
            }),
            nanos: self.nanos.saturating_sub(before.nanos),
        }
    }

    /// Under which duration the share `quantile` (from 0 to 1) of all is, as far as buckets can tell: within the bucket
    /// all are taken as evenly spread. `None` when there are none; the last bound when it is beyond all bounds.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = quantile * count as f64;
        let mut below = 0.0;
        let mut lower = 0;
        for (index, &(upper, _)) in BOUNDS.iter().enumerate() {
            let here = self.counts[index] as f64;
            if here > 0.0 && below + here >= rank {
                let part = ((rank - below) / here).clamp(0.0, 1.0);
                let nanos = lower as f64 + part * (upper - lower) as f64;
                return Some(Duration::from_nanos(nanos as u64));
            }
            below += here;
            lower = upper;
        }
        Some(Duration::from_nanos(lower))
    }
}

fn bucket(nanos: u64) -> usize {
    // All bounds are compared: that is faster than a branch that nobody can foresee.
    BOUNDS.iter().filter(|(bound, _)| nanos > *bound).count()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn histogram() -> Histogram {
        Histogram::with_exemplars(Cells::new(1, WIDTH))
    }

    #[test]
    fn bounds_are_what_is_written_and_belong_to_their_bucket() {
        for (index, (bound, text)) in BOUNDS.iter().enumerate() {
            assert_eq!((text.parse::<f64>().unwrap() * 1e9).round() as u64, *bound);
            assert_eq!((bucket(*bound), bucket(bound + 1)), (index, index + 1));
        }
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let histogram = histogram();
        assert_eq!(histogram.buckets().quantile(0.5), None);
        for _ in 0..90 {
            histogram.observe(Duration::from_millis(3));
        }
        for _ in 0..10 {
            histogram.observe(Duration::from_millis(200));
        }
        let buckets = histogram.buckets();
        assert_eq!(buckets.count(), 100);
        assert_eq!(buckets.sum(), Duration::from_millis(2270));
        let p50 = buckets.quantile(0.5).unwrap();
        let p99 = buckets.quantile(0.99).unwrap();
        assert!(p50 > Duration::from_micros(2500) && p50 <= Duration::from_millis(5));
        assert!(p99 > Duration::from_millis(100) && p99 <= Duration::from_millis(250));
        histogram.observe(Duration::from_secs(3600));
        let all = histogram.buckets();
        assert_eq!(all.quantile(1.0), Some(Duration::from_secs(10)));
        assert_eq!(all.since(&buckets).count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_keeps_its_example_for_a_second() {
        let histogram = histogram();
        let observe = |millis, trace_id| {
            histogram.observe_traced(Duration::from_millis(millis), Instant::now(), trace_id);
        };
        let kept = || {
            histogram
                .exemplars()
                .iter()
                .flatten()
                .map(|exemplar| exemplar.trace_id)
                .collect::<Vec<_>>()
        };
        observe(2, 1);
        observe(2, 2);
        observe(20, 3);
        assert_eq!(kept(), [1, 3]);
        tokio::time::advance(EXAMPLE_HOLDS).await;
        observe(2, 4);
        assert_eq!(kept(), [4, 3]);
    }
}
