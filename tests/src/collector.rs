//! A collector of traces for tests: it takes what OpenTelemetry exporters post (OTLP over HTTP, protobuf) and keeps it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::system::eventually;

/// A span as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// `service.name` of whoever sent it.
    pub service: String,
    pub name: String,
    pub kind: Kind,
    /// In hexadecimal digits, as the other ids.
    pub trace: String,
    pub id: String,
    /// Empty for the first span of a trace.
    pub parent: String,
    pub failed: bool,
    /// Values as text.
    pub attributes: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Internal,
    Server,
    Client,
    Other,
}

type Kept = Arc<Mutex<Vec<Span>>>;

/// It listens until it is dropped.
pub struct Collector {
    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` would be.
    pub endpoint: String,
    spans: Kept,
    server: JoinHandle<()>,
}

impl Collector {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let spans = Kept::default();
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(Arc::clone(&spans));
        let server = tokio::spawn(async move {
            // It ends with the test.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            endpoint,
            spans,
            server,
        })
    }

    /// The spans of a trace so far.
    pub fn trace(&self, trace: &str) -> Vec<Span> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans
            .iter()
            .filter(|span| span.trace == trace)
            .cloned()
            .collect()
    }

    /// Waits until a trace has so many spans.
    pub async fn complete(&self, trace: &str, number: usize) -> Result<Vec<Span>> {
        let what = format!("trace {trace} has {number} spans");
        let seen = eventually(&what, async || {
            let spans = self.trace(trace);
            Ok((spans.len() >= number).then_some(spans))
        });
        match seen.await {
            Ok(spans) => Ok(spans),
            Err(error) => Err(error.context(format!("{:#?}", self.trace(trace)))),
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(kept): State<Kept>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST;
    };
    let mut spans = kept.lock().unwrap_or_else(PoisonError::into_inner);
    for resource in request.resource_spans {
        let of_resource = resource
            .resource
            .map(|resource| texts(resource.attributes))
            .unwrap_or_default();
        let service = of_resource.get("service.name").cloned().unwrap_or_default();
        for span in resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans)
        {
            spans.push(Span {
                service: service.clone(),
                kind: match span.kind {
                    1 => Kind::Internal,
                    2 => Kind::Server,
                    3 => Kind::Client,
                    _ => Kind::Other,
                },
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                failed: span.status.is_some_and(|status| status.code == 2),
                attributes: texts(span.attributes),
                name: span.name,
            });
        }
    }
    StatusCode::OK
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes
        .into_iter()
        .filter_map(|attribute| {
            let text = match attribute.value?.value? {
                any_value::Value::StringValue(text) => text,
                any_value::Value::IntValue(number) => number.to_string(),
                any_value::Value::DoubleValue(number) => number.to_string(),
                any_value::Value::BoolValue(truth) => truth.to_string(),
                other => format!("{other:?}"),
            };
            Some((attribute.key, text))
        })
        .collect()
}
