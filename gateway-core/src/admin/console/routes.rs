//! The merged route table with what became of its requests.

use super::Moment;
use super::figures::{Rate, Took, chart};
use super::history::Track;
use crate::html::{Html, html};

pub(super) fn section(out: &mut Html, moment: &Moment) {
    let mut routes = moment.shared.table.summaries();
    // The busiest first: with a hundred routes that is what one looks for.
    let calls = |name: &str| {
        let track = moment.tracks.routes.get(name);
        track.map_or(0, |track| track.ticks().map(|tick| tick.all).sum::<u64>())
    };
    routes.sort_by_key(|route| std::cmp::Reverse(calls(route.name)));
    html!(out,
        "<section id=\"routes\" data-live><h2>Routes</h2><table class=\"cards\"><thead><tr>"
        "<th>Route</th><th>Path</th><th>Action</th><th>Access</th><th class=\"n\">a second</th><th class=\"n\">refused</th>"
        "<th class=\"n\">failed</th><th class=\"n\">median</th><th class=\"n\">p99</th><th class=\"n\">deadline</th><th>five minutes</th>"
        "</tr></thead><tbody>"
    );
    for route in routes {
        html!(out,
            "<tr><th scope=\"row\">" {route.name} "</th><td class=\"path\" data-label=\"Path\"><span class=\"method\">" {route.methods.join(" ")} "</span> " {route.path} "</td>"
            "<td data-label=\"Action\">" {route.action} "</td><td data-label=\"Access\" class=\"aside\">" {route.access} "</td>"
        );
        track(out, moment.tracks.routes.get(route.name), route.deadline_ms);
        html!(out, "</tr>");
    }
    html!(out, "</tbody></table></section>");
}

fn track(out: &mut Html, track: Option<&Track>, deadline_ms: u64) {
    let deadline = std::time::Duration::from_millis(deadline_ms);
    let Some(track) = track else {
        html!(out,
            "<td class=\"n\">–</td><td class=\"n\">–</td><td class=\"n\">–</td><td class=\"n\">–</td><td class=\"n\">–</td>"
            "<td class=\"n\" data-label=\"deadline\">" {Took(deadline)} "</td><td></td>"
        );
        return;
    };
    let rates = track.rates();
    let durations = track.durations();
    html!(out,
        "<td class=\"n\" data-label=\"a second\">" {Rate(rates.all)} "</td><td class=\"n\" data-label=\"refused\">" {Rate(rates.refused)} "</td>"
        "<td class=\"n " {if rates.failed > 0.0 { "bad" } else { "" }} "\" data-label=\"failed\">" {Rate(rates.failed)} "</td>"
    );
    match durations.quantile(0.5).zip(durations.quantile(0.99)) {
        Some((half, most)) => html!(out,
            "<td class=\"n\" data-label=\"median\">" {Took(half)} "</td>"
            // Nearly all of the time there is.
            "<td class=\"n " {if most >= deadline.mul_f64(0.8) { "warn" } else { "" }} "\" data-label=\"p99\">" {Took(most)} "</td>"
        ),
        None => html!(
            out,
            "<td class=\"n\" data-label=\"median\">–</td><td class=\"n\" data-label=\"p99\">–</td>"
        ),
    }
    html!(out, "<td class=\"n aside\" data-label=\"deadline\">" {Took(deadline)} "</td><td class=\"chart\">");
    chart(out, track);
    html!(out, "</td>");
}
