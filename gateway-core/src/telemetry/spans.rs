//! What a finished request is in a trace: a span for the edge, one for each part of its composition and one for each call
//! to a service, named and described as OpenTelemetry's semantic conventions for HTTP and RPC have it. Nothing is sent
//! here (`telemetry/traces.rs`).

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use http::{Method, Version};
use opentelemetry::trace::{
    SpanContext, SpanId as OtelSpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::finished::FinishedRequest;
use crate::trace::SpanId;
use crate::waterfall::{CallSource, CallTarget, CompositionPart, PartOutcome, UpstreamCall};

/// From this status on a request is an error of ours, or of a service behind us.
const FAILED: u16 = 500;

/// Makes spans of requests.
pub(super) struct Spans {
    scope: InstrumentationScope,
}

/// What all spans of one request have in common.
struct Request<'a> {
    spans: &'a Spans,
    trace_id: TraceId,
    state: TraceState,
    arrived: SystemTime,
}

/// One span before it is put into its trace.
struct Draft {
    span: SpanId,
    parent: OtelSpanId,
    parent_is_remote: bool,
    kind: SpanKind,
    name: Cow<'static, str>,
    started: Duration,
    took: Duration,
    attributes: Vec<KeyValue>,
    status: Status,
}

impl Spans {
    pub(super) fn new() -> Self {
        Self {
            scope: InstrumentationScope::builder("gateway-core")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    }

    /// Adds the spans of `request` to `batch`.
    pub(super) fn add(&self, request: &FinishedRequest, batch: &mut Vec<SpanData>) {
        let common = Request {
            spans: self,
            trace_id: TraceId::from(request.trace.trace()),
            state: request
                .trace
                .state()
                .and_then(|state| state.parse().ok())
                .unwrap_or_default(),
            arrived: request.arrived_at(),
        };
        batch.push(common.put(server(request)));
        batch.extend(
            request
                .waterfall
                .parts
                .iter()
                .map(|part| common.put(of_part(part))),
        );
        batch.extend(
            request
                .waterfall
                .calls
                .iter()
                .map(|call| common.put(of_call(call))),
        );
    }
}

impl Request<'_> {
    fn put(&self, draft: Draft) -> SpanData {
        let start_time = self.arrived + draft.started;
        SpanData {
            span_context: SpanContext::new(
                self.trace_id,
                id(draft.span),
                TraceFlags::SAMPLED,
                false,
                self.state.clone(),
            ),
            parent_span_id: draft.parent,
            parent_span_is_remote: draft.parent_is_remote,
            span_kind: draft.kind,
            name: draft.name,
            start_time,
            end_time: start_time + draft.took,
            attributes: draft.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: draft.status,
            instrumentation_scope: self.spans.scope.clone(),
        }
    }
}

fn id(span: SpanId) -> OtelSpanId {
    OtelSpanId::from(span.get())
}

/// The request at the edge, from its head to the last byte of its answer.
fn server(request: &FinishedRequest) -> Draft {
    let trace = &request.trace;
    let method = known_method(&request.method);
    let mut attributes = vec![
        KeyValue::new("http.request.method", method),
        KeyValue::new("url.path", request.path.clone()),
        KeyValue::new("network.protocol.version", version(request.version)),
        KeyValue::new("http.response.body.size", whole(request.bytes)),
        KeyValue::new("gateway.request_id", request.request_id.as_str().to_owned()),
        KeyValue::new("gateway.principal", request.principal.unwrap_or("unknown")),
    ];
    let name = match &request.route {
        Some(route) => {
            attributes.push(KeyValue::new("http.route", route.path.clone()));
            attributes.push(KeyValue::new("gateway.route", route.name));
            Cow::Owned(format!("{method} {}", route.path))
        }
        None => Cow::Borrowed(method),
    };
    if let Some(authority) = &request.authority {
        attributes.extend(address(authority));
    }
    if request.is_answered() {
        let status = i64::from(request.status);
        attributes.push(KeyValue::new("http.response.status_code", status));
    } else {
        attributes.push(KeyValue::new("error.type", "client_gone"));
    }
    if let Some(fault) = &request.fault {
        attributes.push(KeyValue::new("gateway.error.source", fault.source.as_str()));
        attributes.extend(
            fault
                .upstream
                .map(|name| KeyValue::new("gateway.error.upstream", name)),
        );
    }
    if request.waterfall.omitted > 0 {
        let omitted = i64::from(request.waterfall.omitted);
        attributes.push(KeyValue::new("gateway.spans.omitted", omitted));
    }
    let status = if request.status >= FAILED {
        attributes.push(KeyValue::new("error.type", request.status.to_string()));
        Status::error("")
    } else {
        Status::Unset
    };
    Draft {
        span: trace.span(),
        parent: trace
            .parent()
            .map_or(OtelSpanId::INVALID, |parent| OtelSpanId::from(parent.get())),
        parent_is_remote: trace.parent().is_some(),
        kind: SpanKind::Server,
        name,
        started: Duration::ZERO,
        took: request.took,
        attributes,
        status,
    }
}

