//! How the upstreams are doing at this moment, for operators: the admin listener shows it, and nothing decides by it.

use serde::Serialize;

use super::breaker::Phase;
use super::shared::{SharedUpstreams, Upstream};

/// One upstream.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpstreamStatus {
    pub(crate) name: &'static str,
    pub(crate) breaker: BreakerStatus,
    /// Calls under way, bodies included.
    pub(crate) in_flight: usize,
    pub(crate) max_in_flight: usize,
    /// Retries that could be made now.
    pub(crate) retry_budget: u64,
    pub(crate) endpoints: Vec<EndpointStatus>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BreakerStatus {
    /// `off`, `closed`, `open` or `half_open`.
    pub(crate) state: &'static str,
    /// In seconds, while it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) open_for: Option<f64>,
    /// Attempts in its window.
    pub(crate) calls: u64,
    pub(crate) failures: u64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointStatus {
    pub(crate) address: String,
    /// `healthy`; `ejected`: left out because it kept failing; `down`: checks of its health fail.
    pub(crate) state: &'static str,
    /// In seconds, while it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ejected_for: Option<f64>,
    pub(crate) in_flight: u32,
    /// The peak moving average, in milliseconds.
    pub(crate) latency: f64,
    pub(crate) connections: usize,
    pub(crate) idle_connections: usize,
}

impl UpstreamStatus {
    /// Whether calls can be made.
    pub(crate) fn is_well(&self) -> bool {
        matches!(self.breaker.state, "closed" | "off")
            && self
                .endpoints
                .iter()
                .any(|endpoint| endpoint.state == "healthy")
    }
}

impl EndpointStatus {
    pub(crate) const STATES: [&str; 3] = ["healthy", "ejected", "down"];
}

impl SharedUpstreams {
    pub(crate) fn status(&self) -> Vec<UpstreamStatus> {
        self.iter().map(|upstream| status(upstream)).collect()
    }
}

fn status(upstream: &Upstream) -> UpstreamStatus {
    let now = upstream.clock.now();
    let breaker = upstream.breaker.as_ref();
    let totals = breaker
        .map(|breaker| breaker.totals(now))
        .unwrap_or_default();
    let (state, open_for) = match breaker.map(|breaker| breaker.phase(now)) {
        None => ("off", None),
        Some(Phase::Closed) => ("closed", None),
        Some(Phase::Open { rest }) => ("open", Some(rest.as_secs_f64())),
        Some(Phase::HalfOpen) => ("half_open", None),
    };
    let endpoints = upstream.endpoints.load();
    let endpoints = endpoints.all().iter().map(|endpoint| {
        let rest = endpoint.ejection.rest(now);
        EndpointStatus {
            address: endpoint.place.dial.to_string(),
            state: match (endpoint.health.is_up(), rest.is_zero()) {
                (false, _) => "down",
                (true, false) => "ejected",
                (true, true) => "healthy",
            },
            ejected_for: (!rest.is_zero()).then_some(rest.as_secs_f64()),
            in_flight: endpoint.load.in_flight(),
            latency: (endpoint.load.latency(now) / 10.0).round() / 100.0,
            connections: endpoint.pool.open(),
            idle_connections: endpoint.pool.idle(),
        }
    });
    UpstreamStatus {
        name: upstream.name,
        breaker: BreakerStatus {
            state,
            open_for,
            calls: totals.calls,
            failures: totals.failures,
        },
        in_flight: upstream.limit.in_flight(),
        max_in_flight: upstream.limit.limit(),
        retry_budget: upstream.budget.balance(now),
        endpoints: endpoints.collect(),
    }
}
