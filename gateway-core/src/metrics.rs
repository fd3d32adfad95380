//! The gateway's own figures: what is counted, as handles that are made once and held by what counts. How figures are
//! kept and shown is `metrics/*`; what a figure means to an operator is `docs/operations.md`.
//!
//! Labels are names of routes, upstreams and policies from the configuration and words from the code, never anything a
//! client sent: a gateway has as many series as its configuration gives it. What is new gets a line in
//! `metrics/family.rs` and a handle from the [`Registry`] when the configuration is put together.

mod cells;
mod family;
mod histogram;
mod process;
mod registry;
mod scrape;
#[cfg(test)]
mod tests;
mod text;
mod totals;
mod upstream;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeMetrics};
use tokio::time::Instant;

pub(crate) use cells::{Counter, Gauge, Level, enter_worker};
pub(crate) use histogram::{Buckets, Histogram};
pub(crate) use process::Status as ProcessStatus;
pub(crate) use registry::Registry;
pub(crate) use scrape::scrape;
pub(crate) use text::{Format, render};
pub(crate) use totals::{Counts, Totals};
pub(crate) use upstream::{ConnectMetrics, UpstreamMetrics};

/// The registry, and the handles of what there is once in a gateway. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    runtimes: Arc<Mutex<Vec<(String, RuntimeMetrics)>>>,
    /// Open connections of clients.
    pub(crate) connections: Level,
    /// Connections above the limit.
    pub(crate) refused: Counter,
    /// Certificates that could not be read again.
    pub(crate) certificate_faults: Counter,
    /// Requests that are being worked on, their bodies included.
    pub(crate) in_flight: Level,
    /// Requests that no route was found for.
    pub(crate) unmatched: Arc<RouteMetrics>,
    pub(crate) config: Arc<ConfigMetrics>,
}

