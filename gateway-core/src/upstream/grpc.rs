//! Calls to gRPC services through the same pools, deadlines and failure words as every other upstream.
//! The generated clients are a BFF's: they run over [`GrpcChannel`] with `with_origin`.

use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use tonic::{Code, Status};

use super::error::{UpstreamError, UpstreamErrorKind};
use super::pool::{CallKind, Pool};
use crate::context::RequestContext;
use crate::deadline::Deadline;
use crate::error::Refusal;

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
        let attempt = self.pool.begin(&context);
        let deadline = self.pool.attempt_deadline(&context, CallKind::Safe);
        let channel = GrpcChannel {
            pool: self.pool.clone(),
            context: context.clone(),
            deadline,
        };
        let origin = self.pool.uri(http::uri::PathAndQuery::from_static("/"));
        let result = match tokio::time::timeout_at(deadline.at(), call(channel, origin)).await {
            Err(_elapsed) => Err(self.pool.error(UpstreamErrorKind::Timeout)),
            Ok(Err(status)) => Err(self.classify(status)),
            Ok(Ok(answer)) => Ok(answer.into_inner()),
        };
        attempt.finished(result.as_ref().map_or_else(UpstreamError::reason, |_| "ok"));
        result
    }

    fn classify(&self, status: Status) -> UpstreamError {
        // A failure of our own transport travels inside the status; it says more than the status does.
        if let Some(kind) = transport_failure(&status) {
            return self.pool.error(kind).caused_by(status);
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
        self.pool.error(kind).caused_by(status)
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
        if error.is::<hyper::Error>() {
            return Some(UpstreamErrorKind::Reset);
        }
        next = error.source();
    }
    None
}

impl tower::Service<Request<tonic::body::Body>> for GrpcChannel {
    type Response = Response<Incoming>;
    type Error = UpstreamError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, UpstreamError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        // Readiness is the pool's business, inside the call: a channel is made for one call and never waits here.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            this.pool
                .send(request.map(Body::new), &this.context, this.deadline)
                .await
        })
    }
}

/// Keeps the compiler honest about what a generated client needs of a channel.
const _: fn() = || {
    fn generated_client_accepts<S: tonic::client::GrpcService<tonic::body::Body>>() {}
    generated_client_accepts::<GrpcChannel>();
};
