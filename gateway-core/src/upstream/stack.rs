//! The way of every call to a service, as one column. What an answer means is decided above (`call.rs`, `grpc.rs`,
//! `proxy.rs`); what stands in the column is here, top to bottom, each for a reason:
//!
//! 1. **deadline**: a doomed call is not started; every wait below ends with it.
//! 2. **concurrency limit** (`limit.rs`): outermost of what counts, so that a service that hangs holds no more of the gateway
//!    than this, retries and their waits included.
//! 3. **retries** (`retry.rs`, `budget.rs`): above all that is chosen anew for each attempt.
//! 4. **balancer** (`endpoints.rs`, `load.rs`): below the retries, so that the next attempt goes to another endpoint.
//! 5. **circuit breaker** (`breaker.rs`): it sees attempts, not calls, so that it opens while retries still hide the failures,
//!    and so that its probes are single attempts.
//! 6. **hop headers**: what is left of the time, the trace and who is calling are true for one attempt.
//! 7. **attempt timeout**: around the connection, too, since waiting for one is waiting.
//! 8. **pool** (`pool.rs`): a connection of this worker.
//!
//! On the way back `flight.rs` judges the attempt, and `answer.rs` holds what the call holds until its body has ended.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version, uri};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};

use super::answer::{Answer, forget};
use super::attempt::Attempt;
use super::breaker::{Admission, Verdict};
use super::endpoints::Endpoint;
use super::error::{UpstreamError, UpstreamErrorKind};
use super::flight::{AirTime, Flight};
use super::limit::Permit;
use super::outgoing::{Outgoing, Replay, target};
use super::pool::{ConnectError, Connection, Lease, connection, warm_up};
use super::retry::{Again, Failure, Hint, Retries, is_worth_repeating};
use super::shared::Upstream;
use crate::auth::internal_token::{InternalTokenSigner, InternalTokens, X_INTERNAL_TOKEN};
use crate::config::UpstreamProtocol;
use crate::context::RequestContext;
use crate::deadline::Deadline;
use crate::waterfall::CallTarget;

/// What is left of the deadline, in milliseconds.
pub(crate) const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("request-timeout");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// That a connection was closed while it was idle shows within a round trip. What breaks later was being worked on.
const STALE_WITHIN: Duration = Duration::from_millis(250);
/// With less time left no call is started.
const DOOMED: Duration = Duration::from_millis(1);

/// One worker's way to one upstream. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Stack {
    inner: Arc<Inner>,
}

struct Inner {
    upstream: Arc<Upstream>,
    worker: usize,
    commands: TaskTracker,
    internal_tokens: Option<InternalTokens>,
}

/// Whether a call only reads (RFC 9110, 9.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallKind {
    Safe,
    Command,
}

impl CallKind {
    pub(crate) fn of(method: &Method) -> Self {
        if method.is_safe() {
            Self::Safe
        } else {
            Self::Command
        }
    }
}

/// When it is known how a call came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// Somebody else reads the body, for as long as it takes.
    AtHead,
    /// The body belongs to the call and to its deadline.
    AtEnd,
}

/// The time that an attempt may take.
#[derive(Clone, Copy)]
struct Within {
    deadline: Deadline,
    /// What operators have set for attempts like this, when they have.
    set: Option<Duration>,
}

/// A second attempt beside the first.
struct Hedge<'a> {
    after: Duration,
    replay: &'a Replay,
}

/// Whether there is nothing to gain from another attempt.
fn is_good<B>(tried: &Result<Response<B>, Failure>) -> bool {
    tried
        .as_ref()
        .is_ok_and(|answer| !is_worth_repeating(answer.status(), answer.headers()))
}

/// How an attempt that was not good ended.
fn outcome<B>(tried: &Result<Response<B>, Failure>) -> &'static str {
    match tried {
        Ok(_) => "upstream_error",
        Err(failure) => failure.error.reason(),
    }
}