impl Metrics {
    /// For so many worker threads.
    pub(crate) fn new(workers: usize) -> Self {
        let registry = Registry::new(workers);
        Self {
            runtimes: Arc::default(),
            connections: registry.level(&family::CONNECTIONS, &[]),
            refused: registry.counter(&family::REFUSED, &[]),
            certificate_faults: registry.counter(&family::CERTIFICATE_FAULTS, &[]),
            in_flight: registry.level(&family::IN_FLIGHT, &[]),
            unmatched: Arc::new(RouteMetrics::new(&registry, "unmatched")),
            config: Arc::new(ConfigMetrics::new(&registry)),
            registry,
        }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn route(&self, route: &'static str) -> RouteMetrics {
        RouteMetrics::new(&self.registry, route)
    }

    pub(crate) fn upstream(&self, upstream: &'static str) -> UpstreamMetrics {
        UpstreamMetrics::new(&self.registry, upstream)
    }

    pub(crate) fn limit(&self, policy: &str) -> LimitMetrics {
        let labels = &[("policy", policy)];
        let [allowed, denied] = self.registry.counters(
            &family::LIMIT_DECISIONS,
            labels,
            "outcome",
            ["allowed", "denied"],
        );
        LimitMetrics {
            allowed,
            denied,
            cost: self.registry.counter(&family::LIMIT_COST, labels),
        }
    }

    /// Only for a gateway that has such a store: an alert on the gauge must not see the others.
    pub(crate) fn limiter_store(&self) -> LimiterStoreMetrics {
        let [decided_by_store, decided_by_share] = self.registry.counters(
            &family::LIMITER_CHECKS,
            &[],
            "decided_by",
            ["store", "share"],
        );
        LimiterStoreMetrics {
            up: self.registry.gauge(&family::LIMITER_STORE_UP, &[]),
            decided_by_store,
            decided_by_share,
            duration: self.registry.histogram(&family::LIMITER_STORE_SECONDS, &[]),
        }
    }

    pub(crate) fn reads(&self) -> ReadMetrics {
        let from = ["store", "another_call", "upstream", "stale"];
        let [from_store, coalesced, from_upstream, stale] =
            self.registry
                .counters(&family::UPSTREAM_READS, &[], "from", from);
        ReadMetrics {
            from_store,
            coalesced,
            from_upstream,
            stale,
            purged_by_command: self.purges("command"),
            purged_by_operator: self.purges("operator"),
        }
    }

    fn purges(&self, by: &'static str) -> Counter {
        self.registry.counter(&family::CACHE_PURGES, &[("by", by)])
    }

    /// Only for a gateway that has a feed: an alert on the gauge must not see the others.
    pub(crate) fn feed(&self) -> FeedMetrics {
        FeedMetrics {
            up: self.registry.gauge(&family::FEED_UP, &[]),
            events: self.registry.counter(&family::FEED_EVENTS, &[]),
            losses: self.registry.counter(&family::FEED_LOSSES, &[]),
            purged: self.purges("event"),
        }
    }

    /// Only for a gateway in which browsers sign in.
    pub(crate) fn sessions(&self) -> SessionMetrics {
        let registry = &self.registry;
        let [logins_begun, logins, logins_failed] = registry.counters(
            &family::SESSION_LOGINS,
            &[],
            "outcome",
            ["begun", "success", "failure"],
        );
        let [refreshed, refresh_refused, refresh_failed] = registry.counters(
            &family::SESSION_REFRESHES,
            &[],
            "outcome",
            ["success", "refused", "failure"],
        );
        let by = ["person", "provider", "operator", "time", "room"];
        let [
            ended_by_person,
            ended_by_provider,
            ended_by_operator,
            ended_by_time,
            evicted,
        ] = registry.counters(&family::SESSION_ENDS, &[], "by", by);
        SessionMetrics {
            live: registry.gauge(&family::SESSIONS, &[]),
            logins_begun,
            logins,
            logins_failed,
            refreshed,
            refresh_refused,
            refresh_failed,
            ended_by_person,
            ended_by_provider,
            ended_by_operator,
            ended_by_time,
            evicted,
        }
    }

    /// Only for a gateway whose sessions replicas share: an alert on the gauge must not see the others.
    pub(crate) fn session_store_up(&self) -> Gauge {
        self.registry.gauge(&family::SESSION_STORE_UP, &[])
    }

    pub(crate) fn admission(&self) -> AdmissionMetrics {
        AdmissionMetrics {
            shed: self.registry.counter(&family::ADMISSION_SHED, &[]),
            waiting: self.registry.level(&family::ADMISSION_WAITING, &[]),
            wait: self
                .registry
                .histogram(&family::ADMISSION_WAIT_SECONDS, &[]),
        }
    }

    /// Only for a gateway that has one: an alert on the gauge must not see the others.
    pub(crate) fn second_level(&self) -> SecondLevelMetrics {
        let registry = &self.registry;
        let outcomes = ["hit", "miss", "barred", "away", "error"];
        let [hit, miss, barred, away, failed] =
            registry.counters(&family::SECOND_LEVEL_READS, &[], "outcome", outcomes);
        let outcomes = ["stored", "outrun", "crowded", "error"];
        let [stored, outrun, crowded, not_stored] =
            registry.counters(&family::SECOND_LEVEL_WRITES, &[], "outcome", outcomes);
        SecondLevelMetrics {
            up: registry.gauge(&family::SECOND_LEVEL_UP, &[]),
            hit,
            miss,
            barred,
            away,
            failed,
            duration: registry.histogram(&family::SECOND_LEVEL_SECONDS, &[]),
            stored,
            outrun,
            crowded,
            not_stored,
            purges_waiting: registry.gauge(&family::SECOND_LEVEL_PURGES, &[]),
        }
    }

    pub(crate) fn cache(&self) -> CacheMetrics {
        let [
            hit,
            second_level,
            stale,
            revalidated,
            expired,
            miss,
            collapsed,
            bypass,
        ] = self.registry.counters(
            &family::CACHE_REQUESTS,
            &[],
            "outcome",
            [
                "hit",
                "second_level",
                "stale",
                "revalidated",
                "expired",
                "miss",
                "collapsed",
                "bypass",
            ],
        );
        CacheMetrics {
            hit,
            second_level,
            stale,
            collapsed,
            revalidated,
            expired,
            miss,
            bypass,
            stored: self.registry.counter(&family::CACHE_STORED, &[]),
            evicted: self.registry.counter(&family::CACHE_EVICTED, &[]),
        }
    }

    pub(crate) fn token_lookups(&self) -> TokenMetrics {
        let [hit, miss] =
            self.registry
                .counters(&family::TOKEN_LOOKUPS, &[], "outcome", ["hit", "miss"]);
        TokenMetrics { hit, miss }
    }

    pub(crate) fn traces(&self) -> TraceMetrics {
        let [queue_full, failed] = self.registry.counters(
            &family::TRACE_SPANS_DROPPED,
            &[],
            "reason",
            ["queue_full", "export_failed"],
        );
        TraceMetrics {
            exported: self.registry.counter(&family::TRACE_SPANS_EXPORTED, &[]),
            queue_full,
            failed,
        }
    }

    /// From now on a scrape shows how busy this runtime is, under the name of its thread.
    pub(crate) fn watch_runtime(&self, thread: impl Into<String>, runtime: &Handle) {
        // A list that was grown is whole.
        self.runtimes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((thread.into(), runtime.metrics()));
    }

    pub(crate) fn runtimes(&self) -> Vec<RuntimeNow> {
        let runtimes = self.runtimes.lock().unwrap_or_else(PoisonError::into_inner);
        runtimes
            .iter()
            .map(|(thread, runtime)| RuntimeNow::read(thread, runtime))
            .collect()
    }
}

/// How a runtime is doing, by the name of its thread.
#[derive(Clone, Debug)]
pub(crate) struct RuntimeNow {
    pub(crate) thread: String,
    pub(crate) threads: usize,
    /// Since its start, of all its threads.
    pub(crate) busy: Duration,
    pub(crate) parks: u64,
    pub(crate) tasks: usize,
    pub(crate) queue: usize,
}

impl RuntimeNow {
    fn read(thread: &str, runtime: &RuntimeMetrics) -> Self {
        let threads = runtime.num_workers();
        Self {
            thread: thread.to_owned(),
            threads,
            busy: (0..threads)
                .map(|index| runtime.worker_total_busy_duration(index))
                .sum(),
            parks: (0..threads)
                .map(|index| runtime.worker_park_count(index))
                .sum(),
            tasks: runtime.num_alive_tasks(),
            queue: runtime.global_queue_depth(),
        }
    }
}

/// Handles for one route: requests by class of status, duration, bytes.
#[derive(Clone)]
pub(crate) struct RouteMetrics {
    by_class: [Counter; 5],
    duration: Histogram,
    bytes: Counter,
}

impl RouteMetrics {
    fn new(registry: &Registry, route: &str) -> Self {
        let labels = &[("route", route)];
        Self {
            by_class: registry.counters(
                &family::REQUESTS,
                labels,
                "class",
                ["1xx", "2xx", "3xx", "4xx", "5xx"],
            ),
            duration: registry.traced_histogram(&family::REQUEST_SECONDS, labels),
            bytes: registry.counter(&family::RESPONSE_BYTES, labels),
        }
    }

