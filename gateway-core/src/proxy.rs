//! Passthrough: a request goes to one upstream and its answer comes back, both as streams, never buffered.
//! What may cross is `proxy/headers.rs`; which route goes where is data (`route.rs`).

mod expect;
mod failure;
mod headers;
mod mirror;
mod trailers;
mod tunnel;
pub(crate) mod upgrade;
mod upload;

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::header::{HOST, SET_COOKIE, TE};
use http::{Request, Uri, uri};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use matchit::Params;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::{DependsOn, Forward, Glance, Joined, Question, ResponseCache, SetsCookie, Slot};
use crate::config::{RouteCache, StreamConfig, UpstreamProtocol};
use crate::context::RequestContext;
use crate::deadline::StreamEnd;
use crate::edge::BodyLimit;
use crate::error::{Error, GatewayError};
use crate::route::ProxyRule;
use crate::upstream::{
    Answer, Attempt, CallKind, Judged, Outgoing, Reads, Stack, UpstreamError, UpstreamErrorKind,
    Upstreams,
};
use crate::waterfall::{CallSource, CallTarget};
use mirror::Mirror;
use upload::Upload;

/// One worker's proxy.
pub(crate) struct Proxy {
    upstreams: Upstreams,
    cache: Arc<ResponseCache>,
    tunnels: Tunnels,
}

/// What open WebSockets are bounded and counted by.
#[derive(Clone)]
pub(crate) struct Tunnels {
    pub(crate) config: StreamConfig,
    /// Waited for at the end of the process, within its grace.
    pub(crate) running: TaskTracker,
    /// Fires when connections have to end.
    pub(crate) drain: CancellationToken,
}

