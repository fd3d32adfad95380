//! The feed of change events: which upstream has it, and how silent it may be.
//! What is heard there is `events.rs`'s.

use std::collections::BTreeMap;
use std::time::Duration;

use http::uri::PathAndQuery;

use super::check::Check;
use crate::config::fault::suggest;
use crate::config::raw::{RawEvents, child};
use crate::config::{EventsConfig, UpstreamConfig, UpstreamProtocol};

/// A loss is to be noticed while somebody still cares.
const MAX_HEARTBEAT: Duration = Duration::from_mins(5);

pub(super) fn events(
    raw: RawEvents,
    upstreams: &BTreeMap<String, UpstreamConfig>,
    check: &mut Check<'_>,
) -> EventsConfig {
    let at = "events.upstream";
    let upstream = check.required(raw.upstream, at);
    match upstreams.get(&upstream) {
        None if upstream.is_empty() || check.faults.explains(&child("upstreams", &upstream)) => {}
        None => {
            let hint = suggest(&upstream, upstreams.keys().map(String::as_str));
            check.fault(at, format!("no upstream is named `{upstream}`; {hint}"));
        }
        Some(known) => check.that(known.protocol == UpstreamProtocol::Http1, at, || {
            format!("`{upstream}` has another protocol, and events come over http1")
        }),
    }
    let path = PathAndQuery::try_from(raw.path.as_str()).ok();
    check.that(
        path.is_some() && raw.path.starts_with('/'),
        "events.path",
        || format!("`{}` is not a path", raw.path),
    );
    let heartbeat = check.positive(raw.heartbeat, "events.heartbeat");
    check.that(heartbeat <= MAX_HEARTBEAT, "events.heartbeat", || {
        "has to be at most 5m".to_owned()
    });
    EventsConfig {
        upstream,
        path: path.unwrap_or(PathAndQuery::from_static("/")),
        heartbeat,
        max_subscribers: check.at_least_one(raw.max_subscribers, "events.max_subscribers"),
    }
}
