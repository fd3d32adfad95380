//! One worker's connections to one upstream, and the rules that hold for every request sent over them.
//! What the answer means is decided above (`call.rs`, `grpc.rs`, `proxy.rs`).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version, uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::error::{UpstreamError, UpstreamErrorKind};
use crate::auth::internal_token::{InternalTokenSigner, InternalTokens, X_INTERNAL_TOKEN};
use crate::config::{UpstreamConfig, UpstreamProtocol};
use crate::context::{CallNote, RequestContext};
use crate::deadline::Deadline;
use crate::metrics::{Metrics, UpstreamMetrics};
use crate::trace::SpanId;
use crate::waterfall::{CallSource, CallTarget};

/// What is left of the deadline, in milliseconds.
pub(crate) const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("request-timeout");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const TCP_KEEPALIVE: Duration = Duration::from_secs(15);
const HTTP2_PING: Duration = Duration::from_secs(5);
const HTTP2_PING_ANSWER: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    address: uri::Parts,
    /// The same as text, for the record of calls.
    endpoint: Option<Arc<str>>,
    protocol: UpstreamProtocol,
    timeout: Option<Duration>,
    max_response_bytes: usize,
    client: Client<HttpConnector, Body>,
    metrics: UpstreamMetrics,
    commands: TaskTracker,
    internal_tokens: Option<InternalTokens>,
}

