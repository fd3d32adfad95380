//! `/console`: one page on which an operator sees how a gateway is doing. Everything on it stands elsewhere, too, for
//! programs: `/ready`, `/routes`, `/upstreams`, `/config`, `/metrics`, the log.
//!
//! It is written on the server and works without scripts; the script only fetches the same page again and puts the new
//! sections in place of the old ones. Nothing on it comes from a client but the paths of requests, their queries and
//! whatever might be a secret left out, and their ids.

mod figures;
mod history;
mod overview;
mod requests;
mod routes;
mod state;
#[cfg(test)]
mod tests;
mod upstreams;

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::Utc;
use http::{HeaderName, HeaderValue};

use super::{Readiness, readiness};
use crate::gateway::Shared;
use crate::html::{Html, html};
use crate::reload::{ConfigReport, Live};
pub(super) use history::History;
use history::Tracks;
use requests::Shown;

const STYLE: &str = include_str!("console/console.css");
const SCRIPT: &str = include_str!("console/console.js");
const ICON: &str = include_str!("console/icon.svg");

/// Nothing but our own files; nothing inline; nobody frames it, and it sends nothing anywhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Clone)]
struct Console {
    live: Arc<Live>,
    history: Arc<History>,
}

pub(super) fn router(live: Arc<Live>, history: Arc<History>) -> Router {
    let asset = |media_type: &'static str, text: &'static str| {
        get(move || async move {
            let headers = [
                (CONTENT_TYPE, media_type),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (CACHE_CONTROL, "no-cache"),
            ];
            (headers, text)
        })
    };
    Router::new()
        .route("/console", get(page))
        .route(
            "/console/console.css",
            asset("text/css; charset=utf-8", STYLE),
        )
        .route(
            "/console/console.js",
            asset("text/javascript; charset=utf-8", SCRIPT),
        )
        .route("/console/icon.svg", asset("image/svg+xml", ICON))
        .with_state(Console { live, history })
}

/// What the sections show: one moment.
struct Moment {
    shared: Arc<Shared>,
    tracks: Tracks,
    readiness: Readiness,
    report: ConfigReport,
    shown: Shown,
}

async fn page(State(console): State<Console>, RawQuery(query): RawQuery) -> Response {
    let shared = console.live.shared();
    let moment = Moment {
        readiness: readiness(&shared),
        tracks: console.history.tracks(),
        report: console.live.report(),
        shown: Shown::from_query(query.as_deref()),
        shared,
    };
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)));
    (headers, moment.page()).into_response()
}

impl Moment {
    fn page(&self) -> String {
        let mut html = Html::default();
        let out = &mut html;
        html!(out,
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
            "<meta name=\"color-scheme\" content=\"light dark\">"
            "<title>" {self.shared.name} " · console</title>"
            "<link rel=\"stylesheet\" href=\"/console/console.css\">"
            "<link rel=\"icon\" href=\"/console/icon.svg\">"
            "<script src=\"/console/console.js\" defer></script>"
            // Without scripts the whole page is fetched again.
            "<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>"
            "</head><body><header><h1>" {self.shared.name} "</h1>"
        );
        overview::status(out, self);
        html!(out,
            "<p class=\"live\"><button type=\"button\" id=\"pause\" hidden aria-pressed=\"false\">Pause</button> "
            "<span id=\"updated\">" {Utc::now().format("%H:%M:%S UTC")} "</span></p></header><main>"
        );
        overview::section(out, self);
        upstreams::section(out, self);
        routes::section(out, self);
        requests::section(out, self);
        state::limits(out, self);
        state::cache(out, self);
        state::parts(out, self);
        state::readiness(out, self);
        state::configuration(out, self);
        state::threads(out, self);
        html!(out,
            "</main><footer>For programs: <a href=\"/ready\">/ready</a> <a href=\"/metrics\">/metrics</a> "
            "<a href=\"/routes\">/routes</a> <a href=\"/upstreams\">/upstreams</a> <a href=\"/config\">/config</a></footer></body></html>"
        );
        html.into_string()
    }
}

/// The class of a state, for its colour: good and ordinary states have none.
fn class(state: &str) -> &'static str {
    match state {
        "open" | "down" | "unavailable" | "failed" | "unready" | "failure" | "no" | "draining" => {
            "bad"
        }
        "half_open" | "stale" | "ejected" | "away" | "cancelled" => "warn",
        _ => "",
    }
}
