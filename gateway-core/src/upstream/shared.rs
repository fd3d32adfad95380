//! What all workers share of the upstreams: endpoints with their health, breakers, limits, budgets. It outlives a reload
//! that leaves an upstream's configuration as it is. How a call goes is `stack.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::breaker::{Admission, Breaker, Ticket, Transition, Verdict};
use super::budget::RetryBudget;
use super::clock::{Clock, Millis};
use super::endpoints::{Endpoint, Endpoints, Place};
use super::limit::ConcurrencyLimit;
use super::pool::Pool;
use super::{discovery, health};
use crate::config::{Discovery, UpstreamConfig};
use crate::metrics::{Metrics, UpstreamMetrics};

/// One upstream.
pub(super) struct Upstream {
    pub(super) name: &'static str,
    pub(super) config: UpstreamConfig,
    pub(super) clock: Clock,
    pub(super) limit: ConcurrencyLimit,
    pub(super) breaker: Option<Breaker>,
    pub(super) budget: RetryBudget,
    pub(super) endpoints: ArcSwap<Endpoints>,
    pub(super) metrics: UpstreamMetrics,
    workers: usize,
    is_looked_after: AtomicBool,
    /// Whether there is an endpoint.
    known: watch::Sender<bool>,
}

/// All upstreams of a configuration.
pub(crate) struct SharedUpstreams {
    all: BTreeMap<&'static str, Arc<Upstream>>,
}

impl SharedUpstreams {
    pub(crate) fn new(
        config: &BTreeMap<String, UpstreamConfig>,
        workers: usize,
        metrics: &Metrics,
    ) -> Self {
        Self::after(&Self::none(), config, workers, metrics)
    }

    fn none() -> Self {
        Self {
            all: BTreeMap::new(),
        }
    }

    /// Those of another configuration: an upstream whose configuration is the same goes on with all that it has.
    pub(crate) fn after(
        previous: &Self,
        config: &BTreeMap<String, UpstreamConfig>,
        workers: usize,
        metrics: &Metrics,
    ) -> Self {
        let all = config
            .iter()
            .map(|(name, config)| {
                let name = crate::intern::intern(name);
                let known = previous.all.get(name);
                if let Some(known) = known.filter(|known| known.config == *config) {
                    return (name, Arc::clone(known));
                }
                let upstream = Upstream::new(name, config, workers, metrics);
                if let Some(known) = known {
                    upstream.is_where_it_was(known);
                }
                (name, Arc::new(upstream))
            })
            .collect();
        Self { all }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.all.values()
    }

    /// Begins to look up names and to ask after health, where the configuration says so; for what is looked after already
    /// nothing changes.
    pub(crate) fn look_after(&self, control: &Handle) {
        for upstream in self.iter() {
            upstream.look_after(control);
        }
    }

    /// Closes connections that nobody has used for long.
    pub(crate) fn sweep(&self) {
        for upstream in self.iter() {
            for endpoint in upstream.endpoints.load().all() {
                endpoint.pool.sweep();
            }
        }
    }
}

impl Upstream {
    fn new(name: &'static str, config: &UpstreamConfig, workers: usize, metrics: &Metrics) -> Self {
        let clock = Clock::start();
        let fixed = match &config.discovery {
            Discovery::Static(addresses) => addresses.iter().filter_map(Place::of).collect(),
            Discovery::Dns { .. } => Vec::new(),
        };
        let upstream = Self {
            name,
            clock,
            limit: ConcurrencyLimit::new(config),
            breaker: config.breaker.as_ref().map(Breaker::new),
            budget: RetryBudget::new(&config.retry),
            endpoints: ArcSwap::from_pointee(Endpoints::default()),
            metrics: metrics.upstream(name),
            config: config.clone(),
            workers,
            is_looked_after: AtomicBool::new(false),
            known: watch::Sender::new(false),
        };
        upstream.is_at(fixed);
        upstream
    }

    /// Until its name has been looked up again, it is where `known` was found by the same name.
    fn is_where_it_was(&self, known: &Self) {
        let name = |upstream: &Self| match &upstream.config.discovery {
            Discovery::Dns { name, .. } => Some(name.clone()),
            Discovery::Static(_) => None,
        };
        if name(self).is_some() && name(self) == name(known) {
            let endpoints = known.endpoints.load();
            self.is_at(endpoints.all().iter().map(|at| at.place.clone()).collect());
        }
    }

