//! The operators' listener: `/live`, `/ready`, `/metrics`, `/routes`, `/upstreams`, `/revocations`, `/keys`, `/config`,
//! `/purge`, and `/console` for people. It is never public and shows no client's data.

mod console;
mod origin;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use chrono::{DateTime, SecondsFormat, Utc};
use console::History;
use http::header::{CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::auth::Revocation;
use crate::gateway::Shared;
use crate::metrics::{self, Format};
use crate::reload::{ConfigReport, Live};
use crate::route::RouteSummary;
use crate::session::Sessions;
use crate::shutdown::Phase;
use crate::upstream::UpstreamStatus;

pub(crate) async fn serve(listener: TcpListener, live: Arc<Live>, stop: CancellationToken) {
    let hosts: Arc<[String]> = live.shared().config.admin.hosts.clone().into();
    let history = Arc::new(History::default());
    let keeping = Arc::clone(&history).keep(Arc::clone(&live));
    let router = Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/routes", get(routes))
        .route("/revocations", get(count_revocations).post(revoke))
        .route("/keys", get(keys))
        .route("/config", get(config))
        .route("/purge", post(purge))
        .route("/upstreams", get(upstreams))
        .with_state(Arc::clone(&live))
        .merge(console::router(live, history))
        .layer(middleware::from_fn_with_state(hosts, origin::check));
    let served = async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        axum::serve(listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
    };
    tokio::select! {
        () = keeping => {}
        served = served => if let Err(error) = served {
            tracing::error!(%error, "the admin listener ended");
        }
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

const READY: &str = "ready";

impl Readiness {
    fn is_ready(&self) -> bool {
        self.status == READY
    }
}

/// Ready to take traffic: serving, and able to check every issuer's tokens. Upstreams never make it fail: partial failure
/// is what a gateway is for.
async fn ready(State(live): State<Arc<Live>>) -> Response {
    let readiness = readiness(&live.shared());
    let status = if readiness.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
}

fn readiness(shared: &Shared) -> Readiness {
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
    // Worth knowing, and no reason to be taken out: without the store each replica keeps to its share.
    if let Some(store) = &shared.limiter_store {
        let readiness = store.readiness();
        checks.push(Check {
            name: "rate limit store".to_owned(),
            ok: readiness.up,
            detail: Some(readiness.detail),
        });
    }
    if let Some(shared) = &shared.shared_revocations {
        let readiness = shared.readiness();
        checks.push(Check {
            name: "revocation store".to_owned(),
            ok: readiness.up,
            detail: Some(readiness.detail),
        });
    }
    // Whoever has no session is served as ever.
    if let Some(readiness) = shared.sessions.as_ref().and_then(Sessions::readiness) {
        checks.push(Check {
            name: "session store".to_owned(),
            ok: readiness.up,
            detail: Some(readiness.detail),
        });
    }
    // Without it each replica stores for itself.
    if let Some(second) = shared.reads.tags.second_level() {
        let (ok, detail) = second.readiness();
        checks.push(Check {
            name: "shared responses".to_owned(),
            ok,
            detail: Some(detail),
        });
    }
    // Without it stored parts live as long as they may, and no longer.
    if let Some(feed) = &shared.feed {
        let readiness = feed.readiness();
        checks.push(Check {
            name: "event feed".to_owned(),
            ok: readiness.up,
            detail: Some(readiness.detail),
        });
    }
    // A service that is away is our business, not a reason to be taken out.
    for upstream in shared.upstreams.status() {
        let state = upstream.breaker.state;
        checks.push(Check {
            name: format!("upstream {}", upstream.name),
            ok: upstream.is_well(),
            detail: Some(format!("breaker {state}")),
        });
    }
    Readiness {
        status: if ready { READY } else { "unready" },
        checks,
    }
}

async fn metrics(State(live): State<Arc<Live>>, headers: HeaderMap) -> Response {
    let shared = live.shared();
    let format = Format::wanted(&headers);
    let now = metrics::scrape(&shared, readiness(&shared).is_ready());
    let text = metrics::render(format, shared.metrics.registry(), now);
    // Caches between us and a scraper must not give one format for the other.
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(format.media_type())),
        (VARY, HeaderValue::from_static("accept")),
    ];
    (headers, text).into_response()
}

async fn routes(State(live): State<Arc<Live>>) -> Json<Vec<RouteSummary>> {
    Json(live.shared().table.summaries())
}

async fn config(State(live): State<Arc<Live>>) -> Json<ConfigReport> {
    Json(live.report())
}

async fn upstreams(State(live): State<Arc<Live>>) -> Json<Vec<UpstreamStatus>> {
    Json(live.shared().upstreams.status())
}

#[derive(Serialize)]
struct RevocationCount {
    entries: usize,
}

async fn count_revocations(State(live): State<Arc<Live>>) -> Json<RevocationCount> {
    Json(RevocationCount {
        entries: live.shared().revocations.len(),
    })
}

/// Takes `{"issuer", "jti" or "sub", "until"?}`; what it names is refused from the next request on: 204. 202 while other
/// replicas cannot be told; they are, later. 422 for what would refuse nothing: an operator who mistypes an issuer must not
/// believe that somebody is locked out.
async fn revoke(State(live): State<Arc<Live>>, Json(revocation): Json<Revocation>) -> Response {
    let shared = live.shared();
    let issuers = &shared.config.issuers;
    if !issuers
        .iter()
        .any(|known| known.issuer == revocation.issuer)
    {
        let text = format!("no issuer is named `{}`\n", revocation.issuer);
        return (StatusCode::UNPROCESSABLE_ENTITY, text).into_response();
    }
    if revocation.is_over() {
        let text = "`until` has passed: nothing would be refused\n";
        return (StatusCode::UNPROCESSABLE_ENTITY, text).into_response();
    }
    let revocation = revocation.dated();
    if let Err(full) = shared.revocations.add(&revocation) {
        return (StatusCode::INSUFFICIENT_STORAGE, format!("{full}\n")).into_response();
    }
    tracing::info!(issuer = revocation.issuer, "a revocation was added");
    match &shared.shared_revocations {
        Some(others) if !others.tell(revocation).await => StatusCode::ACCEPTED.into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

/// The API keys that are accepted, without anything of which one could be made.
#[derive(Serialize)]
struct Keys<'a> {
    /// Uses before that are not known.
    since: String,
    keys: Vec<KeyLine<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyLine<'a> {
    id: &'a str,
    owner: &'a str,
    scopes: &'a [String],
    /// By this process.
    last_used: Option<String>,
}

async fn keys(State(live): State<Arc<Live>>) -> Response {
    let shared = live.shared();
    shared.key_uses.fold();
    let at =
        |time: SystemTime| DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true);
    let keys = shared
        .config
        .api_keys
        .iter()
        .flat_map(|config| &config.keys);
    Json(Keys {
        since: at(shared.key_uses.since()),
        keys: keys
            .map(|key| KeyLine {
                id: &key.id,
                owner: &key.owner,
                scopes: &key.scopes,
                last_used: shared.key_uses.last(&key.hash).map(at),
            })
            .collect(),
    })
    .into_response()
}

/// What has changed without an event.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purge {
    tags: Vec<String>,
}

/// Takes `{"tags": […]}`: what is stored and depends on one of them is not used from the next request on: 204. 202 while
/// Redis cannot be told, which other replicas may still use it from; it is, later.
async fn purge(State(live): State<Arc<Live>>, Json(purge): Json<Purge>) -> StatusCode {
    let told = live.shared().reads.purge(&purge.tags).await;
    tracing::info!(tags = purge.tags.len(), "tags were purged");
    if told {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::ACCEPTED
    }
}