fn of_part(part: &CompositionPart) -> Draft {
    let mut attributes = vec![
        KeyValue::new("gateway.part.required", part.required),
        KeyValue::new("gateway.part.outcome", part.outcome.as_str()),
    ];
    let reason = part.outcome.reason();
    attributes.extend(reason.map(|reason| KeyValue::new("error.type", reason)));
    Draft {
        span: part.span,
        parent: id(part.parent),
        parent_is_remote: false,
        kind: SpanKind::Internal,
        name: Cow::Owned(format!("part {}", part.name)),
        started: part.started,
        took: part.took,
        attributes,
        status: match part.outcome {
            PartOutcome::Ok | PartOutcome::Stale | PartOutcome::Cancelled => Status::Unset,
            PartOutcome::Unavailable(reason) => Status::error(reason),
            PartOutcome::Failed => Status::error(""),
        },
    }
}

fn of_call(call: &UpstreamCall) -> Draft {
    let mut attributes = vec![
        KeyValue::new("peer.service", call.upstream),
        KeyValue::new("gateway.part", call.part),
    ];
    let name = target(&call.target, call.status, &mut attributes);
    if let Some(endpoint) = &call.endpoint {
        attributes.extend(address(endpoint));
    }
    if call.attempt > 1 {
        let resent = i64::from(call.attempt - 1);
        attributes.push(KeyValue::new("http.request.resend_count", resent));
    }
    if let Some(first_byte) = call.first_byte {
        let seconds = first_byte.as_secs_f64();
        attributes.push(KeyValue::new("gateway.time_to_first_byte", seconds));
    }
    let status = match call.outcome {
        "ok" => Status::Unset,
        outcome => {
            attributes.push(KeyValue::new("error.type", outcome));
            Status::error(outcome)
        }
    };
    let kind = match call.source {
        CallSource::Upstream => SpanKind::Client,
        // Nothing was sent.
        CallSource::Cache | CallSource::Coalesced => {
            attributes.push(KeyValue::new("gateway.source", call.source.as_str()));
            SpanKind::Internal
        }
    };
    Draft {
        span: call.span,
        parent: id(call.parent),
        parent_is_remote: false,
        kind,
        name,
        started: call.started,
        took: call.took,
        attributes,
        status,
    }
}

/// What was called, and how it answered; gives the span's name.
fn target(
    target: &CallTarget,
    status: Option<u16>,
    attributes: &mut Vec<KeyValue>,
) -> Cow<'static, str> {
    let status = status.map(i64::from);
    match target {
        CallTarget::Http { method, template } => {
            let method = known_method(method);
            attributes.push(KeyValue::new("http.request.method", method));
            attributes.extend(status.map(|code| KeyValue::new("http.response.status_code", code)));
            match template {
                Some(template) => {
                    attributes.push(KeyValue::new("url.template", *template));
                    Cow::Owned(format!("{method} {template}"))
                }
                None => Cow::Borrowed(method),
            }
        }
        CallTarget::Grpc { method } => {
            attributes.push(KeyValue::new("rpc.system", "grpc"));
            attributes.extend(status.map(|code| KeyValue::new("rpc.grpc.status_code", code)));
            let name = method.trim_start_matches('/');
            if let Some((service, method)) = name.split_once('/') {
                attributes.push(KeyValue::new("rpc.service", service));
                attributes.push(KeyValue::new("rpc.method", method));
            }
            Cow::Borrowed(name)
        }
    }
}

/// `server.address` and `server.port` of `host:port`.
fn address(authority: &str) -> Vec<KeyValue> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok()),
        _ => (authority, None),
    };
    let mut attributes = vec![KeyValue::new("server.address", host.to_owned())];
    attributes.extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
    attributes
}

/// Clients can send any word as a method: those that are not of HTTP would be names without end.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "CONNECT" => "CONNECT",
        "OPTIONS" => "OPTIONS",
        "TRACE" => "TRACE",
        "PATCH" => "PATCH",
        _ => "_OTHER",
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
