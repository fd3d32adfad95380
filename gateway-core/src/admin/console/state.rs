//! The quieter half of the page: limits, cache, readiness, configuration, threads.

use std::time::Duration;

use super::figures::{Bytes, Count, Rate, Share, meter};
use super::{Moment, class};
use crate::config::RateLimitKey;
use crate::html::{Html, html};

pub(super) fn limits(out: &mut Html, moment: &Moment) {
    let shared = &moment.shared;
    html!(
        out,
        "<section id=\"limits\" data-live><h2>Rate limits</h2><p>"
    );
    match &shared.limiter_store {
        None => html!(out, "This process counts for itself."),
        Some(store) => {
            let readiness = store.readiness();
            let state = if readiness.up { "shared" } else { "away" };
            html!(out, "<span class=\"pill " {class(state)} "\">" {state} "</span> " {readiness.detail});
        }
    }
    html!(out,
        "</p><table class=\"cards\"><thead><tr><th>Policy</th><th>for each</th><th class=\"n\">allows</th><th class=\"n\">asked a second</th>"
        "<th class=\"n\">denied a second</th><th class=\"n\">denied since the start</th></tr></thead><tbody>"
    );
    for (name, limit) in &shared.config.rate_limits {
        let key = match limit.key {
            RateLimitKey::Address => "address",
            RateLimitKey::Principal => "principal",
            RateLimitKey::ApiKey => "API key",
            RateLimitKey::Route => "route",
        };
        let rates = moment
            .tracks
            .policies
            .get(name.as_str())
            .map(super::history::Track::rates);
        let rates = rates.unwrap_or_default();
        let denied = shared.metrics.limit(name).denied.value();
        html!(out,
            "<tr><th scope=\"row\">" {name} "</th><td data-label=\"for each\">" {key} "</td>"
            "<td class=\"n\" data-label=\"allows\">" {Count(limit.requests.into())} " / " {window(limit.window)} " <span class=\"aside\">burst " {Count(limit.burst.into())} "</span></td>"
            "<td class=\"n\" data-label=\"asked a second\">" {Rate(rates.all)} "</td>"
            "<td class=\"n " {if rates.refused > 0.0 { "warn" } else { "" }} "\" data-label=\"denied a second\">" {Rate(rates.refused)} "</td>"
            "<td class=\"n\" data-label=\"denied since the start\">" {Count(denied)} "</td></tr>"
        );
    }
    html!(out, "</tbody></table></section>");
}

fn window(window: Duration) -> String {
    match window.as_secs() {
        1 => "s".to_owned(),
        60 => "min".to_owned(),
        3600 => "h".to_owned(),
        86_400 => "day".to_owned(),
        _ => format!("{window:?}"),
    }
}

pub(super) fn cache(out: &mut Html, moment: &Moment) {
    let Some(usage) = moment.shared.cache.usage() else {
        return;
    };
    let counters = moment.shared.metrics.cache();
    let [hit, found, revalidated, expired, miss, bypass] = [
        &counters.hit,
        &counters.second_level,
        &counters.revalidated,
        &counters.expired,
        &counters.miss,
        &counters.bypass,
    ]
    .map(crate::metrics::Counter::value);
    let asked = hit + found + revalidated + expired + miss;
    let from_here = (hit + found + revalidated) as f64 / asked.max(1) as f64;
    html!(out,
        "<section id=\"cache\" data-live class=\"half\"><h2>Response cache</h2><p>"
        "<b>" {Share(from_here)} "</b> of " {Count(asked)} " requests since the start were answered from it.</p>"
    );
    meter(out, usage.bytes as f64 / usage.max_bytes.max(1) as f64);
    html!(out,
        "<p class=\"aside\">" {Bytes(usage.bytes as f64)} " of " {Bytes(usage.max_bytes as f64)} ", " {Count(usage.entries)} " resources</p>"
        "<dl><dt>Hits</dt><dd>" {Count(hit)} "</dd><dt>Revalidated</dt><dd>" {Count(revalidated)} "</dd><dt>Expired</dt><dd>" {Count(expired)} "</dd>"
        "<dt>Misses</dt><dd>" {Count(miss)} "</dd><dt>Passed by</dt><dd>" {Count(bypass)} "</dd><dt>Stored</dt><dd>" {Count(counters.stored.value())} "</dd>"
        "<dt>Evicted</dt><dd>" {Count(counters.evicted.value())} "</dd>"
    );
    if let Some(second) = moment.shared.reads.tags.second_level() {
        let (up, detail) = second.readiness();
        let state = if up { "shared" } else { "away" };
        html!(out,
            "<dt>From other replicas</dt><dd>" {Count(found)} "</dd>"
            "<dt>Second level</dt><dd><span class=\"pill " {class(state)} "\">" {state} "</span> " {detail} "</dd>"
        );
    }
    html!(out, "</dl></section>");
}

