//! The head of the page: is it well, how much is there to do, how full is it.

use std::time::Duration;

use super::figures::{Ago, Bytes, Count, Rate, Share, Took, chart, meter};
use super::{Moment, class};
use crate::html::{Html, html};
use crate::metrics::ProcessStatus;

/// Beside the gateway's name.
pub(super) fn status(out: &mut Html, moment: &Moment) {
    let state = moment.readiness.status;
    html!(out,
        "<p class=\"state\" id=\"state\" data-live><span class=\"pill " {class(state)} "\">" {state} "</span> "
        "<span>configuration " {moment.report.generation} "</span> "
    );
    if let Some(process) = ProcessStatus::read() {
        html!(out, "<span>up " {Ago(process.age())} "</span> ");
    }
    html!(out, "<span>version " {env!("CARGO_PKG_VERSION")} "</span></p>");
}

pub(super) fn section(out: &mut Html, moment: &Moment) {
    let shared = &moment.shared;
    html!(
        out,
        "<section id=\"overview\" data-live class=\"tiles\" aria-label=\"At a glance\">"
    );
    if let Some(track) = &moment.tracks.all {
        let rates = track.rates();
        let durations = track.durations();
        html!(out, "<div class=\"tile wide\"><h3>Requests</h3><p><b>" {Rate(rates.all)} "</b> a second</p>");
        chart(out, track);
        html!(out, "</div>");
        let class = match rates.failing() {
            0.01.. => "bad",
            0.001..0.01 => "warn",
            _ => "",
        };
        html!(out,
            "<div class=\"tile\"><h3>Failing</h3><p class=\"" {class} "\"><b>" {Share(rates.failing())} "</b></p>"
            "<p class=\"aside\">refused " {Share(if rates.all > 0.0 { rates.refused / rates.all } else { 0.0 })} "</p></div>"
            "<div class=\"tile\"><h3>Median time</h3><p>"
        );
        match durations.quantile(0.5).zip(durations.quantile(0.99)) {
            Some((half, most)) => html!(out,
                "<b>" {Took(half)} "</b></p><p class=\"aside\">p99 " {Took(most)} "</p></div>"
            ),
            None => html!(
                out,
                "<b>–</b></p><p class=\"aside\">no requests lately</p></div>"
            ),
        }
    }
    let places = shared.admission.places();
    let share = places.taken as f64 / places.number.max(1) as f64;
    html!(out,
        "<div class=\"tile\"><h3>Under way</h3><p><b>" {Count(places.taken as u64)} "</b> of " {Count(places.number as u64)} "</p>"
    );
    meter(out, share);
    let shed = shared.metrics.admission().shed.value();
    html!(out, "<p class=\"aside " {if shed > 0 { "warn" } else { "" }} "\">" {Count(shed)} " shed</p></div>");

    let open = u64::try_from(shared.metrics.connections.value()).unwrap_or(0);
    let most = shared.config.server.max_connections as u64;
    let refused = shared.metrics.refused.value();
    html!(out,
        "<div class=\"tile\"><h3>Connections</h3><p><b>" {Count(open)} "</b> of " {Count(most)} "</p>"
    );
    meter(out, open as f64 / most.max(1) as f64);
    html!(out, "<p class=\"aside " {if refused > 0 { "warn" } else { "" }} "\">" {Count(refused)} " refused</p></div>");

    if let Some(process) = ProcessStatus::read() {
        html!(out,
            "<div class=\"tile\"><h3>Process</h3><p><b>" {Bytes(process.resident_bytes)} "</b></p>"
            "<p class=\"aside\">CPU " {Ago(Duration::from_secs_f64(process.cpu_seconds))} " so far</p></div>"
        );
    }
    html!(out, "</section>");
}
