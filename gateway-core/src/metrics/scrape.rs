//! Figures that nobody counts, for they can be asked for: read from the parts of a gateway when it is scraped.

use super::family;
use super::process;
use super::text::Scrape;
use crate::gateway::Shared;
use crate::telemetry;
use crate::upstream::EndpointStatus;

/// What is so at this moment.
pub(crate) fn scrape(shared: &Shared, ready: bool) -> Scrape {
    let mut scrape = Scrape::default();
    let out = &mut scrape;
    out.put(
        &family::BUILD,
        &[
            ("name", shared.name),
            ("version", env!("CARGO_PKG_VERSION")),
        ],
        1.0,
    );
    out.put(&family::READY, &[], if ready { 1.0 } else { 0.0 });
    let most = shared.config.server.max_connections;
    out.put(&family::CONNECTIONS_MAX, &[], most as f64);
    let places = shared.admission.places();
    out.put(&family::ADMISSION_PLACES, &[], places.number as f64);
    out.put(&family::ADMISSION_TAKEN, &[], places.taken as f64);
    if let Some(cache) = shared.cache.usage() {
        out.put(&family::CACHE_ENTRIES, &[], cache.entries as f64);
        out.put(&family::CACHE_BYTES, &[], cache.bytes as f64);
        out.put(&family::CACHE_MAX_BYTES, &[], cache.max_bytes as f64);
    }
    if let Some(lines) = telemetry::dropped_log_lines() {
        out.put(&family::LOG_LINES_DROPPED, &[], lines as f64);
    }
    let streams = shared.events.places();
    out.put(&family::STREAMS, &[], streams.open() as f64);
    out.put(&family::STREAMS_REFUSED, &[], streams.refused() as f64);
    out.put(&family::REVOCATIONS, &[], shared.revocations.len() as f64);
    // Only of a gateway that has such a store: an alert on it must not see the others.
    if let Some(store) = &shared.shared_revocations {
        let up = if store.is_up() { 1.0 } else { 0.0 };
        out.put(&family::REVOCATION_STORE_UP, &[], up);
    }
    upstreams(shared, out);
    key_sets(shared, out);
    runtimes(shared, out);
    process::put(out);
    scrape
}

fn upstreams(shared: &Shared, out: &mut Scrape) {
    for upstream in shared.upstreams.status() {
        let labels = &[("upstream", upstream.name)];
        let open = match upstream.breaker.state {
            "open" => 1.0,
            "half_open" => 0.5,
            _ => 0.0,
        };
        out.put(&family::UPSTREAM_BREAKER_OPEN, labels, open);
        let (in_flight, most) = (upstream.in_flight, upstream.max_in_flight);
        out.put(&family::UPSTREAM_IN_FLIGHT, labels, in_flight as f64);
        out.put(&family::UPSTREAM_IN_FLIGHT_MAX, labels, most as f64);
        for state in EndpointStatus::STATES {
            let labels = &[("upstream", upstream.name), ("state", state)];
            let count = upstream.endpoints.iter().filter(|e| e.state == state);
            out.put(&family::UPSTREAM_ENDPOINTS, labels, count.count() as f64);
        }
        let open: usize = upstream.endpoints.iter().map(|e| e.connections).sum();
        let idle: usize = upstream.endpoints.iter().map(|e| e.idle_connections).sum();
        for (state, count) in [("active", open.saturating_sub(idle)), ("idle", idle)] {
            let labels = &[("upstream", upstream.name), ("state", state)];
            out.put(&family::UPSTREAM_CONNECTIONS, labels, count as f64);
        }
    }
}

fn key_sets(shared: &Shared, out: &mut Scrape) {
    for issuer in shared.keys.readiness() {
        let labels = &[("issuer", issuer.issuer.as_str())];
        out.put(
            &family::KEY_SET_USABLE,
            labels,
            if issuer.usable { 1.0 } else { 0.0 },
        );
        out.put(&family::KEY_SET_KEYS, labels, issuer.keys as f64);
        if let Some(age) = issuer.age {
            out.put(&family::KEY_SET_AGE, labels, age.as_secs_f64());
        }
        for (outcome, count) in [("success", issuer.fetched), ("failure", issuer.failed)] {
            let labels = &[("issuer", issuer.issuer.as_str()), ("outcome", outcome)];
            out.put(&family::KEY_SET_FETCHES, labels, count as f64);
        }
    }
}

fn runtimes(shared: &Shared, out: &mut Scrape) {
    for runtime in shared.metrics.runtimes() {
        let labels = &[("thread", runtime.thread.as_str())];
        out.put(&family::RUNTIME_THREADS, labels, runtime.threads as f64);
        out.put(&family::RUNTIME_TASKS, labels, runtime.tasks as f64);
        out.put(&family::RUNTIME_QUEUE, labels, runtime.queue as f64);
        out.put(&family::RUNTIME_BUSY, labels, runtime.busy.as_secs_f64());
        out.put(&family::RUNTIME_PARKS, labels, runtime.parks as f64);
    }
}
