//! Calls to gRPC services down the same column, with the same failure words, as those to every other upstream.
//! The generated clients are a BFF's: they run over [`GrpcChannel`] with `with_origin`.

use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{LengthLimitError, Limited};
use tokio::sync::Mutex;
use tokio::time::Sleep;
use tonic::{Code, Status};

use super::attempt::Attempt;
use super::error::{UpstreamError, UpstreamErrorKind};
use super::outgoing::Outgoing;
use super::stack::{CallKind, Judged, Stack};
use crate::context::RequestContext;
use crate::error::Refusal;
use crate::waterfall::CallTarget;

/// The longest request that is kept so that it can be sent again, in bytes.
const MAX_REPLAY: usize = 64 << 10;

/// A gRPC service. Cloning is cheap.
#[derive(Clone)]
pub struct GrpcUpstream {
    stack: Stack,
}

/// The transport of one call, for a generated client's `with_origin`.
#[derive(Clone)]
pub struct GrpcChannel {
    stack: Stack,
    /// Only this call takes it: nobody waits.
    attempt: Arc<Mutex<Attempt>>,
    verdict: Verdict,
}

/// Whether the service itself has said that the call failed. Otherwise a failure was found here, by the code that reads the
/// answer; it has the same codes.
#[derive(Clone, Default)]
struct Verdict(Arc<AtomicBool>);

impl Verdict {
    fn look(&self, headers: &HeaderMap) {
        let status = headers.get(Status::GRPC_STATUS);
        if status.is_some_and(|status| status != "0") {
            self.give();
        }
    }