    /// A request that ended `now` and can be found by its trace.
    pub(crate) fn observe(
        &self,
        status: u16,
        took: Duration,
        bytes: u64,
        now: Instant,
        trace_id: u128,
    ) {
        self.count(status, bytes);
        self.duration.observe_traced(took, now, trace_id);
    }

    /// A request that was refused before it had a trace.
    pub(crate) fn observe_refused(&self, status: u16, bytes: u64) {
        self.count(status, bytes);
        self.duration.observe(Duration::ZERO);
    }

    fn count(&self, status: u16, bytes: u64) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.by_class[class].increment(1);
        self.bytes.increment(bytes);
    }
}

/// Handles for the export of traces, in spans.
pub(crate) struct TraceMetrics {
    pub(crate) exported: Counter,
    pub(crate) queue_full: Counter,
    pub(crate) failed: Counter,
}

/// Handles for one policy of rate limits.
#[derive(Clone)]
pub(crate) struct LimitMetrics {
    pub(crate) allowed: Counter,
    /// Requests that this limit was the one to deny.
    pub(crate) denied: Counter,
    /// What the allowed ones have taken.
    pub(crate) cost: Counter,
}

/// Handles for the store of rate limits that replicas share.
pub(crate) struct LimiterStoreMetrics {
    /// 1 while the store decides, 0 while this replica keeps to its share.
    pub(crate) up: Gauge,
    pub(crate) decided_by_store: Counter,
    pub(crate) decided_by_share: Counter,
    pub(crate) duration: Histogram,
}

