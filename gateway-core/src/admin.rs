//! The operators' listener: `/live`, `/ready`, `/metrics`, `/routes`, `/config`. It is never public and knows no client's data.

use std::net::TcpListener;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::reload::{ConfigReport, Live};
use crate::route::RouteSummary;
use crate::shutdown::Phase;

pub(crate) async fn serve(listener: TcpListener, live: Arc<Live>, stop: CancellationToken) {
    let router = Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/routes", get(routes))
        .route("/config", get(config))
        .with_state(live);
    let served = async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        axum::serve(listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
    };
    if let Err(error) = served.await {
        tracing::error!(%error, "the admin listener ended");
    }
}

/// One reason for being ready or not.
#[derive(Serialize)]
struct Check {
    name: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    checks: Vec<Check>,
}

/// Ready to take traffic: serving, and able to check every issuer's tokens. Upstreams never make it fail: partial failure
/// is what a gateway is for.
async fn ready(State(live): State<Arc<Live>>) -> Response {
    let shared = live.shared();
    let phase = shared.lifecycle.phase();
    let detail = match phase {
        Phase::Starting => Some("starting".to_owned()),
        Phase::Serving => None,
        Phase::Draining => Some("draining".to_owned()),
    };
    let mut checks = vec![Check {
        name: "serving".to_owned(),
        ok: phase == Phase::Serving,
        detail,
    }];
    for issuer in shared.keys.readiness() {
        checks.push(Check {
            name: format!("issuer {}", issuer.issuer),
            ok: issuer.usable,
            detail: issuer.detail,
        });
    }
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(Readiness {
            status: if ready { "ready" } else { "unready" },
            checks,
        }),
    )
        .into_response()
}

async fn metrics(State(live): State<Arc<Live>>) -> Response {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        live.shared().metrics.render(),
    )
        .into_response()
}

async fn routes(State(live): State<Arc<Live>>) -> Json<Vec<RouteSummary>> {
    Json(live.shared().table.summaries())
}

async fn config(State(live): State<Arc<Live>>) -> Json<ConfigReport> {
    Json(live.report())
}