    fn give(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn was_given(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl GrpcUpstream {
    pub(super) fn new(stack: Stack) -> Self {
        Self { stack }
    }

    /// Makes one unary call that only reads: `call` gets a channel and the service's origin, and gives the generated client's answer.
    ///
    /// # Errors
    /// The classified failure; a gRPC status becomes the HTTP status that stands for it.
    pub async fn unary<T, F, Fut>(
        &self,
        context: RequestContext,
        call: F,
    ) -> Result<T, UpstreamError>
    where
        F: FnOnce(GrpcChannel, Uri) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        // Boxed: a composition holds the futures of all its parts, and moves them.
        Box::pin(self.ask(context, call)).await
    }

    async fn ask<T, F, Fut>(&self, context: RequestContext, call: F) -> Result<T, UpstreamError>
    where
        F: FnOnce(GrpcChannel, Uri) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        context.note_lifetime(Duration::ZERO);
        let attempt = self
            .stack
            .begin(&context, CallTarget::Grpc { method: None });
        let channel = GrpcChannel {
            stack: self.stack.clone(),
            attempt: Arc::new(Mutex::new(attempt)),
            verdict: Verdict::default(),
        };
        let verdict = channel.verdict.clone();
        let attempt = Arc::clone(&channel.attempt);
        let origin = self.stack.uri(http::uri::PathAndQuery::from_static("/"));
        let deadline = context.deadline();
        let answer = tokio::time::timeout_at(deadline.at(), call(channel, origin)).await;
        let mut attempt = attempt.lock().await;
        attempt.coded(match &answer {
            Err(_elapsed) => None,
            Ok(Err(status)) => u16::try_from(i32::from(status.code())).ok(),
            Ok(Ok(_)) => Some(0),
        });
        let result = match answer {
            Err(_elapsed) => Err(self.stack.error(UpstreamErrorKind::Timeout)),
            Ok(Err(status)) => Err(self.classify(status, &verdict)),
            Ok(Ok(answer)) => Ok(answer.into_inner()),
        };
        let outcome = result
            .as_ref()
            .map_or_else(UpstreamError::outcome, |_| "ok");
        attempt.finish(outcome);
        result
    }

    fn classify(&self, status: Status, verdict: &Verdict) -> UpstreamError {
        // A failure of our own transport travels inside the status; it says more than the status does.
        if let Some(kind) = transport_failure(&status) {
            return self.stack.error(kind).caused_by(status);
        }
        if !verdict.was_given() {
            let kind = match status.code() {
                Code::OutOfRange | Code::ResourceExhausted => Some(UpstreamErrorKind::TooLarge),
                Code::Internal | Code::Unknown | Code::DataLoss | Code::Unimplemented => {
                    Some(UpstreamErrorKind::Undecodable)
                }
                _ => None,
            };
            if let Some(kind) = kind {
                return self.stack.error(kind).caused_by(status);
            }
        }
        let kind = match status.code() {
            Code::DeadlineExceeded | Code::Cancelled => UpstreamErrorKind::Timeout,
            Code::NotFound => refused(StatusCode::NOT_FOUND, &status),
            Code::InvalidArgument | Code::OutOfRange => refused(StatusCode::BAD_REQUEST, &status),
            Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => {
                refused(StatusCode::CONFLICT, &status)
            }
            Code::PermissionDenied => refused(StatusCode::FORBIDDEN, &status),
            Code::Unauthenticated => refused(StatusCode::UNAUTHORIZED, &status),
            Code::ResourceExhausted => refused(StatusCode::TOO_MANY_REQUESTS, &status),
            Code::Unavailable => refused(StatusCode::SERVICE_UNAVAILABLE, &status),
            Code::Unimplemented => refused(StatusCode::NOT_IMPLEMENTED, &status),
            Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => {
                refused(StatusCode::INTERNAL_SERVER_ERROR, &status)
            }
        };
        // Not its message: that may say what was asked for, and by whom.
        self.stack
            .error(kind)
            .caused_by(format!("gRPC code {:?}", status.code()))
    }
}

fn refused(status: StatusCode, grpc: &Status) -> UpstreamErrorKind {
    let detail = status.is_client_error().then(|| grpc.message().to_owned());
    UpstreamErrorKind::Status(Refusal {
        status,
        slug: None,
        detail,
        errors: Vec::new(),
    })
}

fn transport_failure(status: &Status) -> Option<UpstreamErrorKind> {
    let mut next = status.source();
    while let Some(error) = next {
        if let Some(upstream) = error.downcast_ref::<UpstreamError>() {
            return Some(upstream.kind.clone());
        }
        if error.is::<LengthLimitError>() {
            return Some(UpstreamErrorKind::TooLarge);
        }
        if error.is::<hyper::Error>() {
            return Some(UpstreamErrorKind::Reset);
        }
        next = error.source();
    }
    None
}

impl tower::Service<Request<tonic::body::Body>> for GrpcChannel {
    type Response = Response<Body>;
    type Error = UpstreamError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, UpstreamError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        // Readiness is the column's business, inside the call: a channel is made for one call and never waits here.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            // A message that was made here: small ones are kept, so that a failed attempt can be followed by another.
            let body = Outgoing::gather(Body::new(body), MAX_REPLAY)
                .await
                .map_err(|error| {
                    this.stack
                        .error(UpstreamErrorKind::Undecodable)
                        .caused_by(error)
                })?;
            let request = Request::from_parts(parts, body);
            let mut attempt = this.attempt.lock().await;
            // From a constant of the generated client: this copies no text.
            let method = request.uri().path_and_query().cloned();
            attempt.target(CallTarget::Grpc { method });
            let response = this
                .stack
                .send(
                    Box::new(request),
                    &mut attempt,
                    CallKind::Safe,
                    Judged::AtEnd,
                )
                .await?;
            drop(attempt);
            this.verdict.look(response.headers());
            // What is not gRPC at all speaks by its HTTP status, for which there are codes.
            if response.status() != StatusCode::OK {
                this.verdict.give();
            }
            let limit = this.stack.max_response_bytes();
            Ok(response.map(|body| {
                let deadline = body.deadline();
                Body::new(Heard {
                    late: Box::pin(tokio::time::sleep_until(deadline.at())),
                    body: Body::new(Limited::new(body, limit)),
                    stack: this.stack,
                    verdict: this.verdict,
                })
            }))
        })
    }
}

/// An answer on its way, within the time of its attempt; its trailers say how the call ended.
struct Heard {
    body: Body,
    late: Pin<Box<Sleep>>,
    stack: Stack,
    verdict: Verdict,
}

impl HttpBody for Heard {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            self.verdict.look(trailers);
        }
        if polled.is_pending() && self.late.as_mut().poll(cx).is_ready() {
            let late = self.stack.error(UpstreamErrorKind::Timeout);
            return Poll::Ready(Some(Err(axum::Error::new(late))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Keeps the compiler honest about what a generated client needs of a channel.
const _: fn() = || {
    fn generated_client_accepts<S: tonic::client::GrpcService<tonic::body::Body>>() {}
    generated_client_accepts::<GrpcChannel>();
};