/// What composed routes have read, and where it came from.
pub(super) fn parts(out: &mut Html, moment: &Moment) {
    let reads = moment.shared.metrics.reads();
    let [store, another, upstream, stale] = [
        &reads.from_store,
        &reads.coalesced,
        &reads.from_upstream,
        &reads.stale,
    ]
    .map(crate::metrics::Counter::value);
    let asked = store + another + upstream + stale;
    if asked == 0 {
        return;
    }
    let spared = (asked - upstream) as f64 / asked as f64;
    html!(out,
        "<section id=\"parts\" data-live class=\"half\"><h2>Parts of composed answers</h2><p>"
        "<b>" {Share(spared)} "</b> of " {Count(asked)} " reads since the start needed no call of their own.</p>"
        "<dl><dt>Stored</dt><dd>" {Count(store)} "</dd><dt>Another call</dt><dd>" {Count(another)} "</dd><dt>Service</dt><dd>" {Count(upstream)} "</dd>"
        "<dt>Stale</dt><dd class=\"" {if stale > 0 { "warn" } else { "" }} "\">" {Count(stale)} "</dd>"
        "<dt>Tags purged by commands</dt><dd>" {Count(reads.purged_by_command.value())} "</dd>"
        "<dt>by operators</dt><dd>" {Count(reads.purged_by_operator.value())} "</dd>"
    );
    if let Some(feed) = &moment.shared.feed {
        let readiness = feed.readiness();
        let state = if readiness.up { "heard" } else { "away" };
        html!(out, "<dt>Events</dt><dd><span class=\"pill " {class(state)} "\">" {state} "</span> " {readiness.detail} "</dd>");
    }
    html!(out, "</dl></section>");
}

pub(super) fn readiness(out: &mut Html, moment: &Moment) {
    html!(
        out,
        "<section id=\"readiness\" data-live class=\"half\"><h2>Readiness</h2><table><tbody>"
    );
    for check in &moment.readiness.checks {
        let state = if check.ok { "yes" } else { "no" };
        html!(out,
            "<tr><th scope=\"row\">" {&check.name} "</th><td class=\"" {class(state)} "\">" {state} "</td><td class=\"aside\">" {check.detail.as_deref().unwrap_or_default()} "</td></tr>"
        );
    }
    html!(out, "</tbody></table></section>");
}

pub(super) fn configuration(out: &mut Html, moment: &Moment) {
    let report = &moment.report;
    html!(out,
        "<section id=\"configuration\" data-live class=\"half\"><h2>Configuration</h2><dl><dt>Generation</dt><dd>" {report.generation} ", since " {&report.since} "</dd><dt>Files</dt><dd>"
    );
    for file in &report.files {
        html!(out, "<div>" {file.display()} "</div>");
    }
    html!(out, "</dd><dt>Last reload</dt><dd>");
    match &report.last_reload {
        None => html!(out, "none yet"),
        Some(last) => html!(out,
            "<span class=\"" {class(last.outcome)} "\">" {last.outcome} "</span> at " {&last.at}
        ),
    }
    html!(out, "</dd></dl>");
    let faults = report.last_reload.iter().flat_map(|last| &last.faults);
    list(out, "Faults", "bad", faults);
    let restart = report.needs_restart.iter().map(|change| &change.key);
    list(out, "Changed, and only read at a start", "warn", restart);
    list(out, "Warnings", "", &report.warnings);
    html!(out, "</section>");
}

fn list(
    out: &mut Html,
    title: &'static str,
    class: &'static str,
    items: impl IntoIterator<Item = impl std::fmt::Display>,
) {
    let mut items = items.into_iter().peekable();
    if items.peek().is_none() {
        return;
    }
    html!(out, "<h3 class=\"" {class} "\">" {title} "</h3><ul>");
    for item in items {
        html!(out, "<li>" {item} "</li>");
    }
    html!(out, "</ul>");
}

pub(super) fn threads(out: &mut Html, moment: &Moment) {
    html!(
        out,
        "<section id=\"threads\" data-live class=\"half\"><h2>Threads</h2><table><thead><tr><th>Thread</th><th>busy lately</th><th class=\"n\"></th><th class=\"n\">tasks</th></tr></thead><tbody>"
    );
    for thread in &moment.tracks.threads {
        html!(out, "<tr><th scope=\"row\">" {&thread.runtime.thread} "</th><td class=\"meter\">");
        meter(out, thread.busy);
        html!(out, "</td><td class=\"n\">" {Share(thread.busy)} "</td><td class=\"n\">" {thread.runtime.tasks} "</td></tr>");
    }
    html!(out, "</tbody></table></section>");
}
