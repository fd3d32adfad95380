//! What the micro-benchmarks in `benches/` need of this crate's inside, each step by itself and without sockets. It is no
//! part of the public API, and no build has it that does not ask for the feature `bench`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auth::{Authenticator, Principal};
use crate::cache::{DependsOn, Forward, Question};
use crate::config::{CacheRule, Config, RouteCache, StaleWindows};
use crate::context::{ContextParts, RequestContext, RequestId};
use crate::deadline::Deadline;
use crate::edge::{Counted, RateLimitHeaders, RouteKey};
use crate::error::Error;
use crate::gateway::{App, Gateway, Shared, StartError};
use crate::trace::TraceContext;

const BUDGET: Duration = Duration::from_secs(3);
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A gateway that is put together and not started.
pub struct Workbench {
    shared: Arc<Shared>,
    authenticator: Authenticator,
}

impl Workbench {
    /// # Errors
    /// All faults of the configuration at once.
    pub fn new(app: App, config: Config) -> Result<Self, StartError> {
        let shared = Gateway::new(app, config)?.shared();
        let authenticator = Authenticator::new(Arc::clone(&shared.keys));
        Ok(Self {
            shared,
            authenticator,
        })
    }

    /// Fetches the issuers' keys on the runtime that this is called on.
    pub async fn fetch_keys(&self) {
        let keys = &self.shared.keys;
        keys.spawn_refresh(&Handle::current(), &CancellationToken::new());
        keys.settled().await;
    }

    /// Whether there is a route.
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> bool {
        self.shared.table.find(method, path).is_ok()
    }

    /// Who sends these headers.
    ///
    /// # Errors
    /// Those of the authenticator.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, Error> {
        let deadline = Deadline::from_instant(Instant::now() + BUDGET);
        self.authenticator.authenticate(headers, deadline).await
    }

    /// Forgets which tokens have been verified.
    pub fn forget_tokens(&mut self) {
        self.authenticator = Authenticator::new(Arc::clone(&self.shared.keys));
    }

    /// Whether all limits of the route at `path` grant a request of `principal`.
    pub async fn limit(&self, path: &str, principal: &Principal) -> bool {
        let Ok(matched) = self.shared.table.find(&Method::GET, path) else {
            return false;
        };
        let limits = &matched.route.limits;
        let counted = Counted {
            route: RouteKey(matched.route.name),
            cost: limits.cost,
            principal,
            address: CLIENT,
            deadline: Deadline::from_instant(Instant::now() + BUDGET),
        };
        let limiter = &self.shared.limiter;
        let mut told = RateLimitHeaders::default();
        let before = limiter.check(&limits.before, &counted, &mut told).await;
        before.is_ok()
            && limiter
                .check(&limits.after, &counted, &mut told)
                .await
                .is_ok()
    }

    /// The answer for `target` from the response cache, which is filled with `body` when it has none. Returns its length.
    ///
    /// # Errors
    /// Those of the cache.
    pub async fn cached(&self, target: &str, body: &'static str) -> Result<usize, Error> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = target.parse().unwrap_or_default();
        let depends_on = DependsOn {
            tags: Arc::new([]),
            commands: self.shared.reads.commands_to("service"),
        };
        let deadline = Deadline::from_instant(Instant::now() + BUDGET);
        let question = Question {
            rule: CacheRule {
                share: RouteCache::Shared,
                stale: StaleWindows::default(),
            },
            upstream: "service",
            principal: &Principal::Anonymous,
            authorized: true,
            depends_on,
            deadline,
            deadline_with_spare: deadline,
        };
        let service = Arc::new(Service(body));
        let cache = &self.shared.cache;
        let response = cache.serve(&question, request, &service).await?;
        let whole = response.into_body().collect().await;
        Ok(whole.map_or(0, |whole| whole.to_bytes().len()))
    }

    /// The parts of a request to a handler, as the edge makes them.
    #[must_use]
    pub fn parts(&self, principal: Principal) -> Parts {
        let (mut parts, ()) = Request::new(()).into_parts();
        let context = RequestContext::new(
            ContextParts {
                request_id: RequestId::from_headers(&parts.headers),
                trace: TraceContext::from_headers(&parts.headers, self.shared.sampling),
                principal,
                client_address: CLIENT,
                started: Instant::now(),
                budget: BUDGET,
                revocations: None,
                metered: None,
                permit: None,
            },
            &self.shared.config.deadline,
        );
        parts.extensions.insert(context);
        parts
    }
}

/// A service that has one body.
struct Service(&'static str);

impl Forward for Service {
    async fn forward(&self, _request: Request<Body>, _: bool) -> Result<Response<Body>, Error> {
        let mut response = Response::new(Body::from(self.0));
        let lifetime = HeaderValue::from_static("public, max-age=3600");
        response.headers_mut().insert(CACHE_CONTROL, lifetime);
        Ok(response)
    }
}
