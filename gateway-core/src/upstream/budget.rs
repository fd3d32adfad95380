//! The retry budget of one upstream, shared by all workers: retries may be a share of the calls, and a few a second when
//! there are few calls. It is what keeps retries from multiplying the load of a service that is failing already.
//! Which failures are worth a retry is `retry.rs`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::clock::Millis;
use crate::config::RetryConfig;

/// A bucket of tokens in one word: each call puts a part of a token in, time adds some, a retry takes a whole one.
pub(super) struct RetryBudget {
    /// 40 bits of time, 24 of thousandths of a token.
    word: AtomicU64,
    settings: Settings,
}

#[derive(Clone, Copy)]
struct Settings {
    /// Thousandths of a token for each call.
    per_call: u64,
    /// Tokens a second, which is thousandths a millisecond.
    per_second: u64,
    cap: u64,
}

const TOKEN: u64 = 1_000;
const TOKENS: u64 = (1 << 24) - 1;

/// Saved up at most: the retries of so many seconds without a call.
const SECONDS: u64 = 10;

impl RetryBudget {
    pub(super) fn new(config: &RetryConfig) -> Self {
        let per_second = u64::from(config.min_per_second);
        let cap = (per_second * SECONDS * TOKEN).clamp(TOKEN, TOKENS);
        Self {
            word: AtomicU64::new(cap),
            settings: Settings {
                per_call: (config.budget * TOKEN as f64).round() as u64,
                per_second,
                cap,
            },
        }
    }

    /// A call begins.
    pub(super) fn deposit(&self, now: Millis) {
        let settings = self.settings;
        self.update(|word| Some(settings.with(word, now, settings.per_call)));
    }

    /// Whether a retry may be made: takes its token.
    pub(super) fn withdraw(&self, now: Millis) -> bool {
        let settings = self.settings;
        self.update(|word| {
            let refilled = settings.with(word, now, 0);
            (refilled & TOKENS >= TOKEN).then(|| refilled - TOKEN)
        })
    }

    /// Retries that could be made now.
    pub(super) fn balance(&self, now: Millis) -> u64 {
        let word = self.word.load(Ordering::Relaxed);
        (self.settings.with(word, now, 0) & TOKENS) / TOKEN
    }

    fn update(&self, change: impl Fn(u64) -> Option<u64>) -> bool {
        self.word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, change)
            .is_ok()
    }
}

impl Settings {
    /// What time has added, and `more`.
    fn with(self, word: u64, now: Millis, more: u64) -> u64 {
        let (stamp, tokens) = (word >> 24, word & TOKENS);
        // Threads read the clock a moment apart: it must not run backwards.
        let now = now.0.max(stamp);
        let refill = (now - stamp).saturating_mul(self.per_second);
        let tokens = tokens
            .saturating_add(refill)
            .saturating_add(more)
            .min(self.cap);
        now << 24 | tokens
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop_assert, proptest};
    use std::time::Duration;

    use super::*;

    fn budget(share: f64, min_per_second: u32) -> RetryBudget {
        RetryBudget::new(&RetryConfig {
            retries: 2,
            budget: share,
            min_per_second,
            backoff: Duration::from_millis(20),
            max_backoff: Duration::from_millis(250),
        })
    }

    #[test]
    fn an_outage_uses_up_what_was_saved_and_then_the_share() {
        let budget = budget(0.2, 10);
        let mut retries = 0;
        for _call in 0..1_000 {
            budget.deposit(Millis(1));
            while budget.withdraw(Millis(1)) {
                retries += 1;
            }
        }
        assert_eq!(retries, 100 + 200 - 1);
        assert!(!budget.withdraw(Millis(1)));
        assert!(budget.withdraw(Millis(200)), "time adds some");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn retries_are_bounded_by_calls_and_time(
            share in 0.0_f64..1.0,
            per_second in 0_u32..50,
            steps in proptest::collection::vec((0_u64..200, 0_u8..4), 1..300)
        ) {
            let budget = budget(share, per_second);
            let (mut now, mut calls, mut retries) = (0_u64, 0_u64, 0_u64);
            for (pause, kind) in steps {
                now += pause;
                if kind == 0 {
                    calls += 1;
                    budget.deposit(Millis(now));
                } else if budget.withdraw(Millis(now)) {
                    retries += 1;
                }
            }
            let saved = f64::from((per_second * 10).max(1));
            let bound = saved + share * calls as f64 * 1.001 + calls as f64 * 0.001
                + f64::from(per_second) * now as f64 / 1_000.0;
            prop_assert!(retries as f64 <= bound + 1e-6, "{retries} > {bound}");
        }
    }
}
