//! What every service's HTTP has: the stack around its routes and the operational routes beside them. Sockets are served
//! in `http/connections`.

mod connections;
mod observe;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, body::Body};
use ftgo_messaging::Database;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::Limited;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

use crate::caller::{Admission, admit};
use crate::faults::{self, Switchboard};
use crate::json::Json;
use crate::openapi::Document;
use crate::problem::{Problem, ServiceError, describe};
use crate::traces::Traces;
use observe::Observer;

pub(crate) use connections::Connection;
pub use connections::serve;

/// The largest body that a service reads, in bytes.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// How long readiness waits for the database.
const READY_LIMIT: Duration = Duration::from_secs(1);

pub(crate) struct Parts {
    pub(crate) service: &'static str,
    pub(crate) traces: Option<Traces>,
    pub(crate) routes: Router,
    pub(crate) openapi: Document,
    pub(crate) database: Database,
    pub(crate) faults: bool,
    pub(crate) admission: Admission,
}

/// The routes of the service and of the chassis with everything around them.
pub(crate) fn router(parts: Parts) -> Router {
    let Parts {
        service,
        traces,
        routes,
        openapi,
        database,
        faults,
        admission,
    } = parts;
    let document = Arc::new(openapi.to_json());
    let mut router = routes
        // Only around the service's own routes: who keeps the service running has no token.
        .layer(from_fn_with_state(Arc::new(admission), admit))
        .route("/health/live", get(async || up()))
        .route("/health/ready", get(move || ready(database.clone())))
        .route("/metrics", get(async move || metrics(service)))
        .route("/openapi.json", get(async move || Json(document)))
        // A body that is too large never gets to a handler's memory.
        .layer(from_fn(limit_body));
    if faults {
        let switchboard = Arc::new(Switchboard::default());
        router = router
            .merge(faults::routes(Arc::clone(&switchboard)))
            // Outside of all that does the work, so that a fault looks like the service's own.
            .layer(from_fn_with_state(switchboard, inject));
    }
    router
        // Whatever fails without a body of its own, as an unknown path, gets a problem.
        .layer(map_response(describe))
        // Outermost: what the client sees is what is logged and counted, panics included.
        .layer(from_fn_with_state(
            Observer { service, traces },
            observe::observe,
        ))
}

async fn inject(
    State(switchboard): State<Arc<Switchboard>>,
    request: Request,
    next: Next,
) -> Response {
    faults::inject(&switchboard, request, next).await
}

async fn limit_body(request: Request, next: Next) -> Response {
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BODY_LIMIT as u64) {
        return ServiceError::PayloadTooLarge { limit: BODY_LIMIT }.into_response();
    }
    let request = request.map(|body| Body::new(Limited::new(body, BODY_LIMIT)));
    next.run(request).await
}

fn up() -> Json<serde_json::Value> {
    Json(json!({"status": "UP"}))
}

async fn ready(database: Database) -> Response {
    let query = sqlx::query("SELECT 1").execute(database.read());
    match tokio::time::timeout(READY_LIMIT, query).await {
        Ok(Ok(_)) => up().into_response(),
        _ => Problem::new(StatusCode::SERVICE_UNAVAILABLE)
            .detail("the database does not answer")
            .into_response(),
    }
}

fn metrics(service: &'static str) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, kind)], crate::metrics::render(service)).into_response()
}
