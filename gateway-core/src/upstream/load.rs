//! How busy an endpoint is, as the balancer compares it: its latency times the calls under way.
//!
//! The latency is a *peak* moving average (Finagle's peak EWMA): a slow answer counts at once and in full, faster ones
//! bring it down little by little. Which endpoint is taken is `endpoints.rs`.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::clock::Millis;

/// What an endpoint that has not answered yet is taken for.
const FIRST: u32 = 5_000;
/// Below this, differences are noise, and calls under way say more.
const FLOOR: f64 = 100.0;
/// The time in which what was seen loses two thirds of its weight.
const DECAY: f64 = 10_000.0;

pub(super) struct Load {
    in_flight: AtomicU32,
    /// The average in microseconds, and when it was made, in 32 bits each.
    latency: AtomicU64,
}

impl Load {
    pub(super) fn new(now: Millis) -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            latency: AtomicU64::new(pack(FIRST, now)),
        }
    }

    pub(super) fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// An answer, or a failure, came after `took`. Of two that are noted at the same moment one may be lost.
    pub(super) fn observe(&self, took: Duration, now: Millis) {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let word = self.latency.load(Ordering::Relaxed);
        let average = peak_ewma(word, took, now);
        self.latency.store(pack(average, now), Ordering::Relaxed);
    }

    /// An answer that said that the service has failed came after `took`. One that fails fast must not look fast: what counts is
    /// twice as long as the average, if the answer did not take longer, and at most `worst`.
    pub(super) fn observe_failure(&self, took: Duration, worst: Duration, now: Millis) {
        let doubled = Duration::from_secs_f64(2.0 * self.latency(now).max(FLOOR) / 1e6);
        self.observe(took.max(doubled.min(worst)), now);
    }

    /// The average, in microseconds; what was seen long ago counts for little.
    pub(super) fn latency(&self, now: Millis) -> f64 {
        let (average, weight) = aged(self.latency.load(Ordering::Relaxed), now);
        f64::from(average) * weight
    }

    /// The less the better.
    pub(super) fn score(&self, now: Millis) -> f64 {
        self.latency(now).max(FLOOR) * f64::from(self.in_flight() + 1)
    }
}

fn pack(average: u32, now: Millis) -> u64 {
    u64::from(average) << 32 | u64::from(now.0 as u32)
}

/// The average, and what it still counts.
fn aged(word: u64, now: Millis) -> (u32, f64) {
    let age = (now.0 as u32).wrapping_sub(word as u32);
    // A clock read a moment earlier by another thread.
    let age = if age > u32::MAX / 2 { 0 } else { age };
    ((word >> 32) as u32, (-f64::from(age) / DECAY).exp())
}

fn peak_ewma(word: u64, took: u32, now: Millis) -> u32 {
    let (average, weight) = aged(word, now);
    if took >= average {
        return took;
    }
    let next = f64::from(average) * weight + f64::from(took) * (1.0 - weight);
    next.round() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop_assert, proptest};

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_is_forgotten_slowly() {
        let load = Load::new(Millis(0));
        load.observe(ms(200), Millis(10));
        assert!(load.latency(Millis(10)) >= 200_000.0);
        for second in 1..=5 {
            load.observe(ms(1), Millis(second * 1_000));
        }
        let later = load.latency(Millis(5_000));
        assert!((20_000.0..150_000.0).contains(&later), "{later}");
        assert!(load.latency(Millis(120_000)) < 10.0);
    }

    #[test]
    fn calls_under_way_count() {
        let (idle, busy) = (Load::new(Millis(0)), Load::new(Millis(0)));
        busy.enter();
        busy.enter();
        assert!(busy.score(Millis(1)) > 2.0 * idle.score(Millis(1)));
        busy.leave();
        busy.leave();
        assert_eq!(busy.in_flight(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        /// It lies between what was last seen and the highest that was ever seen.
        #[test]
        fn it_stays_within_what_was_seen(
            seen in proptest::collection::vec((0_u32..5_000_000, 0_u64..5_000), 1..50)
        ) {
            let mut word = pack(FIRST, Millis(0));
            let (mut now, mut peak) = (0, FIRST);
            for (took, pause) in seen {
                now += pause;
                peak = peak.max(took);
                let average = peak_ewma(word, took, Millis(now));
                prop_assert!(average >= took && average <= peak, "{took} {average} {peak}");
                word = pack(average, Millis(now));
            }
        }
    }
}
