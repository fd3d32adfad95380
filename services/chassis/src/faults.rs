//! A service that misbehaves on demand: latency, errors, resets, hangs, slow bodies, for each route and switchable while it
//! runs. For tests and demonstrations; it is mounted only when the environment says so.

mod drip;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::http::Connection;
use crate::json::{Json, accept};
use crate::problem::{FieldError, Problem, ServiceError};
use drip::Drip;

const PATH: &str = "/faults";
/// Operational paths, which a rule meets only when its own path names them.
const OPERATIONS: [&str; 3] = ["/health", "/metrics", "/openapi.json"];

/// When a service misbehaves, and how. All rules that match a request apply, in their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// A prefix of the path, as `/tickets`; `/` is everything but health, metrics and the document.
    pub path: String,
    /// Any method when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The share of matching requests, 0 to 1. It is spread evenly: 0.25 is every fourth, not one in four by chance.
    #[serde(default = "always")]
    pub probability: f64,
    #[serde(flatten)]
    pub fault: Fault,
}

/// What goes wrong. In JSON, `kind` names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Fault {
    /// The answer comes later.
    Latency { milliseconds: u64 },
    /// The request is answered with this status instead of being handled; gRPC requests with the status code nearest
    /// to it.
    Error {
        #[serde(default = "service_unavailable")]
        status: u16,
    },
    /// The connection is reset instead of an answer.
    Reset,
    /// There is no answer until the rules change; then the request is handled.
    Hang,
    /// The body of the answer comes in small pieces.
    #[serde(rename_all = "camelCase")]
    Drip {
        bytes: usize,
        interval_milliseconds: u64,
    },
}

fn always() -> f64 {
    1.0
}

fn service_unavailable() -> u16 {
    503
}

/// The rules in force.
pub(crate) struct Switchboard {
    rules: RwLock<Arc<Vec<ActiveRule>>>,
    changes: watch::Sender<()>,
}

struct ActiveRule {
    rule: Rule,
    /// Requests that matched.
    matched: AtomicU64,
}

impl Default for Switchboard {
    fn default() -> Switchboard {
        Switchboard {
            rules: RwLock::default(),
            changes: watch::Sender::new(()),
        }
    }
}

impl Switchboard {
    fn shown(&self) -> Vec<Rule> {
        let rules = self.rules();
        rules.iter().map(|active| active.rule.clone()).collect()
    }

    fn replace(&self, rules: Vec<Rule>) -> Result<Json<Vec<Rule>>, ServiceError> {
        let numbered = rules.iter().enumerate();
        accept(
            numbered
                .flat_map(|(index, rule)| check(index, rule))
                .collect(),
        )?;
        tracing::warn!(?rules, "faults are on");
        self.set(rules);
        Ok(Json(self.shown()))
    }

    fn set(&self, rules: Vec<Rule>) {
        let rules = rules
            .into_iter()
            .map(|rule| ActiveRule {
                rule,
                matched: AtomicU64::new(0),
            })
            .collect();
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        self.changes.send_replace(());
    }

    fn rules(&self) -> Arc<Vec<ActiveRule>> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ActiveRule {
    fn applies(&self, method: &Method, path: &str) -> bool {
        let rule = &self.rule;
        let operational =
            |prefix: &&str| path.starts_with(prefix) && !rule.path.starts_with(prefix);
        if !path.starts_with(&rule.path) || OPERATIONS.iter().any(operational) {
            return false;
        }
        if rule
            .method
            .as_ref()
            .is_some_and(|wanted| !wanted.eq_ignore_ascii_case(method.as_str()))
        {
            return false;
        }
        // The n-th request is hit when the share reaches the next whole number with it.
        let before = self.matched.fetch_add(1, Ordering::Relaxed) as f64;
        ((before + 1.0) * rule.probability).floor() > (before * rule.probability).floor()
    }
}

/// `PUT /faults` with a list of rules replaces them, `GET` shows them, `DELETE` ends all faults.
pub(crate) fn routes(switchboard: Arc<Switchboard>) -> Router {
    type Faults = State<Arc<Switchboard>>;
    let show = async |State(faults): Faults| Json(faults.shown());
    let replace = async |State(faults): Faults, Json(rules): Json<Vec<Rule>>| faults.replace(rules);
    let clear = async |State(faults): Faults| {
        faults.set(Vec::new());
        StatusCode::NO_CONTENT
    };
    Router::new()
        .route(PATH, get(show).put(replace).delete(clear))
        .with_state(switchboard)
}

fn check(index: usize, rule: &Rule) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut wrong = |name: &str, detail: &str| {
        errors.push(FieldError::new(format!("/{index}/{name}"), detail));
    };
    if !rule.path.starts_with('/') {
        wrong("path", "must begin with /");
    }
    if !(0.0..=1.0).contains(&rule.probability) {
        wrong("probability", "must be within 0 and 1");
    }
    match rule.fault {
        Fault::Error { status } if !(400..=599).contains(&status) => {
            wrong("status", "must be within 400 and 599");
        }
        Fault::Drip { bytes: 0, .. } => wrong("bytes", "must be at least 1"),
        _ => {}
    }
    errors
}

/// Lets a request meet the faults that apply to it.
pub(crate) async fn inject(switchboard: &Switchboard, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == PATH {
        return next.run(request).await;
    }
    let rules = switchboard.rules();
    let applying: Vec<&Fault> = rules
        .iter()
        .filter(|active| active.applies(request.method(), path))
        .map(|active| &active.rule.fault)
        .collect();
    let mut drip = None;
    for fault in applying {
        match fault {
            Fault::Latency { milliseconds } => {
                tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
            }
            Fault::Error { status } => return refusal(request.headers(), *status),
            Fault::Reset => {
                if let Some(connection) = request.extensions().get::<Connection>() {
                    connection.reset();
                }
                // The connection's task ends, and this request with it.
                return std::future::pending().await;
            }
            Fault::Hang => {
                let mut changes = switchboard.changes.subscribe();
                // Rules that changed in the meantime are not waited for.
                while Arc::ptr_eq(&rules, &switchboard.rules()) && changes.changed().await.is_ok() {
                }
            }
            Fault::Drip {
                bytes,
                interval_milliseconds,
            } => drip = Some((*bytes, Duration::from_millis(*interval_milliseconds))),
        }
    }
    let response = next.run(request).await;
    match drip {
        Some((bytes, interval)) => response.map(|body| Body::new(Drip::new(body, bytes, interval))),
        None => response,
    }
}

fn refusal(headers: &HeaderMap, status: u16) -> Response {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
        return grpc_refusal(status);
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    Problem::new(status)
        .detail("an injected fault")
        .into_response()
}

/// A gRPC answer that has only trailers, with the code that is nearest to an HTTP status.
fn grpc_refusal(status: u16) -> Response {
    let code = match status {
        400 => "3",        // INVALID_ARGUMENT
        401 => "16",       // UNAUTHENTICATED
        403 => "7",        // PERMISSION_DENIED
        404 => "5",        // NOT_FOUND
        409 => "10",       // ABORTED
        429 => "8",        // RESOURCE_EXHAUSTED
        500 => "13",       // INTERNAL
        501 => "12",       // UNIMPLEMENTED
        502 | 503 => "14", // UNAVAILABLE
        504 => "4",        // DEADLINE_EXCEEDED
        _ => "2",          // UNKNOWN
    };
    let headers = [
        ("content-type", "application/grpc"),
        ("grpc-status", code),
        ("grpc-message", "an injected fault"),
    ];
    (StatusCode::OK, headers).into_response()
}
