//! Figures that nobody counts, for they can be asked for: read from the parts of a gateway when it is scraped.

use super::family;
use super::process;
use super::text::Scrape;
use crate::gateway::Shared;
use crate::telemetry;

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
    out.put(&family::REVOCATIONS, &[], shared.revocations.len() as f64);
    // Only of a gateway that has such a store: an alert on it must not see the others.
    if let Some(store) = &shared.shared_revocations {
        let up = if store.is_up() { 1.0 } else { 0.0 };
        out.put(&family::REVOCATION_STORE_UP, &[], up);
    }
    key_sets(shared, out);
    runtimes(shared, out);
    process::put(out);
    scrape
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
    for (thread, runtime) in shared.metrics.runtimes() {
        let labels = &[("thread", thread.as_str())];
        let workers = runtime.num_workers();
        let busy: f64 = (0..workers)
            .map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64())
            .sum();
        let parks: u64 = (0..workers)
            .map(|worker| runtime.worker_park_count(worker))
            .sum();
        out.put(&family::RUNTIME_THREADS, labels, workers as f64);
        out.put(
            &family::RUNTIME_TASKS,
            labels,
            runtime.num_alive_tasks() as f64,
        );
        out.put(
            &family::RUNTIME_QUEUE,
            labels,
            runtime.global_queue_depth() as f64,
        );
        out.put(&family::RUNTIME_BUSY, labels, busy);
        out.put(&family::RUNTIME_PARKS, labels, parks as f64);
    }
}
