//! The gateway's own metrics: a registry per gateway, handles that are made once and held. Labels are names of routes and
//! upstreams from the configuration, never anything a client sent.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{
    BuildError, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

const REQUESTS: &str = "gateway_requests_total";
const REQUEST_SECONDS: &str = "gateway_request_duration_seconds";
const RESPONSE_BYTES: &str = "gateway_response_bytes_total";
const UPSTREAM_CALLS: &str = "gateway_upstream_calls_total";
const UPSTREAM_SECONDS: &str = "gateway_upstream_duration_seconds";
const CONNECTIONS: &str = "gateway_connections";
const REFUSED: &str = "gateway_connections_refused_total";
const CERTIFICATE_FAULTS: &str = "gateway_certificate_reload_failures_total";
const IN_FLIGHT: &str = "gateway_requests_in_flight";
const CONFIG_RELOADS: &str = "gateway_config_reloads_total";
const CONFIG_LAST_RELOAD_SUCCESS: &str = "gateway_config_last_reload_success";
const CONFIG_GENERATION: &str = "gateway_config_generation";
const LIMITER_STORE_UP: &str = "gateway_rate_limit_store_up";
const LIMITER_CHECKS: &str = "gateway_rate_limit_checks_total";
const READS: &str = "gateway_upstream_reads_total";
const PURGES: &str = "gateway_cache_tags_purged_total";
const FEED_UP: &str = "gateway_event_feed_up";
const FEED_EVENTS: &str = "gateway_event_feed_events_total";
const FEED_LOSSES: &str = "gateway_event_feed_losses_total";

/// Bucket bounds of durations, in seconds: from a cache hit to the longest deadline.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

static METADATA: Metadata<'static> = Metadata::new("gateway", Level::INFO, None);

/// The registry. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    /// Open connections of clients.
    pub(crate) connections: Gauge,
    /// Connections above the limit.
    pub(crate) refused: Counter,
    /// Certificates that could not be read again.
    pub(crate) certificate_faults: Counter,
    /// Requests that are being worked on, their bodies included.
    pub(crate) in_flight: Gauge,
    /// Requests that no route was found for.
    pub(crate) unmatched: Arc<RouteMetrics>,
    pub(crate) config: Arc<ConfigMetrics>,
}

/// Handles for what became of the configuration files.
pub(crate) struct ConfigMetrics {
    applied: Counter,
    refused: Counter,
    last_success: Gauge,
    generation: Gauge,
}

impl ConfigMetrics {
    fn register(recorder: &PrometheusRecorder) -> Self {
        recorder.describe_counter(
            CONFIG_RELOADS.into(),
            Some(Unit::Count),
            "Reloads of the configuration by outcome.".into(),
        );
        recorder.describe_gauge(
            CONFIG_LAST_RELOAD_SUCCESS.into(),
            None,
            "1 when the files as they are now are at work, 0 when they were refused.".into(),
        );
        recorder.describe_gauge(
            CONFIG_GENERATION.into(),
            Some(Unit::Count),
            "How many configurations have been at work since the start.".into(),
        );
        let reloads = |outcome: &'static str| {
            let labels = vec![Label::new("outcome", outcome)];
            recorder.register_counter(&Key::from_parts(CONFIG_RELOADS, labels), &METADATA)
        };
        let gauge =
            |name: &'static str| recorder.register_gauge(&Key::from_static_name(name), &METADATA);
        let metrics = Self {
            applied: reloads("success"),
            refused: reloads("failure"),
            last_success: gauge(CONFIG_LAST_RELOAD_SUCCESS),
            generation: gauge(CONFIG_GENERATION),
        };
        metrics.last_success.set(1.0);
        metrics.generation.set(1.0);
        metrics
    }

    pub(crate) fn applied(&self) {
        self.applied.increment(1);
        self.last_success.set(1.0);
        self.generation.increment(1.0);
    }

    pub(crate) fn refused(&self) {
        self.refused.increment(1);
        self.last_success.set(0.0);
    }
}

/// Handles for one route: requests by class of status, duration, bytes.
#[derive(Clone)]
pub(crate) struct RouteMetrics {
    by_class: [Counter; 5],
    duration: Histogram,
    bytes: Counter,
}

