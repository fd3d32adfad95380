//! Passthrough: a request goes to one upstream and its answer comes back, both as streams, never buffered.
//! What may cross is `proxy/headers.rs`; which route goes where is data (`route.rs`).

mod failure;
mod headers;
mod upload;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{Request, uri};
use hyper::body::Incoming;
use matchit::Params;
use tokio::time::Instant;

use crate::auth::Principal;
use crate::cache::ResponseCache;
use crate::config::RouteCache;
use crate::context::RequestContext;
use crate::edge::BodyLimit;
use crate::error::{Error, GatewayError};
use crate::route::ProxyRule;
use crate::upstream::{Attempt, CallKind, Pool, UpstreamError, Upstreams};
use crate::waterfall::CallTarget;
use upload::Upload;

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
        let limit = request.extensions().get::<BodyLimit>().copied();
        if let Some(limit) = limit {
            limit.check_announced(request.headers())?;
        }
        let everybody;
        let context = match rule.cache {
            RouteCache::Shared => {
                everybody = context.for_everybody();
                &everybody
            }
            RouteCache::Off | RouteCache::Private => context,
        };
        let (request, upload) = outgoing(rule, parameters, request, context, pool)?;
        let identity = identity(rule.cache, context.principal());
        let response = self
            .cache
            .serve(
                rule.cache,
                pool.name(),
                request,
                identity.as_deref(),
                |request| async move {
                    match exchange(pool, request, rule.template, context, &upload).await {
                        Ok(response) => Ok(response),
                        Err(error) => Err(failure::at_fault(error, &upload, limit)),
                    }
                },
            )
            .await?;
        // Behind the cache, which has rules of its own for answers that are errors.
        Ok(failure::in_our_form(pool, response, context).await)
    }
}

/// Whose answer it is, for the cache's key.
fn identity(rule: RouteCache, principal: &Principal) -> Option<String> {
    match rule {
        RouteCache::Off | RouteCache::Shared => None,
        // All that the service is told of the caller: it may answer less to a token with fewer scopes.
        RouteCache::Private => match principal {
            Principal::Anonymous => None,
            // The same subject of two issuers is two people.
            Principal::Token(token) => Some(format!(
                "token {} {} {:?} {:?} {:?}",
                token.issuer, token.subject, token.scopes, token.roles, token.attributes
            )),
            Principal::ApiKey(key) => Some(format!(
                "key {} {:?} {:?}",
                key.owner, key.scopes, key.attributes
            )),
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
) -> Result<(Request<Body>, Upload), Error> {
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
    headers::prepare_request(&mut parts.headers, context);
    parts.uri = pool.uri(target);
    parts.extensions = http::Extensions::new();
    let (body, upload) = Upload::watch(body);
    Ok((Request::from_parts(parts, body), upload))
}

/// The call itself: the deadline ends with the response head, the body streams.
async fn exchange(
    pool: &Pool,
    request: Request<Body>,
    template: &'static str,
    context: &RequestContext,
    upload: &Upload,
) -> Result<Response, UpstreamError> {
    let kind = CallKind::of(request.method());
    let target = CallTarget::Http {
        method: request.method().clone(),
        template: Some(template),
    };
    let attempt = pool.begin(context, target);
    let call = send(pool.clone(), request, attempt, upload.clone(), kind);
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
    mut attempt: Attempt,
    upload: Upload,
    kind: CallKind,
) -> Result<http::Response<Incoming>, UpstreamError> {
    let deadline = pool.attempt_deadline(attempt.context(), kind);
    let result = pool.send(request, attempt.context(), deadline).await;
    if let Ok(response) = &result {
        attempt.answered(Instant::now(), Some(response.status().as_u16()));
    }
    attempt.finished(failure::outcome(&result, &upload));
    result
}
