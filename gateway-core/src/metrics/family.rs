//! Every metric that a gateway has: name, kind and help, in one list. What counts them is elsewhere; `docs/operations.md`
//! says when to act, and tests hold both lists, the dashboard and the alert rules together.

/// What kind of figure a family is, in the words of OpenMetrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// Always 1; its labels say something.
    Info,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// A metric with all its label sets.
#[derive(Debug)]
pub(crate) struct Family {
    /// As samples have it: counters end in `_total`, units stand in the name.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
}

impl Family {
    /// The unit that the name ends with, when it has one.
    pub(crate) fn unit(&self) -> Option<&'static str> {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        ["seconds", "bytes"]
            .into_iter()
            .find(|unit| name.ends_with(unit))
    }
}

/// Makes a constant of each line, and the list of all.
macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal $help:literal;)*) => {
        $(pub(crate) static $constant: Family = Family {
            name: $name,
            kind: Kind::$kind,
            help: $help,
        };)*
        /// All families, also those that this process has no use for.
        #[cfg(test)]
        pub(crate) static ALL: &[&Family] = &[$(&$constant),*];
    };
}

families! {
    REQUESTS = Counter "gateway_requests_total" "Requests by route and class of status.";
    REQUEST_SECONDS = Histogram "gateway_request_duration_seconds" "Time to the end of the response body, of a stream of events to its head.";
    RESPONSE_BYTES = Counter "gateway_response_bytes_total" "Bytes of response bodies sent.";
    IN_FLIGHT = Gauge "gateway_requests_in_flight" "Requests being worked on, bodies included.";
    CONNECTIONS = Gauge "gateway_connections" "Open client connections.";
    CONNECTIONS_MAX = Gauge "gateway_connections_max" "Client connections above which more are refused.";
    REFUSED = Counter "gateway_connections_refused_total" "Connections refused because there were too many.";
    CERTIFICATE_FAULTS = Counter "gateway_certificate_reload_failures_total" "Certificate files that changed and could not be used.";

    ADMISSION_PLACES = Gauge "gateway_admission_places" "Requests that may be worked on at once.";
    ADMISSION_TAKEN = Gauge "gateway_admission_places_taken" "Requests that are worked on and hold a place.";
    ADMISSION_WAITING = Gauge "gateway_admission_waiting" "Requests that wait for a place.";
    ADMISSION_SHED = Counter "gateway_admission_shed_total" "Requests answered with 503 because no place became free in time.";
    ADMISSION_WAIT_SECONDS = Histogram "gateway_admission_wait_duration_seconds" "Time that requests waited for a place, of those that had to wait.";

    UPSTREAM_CALLS = Counter "gateway_upstream_calls_total" "Upstream calls by outcome.";
    UPSTREAM_SECONDS = Histogram "gateway_upstream_duration_seconds" "Time of upstream calls.";
    UPSTREAM_RETRIES = Counter "gateway_upstream_retries_total" "Attempts after the first one, and those that the budget did not allow.";
    UPSTREAM_BREAKER = Counter "gateway_upstream_breaker_transitions_total" "Changes of circuit breakers by the state they went to.";
    UPSTREAM_BREAKER_OPEN = Gauge "gateway_upstream_breaker_open" "1 while the circuit breaker is open, 0.5 while it lets probes through, else 0.";
    UPSTREAM_IN_FLIGHT = Gauge "gateway_upstream_in_flight" "Calls under way, bodies included.";
    UPSTREAM_IN_FLIGHT_MAX = Gauge "gateway_upstream_in_flight_max" "The most calls that may be under way.";
    UPSTREAM_EJECTIONS = Counter "gateway_upstream_ejections_total" "Endpoints that were left out because they kept failing.";
    UPSTREAM_FAILED_LOOKUPS = Counter "gateway_upstream_lookup_failures_total" "Lookups of upstreams' names that failed.";
    UPSTREAM_ENDPOINTS = Gauge "gateway_upstream_endpoints" "Endpoints by state.";
    UPSTREAM_CONNECTS = Counter "gateway_upstream_connects_total" "Connections to upstreams that were tried, by outcome.";
    UPSTREAM_CONNECT_SECONDS = Histogram "gateway_upstream_connect_duration_seconds" "Time until a connection to an upstream was there.";
    UPSTREAM_CONNECTIONS = Gauge "gateway_upstream_connections" "Connections to upstreams by state.";

    LIMIT_DECISIONS = Counter "gateway_rate_limit_decisions_total" "Requests that a rate limit has allowed, and those it was the one to deny.";
    LIMIT_COST = Counter "gateway_rate_limit_cost_total" "What allowed requests have taken from a rate limit, by their cost.";
    LIMITER_STORE_UP = Gauge "gateway_rate_limit_store_up" "1 while rate limits are shared through the store, 0 while this replica keeps to its share.";
    LIMITER_CHECKS = Counter "gateway_rate_limit_checks_total" "Checks of shared rate limits by who decided: the store, or this replica's share.";
    LIMITER_STORE_SECONDS = Histogram "gateway_rate_limit_store_duration_seconds" "Time until the store of rate limits answered, or was not waited for any longer.";

    CACHE_REQUESTS = Counter "gateway_cache_requests_total" "Requests of cached routes by what the response cache did.";
    CACHE_STORED = Counter "gateway_cache_stored_total" "Answers put into the response cache.";
    CACHE_EVICTED = Counter "gateway_cache_evicted_total" "Answers dropped from the response cache to make room.";
    CACHE_ENTRIES = Gauge "gateway_cache_entries" "Resources in the response cache.";
    CACHE_BYTES = Gauge "gateway_cache_size_bytes" "Memory that the response cache counts against its bound.";
    CACHE_MAX_BYTES = Gauge "gateway_cache_max_bytes" "The bound of the response cache.";

    SECOND_LEVEL_UP = Gauge "gateway_cache_second_level_up" "1 while responses are shared through Redis, 0 while this replica stores them for itself.";
    SECOND_LEVEL_READS = Counter "gateway_cache_second_level_reads_total" "Looks into the second level of the response cache by outcome.";
    SECOND_LEVEL_SECONDS = Histogram "gateway_cache_second_level_read_duration_seconds" "Time until the second level of the response cache answered, or was not waited for any longer.";
    SECOND_LEVEL_WRITES = Counter "gateway_cache_second_level_writes_total" "Answers for the second level of the response cache by outcome.";
    SECOND_LEVEL_PURGES = Gauge "gateway_cache_second_level_purges_waiting" "Places that were purged here and of which Redis does not know yet.";

    UPSTREAM_READS = Counter "gateway_upstream_reads_total" "Answers to composed reads by where they came from.";
    CACHE_PURGES = Counter "gateway_cache_tags_purged_total" "Tags purged by who said so: a command, an event, an operator.";
    FEED_UP = Gauge "gateway_event_feed_up" "1 while change events arrive, 0 while they may go unheard.";
    FEED_EVENTS = Counter "gateway_event_feed_events_total" "Change events received.";
    FEED_LOSSES = Counter "gateway_event_feed_losses_total" "Times that everything tagged expired, because change events may have gone unheard.";

    STREAMS = Gauge "gateway_streams_open" "Streams of events and GraphQL WebSockets of clients that are open.";
    STREAMS_REFUSED = Counter "gateway_streams_refused_total" "Streams refused because their caller had as many as one may have.";

    TOKEN_LOOKUPS = Counter "gateway_token_cache_lookups_total" "Tokens looked up among those verified before, by outcome.";
    KEY_SET_AGE = Gauge "gateway_key_set_age_seconds" "Time since an issuer's keys were fetched.";
    KEY_SET_USABLE = Gauge "gateway_key_set_usable" "1 when an issuer's tokens can be checked.";
    KEY_SET_KEYS = Gauge "gateway_key_set_keys" "Keys that an issuer has.";
    REVOCATIONS = Gauge "gateway_revocations" "Tokens and subjects that are refused before they expire.";
    REVOCATION_STORE_UP = Gauge "gateway_revocation_store_up" "1 while revocations are shared through the store, 0 while they hold where they were told.";
    KEY_SET_FETCHES = Counter "gateway_key_set_fetches_total" "Fetches of an issuer's keys by outcome.";

    SESSIONS = Gauge "gateway_sessions" "Sessions of browsers in this process's memory.";
    SESSION_LOGINS = Counter "gateway_session_logins_total" "Sign-ins of browsers that were begun, and how those came out that came back.";
    SESSION_REFRESHES = Counter "gateway_session_refreshes_total" "Renewals of sessions' tokens by outcome.";
    SESSION_ENDS = Counter "gateway_session_ends_total" "Sessions that ended, by what ended them.";
    SESSION_STORE_UP = Gauge "gateway_session_store_up" "1 while the store of sessions that replicas share can be asked, else 0.";

    CONFIG_RELOADS = Counter "gateway_config_reloads_total" "Reloads of the configuration by outcome.";
    CONFIG_LAST_RELOAD_SUCCESS = Gauge "gateway_config_last_reload_success" "1 when the files as they are now are at work, 0 when they were refused.";
    CONFIG_GENERATION = Gauge "gateway_config_generation" "How many configurations have been at work since the start.";
    READY = Gauge "gateway_ready" "1 while /ready says so.";
    BUILD = Info "gateway_build_info" "The program and its version.";

    TRACE_SPANS_EXPORTED = Counter "gateway_trace_spans_exported_total" "Spans that the collector of traces has taken.";
    TRACE_SPANS_DROPPED = Counter "gateway_trace_spans_dropped_total" "Spans that were lost: no room in the queue, or the collector did not take them.";
    LOG_LINES_DROPPED = Counter "gateway_log_lines_dropped_total" "Lines of the log that were lost because its reader was too slow.";

    RUNTIME_TASKS = Gauge "gateway_runtime_tasks" "Tasks alive on a runtime.";
    RUNTIME_QUEUE = Gauge "gateway_runtime_queue_depth" "Tasks in a runtime's shared queue, to be polled as soon as there is time.";
    RUNTIME_BUSY = Counter "gateway_runtime_busy_seconds_total" "Time that a runtime's threads were not waiting.";
    RUNTIME_PARKS = Counter "gateway_runtime_parks_total" "Times that a runtime's threads had nothing to do and waited.";
    RUNTIME_THREADS = Gauge "gateway_runtime_threads" "Threads that poll a runtime's tasks.";

    PROCESS_CPU = Counter "process_cpu_seconds_total" "User and system CPU time of the process.";
    PROCESS_RESIDENT = Gauge "process_resident_memory_bytes" "Resident memory of the process.";
    PROCESS_VIRTUAL = Gauge "process_virtual_memory_bytes" "Virtual memory of the process.";
    PROCESS_OPEN_FDS = Gauge "process_open_fds" "Open file descriptors.";
    PROCESS_MAX_FDS = Gauge "process_max_fds" "File descriptors that may be open.";
    PROCESS_THREADS = Gauge "process_threads" "Threads of the process.";
    PROCESS_START = Gauge "process_start_time_seconds" "When the process started, since the Unix epoch.";
}
