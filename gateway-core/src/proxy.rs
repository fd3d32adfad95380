//! Passthrough: a request goes to one upstream and its answer comes back, both as streams, never buffered.
//! What may cross is `proxy/headers.rs`; which route goes where is data (`route.rs`).

mod expect;
mod failure;
mod headers;
mod tunnel;
mod upgrade;
mod upload;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::header::TE;
use http::{Request, uri};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use matchit::Params;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Principal;
use crate::cache::ResponseCache;
use crate::config::{RouteCache, StreamConfig};
use crate::context::RequestContext;
use crate::deadline::StreamEnd;
use crate::edge::BodyLimit;
use crate::error::{Error, GatewayError};
use crate::route::ProxyRule;
use crate::upstream::{
    Answer, Attempt, CallKind, Judged, Outgoing, Stack, UpstreamError, UpstreamErrorKind, Upstreams,
};
use crate::waterfall::CallTarget;
use upload::Upload;

/// One worker's proxy.
pub(crate) struct Proxy {
    upstreams: Upstreams,
    cache: Arc<ResponseCache>,
    tunnels: Tunnels,
}

/// What open WebSockets are bounded and counted by.
pub(crate) struct Tunnels {
    pub(crate) config: StreamConfig,
    /// Waited for at the end of the process, within its grace.
    pub(crate) running: TaskTracker,
    /// Fires when connections have to end.
    pub(crate) drain: CancellationToken,
}

/// Whether a request came over TLS, as far as we or a trusted proxy can say; the edge leaves it with the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OverTls(pub(crate) bool);

impl Proxy {
    pub(crate) fn new(upstreams: Upstreams, cache: Arc<ResponseCache>, tunnels: Tunnels) -> Self {
        Self {
            upstreams,
            cache,
            tunnels,
        }
    }

    pub(crate) fn upstreams(&self) -> &Upstreams {
        &self.upstreams
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
        let stack = self
            .upstreams
            .stack(rule.upstream)
            .ok_or_else(|| GatewayError::Bug(format!("no upstream {}", rule.upstream)))?;
        if rule.websocket && upgrade::asks(&request) {
            return self.open(stack, rule, parameters, request, context).await;
        }
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
        let (request, upload) = outgoing(rule, parameters, request, context, stack)?;
        let identity = identity(rule.cache, context.principal());
        let way = Way {
            cache: Arc::clone(&self.cache),
            rule: rule.cache,
            template: rule.template,
            stack: stack.clone(),
            context: context.clone(),
            limit,
        };
        let response = match CallKind::of(request.method()) {
            CallKind::Safe => way.go(request, identity.as_deref(), &upload).await,
            // With what its end means for the cache: that does not hang on its client, either.
            CallKind::Command => {
                let sent = async move { way.go(request, identity.as_deref(), &upload).await };
                stack.to_its_end(sent).await
            }
        }?;
        if upgrade::agreed(&response) {
            // Nobody has asked for it.
            return Err(stack.error(UpstreamErrorKind::Undecodable).into());
        }
        // Behind the cache, which has rules of its own for answers that are errors.
        Ok(failure::in_our_form(stack, response, context).await)
    }

    /// Opens a WebSocket: the deadline ends with the answer to its handshake.
    async fn open(
        &self,
        stack: &Stack,
        rule: &ProxyRule,
        parameters: &Params<'_, '_>,
        mut request: Request<Body>,
        context: &RequestContext,
    ) -> Result<Response, Error> {
        if self.tunnels.drain.is_cancelled() {
            return Err(GatewayError::Overloaded.into());
        }
        let client = upgrade::take(&mut request)?;
        let (mut request, upload) = outgoing(rule, parameters, request, context, stack)?;
        upgrade::mark(request.headers_mut());
        let mut response = exchange(stack, request, rule.template, context, &upload)
            .await
            .map_err(|error| failure::at_fault(error, &upload, None))?;
        if !upgrade::agreed(&response) {
            return Ok(failure::in_our_form(stack, response, context).await);
        }
        let service = hyper::upgrade::on(&mut response);
        upgrade::mark(response.headers_mut());
        self.tunnels.carry(client, service, context, stack.name());
        Ok(response)
    }
}