impl Stack {
    pub(super) fn new(
        upstream: &Arc<Upstream>,
        worker: usize,
        commands: TaskTracker,
        signer: Option<&Arc<InternalTokenSigner>>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                worker,
                commands,
                internal_tokens: signer.map(|signer| InternalTokens::new(signer, upstream.name)),
                upstream: Arc::clone(upstream),
            }),
        }
    }

    fn upstream(&self) -> &Arc<Upstream> {
        &self.inner.upstream
    }

    pub(crate) fn name(&self) -> &'static str {
        self.upstream().name
    }

    pub(crate) fn protocol(&self) -> UpstreamProtocol {
        self.upstream().config.protocol
    }

    pub(crate) fn max_response_bytes(&self) -> usize {
        self.upstream().config.max_response_bytes
    }

    pub(crate) fn error(&self, kind: UpstreamErrorKind) -> UpstreamError {
        UpstreamError::new(self.name(), kind)
    }

    /// The URI of `path_and_query` at this upstream, whichever of its endpoints is asked.
    pub(crate) fn uri(&self, path_and_query: uri::PathAndQuery) -> Uri {
        let address = &self.upstream().config.address;
        let mut parts = uri::Parts::default();
        parts.scheme = address.scheme().cloned();
        parts.authority = address.authority().cloned();
        parts.path_and_query = Some(path_and_query);
        // Scheme, authority and path are all there: such parts always make a URI.
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// Runs a command in a task of its own: its client may go away, what it asked for is done all the same.
    pub(crate) async fn to_its_end<T, E>(
        &self,
        command: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<UpstreamError> + Send + 'static,
    {
        match self.inner.commands.spawn(command).await {
            Ok(result) => result,
            Err(gone) => Err(self.error(UpstreamErrorKind::Reset).caused_by(gone).into()),
        }
    }

    /// Starts the clock of a call. What is sent for it is sent with the attempt's context: that names its span.
    pub(crate) fn begin(&self, context: &RequestContext, target: CallTarget) -> Attempt {
        Attempt::begin(self.upstream(), context, target)
    }

    /// Sends `request` down the column and waits for the head of an answer, until the call's deadline. An answer is also
    /// one that says that the service failed, after the last attempt.
    ///
    /// # Errors
    /// No answer: why is in the kind.
    // The request is boxed: every step of the column would have room for all of it twice, and move it.
    pub(crate) async fn send(
        &self,
        request: Box<Request<Outgoing>>,
        attempt: &mut Attempt,
        kind: CallKind,
        judged: Judged,
    ) -> Result<Response<Answer>, UpstreamError> {
        let upstream = self.upstream();
        let deadline = attempt.context().deadline();
        // The clock is read once for all that is decided before the request is on its way.
        let mut now = Instant::now();
        if deadline.at().saturating_duration_since(now) < DOOMED {
            return Err(self.error(UpstreamErrorKind::Timeout));
        }
        let Some(permit) = Permit::of(upstream) else {
            return Err(self.error(UpstreamErrorKind::OverLimit));
        };
        upstream.budget.deposit(upstream.clock.at(now));

        let replay = match kind {
            CallKind::Safe => Replay::of(&request),
            CallKind::Command => None,
        };
        let mut retries = Retries::new(upstream, deadline, replay);
        let mut again = Again::first(request);
        let mut last = None;
        loop {
            let endpoint = match self.pick(now, last.as_ref()) {
                Some(endpoint) => endpoint,
                None => Box::pin(self.await_endpoint(&mut now, deadline)).await?,
            };
            let within = self.time_of_attempt(deadline, kind);
            let tried = match (upstream.config.hedge_after, retries.replay()) {
                (Some(after), Some(replay)) => {
                    let second = Hedge { after, replay };
                    // Rarely configured: others' calls should not be as large as two.
                    Box::pin(self.hedged(again, second, &endpoint, attempt, within, judged)).await
                }
                _ => {
                    self.attempt(again, &endpoint, attempt, within, judged, now)
                        .await
                }
            };
            let outcome;
            again = match tried {
                Ok(mut answer) => match retries.after_answer(&answer) {
                    Some(again) => {
                        outcome = "upstream_error";
                        forget(answer.into_body());
                        again
                    }
                    None => {
                        answer.body_mut().hold(permit);
                        return Ok(answer);
                    }
                },
                Err(failure) => {
                    outcome = failure.error.reason();
                    retries.after_failure(failure)?
                }
            };
            attempt.ended(outcome);
            if !again.wait.is_zero() {
                tokio::time::sleep(again.wait).await;
            }
            attempt.again();
            now = Instant::now();
            last = Some(endpoint);
        }
    }

    /// An attempt, and after a while without an answer a second one beside it: the first good answer counts, and the
    /// other attempt is given up. Against the rare slow answer of a service that is well; it costs the budget what a retry
    /// does.
    async fn hedged(
        &self,
        first: Again,
        hedge: Hedge<'_>,
        endpoint: &Arc<Endpoint>,
        attempt: &mut Attempt,
        within: Within,
        judged: Judged,
    ) -> Result<Response<Answer>, Failure> {
        let upstream = self.upstream();
        let began = Instant::now();
        let beside = attempt.beside();
        let mut record = None;
        let (tried, second_counts, other) = {
            let mut first = pin!(self.attempt(first, endpoint, attempt, within, judged, began));
            if let Ok(tried) = tokio::time::timeout(hedge.after, &mut first).await {
                return tried;
            }
            let now = upstream.clock.now();
            let elsewhere = upstream.endpoints.load().pick(now, Some(endpoint)).cloned();
            let Some(elsewhere) = elsewhere.filter(|_| upstream.budget.withdraw(now)) else {
                return first.await;
            };
            upstream.metrics.hedged.increment(1);
            let record = record.insert(beside.begin());
            let again = Again::first(hedge.replay.request());
            let mut second = pin!(self.attempt(
                again,
                &elsewhere,
                record,
                within,
                judged,
                began + hedge.after
            ));
            match select(first.as_mut(), second.as_mut()).await {
                Either::Left((tried, _)) if is_good(&tried) => (tried, false, "cancelled"),
                Either::Right((tried, _)) if is_good(&tried) => (tried, true, "cancelled"),
                Either::Left((failed, second)) => match second.await {
                    // What a service says of its failure is more than none.
                    Err(none) if failed.is_ok() => (failed, false, none.error.reason()),
                    second => (second, true, outcome(&failed)),
                },
                Either::Right((failed, first)) => match first.await {
                    Err(none) if failed.is_ok() => (failed, true, none.error.reason()),
                    first => (first, false, outcome(&failed)),
                },
            }
        };
        // The record of the attempt that counts goes on; that of the other ends here.
        if let Some(mut record) = record {
            if second_counts {
                std::mem::swap(attempt, &mut record);
            }
            record.finished(other);
        }
        tried
    }

    /// Keeps connections ready, as many as the configuration wants.
    pub(super) async fn warm_up(&self) {
        let endpoints = self.upstream().endpoints.load_full();
        for endpoint in endpoints.all() {
            if let Err(error) = warm_up(endpoint, self.inner.worker).await {
                tracing::debug!(upstream = self.name(), %error, "no connection was kept ready");
            }
        }
    }

    /// An endpoint for the next attempt; another one than `avoid`, if there is one.
    fn pick(&self, now: Instant, avoid: Option<&Arc<Endpoint>>) -> Option<Arc<Endpoint>> {
        let upstream = self.upstream();
        let now = upstream.clock.at(now);
        upstream.endpoints.load().pick(now, avoid).cloned()
    }

    /// The first endpoint there is: none are known while names have not been looked up.
    async fn await_endpoint(
        &self,
        now: &mut Instant,
        deadline: Deadline,
    ) -> Result<Arc<Endpoint>, UpstreamError> {
        let upstream = self.upstream();
        let limit = deadline.shortened_to(upstream.config.connect_timeout);
        let known = timeout_at(limit.at(), upstream.resolved()).await;
        *now = Instant::now();
        let endpoint = known.ok().and_then(|()| self.pick(*now, None));
        endpoint.ok_or_else(|| {
            self.error(UpstreamErrorKind::Unreachable)
                .caused_by("no endpoint is known")
        })
    }

    /// The deadline of one attempt within the call's. A command has all the time there is: giving one up early leaves open
    /// what it did.
    fn time_of_attempt(&self, deadline: Deadline, kind: CallKind) -> Within {
        let (deadline, set) = match (kind, self.upstream().config.timeout) {
            (CallKind::Safe, Some(timeout)) => (deadline.shortened_to(timeout), Some(timeout)),
            (CallKind::Safe, None) | (CallKind::Command, _) => (deadline, None),
        };
        Within { deadline, set }
    }

    async fn attempt(
        &self,
        Again {
            mut request, fresh, ..
        }: Again,
        endpoint: &Arc<Endpoint>,
        attempt: &mut Attempt,
        Within { deadline, set }: Within,
        judged: Judged,
        began: Instant,
    ) -> Result<Response<Answer>, Failure> {
        let upstream = self.upstream();
        let ticket = match upstream.admit(upstream.clock.at(began)) {
            Admission::Granted(ticket) => ticket,
            Admission::Refused(retry_after) => {
                return Err(Failure {
                    error: self.error(UpstreamErrorKind::OpenCircuit { retry_after }),
                    unsent: None,
                    hint: Hint::Refused,
                });
            }
        };
        attempt.goes_to(endpoint);
        let upload = request.body().awaited();
        let time = AirTime::new(upstream, began, deadline, set);
        let mut flight = Flight::begin(upstream, endpoint, ticket, time, upload);
        self.set_hop_headers(request.headers_mut(), attempt.context());
        let exchange = self.exchange(request, endpoint, deadline, began, fresh);
        match timeout_at(deadline.at(), exchange).await {
            // The flight lands by itself, in both cases: it knows how much time it had.
            Ok(Err(failure)) if failure.error.kind == UpstreamErrorKind::Timeout => Err(failure),
            Err(_elapsed) => Err(Failure {
                error: self.error(UpstreamErrorKind::Timeout),
                unsent: None,
                hint: Hint::None,
            }),
            Ok(Err(failure)) => {
                // The service may be well: the connection was old, the client broke off, or a limit of ours was reached. Over a
                // fresh connection nothing is old any more.
                let blameless = match failure.hint {
                    Hint::None => false,
                    Hint::NoConnection => failure.error.kind == UpstreamErrorKind::OverLimit,
                    Hint::Stale => !fresh,
                    Hint::Client | Hint::Refused => true,
                };
                if blameless {
                    flight.settle(Verdict::Neutral, Instant::now());
                } else {
                    flight.failed();
                }
                Err(failure)
            }
            Ok(Ok((response, lease))) => {
                let now = Instant::now();
                attempt.answered(now, self.status_of(&response));
                flight.answered(now, response.status(), response.headers(), judged);
                Ok(response.map(|body| Answer::new(body, deadline, lease, flight)))
            }
        }
    }

    /// A connection, and the exchange over it. A request that a connection gives back unsent, because it was closed while it
    /// was idle, goes over the next one: that is no attempt.
    async fn exchange(
        &self,
        mut request: Box<Request<Outgoing>>,
        endpoint: &Arc<Endpoint>,
        deadline: Deadline,
        began: Instant,
        fresh: bool,
    ) -> Result<(Response<hyper::body::Incoming>, Option<Lease>), Failure> {
        let path = target(request.uri());
        let mut now = began;
        loop {
            let connected = match connection(endpoint, self.inner.worker, now, fresh).await {
                Ok(connected) => connected,
                Err(error) => return Err(self.no_connection(error, request)),
            };
            if !connected.is_reused() {
                now = Instant::now();
            }
            // Behind the wait for a connection: the service is told the time that it has.
            let left = deadline.at().saturating_duration_since(now);
            if left < DOOMED {
                return Err(Failure {
                    error: self.error(UpstreamErrorKind::Timeout),
                    unsent: None,
                    hint: Hint::None,
                });
            }
            self.set_time(request.headers_mut(), left);
            let (mut error, reused) = match connected {
                Connection::Http1(mut lease) => {
                    *request.version_mut() = Version::HTTP_11;
                    *request.uri_mut() = Uri::from(path.clone());
                    request
                        .headers_mut()
                        .insert(http::header::HOST, endpoint.place.host.clone());
                    match lease.sender.try_send_request(*request).await {
                        Ok(response) => return Ok((response, Some(lease))),
                        Err(error) => (error, lease.reused),
                    }
                }
                Connection::Http2 { mut sender, reused } => {
                    *request.version_mut() = Version::HTTP_2;
                    // hyper would take away the fields that it names, too.
                    request.headers_mut().remove(http::header::CONNECTION);
                    *request.uri_mut() = endpoint.place.uri(path.clone());
                    match sender.try_send_request(*request).await {
                        Ok(response) => return Ok((response, None)),
                        Err(error) => (error, reused),
                    }
                }
            };
            match error.take_message() {
                Some(unsent) if reused => {
                    *request = unsent;
                    now = Instant::now();
                }
                unsent => {
                    let error = error.into_error();
                    let hint = if error.is_user() {
                        Hint::Client
                    } else if reused
                        && now.elapsed() < STALE_WITHIN
                        && !error.is_parse()
                        && !is_reset(&error)
                    {
                        Hint::Stale
                    } else {
                        Hint::None
                    };
                    return Err(Failure {
                        error: self.error(UpstreamErrorKind::Reset).caused_by(error),
                        unsent: unsent.map(Box::new),
                        hint,
                    });
                }
            }
        }
    }

    /// What the record shows: a gRPC answer with a body says its code only at its end.
    fn status_of<B>(&self, response: &Response<B>) -> Option<u16> {
        match self.protocol() {
            UpstreamProtocol::Http1 | UpstreamProtocol::Http2 => Some(response.status().as_u16()),
            UpstreamProtocol::Grpc => {
                let code = response.headers().get(Status::GRPC_STATUS)?;
                u16::try_from(i32::from(Code::from_bytes(code.as_bytes()))).ok()
            }
        }
    }

    fn no_connection(&self, error: ConnectError, unsent: Box<Request<Outgoing>>) -> Failure {
        let kind = match error {
            ConnectError::TooMany { .. } => UpstreamErrorKind::OverLimit,
            ConnectError::Timeout { .. }
            | ConnectError::Io { .. }
            | ConnectError::Awaited { .. }
            | ConnectError::Handshake { .. } => UpstreamErrorKind::Unreachable,
        };
        Failure {
            error: self.error(kind).caused_by(error),
            unsent: Some(unsent),
            hint: Hint::NoConnection,
        }
    }

    fn set_time(&self, headers: &mut HeaderMap, remaining: Duration) {
        let millis = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
        match self.protocol() {
            UpstreamProtocol::Http1 | UpstreamProtocol::Http2 => {
                headers.insert(REQUEST_TIMEOUT, HeaderValue::from(millis));
            }
            UpstreamProtocol::Grpc => {
                // At most eight digits (gRPC over HTTP/2, Timeout).
                let text = match millis {
                    0..100_000_000 => format!("{millis}m"),
                    longer => format!("{}S", (longer / 1000).min(99_999_999)),
                };
                if let Ok(value) = HeaderValue::from_str(&text) {
                    headers.insert(GRPC_TIMEOUT, value);
                }
            }
        }
    }

    fn set_hop_headers(&self, headers: &mut HeaderMap, context: &RequestContext) {
        context.trace().inject(headers, context.span());
        headers.insert(X_REQUEST_ID, context.request_id().to_header());
        // Ours or none: what a client or a handler put there never gets to a service.
        match &self.inner.internal_tokens {
            Some(tokens) => match tokens.header(context.principal_for_upstreams()) {
                Some(token) => headers.insert(X_INTERNAL_TOKEN, token),
                None => headers.remove(X_INTERNAL_TOKEN),
            },
            None => headers.remove(X_INTERNAL_TOKEN),
        };
    }
}

/// Whether the service ended this exchange alone and keeps the connection (RFC 9113, 5.4.2): that is its answer, not the
/// connection's age. A stream that it refused was not looked at.
fn is_reset(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    source
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .is_some_and(|error| error.is_reset() && error.reason() != Some(h2::Reason::REFUSED_STREAM))
}
