//! Passthrough: a request goes to one upstream and its answer comes back, both as streams, never buffered.
//! What may cross is `proxy/headers.rs`; which route goes where is data (`route.rs`).

mod headers;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{Request, uri};
use hyper::body::Incoming;
use matchit::Params;

use crate::auth::Principal;
use crate::cache::ResponseCache;
use crate::config::RouteCache;
use crate::context::RequestContext;
use crate::error::{Error, GatewayError};
use crate::route::ProxyRule;
use crate::upstream::{CallKind, Pool, UpstreamError, Upstreams};

/// One worker's proxy.
pub(crate) struct Proxy {
    upstreams: Upstreams,
    cache: Arc<ResponseCache>,
}

impl Proxy {
    pub(crate) fn new(upstreams: Upstreams, cache: Arc<ResponseCache>) -> Self {
        Self { upstreams, cache }
    }

    /// Forwards `request` as `rule` says, through the response cache when the route has one.
    pub(crate) async fn forward(
        &self,
        rule: &ProxyRule,
        parameters: &Params<'_, '_>,
        request: Request<Body>,
        context: &RequestContext,
    ) -> Result<Response, Error> {
        // The table refuses routes to upstreams that do not exist.
        let pool = self
            .upstreams
            .pool(rule.upstream)
            .ok_or_else(|| GatewayError::Bug(format!("no upstream {}", rule.upstream)))?;
        let request = outgoing(rule, parameters, request, context, pool)?;
        let identity = identity(rule.cache, context.principal());
        self.cache
            .serve(
                rule.cache,
                pool.name(),
                request,
                identity.as_deref(),
                |request| exchange(pool, request, context),
            )
            .await
    }
}

/// Whose answer it is, for the cache's key.
fn identity(rule: RouteCache, principal: &Principal) -> Option<String> {
    match rule {
        RouteCache::Shared => None,
        RouteCache::Off | RouteCache::Private => match principal {
            Principal::Anonymous => None,
            // The same subject of two issuers is two people.
            Principal::Token(token) => Some(format!("token {} {}", token.issuer, token.subject)),
            Principal::ApiKey(key) => Some(format!("key {}", key.owner)),
        },
    }
}

/// The request as it is sent upstream.
fn outgoing(
    rule: &ProxyRule,
    parameters: &Params<'_, '_>,
    request: Request<Body>,
    context: &RequestContext,
    pool: &Pool,
) -> Result<Request<Body>, Error> {
    let (mut parts, body) = request.into_parts();
    let path = match &rule.rewrite {
        Some(rewrite) => rewrite.apply(parameters),
        None => parts.uri.path().to_owned(),
    };
    let target = match parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let target = uri::PathAndQuery::try_from(target)
        .map_err(|e| GatewayError::Bug(format!("rewrite: {e}")))?;
    headers::prepare_request(&mut parts.headers, &parts.uri, context);
    parts.uri = pool.uri(target);
    parts.extensions = http::Extensions::new();
    Ok(Request::from_parts(parts, body))
}

/// The call itself: the deadline ends with the response head, the body streams.
async fn exchange(
    pool: &Pool,
    request: Request<Body>,
    context: &RequestContext,
) -> Result<Response, Error> {
    let kind = CallKind::of(request.method());
    let call = send(pool.clone(), request, context.clone(), kind);
    let mut response = match kind {
        CallKind::Safe => call.await,
        CallKind::Command => pool.to_its_end(call).await,
    }?
    .map(Body::new);
    headers::prepare_response(response.headers_mut());
    Ok(response)
}

async fn send(
    pool: Pool,
    request: Request<Body>,
    context: RequestContext,
    kind: CallKind,
) -> Result<http::Response<Incoming>, UpstreamError> {
    let attempt = pool.begin(&context);
    let deadline = pool.attempt_deadline(&context, kind);
    let result = pool.send(request, &context, deadline).await;
    attempt.finished(result.as_ref().map_or_else(UpstreamError::reason, |_| "ok"));
    result
}
