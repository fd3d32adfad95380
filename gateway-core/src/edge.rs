//! **The** edge: what every request goes through before its route's action runs, and every answer on its way out.
//! One column each way, outermost first. A step's own rules are in `edge/*`; the action is `proxy.rs` or a BFF's handler.

mod accept;
mod access_log;
mod admission;
mod app_version;
mod body_limit;
mod client;
mod client_addr;
mod compression;
mod cors;
mod csrf;
mod deadline;
mod event_stream;
mod expectation;
mod head;
mod host;
mod identity_headers;
mod meter;
mod ownership;
mod path;
mod problems;
mod rate_limit;
mod response_headers;
mod security_headers;
mod slot;
mod vary;

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::UPGRADE;
use http::{HeaderMap, Method, Request};
use tokio::time::Instant;
use tower::{Service, ServiceExt};

pub(crate) use admission::{Admission, Permit};
pub(crate) use body_limit::BodyLimit;
pub(crate) use compression::Accepted;
pub(crate) use cors::Cors;
pub(crate) use csrf::Credential;
pub(crate) use identity_headers::is_reserved;
pub(crate) use meter::Metered;
#[cfg(feature = "bench")]
pub(crate) use rate_limit::RateLimitHeaders;
pub(crate) use rate_limit::{Counted, RateLimitStore, RateLimiter, RouteKey, RouteLimits};
pub(crate) use slot::EdgeSlot;

use crate::auth::{Authenticator, Principal, RevocationWatch, authorize};
use crate::context::{ContextParts, RequestContext, RequestId};
use crate::deadline::{Deadline, StreamEnd};
use crate::error::{ClientError, Error, GatewayError};
use crate::gateway::Shared;
use crate::proxy::{Admitted, Proxy};
use crate::route::{Action, Matched, NoMatch, Route};
use crate::session::{self, Session};
use crate::streams::HasPlace;
use crate::trace::TraceContext;
use crate::upstream::Upstreams;
use access_log::Observation;
use app_version::Verdict;
use client::Client;
use meter::Meter;

/// One worker's edge: what is shared by the process, and what is this worker's own.
pub(crate) struct Edge {
    shared: Arc<Shared>,
    /// The worker's number, from 0.
    worker: usize,
    authenticator: Authenticator,
    /// This worker's copy of what the process shares.
    revocations: Arc<RevocationWatch>,
    meter: Arc<Meter>,
    composed: ComposedService,
    proxy: Proxy,
    /// For answers to requests that have no route.
    cors: Option<Cors>,
}

