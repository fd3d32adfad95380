//! Calls to gRPC services through the same pools, deadlines and failure words as every other upstream.
//! The generated clients are a BFF's: they run over [`GrpcChannel`] with `with_origin`.

use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{LengthLimitError, Limited};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::error::{UpstreamError, UpstreamErrorKind};
use super::pool::{CallKind, Pool};
use crate::context::RequestContext;
use crate::deadline::Deadline;
use crate::error::Refusal;
use crate::waterfall::CallTarget;

/// A gRPC service. Cloning is cheap.
#[derive(Clone)]
pub struct GrpcUpstream {
    pool: Pool,
}

/// The transport of one call, for a generated client's `with_origin`.
#[derive(Clone)]
pub struct GrpcChannel {
    pool: Pool,
    context: RequestContext,
    deadline: Deadline,
    verdict: Verdict,
}

/// What is known of a call beside the generated client's answer.
#[derive(Clone, Default)]
struct Verdict(Arc<Known>);

#[derive(Default)]
struct Known {
    /// Whether the service itself has said that the call failed. Otherwise a failure was found here, by the code that reads
    /// the answer; it has the same codes.
    given: AtomicBool,
    method: OnceLock<PathAndQuery>,
    /// When the head of the answer was there.
    answered: OnceLock<Instant>,
}

impl Verdict {
    fn look(&self, headers: &HeaderMap) {
        let status = headers.get(Status::GRPC_STATUS);
        if status.is_some_and(|status| status != "0") {
            self.give();
        }
    }

    fn give(&self) {
        self.0.given.store(true, Ordering::Relaxed);
    }

    fn was_given(&self) -> bool {
        self.0.given.load(Ordering::Relaxed)
    }
}

impl GrpcUpstream {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
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
        let mut attempt = self.pool.begin(&context, CallTarget::Grpc { method: None });
        let deadline = self.pool.attempt_deadline(&context, CallKind::Safe);
        let channel = GrpcChannel {
            pool: self.pool.clone(),
            context: attempt.context().clone(),
            deadline,
            verdict: Verdict::default(),
        };
        let verdict = channel.verdict.clone();
        let origin = self.pool.uri(http::uri::PathAndQuery::from_static("/"));
        let answer = tokio::time::timeout_at(deadline.at(), call(channel, origin)).await;
        if let Some(at) = verdict.0.answered.get() {
            let code = match &answer {
                Err(_elapsed) => None,
                Ok(Err(status)) => u16::try_from(i32::from(status.code())).ok(),
                Ok(Ok(_)) => Some(0),
            };
            attempt.answered(*at, code);
        }
        let method = verdict.0.method.get().cloned();
        attempt.target(CallTarget::Grpc { method });
        let result = match answer {
            Err(_elapsed) => Err(self.pool.error(UpstreamErrorKind::Timeout)),
            Ok(Err(status)) => Err(self.classify(status, &verdict)),
            Ok(Ok(answer)) => Ok(answer.into_inner()),
        };
        attempt.finished(result.as_ref().map_or_else(UpstreamError::reason, |_| "ok"));
        result
    }

    fn classify(&self, status: Status, verdict: &Verdict) -> UpstreamError {
        // A failure of our own transport travels inside the status; it says more than the status does.
        if let Some(kind) = transport_failure(&status) {
            return self.pool.error(kind).caused_by(status);
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
                return self.pool.error(kind).caused_by(status);
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
        self.pool
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
        // Readiness is the pool's business, inside the call: a channel is made for one call and never waits here.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            // From a constant of the generated client: this copies no text.
            if let Some(method) = request.uri().path_and_query() {
                let _ = this.verdict.0.method.set(method.clone());
            }
            let response = this
                .pool
                .send(request.map(Body::new), &this.context, this.deadline)
                .await?;
            let _ = this.verdict.0.answered.set(Instant::now());
            this.verdict.look(response.headers());
            // What is not gRPC at all speaks by its HTTP status, for which there are codes.
            if response.status() != StatusCode::OK {
                this.verdict.give();
            }
            let limit = this.pool.max_response_bytes();
            Ok(response.map(|body| {
                Body::new(Heard {
                    body: Body::new(Limited::new(body, limit)),
                    verdict: this.verdict,
                })
            }))
        })
    }
}

/// An answer on its way; its trailers say how the call ended.
struct Heard {
    body: Body,
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
