//! Traces of what a service does for others: it continues what `traceparent` says, and tells an OpenTelemetry collector
//! of it (OTLP over HTTP). A service starts no trace of its own, and a request never waits for the collector.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, StatusCode};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};

/// How long one export may take, and so the last one when a service stops.
const EXPORT_LIMIT: Duration = Duration::from_millis(800);
/// The longest that a span waits for others.
const EXPORT_INTERVAL: Duration = Duration::from_millis(500);

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    endpoint: Arc<str>,
}

impl Collector {
    /// `base` as `OTEL_EXPORTER_OTLP_ENDPOINT` has it: `/v1/traces` is added.
    #[must_use]
    pub fn at(base: &str) -> Collector {
        let base = base.trim_end_matches('/');
        Collector {
            endpoint: Arc::from(format!("{base}/v1/traces")),
        }
    }
}

/// One service's spans on their way to a collector.
#[derive(Clone)]
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// A request that was answered.
pub(crate) struct Answered<'a> {
    pub(crate) method: &'a Method,
    /// The pattern of the route that was matched.
    pub(crate) route: Option<&'a str>,
    pub(crate) path: &'a str,
    pub(crate) is_grpc: bool,
    pub(crate) status: StatusCode,
    pub(crate) started: SystemTime,
}

impl Traces {
    /// # Errors
    /// When the collector's address is none.
    pub(crate) fn of(service: &'static str, to: &Collector) -> Result<Traces, ExporterBuildError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(&*to.endpoint)
            .with_timeout(EXPORT_LIMIT)
            .build()?;
        let batches = BatchConfigBuilder::default()
            .with_scheduled_delay(EXPORT_INTERVAL)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(
                BatchSpanProcessor::builder(exporter)
                    .with_batch_config(batches)
                    .build(),
            )
            // What nobody asked to have recorded is not.
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
            .with_resource(Resource::builder().with_service_name(service).build())
            .build();
        Ok(Traces {
            tracer: provider.tracer("ftgo-chassis"),
            provider,
        })
    }

    /// Tells of a request that belongs to `parent`, and ends now.
    pub(crate) fn tell(&self, parent: &SpanContext, request: &Answered<'_>) {
        if !parent.is_sampled() {
            return;
        }
        let status = request.status.as_u16();
        let mut attributes = vec![
            KeyValue::new("http.request.method", request.method.to_string()),
            KeyValue::new("http.response.status_code", i64::from(status)),
        ];
        let name = match request.path.trim_start_matches('/').split_once('/') {
            Some((service, method)) if request.is_grpc => {
                attributes.push(KeyValue::new("rpc.system", "grpc"));
                attributes.push(KeyValue::new("rpc.service", service.to_owned()));
                attributes.push(KeyValue::new("rpc.method", method.to_owned()));
                format!("{service}/{method}")
            }
            _ => match request.route {
                Some(route) => {
                    attributes.push(KeyValue::new("http.route", route.to_owned()));
                    format!("{} {route}", request.method)
                }
                None => request.method.to_string(),
            },
        };
        if request.status.is_server_error() {
            attributes.push(KeyValue::new("error.type", status.to_string()));
        }
        let span = self
            .tracer
            .span_builder(name)
            .with_kind(SpanKind::Server)
            .with_start_time(request.started)
            .with_attributes(attributes);
        let span = self.tracer.build_with_context(
            span,
            &Context::new().with_remote_span_context(parent.clone()),
        );
        let context = Context::new().with_span(span);
        if request.status.is_server_error() {
            context.span().set_status(Status::error(""));
        }
        context.span().end();
    }

    /// Sends what is waiting. It blocks for [`EXPORT_LIMIT`] at most.
    pub(crate) fn end(&self) {
        // What could not be sent is lost: nobody waits for it.
        let _ = self.provider.shutdown_with_timeout(EXPORT_LIMIT);
    }
}

/// The caller's span: W3C Trace Context, Level 1. `None` when there is none, or nonsense.
pub(crate) fn parent(headers: &HeaderMap) -> Option<SpanContext> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let mut fields = text.split('-');
    let (version, trace, span, flags) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    let well_formed = version.len() == 2
        && version != "ff"
        && trace.len() == 32
        && span.len() == 16
        && flags.len() == 2
        && (version != "00" || fields.next().is_none())
        && [version, trace, span, flags].iter().all(|field| {
            field
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        });
    if !well_formed {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()? & 1),
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_no_trace_context_is_ignored() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_static(text));
            parent(&headers)
        };
        let sane = of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert!(sane.is_some_and(|context| context.is_sampled()));
        let unsampled = of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
        assert!(unsampled.is_some_and(|context| !context.is_sampled()));
        for nonsense in [
            "",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            assert_eq!(of(nonsense), None, "{nonsense}");
        }
    }
}