/// Handles for one upstream.
pub(crate) struct UpstreamMetrics {
    outcomes: Vec<(&'static str, Counter)>,
    other: Counter,
    duration: Histogram,
}

/// Handles for the store of rate limits that replicas share.
pub(crate) struct LimiterStoreMetrics {
    /// 1 while the store decides, 0 while this replica keeps to its share.
    pub(crate) up: Gauge,
    pub(crate) decided_by_store: Counter,
    pub(crate) decided_by_share: Counter,
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

/// How an upstream call can end, as a label.
const OUTCOMES: [&str; 10] = [
    "ok",
    "cancelled",
    "client",
    "refused",
    "unreachable",
    "timeout",
    "not_found",
    "upstream_error",
    "invalid_response",
    "response_too_large",
];

impl Metrics {
    /// # Errors
    /// Never in practice: the buckets are a constant that is not empty.
    pub(crate) fn new() -> Result<Self, BuildError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets(SECONDS)?
            .build_recorder();
        let handle = recorder.handle();
        recorder.describe_counter(
            REQUESTS.into(),
            Some(Unit::Count),
            "Requests by route and class of status.".into(),
        );
        recorder.describe_histogram(
            REQUEST_SECONDS.into(),
            Some(Unit::Seconds),
            "Time to the end of the response body.".into(),
        );
        recorder.describe_counter(
            RESPONSE_BYTES.into(),
            Some(Unit::Bytes),
            "Response bodies sent.".into(),
        );
        recorder.describe_counter(
            UPSTREAM_CALLS.into(),
            Some(Unit::Count),
            "Upstream calls by outcome.".into(),
        );
        recorder.describe_histogram(
            UPSTREAM_SECONDS.into(),
            Some(Unit::Seconds),
            "Time of upstream calls.".into(),
        );
        recorder.describe_gauge(
            CONNECTIONS.into(),
            Some(Unit::Count),
            "Open client connections.".into(),
        );
        recorder.describe_gauge(
            IN_FLIGHT.into(),
            Some(Unit::Count),
            "Requests being worked on.".into(),
        );
        recorder.describe_gauge(
            LIMITER_STORE_UP.into(),
            None,
            "1 while rate limits are shared through the store, 0 while this replica keeps to its share.".into(),
        );
        recorder.describe_counter(
            LIMITER_CHECKS.into(),
            Some(Unit::Count),
            "Checks of shared rate limits by who decided: the store, or this replica's share."
                .into(),
        );
        recorder.describe_counter(
            READS.into(),
            Some(Unit::Count),
            "Answers to composed reads by where they came from.".into(),
        );
        recorder.describe_counter(
            PURGES.into(),
            Some(Unit::Count),
            "Tags purged by who said so: a command, an event, an operator.".into(),
        );
        recorder.describe_gauge(
            FEED_UP.into(),
            None,
            "1 while change events arrive, 0 while they may go unheard.".into(),
        );
        recorder.describe_counter(
            FEED_EVENTS.into(),
            Some(Unit::Count),
            "Change events received.".into(),
        );
        recorder.describe_counter(
            FEED_LOSSES.into(),
            Some(Unit::Count),
            "How often everything tagged expired, because change events may have gone unheard."
                .into(),
        );
        let connections = recorder.register_gauge(&Key::from_static_name(CONNECTIONS), &METADATA);
        recorder.describe_counter(
            REFUSED.into(),
            Some(Unit::Count),
            "Connections refused because there were too many.".into(),
        );
        recorder.describe_counter(
            CERTIFICATE_FAULTS.into(),
            Some(Unit::Count),
            "Certificate files that changed and could not be used.".into(),
        );
        let certificate_faults =
            recorder.register_counter(&Key::from_static_name(CERTIFICATE_FAULTS), &METADATA);
        let refused = recorder.register_counter(&Key::from_static_name(REFUSED), &METADATA);
        let in_flight = recorder.register_gauge(&Key::from_static_name(IN_FLIGHT), &METADATA);
        let unmatched = Arc::new(RouteMetrics::register(&recorder, "unmatched"));
        let config = Arc::new(ConfigMetrics::register(&recorder));
        Ok(Self {
            recorder: Arc::new(recorder),
            handle,
            connections,
            refused,
            certificate_faults,
            in_flight,
            unmatched,
            config,
        })
    }

    /// The text for a scrape.
    #[must_use]
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds recent samples into the buckets; called now and then from the control runtime.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    pub(crate) fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder
            .register_counter(&Key::from_parts(name, labels), &METADATA)
    }

    fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        self.recorder
            .register_histogram(&Key::from_parts(name, labels), &METADATA)
    }

    pub(crate) fn route(&self, route: &'static str) -> RouteMetrics {
        RouteMetrics::register(&self.recorder, route)
    }

    /// Only for a gateway that has such a store: an alert on the gauge must not see the others.
    pub(crate) fn limiter_store(&self) -> LimiterStoreMetrics {
        let checks =
            |by: &'static str| self.counter(LIMITER_CHECKS, vec![Label::new("decided_by", by)]);
        LimiterStoreMetrics {
            up: self
                .recorder
                .register_gauge(&Key::from_static_name(LIMITER_STORE_UP), &METADATA),
            decided_by_store: checks("store"),
            decided_by_share: checks("share"),
        }
    }

    pub(crate) fn reads(&self) -> ReadMetrics {
        let from = |from: &'static str| self.counter(READS, vec![Label::new("from", from)]);
        ReadMetrics {
            from_store: from("store"),
            coalesced: from("another_call"),
            from_upstream: from("upstream"),
            stale: from("stale"),
            purged_by_command: self.purges("command"),
            purged_by_operator: self.purges("operator"),
        }
    }

    fn purges(&self, by: &'static str) -> Counter {
        self.counter(PURGES, vec![Label::new("by", by)])
    }

    /// Only for a gateway that has a feed: an alert on the gauge must not see the others.
    pub(crate) fn feed(&self) -> FeedMetrics {
        FeedMetrics {
            up: self
                .recorder
                .register_gauge(&Key::from_static_name(FEED_UP), &METADATA),
            events: self.counter(FEED_EVENTS, Vec::new()),
            losses: self.counter(FEED_LOSSES, Vec::new()),
            purged: self.purges("event"),
        }
    }

    pub(crate) fn upstream(&self, upstream: &'static str) -> UpstreamMetrics {
        let outcome = |outcome: &'static str| {
            self.counter(
                UPSTREAM_CALLS,
                vec![
                    Label::new("upstream", upstream),
                    Label::new("outcome", outcome),
                ],
            )
        };
        UpstreamMetrics {
            outcomes: OUTCOMES
                .into_iter()
                .map(|name| (name, outcome(name)))
                .collect(),
            other: outcome("other"),
            duration: self.histogram(UPSTREAM_SECONDS, vec![Label::new("upstream", upstream)]),
        }
    }
}

impl RouteMetrics {
    fn register(recorder: &PrometheusRecorder, route: &'static str) -> Self {
        let route = Label::new("route", route);
        let class = |class: &'static str| {
            let labels = vec![route.clone(), Label::new("class", class)];
            recorder.register_counter(&Key::from_parts(REQUESTS, labels), &METADATA)
        };
        let own = |name: &'static str| Key::from_parts(name, vec![route.clone()]);
        Self {
            by_class: [
                class("1xx"),
                class("2xx"),
                class("3xx"),
                class("4xx"),
                class("5xx"),
            ],
            duration: recorder.register_histogram(&own(REQUEST_SECONDS), &METADATA),
            bytes: recorder.register_counter(&own(RESPONSE_BYTES), &METADATA),
        }
    }

    pub(crate) fn observe(&self, status: u16, took: Duration, bytes: u64) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.by_class[class].increment(1);
        self.duration.record(took.as_secs_f64());
        self.bytes.increment(bytes);
    }
}

impl UpstreamMetrics {
    pub(crate) fn observe(&self, outcome: &'static str, took: Duration) {
        let counter = self
            .outcomes
            .iter()
            .find(|(name, _)| *name == outcome)
            .map_or(&self.other, |(_, counter)| counter);
        counter.increment(1);
        self.duration.record(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    /// Every name that is written in this file.
    #[test]
    fn every_metric_is_explained_to_operators() {
        let documented = include_str!("../../docs/operations.md");
        let names = include_str!("metrics.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("const ")?.split_once("= \"gateway_"))
            .filter_map(|(_, rest)| rest.strip_suffix("\";"));
        let mut known = 0;
        for name in names {
            known += 1;
            let missing = !documented.contains(&format!("`gateway_{name}"));
            assert!(
                !missing,
                "docs/operations.md does not explain gateway_{name}"
            );
        }
        assert!(known >= 10, "only {known} metrics were found");
    }
}