    /// Until it is known where it is. What is looked up is known after the first answer, also if it is an old one.
    pub(super) async fn resolved(&self) {
        let mut known = self.known.subscribe();
        // The sender lives as long as this upstream.
        let _ = known.wait_for(|known| *known).await;
    }

    /// Takes over what is known of its places; an endpoint that is still among them goes on with its connections and health.
    /// Whether something has changed.
    pub(super) fn is_at(&self, places: Vec<Place>) -> bool {
        let before = self.endpoints.load();
        if before.all().iter().map(|known| &known.place).eq(&places) {
            return false;
        }
        let now = self.clock.now();
        let all = places
            .into_iter()
            .map(|place| {
                let known = before.all().iter().find(|known| known.place == place);
                known.map_or_else(
                    || {
                        let pool = Pool::new(&self.config, self.workers, &self.metrics.connects);
                        Arc::new(Endpoint::new(place, pool, &self.config, now))
                    },
                    Arc::clone,
                )
            })
            .collect();
        let endpoints = Endpoints::new(all);
        let known = !endpoints.all().is_empty();
        self.endpoints.store(Arc::new(endpoints));
        self.known.send_replace(known);
        true
    }

    /// What has to be done for it beside calls, on the runtime of `control`: once, however often it is asked for.
    fn look_after(self: &Arc<Self>, control: &Handle) {
        if self.is_looked_after.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Discovery::Dns { name, dns } = &self.config.discovery
            && let Some(place) = Place::of(name)
        {
            let upstream = Arc::downgrade(self);
            control.spawn(discovery::follow(upstream, place, dns.clone()));
        }
        if let Some(config) = &self.config.health {
            control.spawn(health::watch(Arc::downgrade(self), config.clone()));
        }
    }

    /// Whether the breaker lets a call through.
    pub(super) fn admit(&self, now: Millis) -> Admission {
        let Some(breaker) = &self.breaker else {
            return Admission::Granted(Ticket::NONE);
        };
        let (admission, transition) = breaker.admit(now);
        if let Some(transition) = transition {
            self.tell(transition);
        }
        admission
    }

    /// An attempt has come to its end.
    pub(super) fn settle(
        &self,
        endpoint: &Endpoint,
        ticket: Ticket,
        verdict: Verdict,
        now: Millis,
    ) {
        if let Some(breaker) = &self.breaker
            && let Some(transition) = breaker.settle(ticket, verdict, now)
        {
            self.tell(transition);
        }
        let endpoints = self.endpoints.load();
        // One alone is never left out: nothing has to be counted.
        if endpoints.all().len() < 2 {
            return;
        }
        match verdict {
            Verdict::Neutral => {}
            Verdict::Success => endpoint.ejection.succeeded(now),
            Verdict::Failure | Verdict::BrokeOff => {
                let ejection = &endpoint.ejection;
                let is_too_much = match verdict {
                    Verdict::BrokeOff => ejection.broke_off(now),
                    _ => ejection.failed(now),
                };
                if is_too_much
                    && let Some(wait) =
                        endpoints.eject(endpoint, self.config.ejection.max_share, now)
                {
                    self.metrics.ejections.increment(1);
                    tracing::warn!(
                        upstream = self.name,
                        endpoint = %endpoint.place.dial,
                        seconds = wait.as_secs_f64(),
                        "an endpoint that keeps failing is left out"
                    );
                }
            }
        }
    }

    fn tell(&self, transition: Transition) {
        match transition {
            Transition::Opened { wait } => {
                self.metrics.opened.increment(1);
                tracing::warn!(
                    upstream = self.name,
                    seconds = wait.as_secs_f64(),
                    "the circuit breaker opened: no calls for a while"
                );
            }
            Transition::HalfOpened => {
                self.metrics.half_opened.increment(1);
                tracing::info!(
                    upstream = self.name,
                    "the circuit breaker lets probes through"
                );
            }
            Transition::Closed => {
                self.metrics.closed.increment(1);
                tracing::info!(upstream = self.name, "the circuit breaker closed");
            }
        }
    }
}
