//! Passive health of one endpoint: what its own answers say. One that fails again and again is left out for a while, longer
//! each time. How many may be left out at once is decided over all of them, in `endpoints.rs`.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::breaker::Window;
use super::clock::Millis;
use crate::config::EjectionConfig;

pub(super) struct Ejection {
    config: EjectionConfig,
    consecutive: AtomicU32,
    window: Window,
    /// Left out until then.
    until: AtomicU64,
    /// How often in a row.
    times: AtomicU32,
}

/// The time over which the share of failures is looked at, and the calls that it takes to judge.
const WINDOW: Duration = Duration::from_secs(10);
const MIN_CALLS: u32 = 20;

impl Ejection {
    pub(super) fn new(config: &EjectionConfig) -> Self {
        Self {
            config: config.clone(),
            consecutive: AtomicU32::new(0),
            window: Window::new(WINDOW),
            until: AtomicU64::new(0),
            times: AtomicU32::new(0),
        }
    }

    pub(super) fn succeeded(&self, now: Millis) {
        if self.is_out(now) {
            // An answer to what was asked before it was left out.
            return;
        }
        // Written only when there is something to change: others read this line for every call.
        for row in [&self.consecutive, &self.times] {
            if row.load(Ordering::Relaxed) != 0 {
                row.store(0, Ordering::Relaxed);
            }
        }
        self.window.record(now, false);
    }

    /// Whether it has failed so often that it should be left out.
    #[must_use]
    pub(super) fn failed(&self, now: Millis) -> bool {
        self.window.record(now, true);
        self.is_too_much(now)
    }

    /// The same for what has been counted as a success before.
    #[must_use]
    pub(super) fn broke_off(&self, now: Millis) -> bool {
        self.window.broke_off(now);
        self.is_too_much(now)
    }

    fn is_too_much(&self, now: Millis) -> bool {
        let consecutive = self
            .consecutive
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        consecutive >= self.config.failures
            || self
                .window
                .totals(now)
                .reaches(MIN_CALLS, self.config.failure_rate)
    }

    pub(super) fn is_out(&self, now: Millis) -> bool {
        self.until.load(Ordering::Relaxed) > now.0
    }

    /// Leaves it out: twice as long each time until it has answered well again. The time, or nothing when another thread
    /// was faster.
    pub(super) fn leave_out(&self, now: Millis) -> Option<Duration> {
        let before = self.until.load(Ordering::Relaxed);
        if before > now.0 {
            return None;
        }
        let times = self.times.load(Ordering::Relaxed);
        let wait = self
            .config
            .base
            .saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
            .min(self.config.max);
        self.until
            .compare_exchange(
                before,
                now.after(wait).0,
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .ok()?;
        self.times.fetch_add(1, Ordering::Relaxed);
        self.window.clear();
        // When it is back, its first failure is enough.
        self.consecutive
            .store(self.config.failures.saturating_sub(1), Ordering::Relaxed);
        Some(wait)
    }

    /// How long it is still left out.
    pub(super) fn rest(&self, now: Millis) -> Duration {
        Millis(self.until.load(Ordering::Relaxed)).since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ejection() -> Ejection {
        Ejection::new(&EjectionConfig {
            failures: 3,
            failure_rate: 0.8,
            base: Duration::from_secs(1),
            max: Duration::from_secs(5),
            max_share: 0.5,
        })
    }

    #[test]
    fn failures_in_a_row_count_and_a_success_ends_the_row() {
        let endpoint = ejection();
        assert!(!endpoint.failed(Millis(1)) && !endpoint.failed(Millis(1)));
        endpoint.succeeded(Millis(2));
        assert!(!endpoint.failed(Millis(3)) && !endpoint.failed(Millis(3)));
        assert!(endpoint.failed(Millis(3)));
    }

    #[test]
    fn an_answer_to_what_was_asked_before_it_was_left_out_ends_nothing() {
        let config = EjectionConfig {
            failures: 1,
            ..ejection().config
        };
        let endpoint = Ejection::new(&config);
        assert!(endpoint.failed(Millis(0)));
        assert_eq!(endpoint.leave_out(Millis(0)), Some(Duration::from_secs(1)));
        endpoint.succeeded(Millis(500));
        let back = Millis(0).after(Duration::from_secs(1));
        assert!(endpoint.failed(back));
        assert_eq!(endpoint.leave_out(back), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_good_answer_ends_the_row_of_times_also_where_one_failure_is_enough() {
        let config = EjectionConfig {
            failures: 1,
            ..ejection().config
        };
        let endpoint = Ejection::new(&config);
        let mut now = Millis(0);
        for _ in 0..3 {
            assert!(endpoint.failed(now));
            assert_eq!(endpoint.leave_out(now), Some(Duration::from_secs(1)));
            now = now.after(Duration::from_secs(1));
            endpoint.succeeded(now);
        }
    }

    #[test]
    fn a_share_of_failures_is_enough_when_there_are_many_calls() {
        let endpoint = ejection();
        let mut out = false;
        for call in 0_u64..40 {
            if call % 5 == 0 {
                endpoint.succeeded(Millis(call));
            } else {
                // Never three in a row.
                if call % 5 == 3 {
                    endpoint.consecutive.store(0, Ordering::Relaxed);
                }
                out |= endpoint.failed(Millis(call));
            }
        }
        assert!(out);
    }

    #[test]
    fn it_is_left_out_longer_each_time_up_to_a_limit() {
        let endpoint = ejection();
        let mut now = Millis(0);
        for seconds in [1, 2, 4, 5, 5] {
            let wait = endpoint.leave_out(now);
            assert_eq!(wait, Some(Duration::from_secs(seconds)));
            assert_eq!(endpoint.leave_out(now), None, "it is out already");
            assert!(endpoint.is_out(now));
            now = now.after(Duration::from_secs(seconds));
            assert!(!endpoint.is_out(now));
            assert!(endpoint.failed(now), "one failure is enough now");
        }
        endpoint.succeeded(now);
        assert_eq!(endpoint.leave_out(now), Some(Duration::from_secs(1)));
    }
}
