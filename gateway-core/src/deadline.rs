//! The one deadline of a request: made at the edge, inherited by everything done for it, and only ever shortened; and when a
//! stream ends, whose deadline was over with its head.
//! Nothing here waits: who holds a deadline passes it to `tokio::time::timeout_at`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::auth::Principal;

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

/// When a stream is over at the latest: a stream of events, a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamEnd {
    pub(crate) at: Instant,
    /// Because the caller's credential ends then, which is earlier than its lifetime.
    pub(crate) by_credential: bool,
}

impl StreamEnd {
    /// A stream that begins now.
    pub(crate) fn of(principal: &Principal, lifetime: Duration) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let left = match principal {
            Principal::Token(token) => {
                Some(Duration::from_secs(token.expires_at).saturating_sub(now))
            }
            // A key has no end of its own.
            Principal::Anonymous | Principal::ApiKey(_) => None,
        };
        let left = left.filter(|left| *left < lifetime);
        Self {
            at: Instant::now() + left.unwrap_or(lifetime),
            by_credential: left.is_some(),
        }
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
    async fn a_stream_ends_with_its_credential() {
        let lifetime = Duration::from_secs(3600);
        let token = |left: u64| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            Principal::Token(std::sync::Arc::new(crate::auth::TokenPrincipal {
                issuer: String::new(),
                subject: String::new(),
                name: String::new(),
                scopes: Vec::new(),
                roles: Vec::new(),
                attributes: std::collections::BTreeMap::new(),
                expires_at: now.unwrap_or_default().as_secs() + left,
                token_id: None,
            }))
        };
        let long = StreamEnd::of(&token(7200), lifetime);
        assert_eq!(
            (long.at, long.by_credential),
            (Instant::now() + lifetime, false)
        );
        let short = StreamEnd::of(&token(60), lifetime);
        assert!(short.by_credential && short.at <= Instant::now() + Duration::from_secs(60));
        assert!(!StreamEnd::of(&Principal::Anonymous, lifetime).by_credential);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_passed_has_nothing_left() {
        let deadline = Deadline::after(Duration::from_millis(5));
        tokio::time::advance(Duration::from_millis(6)).await;
        assert!(deadline.has_passed());
        assert_eq!(deadline.remaining(), Duration::ZERO);
    }
}
