//! Calls and failures of the last seconds, counted by all threads without a lock. What follows from them is decided by who
//! asks (`breaker.rs`, `ejection.rs`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::super::clock::Millis;

const BUCKETS: u64 = 10;

/// A ring of buckets; each says of which tenth of the time it is, and is started anew when its turn comes again.
pub(in crate::upstream) struct Window {
    width: u64,
    buckets: [AtomicU64; BUCKETS as usize],
}

/// What is in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::upstream) struct Totals {
    pub(in crate::upstream) calls: u64,
    pub(in crate::upstream) failures: u64,
}

impl Totals {
    /// Whether there are enough calls to judge, and so many of them failed.
    pub(in crate::upstream) fn reaches(self, min_calls: u32, rate: f64) -> bool {
        self.calls >= u64::from(min_calls) && self.failures as f64 >= rate * self.calls as f64
    }
}

/// A bucket: 24 bits of its number, 20 of calls, 20 of failures. A million calls in a tenth of the window are enough to
/// judge: what comes on top of them is not counted.
#[derive(Clone, Copy)]
struct Bucket {
    number: u64,
    calls: u64,
    failures: u64,
}

const NUMBER: u64 = (1 << 24) - 1;
const COUNT: u64 = (1 << 20) - 1;

impl Bucket {
    fn pack(self) -> u64 {
        self.number << 40 | self.calls << 20 | self.failures
    }

    fn unpack(word: u64) -> Self {
        Self {
            number: word >> 40,
            calls: word >> 20 & COUNT,
            failures: word & COUNT,
        }
    }

    fn with(self, number: u64, calls: u64, failures: u64) -> Self {
        let before = if self.number == number {
            self
        } else {
            Self {
                number,
                calls: 0,
                failures: 0,
            }
        };
        if before.calls == COUNT || before.failures == COUNT {
            return before;
        }
        Self {
            number,
            calls: before.calls + calls,
            failures: before.failures + failures,
        }
    }
}

impl Window {
    pub(in crate::upstream) fn new(length: Duration) -> Self {
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self {
            width: (millis / BUCKETS).max(1),
            buckets: Default::default(),
        }
    }

    pub(in crate::upstream) fn record(&self, now: Millis, failed: bool) {
        self.add(now, 1, u64::from(failed));
    }

    /// A call that has been counted as good was not.
    pub(in crate::upstream) fn broke_off(&self, now: Millis) {
        self.add(now, 0, 1);
    }

    fn add(&self, now: Millis, calls: u64, failures: u64) {
        let number = now.0 / self.width;
        let bucket = &self.buckets[(number % BUCKETS) as usize];
        let number = number & NUMBER;
        let mut word = bucket.load(Ordering::Relaxed);
        loop {
            let next = Bucket::unpack(word).with(number, calls, failures).pack();
            match bucket.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(changed) => word = changed,
            }
        }
    }

    pub(in crate::upstream) fn totals(&self, now: Millis) -> Totals {
        let current = (now.0 / self.width) & NUMBER;
        let mut totals = Totals::default();
        for bucket in &self.buckets {
            let bucket = Bucket::unpack(bucket.load(Ordering::Relaxed));
            if (current.wrapping_sub(bucket.number) & NUMBER) < BUCKETS {
                totals.calls += bucket.calls;
                totals.failures += bucket.failures;
            }
        }
        totals
    }

    pub(in crate::upstream) fn clear(&self) {
        for bucket in &self.buckets {
            bucket.store(0, Ordering::Relaxed);
        }
    }
}
