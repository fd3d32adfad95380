//! The last requests with their waterfalls: the parts of a composition and every attempt to call a service, as bars on
//! the request's own time.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::figures::{Bytes, Took};
use super::{Moment, class};
use crate::finished::FinishedRequest;
use crate::html::{Html, html};
use crate::waterfall::{CallSource, CallTarget, CompositionPart, UpstreamCall};

/// How many are shown.
const SHOWN: usize = 25;
/// The width of a waterfall in its own units.
const WIDTH: f64 = 1000.0;

/// Which requests are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Latest,
    /// Those that were slow or failed.
    Notable,
}

impl Shown {
    pub(super) fn from_query(query: Option<&str>) -> Self {
        match query {
            Some("requests=notable") => Self::Notable,
            _ => Self::Latest,
        }
    }
}

pub(super) fn section(out: &mut Html, moment: &Moment) {
    let link = |out: &mut Html, shown: Shown, text: &'static str| {
        let href = match shown {
            Shown::Latest => "/console",
            Shown::Notable => "/console?requests=notable",
        };
        let current = if moment.shown == shown {
            "true"
        } else {
            "false"
        };
        html!(out, "<a href=\"" {href} "\" aria-current=\"" {current} "\">" {text} "</a> ");
    };
    html!(
        out,
        "<section id=\"requests\" data-live><h2>Recent requests</h2><nav>"
    );
    link(out, Shown::Latest, "latest");
    link(out, Shown::Notable, "slow or failed");
    html!(out, "</nav>");
    let mut requests = moment.shared.recent.latest();
    requests.retain(|request| moment.shown == Shown::Latest || request.is_notable());
    requests.truncate(SHOWN);
    if requests.is_empty() {
        html!(out, "<p class=\"none\">None yet.</p>");
    }
    for finished in &requests {
        request(out, finished);
    }
    html!(out, "</section>");
}

fn request(out: &mut Html, request: &FinishedRequest) {
    let at: DateTime<Utc> = request.arrived_at().into();
    let route = request
        .route
        .as_ref()
        .map_or("unmatched", |route| route.name);
    // An answer with a part missing is good, and worth a look.
    let whole = |part: &CompositionPart| part.outcome.as_str() == "ok";
    let status = match request.status {
        500.. => "bad",
        499 => "warn",
        ..400 if !request.waterfall.parts.iter().all(whole) => "warn",
        _ => "",
    };
    html!(out,
        "<details id=\"r-" {request.request_id.as_str()} "\"><summary>"
        "<time datetime=\"" {at.format("%FT%T%.3fZ")} "\">" {at.format("%T")} "</time>"
        "<span class=\"pill " {status} "\">" {request.status} "</span>"
        "<span class=\"what\"><b>" {route} "</b> <span class=\"method\">" {&request.method} "</span> " {&request.path} "</span>"
        "<span class=\"n\">" {Took(request.took)} "</span>"
    );
    overview(out, request);
    html!(out, "</summary><dl><dt>Request</dt><dd>" {request.request_id.as_str()} "</dd><dt>Trace</dt><dd>" {request.trace.trace_id()} "</dd>"
        "<dt>Caller</dt><dd>" {request.principal.unwrap_or("unknown")} "</dd><dt>Sent</dt><dd>" {Bytes(request.bytes as f64)}
        {if request.complete { "" } else { ", not all of it" }} "</dd>"
    );
    if let Some(fault) = &request.fault {
        html!(out, "<dt>At fault</dt><dd class=\"bad\">" {fault.source.as_str()} " " {fault.upstream.unwrap_or_default()} "</dd>");
    }
    html!(out, "</dl>");
    steps(out, request);
    html!(out, "</details>");
}

/// All calls in a few lines: enough to see what took the time.
fn overview(out: &mut Html, request: &FinishedRequest) {
    const LANES: usize = 6;
    html!(out,
        "<svg class=\"fall\" viewBox=\"0 0 1000 24\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
        "<rect class=\"track\" width=\"1000\" height=\"24\"/>"
    );
    let mut calls: Vec<&UpstreamCall> = request.waterfall.calls.iter().collect();
    calls.sort_by_key(|call| call.started);
    for (index, call) in calls.into_iter().enumerate() {
        let (left, width) = place(call.started, call.took, request.took);
        html!(out,
            "<rect class=\"" {call_class(call)} "\" x=\"" {left} "\" y=\"" {index % LANES * 4} "\" width=\"" {width} "\" height=\"3\"/>"
        );
    }
    html!(out, "</svg>");
}

