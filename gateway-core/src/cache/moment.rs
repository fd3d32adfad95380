//! Now, as the response cache knows it: by the wall clock, which dates in answers are by, and by one that nobody sets. What
//! happens when so much time has passed is `cache/freshness.rs`.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A point in time by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) wall: SystemTime,
    pub(super) at: Instant,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self {
            wall: SystemTime::now(),
            at: Instant::now(),
        }
    }

    /// The time since `earlier`, by the clock by which it is more: the wall clock may have been set back, and the other one
    /// stands still while the machine sleeps.
    pub(super) fn since(self, earlier: Self) -> Duration {
        let by_wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        by_wall.max(self.at.saturating_duration_since(earlier.at))
    }
}
