//! Putting a gateway together from a BFF's [`App`] and a configuration, and ending it. What the parts do is their own;
//! when another configuration takes over is `reload.rs`.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin;
use crate::auth::{Authenticator, KeySets};
use crate::cache::ResponseCache;
use crate::config::{Config, ConfigFault, ConfigFaults};
use crate::edge::{Edge, RateLimiter};
use crate::metrics::Metrics;
use crate::proxy::Proxy;
use crate::reload::{Live, Reloader};
use crate::route::{RouteSummary, RouteTable, Routes};
use crate::server::Server;
use crate::shutdown::{Lifecycle, Phase};
use crate::upstream::{UnknownUpstream, Upstreams};

/// What a BFF hands to the gateway.
#[derive(Clone, Copy)]
pub struct App {
    /// The process's name in logs.
    pub name: &'static str,
    /// The composed routes. Called once for each worker: what the routes hold is that worker's own.
    pub routes: fn(&Upstreams, &Config) -> Result<Routes, UnknownUpstream>,
}

/// What all workers of a process share for as long as one configuration is at work.
pub(crate) struct Shared {
    pub(crate) name: &'static str,
    /// Counts the configurations since the start of the process, from 1.
    pub(crate) number: u64,
    pub(crate) config: Config,
    pub(crate) table: RouteTable,
    pub(crate) limiter: Arc<RateLimiter>,
    pub(crate) keys: Arc<KeySets>,
    pub(crate) cache: Arc<ResponseCache>,
    pub(crate) metrics: Metrics,
    pub(crate) lifecycle: Lifecycle,
    /// Requests being worked on, for admission.
    pub(crate) in_flight: Arc<AtomicUsize>,
}