impl Tunnels {
    /// Carries bytes between the two sides as soon as both are open, in a task of its own. The request keeps its place
    /// among those worked on until then.
    fn carry(
        &self,
        client: OnUpgrade,
        service: OnUpgrade,
        context: &RequestContext,
        upstream: &'static str,
    ) {
        let end = StreamEnd::of(context.principal(), self.config.lifetime);
        let bounds = tunnel::Bounds {
            idle: self.config.idle,
            until: end.at,
            by_credential: end.by_credential,
            max_frame: self.config.max_frame_bytes,
        };
        let (drain, context) = (self.drain.clone(), context.clone());
        self.running.spawn(async move {
            let (client, service) = match tokio::try_join!(client, service) {
                Ok((client, service)) => (TokioIo::new(client), TokioIo::new(service)),
                Err(error) => {
                    tracing::debug!(%error, upstream, "a WebSocket did not come about");
                    return;
                }
            };
            let opened = Instant::now();
            let revoked = context.until_revoked();
            let summary = tunnel::run(client, service, &bounds, &drain, revoked).await;
            tracing::info!(
                upstream,
                request_id = context.request_id().as_str(),
                trace_id = %context.trace().trace_id(),
                ended = summary.ended.as_str(),
                from_client = summary.from_client,
                from_service = summary.from_service,
                duration_ms = opened.elapsed().as_secs_f64() * 1e3,
                "a WebSocket has ended"
            );
        });
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
    stack: &Stack,
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
    let hop = headers::Hop {
        version: parts.version,
        over_tls: parts.extensions.get().is_some_and(|tls: &OverTls| tls.0),
        // What is stored has none.
        trailers: rule.cache == RouteCache::Off && headers::likes_trailers(&parts.headers),
    };
    headers::prepare_request(&mut parts.headers, context, hop);
    parts.uri = stack.uri(target);
    parts.extensions = http::Extensions::new();
    let (body, upload) = Upload::watch(body);
    Ok((Request::from_parts(parts, body), upload))
}

/// What a forwarded request takes with it, to the cache and beyond.
struct Way {
    cache: Arc<ResponseCache>,
    rule: RouteCache,
    template: &'static str,
    stack: Stack,
    context: RequestContext,
    limit: Option<BodyLimit>,
}

impl Way {
    async fn go(
        &self,
        request: Request<Body>,
        identity: Option<&str>,
        upload: &Upload,
    ) -> Result<Response, Error> {
        // Boxed: all that stands around it would have room for it, and be moved with it.
        let forward = |request| {
            Box::pin(async move {
                exchange(&self.stack, request, self.template, &self.context, upload)
                    .await
                    .map_err(|error| failure::at_fault(error, upload, self.limit))
            })
        };
        let upstream = self.stack.name();
        self.cache
            .serve(self.rule, upstream, request, identity, forward)
            .await
    }
}

/// The call itself: the deadline ends with the response head, the body streams.
async fn exchange(
    stack: &Stack,
    request: Request<Body>,
    template: &'static str,
    context: &RequestContext,
    upload: &Upload,
) -> Result<Response, UpstreamError> {
    let kind = CallKind::of(request.method());
    let trailers = request.headers().contains_key(TE);
    let (request, gate) = expect::wait(request);
    let target = CallTarget::Http {
        method: request.method().clone(),
        template: Some(template),
    };
    let attempt = stack.begin(context, target);
    let mut response = send(stack, request, attempt, upload, kind)
        .await?
        .map(Body::new);
    let version = response.version();
    headers::prepare_response(response.headers_mut(), version, trailers);
    Ok(match gate {
        Some(gate) => response.map(|body| gate.answered(body)),
        None => response,
    })
}

async fn send(
    stack: &Stack,
    request: Request<Body>,
    mut attempt: Attempt,
    upload: &Upload,
    kind: CallKind,
) -> Result<http::Response<Answer>, UpstreamError> {
    let request = Box::new(request.map(Outgoing::stream));
    let result = stack
        .send(request, &mut attempt, kind, Judged::AtHead)
        .await;
    attempt.finished(failure::outcome(&result, upload));
    result
}