/// Each part with the calls made for it, then the calls that were made for no part.
fn steps(out: &mut Html, request: &FinishedRequest) {
    let waterfall = &request.waterfall;
    if waterfall.parts.is_empty() && waterfall.calls.is_empty() {
        html!(out, "<p class=\"none\">No service was called.</p>");
        return;
    }
    html!(out,
        "<table class=\"steps\"><thead><tr><th>Step</th><th>from 0 to " {Took(request.took)} "</th><th class=\"n\">after</th><th class=\"n\">took</th><th>outcome</th></tr></thead><tbody>"
    );
    let mut parts: Vec<&CompositionPart> = waterfall.parts.iter().collect();
    parts.sort_by_key(|part| part.started);
    let mut calls: Vec<&UpstreamCall> = waterfall.calls.iter().collect();
    calls.sort_by_key(|call| call.started);
    for part in parts {
        part_step(out, part, request.took);
        calls.retain(|call| {
            let own = call.part == part.name;
            if own {
                call_step(out, call, request.took);
            }
            !own
        });
    }
    for call in calls {
        call_step(out, call, request.took);
    }
    html!(out, "</tbody></table>");
    if waterfall.omitted > 0 {
        html!(out, "<p class=\"aside\">" {waterfall.omitted} " more steps were not recorded.</p>");
    }
}

fn part_step(out: &mut Html, part: &CompositionPart, whole: Duration) {
    let outcome = part.outcome.as_str();
    html!(out,
        "<tr class=\"part\"><th scope=\"row\">" {part.name} {if part.required { "" } else { " (optional)" }} "</th><td>"
    );
    bar(out, "part", part.started, part.took, None, whole);
    html!(out,
        "</td><td class=\"n\">" {Took(part.started)} "</td><td class=\"n\">" {Took(part.took)} "</td><td class=\"" {class(outcome)} "\">" {outcome}
        {part.outcome.reason().map(|reason| format!(": {reason}")).unwrap_or_default()} "</td></tr>"
    );
}

fn call_step(out: &mut Html, call: &UpstreamCall, whole: Duration) {
    html!(out, "<tr class=\"call\"><th scope=\"row\">→ " {call.upstream} " <span class=\"aside\">");
    match &call.target {
        CallTarget::Http { method, template } => {
            html!(out, {method} " " {template.unwrap_or_default()});
        }
        CallTarget::Grpc { method } => {
            html!(out, { *method });
        }
    }
    if call.attempt > 1 {
        html!(out, " attempt " {call.attempt});
    }
    html!(out, "</span></th><td>");
    bar(
        out,
        call_class(call),
        call.started,
        call.took,
        call.first_byte,
        whole,
    );
    html!(out,
        "</td><td class=\"n\">" {Took(call.started)} "</td><td class=\"n\">" {Took(call.took)} "</td><td class=\"" {call_class(call)} "\">" {call.outcome}
    );
    if let Some(status) = call.status {
        html!(out, " " {status});
    }
    if call.source != CallSource::Upstream {
        html!(out, " (" {call.source.as_str()} ")");
    }
    html!(out, "</td></tr>");
}

/// Pale while the answer is waited for, full while it is read.
fn bar(
    out: &mut Html,
    class: &'static str,
    started: Duration,
    took: Duration,
    first_byte: Option<Duration>,
    whole: Duration,
) {
    let (left, width) = place(started, took, whole);
    html!(out,
        "<svg class=\"bar\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"track\" width=\"1000\" height=\"10\"/>"
        "<rect class=\"" {class} "\" x=\"" {left} "\" width=\"" {width} "\" height=\"10\"/>"
    );
    if let Some(first_byte) = first_byte {
        let (left, width) = place(started + first_byte, took.saturating_sub(first_byte), whole);
        html!(out, "<rect class=\"reading\" x=\"" {left} "\" width=\"" {width} "\" height=\"10\"/>");
    }
    html!(out, "</svg>");
}

/// Where a bar begins and how wide it is: always within the picture, and always to be seen.
fn place(started: Duration, took: Duration, whole: Duration) -> (String, String) {
    const LEAST: f64 = 4.0;
    let scale = WIDTH / whole.as_secs_f64().max(1e-6);
    let left = (started.as_secs_f64() * scale).clamp(0.0, WIDTH - LEAST);
    let width = (took.as_secs_f64() * scale).clamp(LEAST, WIDTH - left);
    (format!("{left:.1}"), format!("{width:.1}"))
}

fn call_class(call: &UpstreamCall) -> &'static str {
    match call.outcome {
        "ok" | "client" | "not_found" | "refused" => "all",
        "cancelled" => "warn",
        _ => "bad",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stay_within_the_picture() {
        let ms = Duration::from_millis;
        assert_eq!(
            place(ms(0), ms(10), ms(10)),
            ("0.0".into(), "1000.0".into())
        );
        assert_eq!(
            place(ms(5), ms(5), ms(10)),
            ("500.0".into(), "500.0".into())
        );
        // A command that outlived its request, a call of no time, a request of no time.
        assert_eq!(
            place(ms(8), ms(50), ms(10)),
            ("800.0".into(), "200.0".into())
        );
        assert_eq!(place(ms(20), ms(0), ms(10)), ("996.0".into(), "4.0".into()));
        assert_eq!(place(ms(0), ms(0), ms(0)), ("0.0".into(), "4.0".into()));
    }
}