impl Pool {
    pub(super) fn new(
        name: &'static str,
        config: &UpstreamConfig,
        metrics: &Metrics,
        commands: TaskTracker,
        signer: Option<&Arc<InternalTokenSigner>>,
    ) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(config.connect_timeout));
        connector.set_keepalive(Some(TCP_KEEPALIVE));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(config.idle_timeout)
            .pool_max_idle_per_host(config.max_idle)
            .http2_only(config.protocol == UpstreamProtocol::Grpc)
            // One connection carries all calls: when its peer has vanished without a word, somebody has to notice.
            .http2_keep_alive_interval(HTTP2_PING)
            .http2_keep_alive_timeout(HTTP2_PING_ANSWER)
            .http2_keep_alive_while_idle(true)
            .build(connector);
        Self {
            shared: Arc::new(Shared {
                name,
                address: config.address.clone().into_parts(),
                endpoint: config
                    .address
                    .authority()
                    .map(|authority| Arc::from(authority.as_str())),
                protocol: config.protocol,
                timeout: config.timeout,
                max_response_bytes: config.max_response_bytes,
                client,
                metrics: metrics.upstream(name),
                commands,
                internal_tokens: signer.map(|signer| InternalTokens::new(signer, name)),
            }),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.shared.name
    }

    pub(crate) fn protocol(&self) -> UpstreamProtocol {
        self.shared.protocol
    }

    pub(crate) fn max_response_bytes(&self) -> usize {
        self.shared.max_response_bytes
    }

    /// The deadline of one attempt within the request's. A command has all the time there is: giving one up early
    /// leaves open what it did.
    pub(crate) fn attempt_deadline(&self, context: &RequestContext, kind: CallKind) -> Deadline {
        match (kind, self.shared.timeout) {
            (CallKind::Safe, Some(timeout)) => context.deadline().shortened_to(timeout),
            (CallKind::Safe, None) | (CallKind::Command, _) => context.deadline(),
        }
    }

    /// Runs a command in a task of its own: its client may go away, what it asked for is done all the same.
    pub(crate) async fn to_its_end<T: Send + 'static>(
        &self,
        command: impl Future<Output = Result<T, UpstreamError>> + Send + 'static,
    ) -> Result<T, UpstreamError> {
        match self.shared.commands.spawn(command).await {
            Ok(result) => result,
            Err(gone) => Err(self.error(UpstreamErrorKind::Reset).caused_by(gone)),
        }
    }

    /// Starts the clock of a call. What is sent for it is sent with the attempt's context: that names its span.
    pub(crate) fn begin(&self, context: &RequestContext, target: CallTarget) -> Attempt {
        Attempt {
            pool: self.clone(),
            context: context.for_call(),
            parent: context.span(),
            target,
            number: 1,
            began: Instant::now(),
            answered: None,
            status: None,
            outcome: None,
        }
    }

    pub(crate) fn error(&self, kind: UpstreamErrorKind) -> UpstreamError {
        UpstreamError::new(self.shared.name, kind)
    }

    /// The absolute URI of `path_and_query` at this upstream.
    pub(crate) fn uri(&self, path_and_query: uri::PathAndQuery) -> Uri {
        let mut parts = uri::Parts::default();
        parts.scheme.clone_from(&self.shared.address.scheme);
        parts.authority.clone_from(&self.shared.address.authority);
        parts.path_and_query = Some(path_and_query);
        // Scheme, authority and path are all there: such parts always make a URI.
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// Sends one request and waits for the head of its answer, until `deadline`. A doomed call is not started.
    pub(crate) async fn send(
        &self,
        mut request: Request<Body>,
        context: &RequestContext,
        deadline: Deadline,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let remaining = deadline.remaining();
        if remaining < Duration::from_millis(1) {
            return Err(self.error(UpstreamErrorKind::Timeout));
        }
        self.set_hop_headers(request.headers_mut(), context, remaining);
        *request.version_mut() = match self.shared.protocol {
            UpstreamProtocol::Http1 => Version::HTTP_11,
            UpstreamProtocol::Grpc => Version::HTTP_2,
        };
        match tokio::time::timeout_at(deadline.at(), self.shared.client.request(request)).await {
            Err(_elapsed) => Err(self.error(UpstreamErrorKind::Timeout)),
            Ok(Err(error)) if error.is_connect() => {
                Err(self.error(UpstreamErrorKind::Unreachable).caused_by(error))
            }
            Ok(Err(error)) => Err(self.error(UpstreamErrorKind::Reset).caused_by(error)),
            Ok(Ok(response)) => Ok(response),
        }
    }

    fn set_hop_headers(
        &self,
        headers: &mut HeaderMap,
        context: &RequestContext,
        remaining: Duration,
    ) {
        let millis = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
        match self.shared.protocol {
            UpstreamProtocol::Http1 => {
                headers.insert(REQUEST_TIMEOUT, HeaderValue::from(millis));
            }
            UpstreamProtocol::Grpc => {
                if let Ok(value) = HeaderValue::from_str(&format!("{millis}m")) {
                    headers.insert(HeaderName::from_static("grpc-timeout"), value);
                }
            }
        }
        context.trace().inject(headers, context.span());
        headers.insert(X_REQUEST_ID, context.request_id().to_header());
        // Ours or none: what a client or a handler put there never gets to a service.
        match &self.shared.internal_tokens {
            Some(tokens) => match tokens.header(context.principal_for_upstreams()) {
                Some(token) => headers.insert(X_INTERNAL_TOKEN, token),
                None => headers.remove(X_INTERNAL_TOKEN),
            },
            None => headers.remove(X_INTERNAL_TOKEN),
        };
    }
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

/// A call under way. However it ends, it is noted in the request's context and in the metrics.
pub(crate) struct Attempt {
    pool: Pool,
    context: RequestContext,
    parent: SpanId,
    target: CallTarget,
    number: u8,
    began: Instant,
    answered: Option<Instant>,
    status: Option<u16>,
    outcome: Option<&'static str>,
}

impl Attempt {
    /// The context that the call is sent with.
    pub(crate) fn context(&self) -> &RequestContext {
        &self.context
    }

    /// The head of an answer came at `at`: with this HTTP status, or gRPC code.
    pub(crate) fn answered(&mut self, at: Instant, status: Option<u16>) {
        self.answered = Some(at);
        self.status = status;
    }

    /// Something that became known of the target only now.
    pub(crate) fn target(&mut self, target: CallTarget) {
        self.target = target;
    }

    /// The call came to an end of its own: `ok`, or the reason why not.
    pub(crate) fn finished(mut self, outcome: &'static str) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or("cancelled");
        let shared = &self.pool.shared;
        shared.metrics.observe(outcome, self.began.elapsed());
        self.context.record(CallNote {
            upstream: shared.name,
            endpoint: shared.endpoint.clone(),
            target: self.target.clone(),
            source: CallSource::Upstream,
            attempt: self.number,
            began: self.began,
            answered: self.answered,
            outcome,
            status: self.status,
            parent: self.parent,
        });
    }
}