/// A gateway that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the configuration is not usable")]
    Config(#[from] ConfigFaults),
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("cannot start a thread or its runtime")]
    Thread(#[source] std::io::Error),
    #[error("metrics cannot be set up")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// A gateway that has been put together and checked, and has not bound a socket yet.
pub struct Gateway {
    app: App,
    live: Arc<Live>,
}

/// A gateway at work.
pub struct RunningGateway {
    address: SocketAddr,
    admin_address: SocketAddr,
    live: Arc<Live>,
    lifecycle: Lifecycle,
    reload: Arc<Notify>,
    server: Option<Server>,
    control: Option<Runtime>,
    stop_control: CancellationToken,
}

/// One configuration, put together: what all workers share, and an edge for each.
pub(crate) struct Generation {
    pub(crate) shared: Arc<Shared>,
    pub(crate) edges: Vec<Edge>,
}

impl Generation {
    /// The first one of a process, for as many workers as the configuration says.
    fn first(app: App, config: Config) -> Result<(Self, Vec<TaskTracker>), StartError> {
        let metrics = Metrics::new()?;
        let limiter = RateLimiter::new(&config.rate_limits);
        let commands: Vec<TaskTracker> = (0..config.server.workers.max(1))
            .map(|_| TaskTracker::new())
            .collect();
        let shared = Shared {
            name: app.name,
            number: 1,
            table: build_table(app, &config, &limiter, &metrics)?,
            keys: KeySets::new(&config.issuers),
            limiter: Arc::new(limiter),
            cache: Arc::new(ResponseCache::new(&config.cache)),
            metrics,
            lifecycle: Lifecycle::new(),
            in_flight: Arc::new(AtomicUsize::new(0)),
            config,
        };
        Ok((Self::with_edges(app, shared, &commands)?, commands))
    }

    /// The one after `previous`. What counts or remembers goes on wherever the configuration of it is the same.
    pub(crate) fn after(
        previous: &Shared,
        app: App,
        config: Config,
        commands: &[TaskTracker],
    ) -> Result<Self, ConfigFaults> {
        let limiter = RateLimiter::new(&config.rate_limits).inherit(&previous.limiter);
        let shared = Shared {
            name: app.name,
            number: previous.number + 1,
            table: build_table(app, &config, &limiter, &previous.metrics)?,
            keys: KeySets::after(&previous.keys, &config.issuers),
            limiter: Arc::new(limiter),
            cache: if may_keep_cache(&previous.config, &config) {
                Arc::clone(&previous.cache)
            } else {
                Arc::new(ResponseCache::new(&config.cache))
            },
            metrics: previous.metrics.clone(),
            lifecycle: previous.lifecycle.clone(),
            in_flight: Arc::clone(&previous.in_flight),
            config,
        };
        Self::with_edges(app, shared, commands)
    }

    fn with_edges(
        app: App,
        shared: Shared,
        commands: &[TaskTracker],
    ) -> Result<Self, ConfigFaults> {
        let shared = Arc::new(shared);
        let config = &shared.config;
        let mut edges = Vec::new();
        for commands in commands {
            let upstreams = Upstreams::new(&config.upstreams, &shared.metrics, commands);
            let routes = (app.routes)(&upstreams, config)
                .map_err(|unknown| ConfigFaults(vec![unknown_upstream(&unknown)]))?;
            let authenticator =
                Authenticator::new(Arc::clone(&shared.keys), config.api_keys.as_ref());
            let proxy = Proxy::new(upstreams, Arc::clone(&shared.cache));
            edges.push(Edge::new(
                Arc::clone(&shared),
                authenticator,
                routes.into_parts().0,
                proxy,
            ));
        }
        Ok(Self { shared, edges })
    }
}

/// Checks the routes that the code declares against the configuration, and the other way round.
fn build_table(
    app: App,
    config: &Config,
    limiter: &RateLimiter,
    metrics: &Metrics,
) -> Result<RouteTable, ConfigFaults> {
    let upstreams = Upstreams::new(&config.upstreams, metrics, &TaskTracker::new());
    match (app.routes)(&upstreams, config) {
        Ok(routes) => RouteTable::build(config, &routes.into_parts().1, limiter, metrics),
        // Without the declared routes every policy would look like a fault, too.
        Err(unknown) => Err(ConfigFaults(vec![unknown_upstream(&unknown)])),
    }
}

/// Stored answers say which upstream they are from by its name: they are good for as long as names mean the same.
fn may_keep_cache(before: &Config, now: &Config) -> bool {
    before.cache == now.cache
        && now.upstreams.iter().all(|(name, upstream)| {
            before
                .upstreams
                .get(name)
                .is_none_or(|known| known.address == upstream.address)
        })
}

impl Gateway {
    /// Puts `app` together with `config`, and checks one against the other.
    ///
    /// # Errors
    /// All faults of the configuration at once.
    pub fn new(app: App, config: Config) -> Result<Self, StartError> {
        let (first, commands) = Generation::first(app, config)?;
        Ok(Self {
            app,
            live: Arc::new(Live::new(first, commands)),
        })
    }

    /// The merged route table.
    #[must_use]
    pub fn routes(&self) -> Vec<RouteSummary> {
        self.live.shared().table.summaries()
    }

    /// Puts a gateway together and starts it.
    ///
    /// # Errors
    /// Faults of the configuration, an address that cannot be bound, threads that cannot be made.
    pub fn start(app: App, config: Config) -> Result<RunningGateway, StartError> {
        Self::new(app, config)?.run()
    }

    /// Binds the listeners and starts all threads.
    ///
    /// # Errors
    /// An address that cannot be bound, threads that cannot be made.
    pub fn run(self) -> Result<RunningGateway, StartError> {
        let Self { app, live } = self;
        let shared = live.shared();
        let bind = |address: SocketAddr| {
            TcpListener::bind(address)
                .and_then(|listener| Ok((listener.local_addr()?, listener)))
                .map_err(|source| StartError::Listen { address, source })
        };
        let (admin_address, admin_listener) = bind(shared.config.admin.address)?;
        let (address, listener) = bind(shared.config.server.address)?;

        // Everything shared that does I/O lives here; workers only ever wait for it by channels.
        let control = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let stop_control = CancellationToken::new();
        shared.keys.spawn_refresh(control.handle(), &stop_control);
        control.spawn(upkeep(Arc::clone(&live)));
        control.spawn(admin::serve(
            admin_listener,
            Arc::clone(&live),
            stop_control.clone(),
        ));
        let reload = Arc::new(Notify::new());
        let reloader = Reloader {
            app,
            live: Arc::clone(&live),
            requested: Arc::clone(&reload),
            stop: stop_control.clone(),
        };
        control.spawn(reloader.run());

        let edges = live.workers().to_vec();
        let server = Server::start(listener, &shared, edges).map_err(StartError::Thread)?;
        shared.lifecycle.enter(Phase::Serving);
        tracing::info!(name = shared.name, %address, admin = %admin_address, "listening");
        for warning in &shared.config.warnings {
            tracing::warn!("{warning}");
        }
        Ok(RunningGateway {
            address,
            admin_address,
            lifecycle: shared.lifecycle.clone(),
            live,
            reload,
            server: Some(server),
            control: Some(control),
            stop_control,
        })
    }
}

fn unknown_upstream(unknown: &UnknownUpstream) -> ConfigFault {
    ConfigFault {
        path: format!("upstreams.{}", unknown.name),
        message: unknown.to_string(),
    }
}

/// How often samples are folded and idle limiter keys forgotten.
const UPKEEP: Duration = Duration::from_secs(5);

async fn upkeep(live: Arc<Live>) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        let shared = live.shared();
        shared.metrics.upkeep();
        shared.limiter.forget_idle();
    }
}

impl RunningGateway {
    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where operators connect.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Asks for the configuration files to be read again, as SIGHUP does; what came of it is in the log, in the metrics
    /// and in `/config`. Nothing is waited for, and no request notices.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// Ends the gateway without losing a request: readiness fails, connections are accepted for the lame-duck time more,
    /// then requests under way may finish within the grace period. What is left then is cut.
    pub async fn drain(mut self) {
        let lifecycle = self.lifecycle.clone();
        lifecycle.enter(Phase::Draining);
        let shared = self.live.shared();
        tracing::info!(name = shared.name, "draining");
        tokio::time::sleep(shared.config.server.lame_duck).await;
        lifecycle.stop_accepting.cancel();
        lifecycle.close_connections.cancel();
        if let Some(server) = self.server.take()
            && tokio::task::spawn_blocking(move || server.join())
                .await
                .is_err()
        {
            tracing::error!("waiting for the server's threads failed");
        }
        tracing::info!(name = shared.name, "ended");
    }
}

impl Drop for RunningGateway {
    fn drop(&mut self) {
        self.lifecycle.enter(Phase::Draining);
        self.lifecycle.stop_accepting.cancel();
        self.lifecycle.close_connections.cancel();
        self.stop_control.cancel();
        if let Some(control) = self.control.take() {
            control.shutdown_background();
        }
    }
}