/// Handles for the responses that replicas share.
pub(crate) struct SecondLevelMetrics {
    /// 1 while Redis is asked.
    pub(crate) up: Gauge,
    pub(crate) hit: Counter,
    pub(crate) miss: Counter,
    /// Not asked: Redis may not know of a purge yet.
    pub(crate) barred: Counter,
    /// Not asked: it does not answer.
    pub(crate) away: Counter,
    pub(crate) failed: Counter,
    pub(crate) duration: Histogram,
    pub(crate) stored: Counter,
    /// Another replica had asked later, and was faster.
    pub(crate) outrun: Counter,
    /// Too many were on their way.
    pub(crate) crowded: Counter,
    pub(crate) not_stored: Counter,
    /// Places that were purged, and of which Redis does not know yet.
    pub(crate) purges_waiting: Gauge,
}

/// Handles for where composed reads get their answers from, and what makes stored ones invalid.
pub(crate) struct ReadMetrics {
    pub(crate) from_store: Counter,
    pub(crate) coalesced: Counter,
    pub(crate) from_upstream: Counter,
    pub(crate) stale: Counter,
    pub(crate) purged_by_command: Counter,
    pub(crate) purged_by_operator: Counter,
}

/// Handles for the feed of change events.
pub(crate) struct FeedMetrics {
    /// 1 while changes are heard of as they happen.
    pub(crate) up: Gauge,
    pub(crate) events: Counter,
    /// How often everything tagged expired, because changes may have gone unheard.
    pub(crate) losses: Counter,
    pub(crate) purged: Counter,
}

/// Handles for the sessions of browsers.
pub(crate) struct SessionMetrics {
    pub(crate) live: Gauge,
    pub(crate) logins_begun: Counter,
    pub(crate) logins: Counter,
    pub(crate) logins_failed: Counter,
    pub(crate) refreshed: Counter,
    /// The provider does not renew them any more: the session has ended.
    pub(crate) refresh_refused: Counter,
    pub(crate) refresh_failed: Counter,
    pub(crate) ended_by_person: Counter,
    pub(crate) ended_by_provider: Counter,
    pub(crate) ended_by_operator: Counter,
    /// Not used, or at the end of their time.
    pub(crate) ended_by_time: Counter,
    /// To make room.
    pub(crate) evicted: Counter,
}

/// Handles for requests that find no place.
#[derive(Clone, Debug)]
pub(crate) struct AdmissionMetrics {
    pub(crate) shed: Counter,
    pub(crate) waiting: Level,
    pub(crate) wait: Histogram,
}

/// Handles for the memory of verified tokens.
#[derive(Clone)]
pub(crate) struct TokenMetrics {
    pub(crate) hit: Counter,
    pub(crate) miss: Counter,
}

/// Handles for the response cache: what it did for each request of a cached route.
#[derive(Clone)]
pub(crate) struct CacheMetrics {
    pub(crate) hit: Counter,
    /// From what replicas share.
    pub(crate) second_level: Counter,
    /// What was stored was too old and answered all the same: while it was asked for again, or because the service failed.
    pub(crate) stale: Counter,
    /// Another request's call brought the answer.
    pub(crate) collapsed: Counter,
    /// What was stored was too old, and still held when the service was asked.
    pub(crate) revalidated: Counter,
    /// What was stored was too old, and the service gave another answer.
    pub(crate) expired: Counter,
    pub(crate) miss: Counter,
    /// Requests that are not the cache's business.
    pub(crate) bypass: Counter,
    pub(crate) stored: Counter,
    /// To make room.
    pub(crate) evicted: Counter,
}

/// Handles for what became of the configuration files.
pub(crate) struct ConfigMetrics {
    applied: Counter,
    refused: Counter,
    last_success: Gauge,
    generation: Gauge,
}

impl ConfigMetrics {
    fn new(registry: &Registry) -> Self {
        let [applied, refused] = registry.counters(
            &family::CONFIG_RELOADS,
            &[],
            "outcome",
            ["success", "failure"],
        );
        let metrics = Self {
            applied,
            refused,
            last_success: registry.gauge(&family::CONFIG_LAST_RELOAD_SUCCESS, &[]),
            generation: registry.gauge(&family::CONFIG_GENERATION, &[]),
        };
        metrics.last_success.set(1.0);
        metrics.generation.set(1.0);
        metrics
    }

    /// The configuration `generation` has taken over.
    pub(crate) fn applied(&self, generation: u64) {
        self.applied.increment(1);
        self.last_success.set(1.0);
        self.generation.set(generation as f64);
    }

    pub(crate) fn refused(&self) {
        self.refused.increment(1);
        self.last_success.set(0.0);
    }
}
