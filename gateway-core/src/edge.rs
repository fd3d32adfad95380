//! **The** edge: what every request goes through before its route's action runs, and every answer on its way out.
//! One column each way, outermost first. A step's own rules are in `edge/*`; the action is `proxy.rs` or a BFF's handler.

mod access_log;
mod admission;
mod body_limit;
mod client_addr;
mod deadline;
mod head;
mod host;
mod identity_headers;
mod path;
mod problems;
mod rate_limit;
mod response_headers;
mod slot;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request};
use tokio::time::{Instant, timeout_at};
use tower::{Service, ServiceExt};
use tower_http::compression::CompressionLayer;

pub(crate) use admission::{Admission, Permit};
pub(crate) use body_limit::BodyLimit;
pub(crate) use rate_limit::{RateLimitStore, RateLimiter, RouteLimits};
pub(crate) use slot::EdgeSlot;

use crate::auth::{Authenticator, Principal, authorize};
use crate::context::{ContextParts, RequestContext, RequestId};
use crate::deadline::Deadline;
use crate::error::{ClientError, Error, GatewayError};
use crate::gateway::Shared;
use crate::proxy::Proxy;
use crate::route::{Action, NoMatch};
use crate::trace::TraceContext;
use access_log::Observation;
use rate_limit::{Counted, LimitId, RateLimitHeaders, RouteKey};

/// How long after the deadline an action is cut that did not keep to it. Short enough for a 504 within 50 ms.
const BACKSTOP: Duration = Duration::from_millis(20);

/// One worker's edge: what is shared by the process, and what is this worker's own.
pub(crate) struct Edge {
    shared: Arc<Shared>,
    /// The worker's number, from 0.
    worker: usize,
    authenticator: Authenticator,
    composed: ComposedService,
    proxy: Proxy,
}

/// A BFF's handlers, with their answers compressed when the client likes that.
type ComposedService =
    tower::util::BoxCloneSyncService<Request<Body>, Response, std::convert::Infallible>;

/// What is known of a request from its first byte on.
struct Arrival {
    request_id: RequestId,
    trace: TraceContext,
    peer: SocketAddr,
    at: Instant,
}

impl Edge {
    pub(crate) fn new(
        shared: Arc<Shared>,
        worker: usize,
        authenticator: Authenticator,
        composed: Router,
        proxy: Proxy,
    ) -> Self {
        let composed = tower::ServiceBuilder::new()
            .map_response(|response: http::Response<_>| response.map(Body::new))
            .layer(CompressionLayer::new())
            .service(composed);
        Self {
            shared,
            worker,
            authenticator,
            composed: ComposedService::new(composed),
            proxy,
        }
    }

    /// What problem types begin with.
    pub(crate) fn problem_base(&self) -> &str {
        &self.shared.config.problem_base
    }

    /// Answers one request. It never fails: what goes wrong is an answer, too.
    pub(crate) async fn serve<B>(&self, request: Request<B>, peer: SocketAddr) -> Response
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let arrival = Arrival {
            request_id: RequestId::from_headers(request.headers()),
            trace: TraceContext::from_headers(request.headers(), self.shared.sampling),
            peer,
            at: Instant::now(),
        };
        let is_head = request.method() == Method::HEAD;
        let mut observation = Observation::begin(&self.shared, self.worker, &request, arrival);