/// A request as the edge hands it over.
pub(crate) struct Admitted<'a> {
    pub(crate) request: Box<Request<Body>>,
    pub(crate) context: &'a RequestContext,
    /// Whether it came over TLS, as far as we or a trusted proxy can say.
    pub(crate) over_tls: bool,
    pub(crate) limit: BodyLimit,
}

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

    /// For WebSockets that end here, too.
    pub(crate) fn tunnels(&self) -> &Tunnels {
        &self.tunnels
    }

    /// Forwards `request` as `rule` says, through the response cache when the route has one.
    pub(crate) async fn forward(
        &self,
        rule: &ProxyRule,
        parameters: &Params<'_, '_>,
        admitted: Admitted<'_>,
    ) -> Result<Response, Error> {
        let context = admitted.context;
        // The table refuses routes to upstreams that do not exist.
        let upstream = rule.destination.choose(context);
        let stack = self
            .upstreams
            .stack(upstream)
            .ok_or_else(|| GatewayError::Bug(format!("no upstream {upstream}")))?;
        if rule.websocket && upgrade::asks(&admitted.request) {
            return Box::pin(self.open(stack, rule, parameters, admitted)).await;
        }
        let Admitted {
            mut request,
            over_tls,
            limit,
            ..
        } = admitted;
        limit.check_announced(request.headers())?;
        let everybody;
        let share = rule.cache.share;
        let context = match share {
            RouteCache::Shared => {
                everybody = context.for_everybody();
                &everybody
            }
            RouteCache::Off | RouteCache::Private => context,
        };
        let path = path(rule, parameters, request.uri());
        if share != RouteCache::Off
            && let Some(response) = self.glance(
                rule,
                parameters,
                (upstream, &path),
                &request,
                over_tls,
                context,
            )
        {
            return Ok(failure::in_our_form(stack, response, context).await);
        }
        let authorized = headers::show_credentials(request.headers());
        let path = path.into_owned();
        let upload = make_outgoing(&mut request, rule, path, over_tls, context, stack)?;
        let mirror = rule
            .mirror
            .as_ref()
            .and_then(|mirror| Mirror::of(mirror, rule.template, &self.upstreams));
        let kind = CallKind::of(request.method());
        let response = if kind == CallKind::Safe && share == RouteCache::Off {
            // Boxed, all three: all that stands around them would have room for the largest, and be moved with it.
            Box::pin(exchange(
                stack,
                request,
                rule.template,
                context,
                &upload,
                share,
                mirror.as_ref(),
            ))
            .await
            .map_err(|error| failure::at_fault(error, &upload, Some(limit)))
        } else {
            let way = Way {
                share,
                template: rule.template,
                stack: stack.clone(),
                context: context.clone(),
                upload,
                limit: Some(limit),
                mirror,
            };
            match kind {
                CallKind::Safe => {
                    Box::pin(self.through_cache(rule, parameters, *request, authorized, way)).await
                }
                CallKind::Command => Box::pin(self.command(rule, parameters, *request, way)).await,
            }
        }?;
        if upgrade::agreed(&response) {
            // Nobody has asked for it.
            return Err(stack.error(UpstreamErrorKind::Undecodable).into());
        }
        // Behind the cache, which has rules of its own for answers that are errors.
        Ok(failure::in_our_form(stack, response, context).await)
    }

    /// The answer that is there already, in the plain case, for this path of an upstream.
    fn glance(
        &self,
        rule: &ProxyRule,
        parameters: &Params<'_, '_>,
        (upstream, path): (&'static str, &str),
        request: &Request<Body>,
        over_tls: bool,
        context: &RequestContext,
    ) -> Option<Response> {
        let headers = request.headers();
        if !request.body().is_end_stream() || !headers::has_plain_connection(headers) {
            return None;
        }
        let proto = headers::proto(over_tls);
        let at = Glance {
            upstream,
            target: path,
            addressed_as: [headers.get(HOST), Some(&proto)],
            share: rule.cache.share,
            principal: context.principal_for_upstreams(),
            method: request.method(),
            headers,
            alters: headers::is_altered,
        };
        let tags = tags(rule, parameters, self.upstreams.reads());
        self.cache.glance(&at, tags)
    }

    async fn through_cache(
        &self,
        rule: &ProxyRule,
        parameters: &Params<'_, '_>,
        request: Request<Body>,
        authorized: bool,
        way: Way,
    ) -> Result<Response, Error> {
        let reads = self.upstreams.reads();
        let began = Instant::now();
        let way = Arc::new(way);
        let (context, upstream) = (&way.context, way.stack.name());
        let question = Question {
            rule: rule.cache,
            upstream,
            principal: context.principal_for_upstreams(),
            authorized,
            depends_on: DependsOn {
                tags: tags(rule, parameters, reads).collect(),
                commands: reads.commands_to(upstream),
            },
            deadline: context.deadline(),
            deadline_with_spare: context.deadline().less(context.optional_reserve()),
        };
        let target = request.method().clone();
        let mut response = self.cache.serve(&question, request, &way).await?;
        if response.extensions_mut().remove::<Joined>().is_some() {
            let target = CallTarget::Http {
                method: target,
                template: Some(rule.template),
            };
            context.record_shared(upstream, target, CallSource::Coalesced, began, "ok");
        }
        Ok(response)
    }

    /// With what its end means for what is stored: that does not hang on its client, either.
    async fn command(
        &self,
        rule: &ProxyRule,
        parameters: &Params<'_, '_>,
        request: Request<Body>,
        way: Way,
    ) -> Result<Response, Error> {
        let (cache, reads) = (Arc::clone(&self.cache), self.upstreams.reads().clone());
        let tags: Vec<Slot> = tags(rule, parameters, &reads).collect();
        // Others' callers see what it changed, too, wherever they come to.
        let upstreams: Vec<&'static str> = rule.destination.names().collect();
        let stack = way.stack.clone();
        let sent = async move {
            let response = cache.change(&upstreams, request, &way).await;
            // Whatever came of it: a refusal, too, can mean that what is stored is old.
            let commands = upstreams.iter().map(|name| reads.commands_to(name));
            reads.command_ended(commands, &tags).await;
            response
        };
        stack.to_its_end(sent).await
    }

    /// Opens a WebSocket: the deadline ends with the answer to its handshake.
    async fn open(
        &self,
        stack: &Stack,
        rule: &ProxyRule,
        parameters: &Params<'_, '_>,
        admitted: Admitted<'_>,
    ) -> Result<Response, Error> {
        let Admitted {
            mut request,
            context,
            over_tls,
            ..
        } = admitted;
        if self.tunnels.drain.is_cancelled() {
            return Err(GatewayError::Overloaded.into());
        }
        let client = upgrade::take(&mut request)?;
        let path = path(rule, parameters, request.uri()).into_owned();
        let upload = make_outgoing(&mut request, rule, path, over_tls, context, stack)?;
        upgrade::mark(request.headers_mut());
        let off = RouteCache::Off;
        let mut response = exchange(stack, request, rule.template, context, &upload, off, None)
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
        let end = StreamEnd::of(context.caller(), self.config.lifetime);
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

/// What the answer to a request depends on, and what a command changes.
fn tags<'a>(
    rule: &'a ProxyRule,
    parameters: &'a Params<'_, '_>,
    reads: &'a Reads,
) -> impl Iterator<Item = Slot> + use<'a> {
    rule.tags
        .iter()
        .map(|tag| reads.tags.slot(&tag.apply(parameters)))
}

