//! The services behind the gateway: breakers, endpoints, calls.

use super::Moment;
use super::figures::{Rate, Share, Took, chart};
use super::html::{Html, html};

pub(super) fn section(out: &mut Html, moment: &Moment) {
    html!(out,
        "<section id=\"upstreams\" data-live><h2>Upstreams</h2><table class=\"cards\"><thead><tr>"
        "<th>Service</th><th>Breaker</th><th>Endpoints</th><th class=\"n\">under way</th><th class=\"n\">a second</th>"
        "<th class=\"n\">failing</th><th class=\"n\">median</th><th class=\"n\">p99</th><th>five minutes</th></tr></thead><tbody>"
    );
    for (name, upstream) in &moment.shared.config.upstreams {
        html!(out,
            "<tr><th scope=\"row\">" {name} "</th><td data-label=\"Breaker\">–</td><td data-label=\"Endpoints\">" {&upstream.address} "</td><td class=\"n\">–</td>"
        );
        match moment.tracks.upstreams.get(name.as_str()) {
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
