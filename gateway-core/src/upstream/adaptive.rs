//! A limit of calls under way that finds itself: down when answers take longer than they used to, up while they don't
//! (the gradient algorithm of Netflix's concurrency-limits). Where it is enforced is `limit.rs`.

use std::time::Duration;

/// The limit, and what it is reckoned from. Times are in seconds.
pub(super) struct Gradient {
    limit: f64,
    min: f64,
    max: f64,
    /// How long an answer takes, over the last hundreds of answers.
    usual: f64,
}

/// Answers may take this much longer than usual before the limit goes down.
const TOLERANCE: f64 = 1.5;
/// Room above what the gradient gives, so that the limit can grow.
const QUEUE: f64 = 4.0;
/// How much of a new estimate is taken over.
const SMOOTHING: f64 = 0.2;
/// The weight of one answer in what is usual.
const WEIGHT: f64 = 1.0 / 300.0;
/// How much less an answer weighs that is slower than is tolerated: a service that has become slower for good is believed,
/// later.
const RELUCTANCE: f64 = 0.05;
/// What is left of the limit after a call that got no answer.
const BACKOFF: f64 = 0.9;

impl Gradient {
    pub(super) fn new(min: usize, max: usize) -> Self {
        let (min, max) = (min as f64, max as f64);
        Self {
            limit: (max / 10.0).clamp(min, max),
            min,
            max,
            usual: 0.0,
        }
    }

    /// An answer took so long while so many calls were under way. The limit from now on.
    pub(super) fn answered(&mut self, took: Duration, in_flight: usize) -> usize {
        let took = took.as_secs_f64().max(1e-6);
        if self.usual == 0.0 {
            self.usual = took;
        }
        // What is slow because there is too much of it should not become what is usual.
        let slow = took > TOLERANCE * self.usual;
        let weight = if slow { WEIGHT * RELUCTANCE } else { WEIGHT };
        self.usual += (took - self.usual) * weight;
        // After a slow time what is usual has to come down faster than answers alone would bring it.
        if self.usual > 2.0 * took {
            self.usual *= 0.95;
        }
        // A service that is hardly asked says nothing about how much it could bear.
        if in_flight as f64 >= self.limit / 2.0 {
            let gradient = (TOLERANCE * self.usual / took).clamp(0.5, 1.0);
            let wanted = self.limit * gradient + QUEUE;
            self.take(self.limit * (1.0 - SMOOTHING) + wanted * SMOOTHING);
        }
        self.limit()
    }

    /// A call got no answer, or the service said that it has too much to do.
    pub(super) fn failed(&mut self) -> usize {
        self.take(self.limit * BACKOFF);
        self.limit()
    }

    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    fn take(&mut self, limit: f64) {
        self.limit = limit.clamp(self.min, self.max);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop_assert, proptest};

    use super::*;

    /// A service with so many workers, each of which takes so long: what is above waits.
    fn took(workers: usize, in_flight: usize) -> Duration {
        let rounds = in_flight.div_ceil(workers).max(1);
        Duration::from_millis(10 * rounds as u64)
    }

    #[test]
    fn it_finds_what_a_service_can_bear() {
        let mut gradient = Gradient::new(5, 1_000);
        // Used to answer without waiting.
        for _ in 0..500 {
            gradient.answered(took(40, 10), 10);
        }
        let mut in_flight = gradient.limit();
        for _ in 0..500 {
            in_flight = gradient.answered(took(40, in_flight), in_flight);
        }
        assert!((30..=100).contains(&in_flight), "{in_flight}");
    }

    #[test]
    fn it_grows_only_while_it_is_used() {
        let mut gradient = Gradient::new(5, 1_000);
        let start = gradient.limit();
        for _ in 0..1_000 {
            gradient.answered(Duration::from_millis(10), 3);
        }
        assert_eq!(gradient.limit(), start);
        for _ in 0..5_000 {
            let in_flight = gradient.limit();
            gradient.answered(Duration::from_millis(10), in_flight);
        }
        assert_eq!(gradient.limit(), 1_000);
    }

    #[test]
    fn failures_bring_it_down_and_never_below_its_least() {
        let mut gradient = Gradient::new(5, 1_000);
        for _ in 0..100 {
            gradient.failed();
        }
        assert_eq!(gradient.limit(), 5);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn it_stays_within_its_bounds(
            answers in proptest::collection::vec((0_u64..10_000, 0_usize..3_000, 0_u8..10), 1..300)
        ) {
            let mut gradient = Gradient::new(7, 300);
            for (millis, in_flight, kind) in answers {
                let limit = if kind == 0 {
                    gradient.failed()
                } else {
                    gradient.answered(Duration::from_millis(millis), in_flight)
                };
                prop_assert!((7..=300).contains(&limit));
            }
        }
    }
}
