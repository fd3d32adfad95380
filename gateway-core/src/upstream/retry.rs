//! Which failed attempts are followed by another one, and after what wait. How many there may be in all is `budget.rs`.
//!
//! A safe call is repeated after a connection that failed or broke before the head of an answer, an attempt that was given
//! up, and 502, 503 and 504. A command is repeated only if it is certain that nothing of it was sent.

use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use tonic::Code;

use super::error::{UpstreamError, UpstreamErrorKind};
use super::flight::GRPC_STATUS;
use super::outgoing::{Outgoing, Replay};
use super::shared::Upstream;
use crate::config::RetryConfig;
use crate::deadline::Deadline;
use crate::retry_after::retry_after;

/// An attempt that got no answer.
pub(super) struct Failure {
    pub(super) error: UpstreamError,
    /// The request, when it is certain that nothing of it was sent.
    pub(super) unsent: Option<Box<Request<Outgoing>>>,
    pub(super) hint: Hint,
}

/// What is known about a failure, beside what is told to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    None,
    /// Another endpoint may do better.
    NoConnection,
    /// The connection had been idle and was closed by its peer, as it may be at any time: nothing is wrong.
    Stale,
    /// The body that is forwarded broke off: the client's doing.
    Client,
    /// Nothing was tried: another attempt would end in the same way.
    Refused,
}

/// The next attempt.
pub(super) struct Again {
    pub(super) request: Box<Request<Outgoing>>,
    pub(super) wait: Duration,
    /// Over a new connection: where one was closed while it was idle, others were, too.
    pub(super) fresh: bool,
}

impl Again {
    /// The first attempt is the next one, too.
    pub(super) fn first(request: Box<Request<Outgoing>>) -> Self {
        Self {
            request,
            wait: Duration::ZERO,
            fresh: false,
        }
    }
}

/// The attempts of one call.
pub(super) struct Retries<'a> {
    upstream: &'a Upstream,
    deadline: Deadline,
    /// Of safe calls whose body can be sent again.
    replay: Option<Replay>,
    made: u32,
    was_stale: bool,
}

/// What has to be left of the time after the wait, or the next attempt would be doomed.
const WORTHWHILE: Duration = Duration::from_millis(2);

impl<'a> Retries<'a> {
    pub(super) fn new(upstream: &'a Upstream, deadline: Deadline, replay: Option<Replay>) -> Self {
        Self {
            upstream,
            deadline,
            replay,
            made: 0,
            was_stale: false,
        }
    }

    pub(super) fn replay(&self) -> Option<&Replay> {
        self.replay.as_ref()
    }

    /// Nothing when this answer is the one.
    pub(super) fn after_answer<B>(&mut self, answer: &Response<B>) -> Option<Again> {
        if !is_worth_repeating(answer.status(), answer.headers()) {
            return None;
        }
        let replay = self.replay.as_ref()?;
        let backoff = backoff(&self.upstream.config.retry, self.made + 1);
        let asked = retry_after(answer.headers()).unwrap_or_default();
        let again = Again {
            wait: backoff.max(asked),
            ..Again::first(replay.request())
        };
        self.grant(again.wait).then_some(again)
    }

    /// # Errors
    /// The failure, when it is the last.
    pub(super) fn after_failure(&mut self, failure: Failure) -> Result<Again, UpstreamError> {
        let Failure {
            error,
            unsent,
            hint,
        } = failure;
        let replay = self.replay.as_ref();
        let Some(request) = unsent.or_else(|| replay.map(Replay::request)) else {
            return Err(error);
        };
        let mut again = Again::first(request);
        let elsewhere = self.upstream.endpoints.load().all().len() > 1;
        match hint {
            Hint::Client | Hint::Refused => return Err(error),
            // Once; it costs nothing of the budget, since nothing has failed.
            Hint::Stale if !self.was_stale => {
                self.was_stale = true;
                again.fresh = true;
                return Ok(again);
            }
            // All connections that may be open are in use: that is not better in a moment.
            Hint::NoConnection if error.kind == UpstreamErrorKind::OverLimit && !elsewhere => {
                return Err(error);
            }
            Hint::NoConnection if elsewhere && self.made == 0 => {}
            Hint::NoConnection | Hint::None | Hint::Stale => {
                again.wait = backoff(&self.upstream.config.retry, self.made + 1);
            }
        }
        if self.grant(again.wait) {
            Ok(again)
        } else {
            Err(error)
        }
    }

    /// Whether one more may be made after `wait`.
    fn grant(&mut self, wait: Duration) -> bool {
        let upstream = self.upstream;
        if self.made >= upstream.config.retry.retries
            || self.deadline.remaining() < wait + WORTHWHILE
        {
            return false;
        }
        if !upstream.budget.withdraw(upstream.clock.now()) {
            upstream.metrics.out_of_budget.increment(1);
            return false;
        }
        self.made += 1;
        upstream.metrics.retried.increment(1);
        true
    }
}

/// Whether a service that answers so may do better a moment later.
pub(super) fn is_worth_repeating(status: StatusCode, headers: &HeaderMap) -> bool {
    matches!(status.as_u16(), 502..=504)
        || headers
            .get(GRPC_STATUS)
            .is_some_and(|code| Code::from_bytes(code.as_bytes()) == Code::Unavailable)
}

/// The wait before the `number`-th retry, from 1: twice as long each time, at random between half and all of it, so that
/// those who failed together don't come back together.
pub(super) fn backoff(config: &RetryConfig, number: u32) -> Duration {
    let doubled = config
        .backoff
        .saturating_mul(1_u32.checked_shl(number - 1).unwrap_or(u32::MAX))
        .min(config.max_backoff);
    doubled.mul_f64(0.5 + fastrand::f64() * 0.5)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_wait_doubles_within_its_bounds() {
        let config = RetryConfig {
            retries: 5,
            budget: 0.2,
            min_per_second: 10,
            backoff: Duration::from_millis(20),
            max_backoff: Duration::from_millis(100),
        };
        for (number, longest) in [(1, 20), (2, 40), (3, 80), (4, 100), (40, 100)] {
            for _ in 0..100 {
                let wait = backoff(&config, number);
                let longest = Duration::from_millis(longest);
                assert!(wait >= longest / 2 && wait <= longest, "{number}: {wait:?}");
            }
        }
    }

    #[test]
    fn what_a_service_says_about_itself_is_worth_a_retry() {
        let none = HeaderMap::new();
        for status in [502, 503, 504] {
            assert!(
                StatusCode::from_u16(status).is_ok_and(|status| is_worth_repeating(status, &none))
            );
        }
        for status in [200, 400, 404, 409, 429, 500, 501] {
            assert!(
                !StatusCode::from_u16(status).is_ok_and(|status| is_worth_repeating(status, &none))
            );
        }
        let grpc = |code| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-status"),
                HeaderValue::from_static(code),
            )])
        };
        assert!(is_worth_repeating(StatusCode::OK, &grpc("14")));
        assert!(!is_worth_repeating(StatusCode::OK, &grpc("13")));
    }
}