/// A BFF's handlers.
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
        Self {
            cors: shared.config.cors.as_deref().map(Cors::new),
            revocations: Arc::new(shared.revocation_watch.clone()),
            meter: Arc::new(Meter::new(&shared)),
            shared,
            worker,
            authenticator,
            composed: ComposedService::new(composed),
            proxy,
        }
    }

    /// What its proxy calls.
    pub(crate) fn upstreams(&self) -> &Upstreams {
        self.proxy.upstreams()
    }

    /// What problem types begin with.
    pub(crate) fn problem_base(&self) -> &str {
        &self.shared.config.problem_base
    }

    /// Answers one request. It never fails: what goes wrong is an answer, too.
    pub(crate) async fn serve(&self, request: Box<Request<Body>>, peer: SocketAddr) -> Response {
        let arrival = Arrival {
            request_id: RequestId::from_headers(request.headers()),
            trace: TraceContext::from_headers(request.headers(), self.shared.sampling),
            peer,
            at: Instant::now(),
        };
        let is_head = request.method() == Method::HEAD;
        let config = &self.shared.config;
        let trusted = client_addr::is_trusted(peer.ip(), &config.server.trusted_proxies);
        let client = Client::of(request.headers(), config, trusted);
        let recommended = match app_version::judge(&config.app_version, request.headers()) {
            Verdict::Old(recommended) => Some(recommended.clone()),
            Verdict::Current | Verdict::Unsupported(_) => None,
        };
        let mut observation = Observation::begin(&self.shared, self.worker, &request, arrival);

        // A bug in a handler costs its own request a 500, never the connection's other requests.
        let answered = {
            let answering = pin!(self.answer(request, &client, &mut observation));
            AssertUnwindSafe(answering).catch_unwind().await
        };
        let response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => error.into_response(),
            Err(_panic) => {
                Error::from(GatewayError::Bug("a handler panicked".to_owned())).into_response()
            }
        };

        // The way out, innermost first.
        let route = observation.route.clone();
        let mut response = problems::render(response, &config.problem_base, &mut observation);
        let status = response.status();
        let headers = response.headers_mut();
        response_headers::set(headers, &observation);
        if let Some(recommended) = recommended {
            headers.insert(&app_version::RECOMMENDED, recommended);
        }
        // What a page of this or another origin may do with the answer, also with one that says what went wrong.
        security_headers::set(headers, status, client.secure, &config.security_headers);
        if let Some(cors) = self.cors(route.as_deref()) {
            cors.mark(headers, client.origin.as_ref());
        }
        // Its length is part of what it says.
        if !compression::is_off(route.is_none_or(|route| route.compression), &client) {
            response = compression::apply(response, &client, is_head, &config.compression);
        }
        if is_head {
            response = head::without_body(response);
        }
        observation.finish(response)
    }

    /// The way in. The order of the checks is part of the API: path, method, limits by address, credentials, where the
    /// request comes from, permission, limits by caller, size.
    async fn answer(
        &self,
        mut request: Box<Request<Body>>,
        client: &Client,
        observation: &mut Observation,
    ) -> Result<Response, Error> {
        // Nothing may be believed of a request whose target is ambiguous.
        let max_uri = self.shared.config.server.max_uri_bytes;
        let settled = host::settle(&mut request).and_then(|()| path::settle(&mut request, max_uri));
        let address = client_addr::find(
            request.headers(),
            observation.arrival().peer.ip(),
            &self.shared.config.server.trusted_proxies,
        );
        // Only we say who is calling and where a request came from.
        identity_headers::strip(request.headers_mut());

        let uri = request.uri().clone();
        let found = settled.and_then(|()| Ok(self.find(&request, uri.path())?));
        let (matched, is_preflight) = match found {
            Ok(found) => found,
            Err(error) => {
                Box::pin(self.count_unmatched(address, observation)).await?;
                return Err(error);
            }
        };
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
        observation.rate_limits.policy = route.limits.policy;
        let told = &mut observation.rate_limits;
        self.meter
            .limit(&route.limits.before, &counted, told)
            .await?;
        // A browser asks without credentials whether a script may ask with them.
        if let Some(cors) = route.cors.as_ref().filter(|_| is_preflight) {
            return Ok(cors.answer(client.origin.as_ref(), matched.methods()));
        }
        let session = if route.asks_who() {
            let (method, path, headers) = (request.method(), uri.path(), request.headers());
            let may_be_anybody = route.is_forwarded_for_anybody() && method.is_safe();
            let found = self.session(headers, path, client, deadline).await;
            match found {
                // A service that answers anybody answers whoever cannot be known now, too. A handler may need to know.
                Err(Error::Gateway(
                    GatewayError::SessionsUnavailable | GatewayError::IdentityProviderUnavailable,
                )) if may_be_anybody => None,
                found => found?,
            }
        } else {
            None
        };
        let principal = match &session {
            Some(session) => session.principal(),
            None if !route.asks_who() && route.open => Principal::Anonymous,
            None => {
                self.authenticator
                    .authenticate(request.headers(), deadline)
                    .await?
            }
        };
        observation.principal = Some(match &session {
            Some(_) => "session",
            None => principal.kind(),
        });
        // What a browser sends by itself is believed only when one of our own pages made it.
        if client.credential == Credential::Cookie {
            let own = csrf::Own {
                listed: &self.shared.config.csrf.origins,
                secure: client.secure,
            };
            csrf::check(route.csrf, request.method(), request.headers(), &own)?;
        }
        authorize(&route.access, &principal)?;
        // An app that is too old for what services have become; whoever it belongs to may not use it any more.
        app_version::judge(&self.shared.config.app_version, request.headers()).admit()?;
        let counted = Counted {
            principal: &principal,
            ..counted
        };
        let told = &mut observation.rate_limits;
        self.meter
            .limit(&route.limits.after, &counted, told)
            .await?;
        if let Some(policies) = &route.limits.plan {
            let counting = self.meter.count_in_plan(policies, &counted, told);
            let usage = Box::pin(counting).await?;
            request.extensions_mut().insert(usage);
        }
        asked?;
        let has_body = !http_body::Body::is_end_stream(request.body());
        expectation::check(request.headers(), request.version(), has_body)?;
        if expectation::is_last_hop(&mut request) {
            return Ok(expectation::options(matched.methods()));
        }
        // Before anything is done: a command whose answer cannot be taken is not carried out.
        if route.only_json {
            accept::check(request.headers())?;
        }
        let limit = BodyLimit(route.max_body_bytes);
        body_limit::apply(request.body_mut(), limit);
        if compression::is_off(route.compression, client) {
            compression::ask_for_none(request.headers_mut());
        }

        let streams = &self.shared.config.streams;
        let stream_end = StreamEnd::of(&principal, streams.lifetime);
        let context = RequestContext::new(
            ContextParts {
                request_id: observation.arrival().request_id.clone(),
                trace: observation.arrival().trace.clone(),
                principal,
                client_address: address,
                started,
                budget,
                revocations: Some(Arc::clone(&self.revocations)),
                metered: Some(Metered {
                    meter: Arc::clone(&self.meter),
                    route: RouteKey(route.name),
                }),
                permit: Some(permit.clone()),
            },
            &self.shared.config.deadline,
        );
        observation.context = Some(context.clone());
        // Pinned where it is: it is large, and would be moved with every step that wraps it.
        let action = pin!(async {
            match &route.action {
                Action::Proxy(rule) => {
                    let admitted = Admitted {
                        request,
                        context: &context,
                        over_tls: client.secure,
                        limit,
                    };
                    self.proxy
                        .forward(rule, &matched.parameters, admitted)
                        .await
                }
                Action::Composed => self.compose(*request, limit, &context).await,
            }
        });
        let mut response = deadline::cut(deadline.at(), action).await??;
        if route.asks_who() && !route.action.is_for_everybody() {
            let by_more = session.is_some() || matches!(context.caller(), Principal::ApiKey(_));
            ownership::mark(response.headers_mut(), by_more);
        }
        let drain = &self.shared.lifecycle.close_connections;
        let response = if event_stream::is_one(&response) {
            observation.is_stream = true;
            let revoked = context.until_revoked();
            event_stream::bound(response, streams.idle, stream_end, drain, revoked)
        } else {
            response
        };
        if response.extensions().get::<HasPlace>().is_some() {
            // It waits for something to happen, is counted as a stream, and takes no place from those who work.
            context.give_place_back();
            return Ok(response);
        }
        Ok(permit.held_by(response))
    }

    /// The session that authenticates the request. With other credentials its cookie is not looked at; and the routes of
    /// sessions look themselves, so that signing out does not wait for new tokens.
    async fn session(
        &self,
        headers: &HeaderMap,
        path: &str,
        client: &Client,
        deadline: Deadline,
    ) -> Result<Option<Arc<Session>>, Error> {
        match (&self.shared.sessions, client.credential) {
            (Some(sessions), Credential::Cookie) if !session::is_own(path) => {
                Box::pin(sessions.find(headers, deadline)).await
            }
            _ => Ok(None),
        }
    }

    /// The request's route; for a preflight that of the request that a script wants to send.
    fn find<'path>(
        &self,
        request: &Request<Body>,
        path: &'path str,
    ) -> Result<(Matched<'_, 'path>, bool), ClientError> {
        let table = &self.shared.table;
        if let Some(wanted) = cors::preflight(request.method(), request.headers())
            && let Ok(matched) = table.find(&wanted, path)
            && matched.route.cors.is_some()
        {
            path::is_one_route(table, &wanted, path, &matched)?;
            return Ok((matched, true));
        }
        match table.find(request.method(), path) {
            Ok(matched) => {
                path::is_one_route(table, request.method(), path, &matched)?;
                Ok((matched, false))
            }
            Err(NoMatch::Path) => Err(ClientError::NotFound),
            Err(NoMatch::Method { allow }) => Err(ClientError::MethodNotAllowed { allow }),
        }
    }

    /// Who else may read an answer: as its route says, or all.
    fn cors<'a>(&'a self, route: Option<&'a Route>) -> Option<&'a Cors> {
        match route {
            Some(route) => route.cors.as_ref(),
            None => self.cors.as_ref(),
        }
    }

    /// Counts a request that is no route's: who looks around is not faster than who knows the way.
    async fn count_unmatched(
        &self,
        address: IpAddr,
        observation: &mut Observation,
    ) -> Result<(), Error> {
        let limits = self.shared.table.unmatched();
        let budget = self.shared.config.deadline.default;
        let counted = Counted {
            route: RouteKey("(none)"),
            cost: limits.cost,
            principal: &Principal::Anonymous,
            address,
            deadline: Deadline::from_instant(observation.arrival().at + budget),
        };
        observation.rate_limits.policy = limits.policy;
        let told = &mut observation.rate_limits;
        self.meter.limit(&limits.before, &counted, told).await
    }

    /// Calls a BFF's handler, which finds with the request what the edge knows of it.
    async fn compose(
        &self,
        request: Request<Body>,
        limit: BodyLimit,
        context: &RequestContext,
    ) -> Result<Response, Error> {
        let mut request = head::as_get(request);
        let upgrades = request.headers().contains_key(UPGRADE);
        let extensions = request.extensions_mut();
        extensions.insert(limit);
        extensions.insert(context.clone());
        if upgrades {
            extensions.insert(self.proxy.tunnels().clone());
        }
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
