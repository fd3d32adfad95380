//! The services behind the gateway: breakers, endpoints, calls.

use std::time::Duration;

use super::figures::{Rate, Share, Took, chart};
use super::{Moment, class};
use crate::html::{Html, html};
use crate::upstream::UpstreamStatus;

pub(super) fn section(out: &mut Html, moment: &Moment) {
    html!(out,
        "<section id=\"upstreams\" data-live><h2>Upstreams</h2><table class=\"cards\"><thead><tr>"
        "<th>Service</th><th>Breaker</th><th>Endpoints</th><th class=\"n\">under way</th><th class=\"n\">a second</th>"
        "<th class=\"n\">failing</th><th class=\"n\">median</th><th class=\"n\">p99</th><th>five minutes</th></tr></thead><tbody>"
    );
    for upstream in moment.shared.upstreams.status() {
        let state = upstream.breaker.state;
        html!(out,
            "<tr><th scope=\"row\">" {upstream.name} "</th><td data-label=\"Breaker\" class=\"" {class(state)} "\">" {state.replace('_', "-")}
        );
        match upstream.breaker.open_for {
            Some(open_for) if open_for > 0.0 => {
                html!(out, " for " {Took(Duration::from_secs_f64(open_for))} " more");
            }
            Some(_) => html!(out, ", the next call probes"),
            None => {}
        }
        html!(out, "</td><td data-label=\"Endpoints\">");
        endpoints(out, &upstream);
        html!(out,
            "</td><td class=\"n\" data-label=\"under way\">" {upstream.in_flight} " <span class=\"aside\">of " {upstream.max_in_flight} "</span></td>"
        );
        match moment.tracks.upstreams.get(upstream.name) {
            Some(track) => {
                let rates = track.rates();
                let durations = track.durations();
                let class = match rates.failing() {
                    0.05.. => "bad",
                    share if share > 0.0 => "warn",
                    _ => "",
                };
                html!(out,
                    "<td class=\"n\" data-label=\"a second\">" {Rate(rates.all)} "</td>"
                    "<td class=\"n " {class} "\" data-label=\"failing\">" {Share(rates.failing())} "</td>"
                );
                match durations.quantile(0.5).zip(durations.quantile(0.99)) {
                    Some((half, most)) => html!(out,
                        "<td class=\"n\" data-label=\"median\">" {Took(half)} "</td><td class=\"n\" data-label=\"p99\">" {Took(most)} "</td>"
                    ),
                    None => html!(
                        out,
                        "<td class=\"n\" data-label=\"median\">–</td><td class=\"n\" data-label=\"p99\">–</td>"
                    ),
                }
                html!(out, "<td class=\"chart\">");
                chart(out, track);
                html!(out, "</td></tr>");
            }
            None => html!(
                out,
                "<td class=\"n\">–</td><td class=\"n\">–</td><td class=\"n\">–</td><td class=\"n\">–</td><td></td></tr>"
            ),
        }
    }
    html!(out, "</tbody></table></section>");
}

/// One line for each, for there are few.
fn endpoints(out: &mut Html, upstream: &UpstreamStatus) {
    for endpoint in &upstream.endpoints {
        html!(out, "<div>" {&endpoint.address} " ");
        if endpoint.state != "healthy" {
            html!(out, "<span class=\"" {class(endpoint.state)} "\">" {endpoint.state} "</span> ");
        }
        html!(out,
            "<span class=\"aside\">" {endpoint.connections} " open, " {endpoint.idle_connections} " idle</span></div>"
        );
    }
    if upstream.endpoints.is_empty() {
        html!(out, "<span class=\"bad\">none is known</span>");
    }
}
