//! The one deadline of a request: made at the edge, inherited by everything done for it, and only ever shortened.
//! Nothing here waits: who holds a deadline passes it to `tokio::time::timeout_at`.

use std::time::Duration;

use tokio::time::Instant;

/// A point in time after which nobody waits for the answer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline `budget` from now.
    #[must_use]
    pub fn after(budget: Duration) -> Self {
        Self(Instant::now() + budget)
    }

    /// The deadline at `instant`.
    #[must_use]
    pub fn from_instant(instant: Instant) -> Self {
        Self(instant)
    }

    #[must_use]
    pub fn at(self) -> Instant {
        self.0
    }

    /// What is left; zero when it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    #[must_use]
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// The earlier of this deadline and `limit` from now: a child can have less time, never more.
    #[must_use]
    pub fn shortened_to(self, limit: Duration) -> Self {
        self.min(Self::after(limit))
    }

    /// This deadline, moved forward by `reserve`.
    #[must_use]
    pub fn less(self, reserve: Duration) -> Self {
        Self(self.0.checked_sub(reserve).unwrap_or(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_child_never_has_more_time_than_its_parent() {
        let parent = Deadline::after(Duration::from_millis(100));
        assert_eq!(parent.shortened_to(Duration::from_secs(1)), parent);
        assert_eq!(
            parent.shortened_to(Duration::from_millis(40)).remaining(),
            Duration::from_millis(40)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_passed_has_nothing_left() {
        let deadline = Deadline::after(Duration::from_millis(5));
        tokio::time::advance(Duration::from_millis(6)).await;
        assert!(deadline.has_passed());
        assert_eq!(deadline.remaining(), Duration::ZERO);
    }
}