        // A bug in a handler costs its own request a 500, never the connection's other requests.
        let answered = AssertUnwindSafe(self.answer(request.map(Body::new), &mut observation))
            .catch_unwind()
            .await;
        let response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => error.into_response(),
            Err(_panic) => {
                Error::from(GatewayError::Bug("a handler panicked".to_owned())).into_response()
            }
        };

        // The way out, innermost first.
        let base = &self.shared.config.problem_base;
        let mut response = problems::render(response, base, &mut observation);
        response_headers::set(response.headers_mut(), &observation);
        if is_head {
            response = head::without_body(response);
        }
        observation.finish(response)
    }

    /// The way in. The order of the checks is part of the API: path, method, limits by address, credentials, permission,
    /// limits by caller, size.
    async fn answer(
        &self,
        mut request: Request<Body>,
        observation: &mut Observation,
    ) -> Result<Response, Error> {
        // Nothing may be believed of a request whose target is ambiguous.
        host::settle(&mut request)?;
        path::check(request.uri(), self.shared.config.server.max_uri_bytes)?;
        let address = client_addr::find(
            request.headers(),
            observation.arrival().peer.ip(),
            &self.shared.config.server.trusted_proxies,
        );
        // Only we say who is calling and where a request came from.
        identity_headers::strip(request.headers_mut());

        let uri = request.uri().clone();
        let matched = self
            .shared
            .table
            .find(request.method(), uri.path())
            .map_err(|miss| match miss {
                NoMatch::Path => ClientError::NotFound,
                NoMatch::Method { allow } => ClientError::MethodNotAllowed { allow },
            })?;
        let route = matched.route;
        observation.route = Some(Arc::clone(route));

        // Before any work is done for it: a gateway at its limit says so at once.
        let permit = self.shared.admission.admit().await?;
        // A bad wish is told when it is clear that the caller may wish anything.
        let asked = deadline::budget(request.headers(), route.deadline);
        let budget = *asked.as_ref().unwrap_or(&route.deadline);
        let started = observation.arrival().at;
        let deadline = Deadline::from_instant(started + budget);

        let counted = Counted {
            route: RouteKey(route.name),
            cost: route.limits.cost,
            principal: &Principal::Anonymous,
            address,
            deadline,
        };
        // Before anything is verified: who guesses credentials uses up the address's limit, too.
        self.limit(&route.limits.before, &counted, observation)
            .await?;
        let principal = self
            .authenticator
            .authenticate(request.headers(), deadline)
            .await?;
        observation.principal = Some(principal.kind());
        authorize(&route.access, &principal)?;
        let counted = Counted {
            principal: &principal,
            ..counted
        };
        self.limit(&route.limits.after, &counted, observation)
            .await?;
        asked?;
        let mut request = body_limit::apply(request, route.max_body_bytes);

        let context = RequestContext::new(
            ContextParts {
                request_id: observation.arrival().request_id.clone(),
                trace: observation.arrival().trace.clone(),
                principal,
                client_address: address,
                started,
                budget,
                permit: Some(permit.clone()),
            },
            &self.shared.config.deadline,
        );
        observation.context = Some(context.clone());
        request.extensions_mut().insert(context.clone());

        let action = async {
            match &route.action {
                Action::Proxy(rule) => {
                    self.proxy
                        .forward(rule, &matched.parameters, request, &context)
                        .await
                }
                Action::Composed => self.compose(head::as_get(request)).await,
            }
        };
        // Handlers and the proxy keep to the deadline by themselves, and know better what was late; this is for one that
        // does not.
        let response = timeout_at(deadline.at() + BACKSTOP, action)
            .await
            .map_err(|_elapsed| GatewayError::DeadlineExceeded)??;
        Ok(permit.held_by(response))
    }

    /// Counts the request against `limits`; what they say goes into the answer's headers, whatever becomes of it.
    async fn limit(
        &self,
        limits: &[LimitId],
        request: &Counted<'_>,
        observation: &mut Observation,
    ) -> Result<(), Error> {
        if limits.is_empty() {
            return Ok(());
        }
        let (headers, outcome) = match self.shared.limiter.check(limits, request).await {
            Ok(headers) => (headers, Ok(())),
            Err(denied) => (
                denied.headers,
                Err(ClientError::RateLimited {
                    retry_after: denied.retry_after,
                }),
            ),
        };
        observation.rate_limits = std::mem::take(&mut observation.rate_limits).merge(headers);
        Ok(outcome?)
    }

    async fn compose(&self, request: Request<Body>) -> Result<Response, Error> {
        let mut service = self.composed.clone();
        match service.ready().await {
            Ok(service) => match service.call(request).await {
                Ok(response) => Ok(response),
                Err(never) => match never {},
            },
            Err(never) => match never {},
        }
    }
}
