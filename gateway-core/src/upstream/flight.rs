//! One attempt under way: counted at its endpoint, and judged once for the breaker and the endpoint's health. Here it is
//! decided what counts as a failure of the service, and what doesn't.
//!
//! Failures are 5xx (but for 501), a connection that is refused or breaks, and no answer in time. A service that says 4xx
//! works. A call that is given up before its time was over says nothing; one that had hardly any time doesn't either,
//! since clients may ask for as little as they like.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};
use tokio::time::Instant;
use tonic::Code;

use super::breaker::{Ticket, Verdict};
use super::endpoints::Endpoint;
use super::outgoing::Awaited;
use super::shared::Upstream;
use super::stack::Judged;
use crate::deadline::Deadline;

/// A name, where tonic has a text that would be parsed for every answer.
pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// For upstreams without a breaker.
const FAIR_TIME: Duration = Duration::from_millis(250);

/// What no answer weighs in the balancer, at least, and an answer that is a failure, at most: one that fails fast must not look
/// fast.
const PENALTY: Duration = Duration::from_millis(500);

/// The time of an attempt.
#[derive(Clone, Copy)]
pub(super) struct AirTime {
    began: Instant,
    deadline: Instant,
    /// How long a service has to have had, to be judged by being late.
    fair: Duration,
}

impl AirTime {
    /// `set` is what operators give every attempt like this one: that is fair, however short it is.
    pub(super) fn new(
        upstream: &Upstream,
        began: Instant,
        deadline: Deadline,
        set: Option<Duration>,
    ) -> Self {
        let breaker = upstream.config.breaker.as_ref();
        let fair = breaker.map_or(FAIR_TIME, |breaker| breaker.min_timeout);
        Self {
            began,
            deadline: deadline.at(),
            fair: set.map_or(fair, |set| set.min(fair)),
        }
    }
}

pub(super) struct Flight {
    upstream: Arc<Upstream>,
    endpoint: Arc<Endpoint>,
    ticket: Option<Ticket>,
    /// Of an attempt that has been counted as a success at its head.
    good_head: Option<Ticket>,
    time: AirTime,
    /// Of a body that the client is still sending.
    upload: Option<Awaited>,
}

impl Flight {
    pub(super) fn begin(
        upstream: &Arc<Upstream>,
        endpoint: &Arc<Endpoint>,
        ticket: Ticket,
        time: AirTime,
        upload: Option<Awaited>,
    ) -> Self {
        endpoint.load.enter();
        Self {
            upstream: Arc::clone(upstream),
            endpoint: Arc::clone(endpoint),
            ticket: Some(ticket),
            good_head: None,
            time,
            upload,
        }
    }

    /// The head of an answer is here, since `now`. Whether that is the last word hangs on who reads the rest.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        status: StatusCode,
        headers: &HeaderMap,
        judged: Judged,
    ) {
        let said = self.judge(status, headers);
        let (took, at) = (now - self.time.began, self.upstream.clock.at(now));
        if said == Verdict::Failure {
            self.endpoint.load.observe_failure(took, PENALTY, at);
        } else {
            self.endpoint.load.observe(took, at);
        }
        if is_busy(status, headers) {
            self.upstream.limit.failed();
        } else if said == Verdict::Success && status != StatusCode::TOO_MANY_REQUESTS {
            self.upstream.limit.answered(took);
        }
        if said == Verdict::Success && judged == Judged::AtHead {
            self.good_head = self.ticket;
        }
        if said != Verdict::Success || judged == Judged::AtHead {
            self.settle(said, now);
        }
    }

    /// A gRPC answer has ended, with its code.
    pub(super) fn coded(&mut self, trailers: &HeaderMap) {
        let now = Instant::now();
        let said = self.judge(StatusCode::OK, trailers);
        if said == Verdict::Failure {
            let at = self.upstream.clock.at(now);
            self.endpoint
                .load
                .observe_failure(now - self.time.began, PENALTY, at);
        }
        if is_busy(StatusCode::OK, trailers) {
            self.upstream.limit.failed();
        }
        self.settle(said, now);
    }

    /// There is no answer, or it broke off.
    pub(super) fn failed(&mut self) {
        let now = Instant::now();
        self.endpoint.load.observe(
            (now - self.time.began).max(PENALTY),
            self.upstream.clock.at(now),
        );
        self.upstream.limit.failed();
        if self.ticket.is_none()
            && let Some(ticket) = self.good_head.take()
        {
            let (upstream, at) = (&self.upstream, self.upstream.clock.at(now));
            upstream.settle(&self.endpoint, ticket, Verdict::BrokeOff, at);
        }
        self.settle(Verdict::Failure, now);
    }

    /// Says how it came out, once.
    pub(super) fn settle(&mut self, verdict: Verdict, now: Instant) {
        if let Some(ticket) = self.ticket.take() {
            self.upstream
                .settle(&self.endpoint, ticket, verdict, self.upstream.clock.at(now));
        }
    }
}

impl Flight {
    /// What an answer says of the service. Where there was hardly any time, a service that says that it is over says nothing of
    /// itself.
    fn judge(&self, status: StatusCode, headers: &HeaderMap) -> Verdict {
        let out_of_time = grpc_code(headers) == Some(Code::DeadlineExceeded);
        if out_of_time && self.time.deadline - self.time.began < self.time.fair {
            return Verdict::Neutral;
        }
        verdict(status, headers)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.endpoint.load.leave();
        if self.ticket.is_none() {
            return;
        }
        let now = Instant::now();
        // While the client has not sent what was asked for, it is not the service that is late.
        let waits = self.upload.as_ref().is_some_and(Awaited::is_awaited);
        let late = now >= self.time.deadline && now - self.time.began >= self.time.fair && !waits;
        if late {
            self.failed();
        } else {
            // It would have taken at least as long.
            let (took, at) = (now - self.time.began, self.upstream.clock.at(now));
            if took.as_micros() as f64 > self.endpoint.load.latency(at) {
                self.endpoint.load.observe(took, at);
            }
            self.settle(Verdict::Neutral, now);
        }
    }
}

/// What the head of an answer says about the service.
fn verdict(status: StatusCode, headers: &HeaderMap) -> Verdict {
    let failed = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
        || grpc_verdict(headers) == Some(Verdict::Failure);
    if failed {
        Verdict::Failure
    } else {
        Verdict::Success
    }
}

/// Whether a service says that it has too much to do. 429 does not: that may be one caller's doing.
fn is_busy(status: StatusCode, headers: &HeaderMap) -> bool {
    let busy = [Code::Unavailable, Code::ResourceExhausted];
    status.as_u16() == 503 || grpc_code(headers).is_some_and(|code| busy.contains(&code))
}

/// What a `grpc-status` says about the service, in the head of an answer without a body, or in its trailers.
pub(super) fn grpc_verdict(headers: &HeaderMap) -> Option<Verdict> {
    Some(match grpc_code(headers)? {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Internal
        | Code::Unknown
        | Code::DataLoss => Verdict::Failure,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Verdict::Success,
    })
}

fn grpc_code(headers: &HeaderMap) -> Option<Code> {
    let code = headers.get(GRPC_STATUS)?;
    Some(Code::from_bytes(code.as_bytes()))
}