/// The path and query upstream.
fn path<'a>(rule: &ProxyRule, parameters: &Params<'_, '_>, uri: &'a Uri) -> Cow<'a, str> {
    match (&rule.rewrite, uri.query()) {
        (Some(rewrite), Some(query)) => {
            let mut path = rewrite.apply(parameters);
            path.push('?');
            path.push_str(query);
            Cow::Owned(path)
        }
        (Some(rewrite), None) => Cow::Owned(rewrite.apply(parameters)),
        (None, _) => uri
            .path_and_query()
            .map_or(Cow::Borrowed("/"), |target| Cow::Borrowed(target.as_str())),
    }
}

/// Makes a client's request the one that is sent upstream.
fn make_outgoing(
    request: &mut Request<Body>,
    rule: &ProxyRule,
    target: String,
    over_tls: bool,
    context: &RequestContext,
    stack: &Stack,
) -> Result<Upload, Error> {
    let target = uri::PathAndQuery::try_from(target)
        .map_err(|e| GatewayError::Bug(format!("rewrite: {e}")))?;
    let hop = headers::Hop {
        version: request.version(),
        over_tls,
        // What is stored has none.
        trailers: rule.cache.share == RouteCache::Off && headers::likes_trailers(request.headers()),
    };
    headers::prepare_request(request.headers_mut(), context, hop);
    *request.uri_mut() = stack.uri(target);
    request.extensions_mut().clear();
    Ok(Upload::watch(request.body_mut()))
}

/// A forwarded request's way behind the cache.
struct Way {
    share: RouteCache,
    template: &'static str,
    stack: Stack,
    context: RequestContext,
    upload: Upload,
    limit: Option<BodyLimit>,
    /// Where a copy goes.
    mirror: Option<Mirror>,
}

impl Forward for Way {
    async fn forward(&self, request: Request<Body>, spare: bool) -> Result<Response, Error> {
        let shorter;
        let context = if spare {
            shorter = self.context.with_something_to_spare();
            &shorter
        } else {
            &self.context
        };
        let upload = &self.upload;
        exchange(
            &self.stack,
            Box::new(request),
            self.template,
            context,
            upload,
            self.share,
            self.mirror.as_ref(),
        )
        .await
        .map_err(|error| failure::at_fault(error, upload, self.limit))
    }
}

/// The call itself: the deadline ends with the response head, the body streams.
async fn exchange(
    stack: &Stack,
    mut request: Box<Request<Body>>,
    template: &'static str,
    context: &RequestContext,
    upload: &Upload,
    share: RouteCache,
    mirror: Option<&Mirror>,
) -> Result<Response, UpstreamError> {
    if let Some(mirror) = mirror {
        mirror.copy(&mut request, context);
    }
    let kind = CallKind::of(request.method());
    let trailers = request.headers().contains_key(TE);
    let gate = match stack.protocol() {
        UpstreamProtocol::Http1 => expect::wait(&mut request),
        // hyper hears no 100 over HTTP/2: the body goes at once (RFC 9110, 10.1.1).
        UpstreamProtocol::Http2 | UpstreamProtocol::Grpc => None,
    };
    let target = CallTarget::Http {
        method: request.method().clone(),
        template: Some(template),
    };
    let attempt = stack.begin(context, target);
    let mut response = send(stack, request, attempt, upload, kind)
        .await?
        .map(|body| Body::new(trailers::Filtered(body)));
    let version = response.version();
    // The cookie stays here; that there was one says whose answer it is.
    if share != RouteCache::Off && response.headers().contains_key(SET_COOKIE) {
        response.extensions_mut().insert(SetsCookie);
    }
    headers::prepare_response(response.headers_mut(), version, trailers);
    Ok(match gate {
        Some(gate) => response.map(|body| gate.answered(body)),
        None => response,
    })
}

async fn send(
    stack: &Stack,
    request: Box<Request<Body>>,
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
