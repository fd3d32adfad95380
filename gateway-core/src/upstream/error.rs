//! How an upstream call can fail, in the words that sections, logs and metrics use. Statuses are picked in `problem.rs`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::error::Refusal;

/// With less time left than this a call is not started: its time is over before it is.
const MARGIN: Duration = Duration::from_millis(2);

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A call to an upstream that did not give what was asked for.
#[derive(Debug, thiserror::Error)]
#[error("upstream {upstream}: {kind}")]
pub struct UpstreamError {
    pub upstream: &'static str,
    pub kind: UpstreamErrorKind,
    #[source]
    pub(crate) cause: Option<Source>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamErrorKind {
    /// No connection could be made.
    #[error("no connection")]
    Unreachable,
    /// The connection broke while the call was under way.
    #[error("the connection broke")]
    Reset,
    /// The attempt's time or the request's deadline passed; the call may not even have been started.
    #[error("no answer in time")]
    Timeout,
    /// The service answered, and not with what was asked for.
    #[error("status {}", .0.status)]
    Status(Refusal),
    /// The answer's media type or body is not what the client expects.
    #[error("the answer is not understood")]
    Undecodable,
    /// The answer is larger than the configuration allows.
    #[error("the answer is too large")]
    TooLarge,
    /// The circuit breaker is open: the call was not made.
    #[error("the circuit breaker is open")]
    OpenCircuit {
        /// When a call may be made again, at the earliest.
        retry_after: Duration,
    },
    /// As many calls, or connections, are under way as the configuration allows: this one was not made.
    #[error("too many calls at once")]
    OverLimit,
}

/// The cause of a failure that several callers have in common.
#[derive(Debug)]
struct Shared(Arc<UpstreamError>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in a call that several waited for")
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl UpstreamError {
    pub(crate) fn new(upstream: &'static str, kind: UpstreamErrorKind) -> Self {
        Self {
            upstream,
            kind,
            cause: None,
        }
    }

    #[must_use]
    pub(crate) fn caused_by(mut self, cause: impl Into<Source>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The same failure for another one who waited for the call.
    pub(crate) fn shared(failure: &Arc<Self>) -> Self {
        let kind = failure.kind.clone();
        Self::new(failure.upstream, kind).caused_by(Shared(Arc::clone(failure)))
    }

    /// Whether the time of the one who asked was over at `until`: someone who has more may ask again. A time that is set for
    /// each attempt is everybody's.
    pub(crate) fn is_out_of_time(&self, until: Instant) -> bool {
        self.kind == UpstreamErrorKind::Timeout && Instant::now() + MARGIN >= until
    }

    /// Whether the service did not do its work; else it has answered, and said no.
    pub(crate) fn is_failure_of_service(&self) -> bool {
        self.refusal()
            .is_none_or(|refusal| Self::is_failure(refusal.status))
    }

    /// The service's own refusal (4xx or 5xx), when there was one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.kind {
            UpstreamErrorKind::Status(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the service says that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.refusal()
            .is_some_and(|refusal| refusal.status == StatusCode::NOT_FOUND)
    }

    /// Whether a status says that the service failed: 5xx, and what it says about *our* credentials. It has never seen the
    /// client's.
    pub(crate) fn is_failure(status: StatusCode) -> bool {
        status.is_server_error()
            || status == StatusCode::UNAUTHORIZED
            || status == StatusCode::PROXY_AUTHENTICATION_REQUIRED
    }

    /// How a call ended, as metrics, log and console say it: a refusal of what the caller wants is no fault of the service.
    pub(crate) fn outcome(&self) -> &'static str {
        match &self.kind {
            UpstreamErrorKind::Status(refusal)
                if refusal.status.is_client_error()
                    && refusal.status != StatusCode::NOT_FOUND
                    && !Self::is_failure(refusal.status) =>
            {
                "refused"
            }
            _ => self.reason(),
        }
    }

    /// The reason that a section gives for having no data.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match &self.kind {
            UpstreamErrorKind::Unreachable | UpstreamErrorKind::Reset => "unreachable",
            UpstreamErrorKind::Timeout => "timeout",
            UpstreamErrorKind::Status(refusal) if refusal.status == StatusCode::NOT_FOUND => {
                "not_found"
            }
            UpstreamErrorKind::Status(_) => "upstream_error",
            UpstreamErrorKind::Undecodable => "invalid_response",
            UpstreamErrorKind::TooLarge => "response_too_large",
            UpstreamErrorKind::OpenCircuit { .. } => "open_circuit",
            UpstreamErrorKind::OverLimit => "overloaded",
        }
    }
}
