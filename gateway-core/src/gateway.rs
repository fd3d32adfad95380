//! Putting a gateway together from a BFF's [`App`] and a configuration, and ending it. What the parts do is their own.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::auth::{Authenticator, KeySets};
use crate::cache::ResponseCache;
use crate::config::{Config, ConfigFault, ConfigFaults};
use crate::edge::{Edge, RateLimitStore, RateLimiter};
use crate::metrics::Metrics;
use crate::proxy::Proxy;
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
    pub routes: fn(&Upstreams) -> Result<Routes, UnknownUpstream>,
}

/// What all workers of a process share.
pub(crate) struct Shared {
    pub(crate) name: &'static str,
    pub(crate) config: Config,
    pub(crate) table: RouteTable,
    pub(crate) limiter: Arc<RateLimiter>,
    /// Where replicas count together, when the configuration names a place.
    pub(crate) limiter_store: Option<Arc<RateLimitStore>>,
    pub(crate) keys: Arc<KeySets>,
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
    shared: Arc<Shared>,
    edges: Vec<Edge>,
}

/// A gateway at work.
pub struct RunningGateway {
    address: SocketAddr,
    admin_address: SocketAddr,
    shared: Arc<Shared>,
    server: Option<Server>,
    control: Option<Runtime>,
    stop_control: CancellationToken,
}

impl Gateway {
    /// Puts `app` together with `config`, and checks one against the other.
    ///
    /// # Errors
    /// All faults of the configuration at once.
    pub fn new(app: App, config: Config) -> Result<Self, StartError> {
        let metrics = Metrics::new()?;
        let limiter_store = config
            .redis
            .as_ref()
            .map(|redis| RateLimitStore::new(redis, app.name, metrics.limiter_store()));
        let limiter = Arc::new(RateLimiter::new(&config, limiter_store.clone()));
        let (declared, mut faults) =
            match (app.routes)(&Upstreams::new(&config.upstreams, &metrics)) {
                Ok(routes) => (routes.into_parts().1, Vec::new()),
                Err(unknown) => (Vec::new(), vec![unknown_upstream(&unknown)]),
            };
        let table = match RouteTable::build(&config, &declared, &limiter, &metrics) {
            Ok(table) if faults.is_empty() => table,
            // Without the declared routes every policy would look like a fault, too.
            Ok(_) => return Err(ConfigFaults(faults).into()),
            Err(more) => {
                if declared.is_empty() && !faults.is_empty() {
                    return Err(ConfigFaults(faults).into());
                }
                faults.extend(more.0);
                return Err(ConfigFaults(faults).into());
            }
        };
        let shared = Arc::new(Shared {
            name: app.name,
            keys: KeySets::new(&config.issuers),
            table,
            limiter,
            limiter_store,
            metrics,
            lifecycle: Lifecycle::new(),
            in_flight: Arc::new(AtomicUsize::new(0)),
            config,
        });
        let cache = Arc::new(ResponseCache::new(&shared.config.cache));
        let mut edges = Vec::new();
        for _ in 0..shared.config.server.workers.max(1) {
            let upstreams = Upstreams::new(&shared.config.upstreams, &shared.metrics);
            let routes = (app.routes)(&upstreams)
                .map_err(|unknown| ConfigFaults(vec![unknown_upstream(&unknown)]))?;
            let authenticator =
                Authenticator::new(Arc::clone(&shared.keys), shared.config.api_keys.as_ref());
            let proxy = Proxy::new(upstreams, Arc::clone(&cache));
            edges.push(Edge::new(
                Arc::clone(&shared),
                authenticator,
                routes.into_parts().0,
                proxy,
            ));
        }
        Ok(Self { shared, edges })
    }

    /// The merged route table.
    #[must_use]
    pub fn routes(&self) -> Vec<RouteSummary> {
        self.shared.table.summaries()
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
        let Self { shared, edges } = self;
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
        shared
            .keys
            .spawn_refresh(control.handle(), stop_control.clone());
        if let Some(store) = &shared.limiter_store {
            store.spawn_link(control.handle(), stop_control.clone());
        }
        control.spawn(upkeep(Arc::clone(&shared)));
        control.spawn(admin::serve(
            admin_listener,
            Arc::clone(&shared),
            stop_control.clone(),
        ));

        let server = Server::start(listener, &shared, edges).map_err(StartError::Thread)?;
        shared.lifecycle.enter(Phase::Serving);
        tracing::info!(name = shared.name, %address, admin = %admin_address, "listening");
        for warning in &shared.config.warnings {
            tracing::warn!("{warning}");
        }
        Ok(RunningGateway {
            address,
            admin_address,
            shared,
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

async fn upkeep(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
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

    /// Ends the gateway without losing a request: readiness fails, connections are accepted for the lame-duck time more,
    /// then requests under way may finish within the grace period. What is left then is cut.
    pub async fn drain(mut self) {
        let lifecycle = self.shared.lifecycle.clone();
        lifecycle.enter(Phase::Draining);
        tracing::info!(name = self.shared.name, "draining");
        tokio::time::sleep(self.shared.config.server.lame_duck).await;
        lifecycle.stop_accepting.cancel();
        lifecycle.close_connections.cancel();
        if let Some(server) = self.server.take()
            && tokio::task::spawn_blocking(move || server.join())
                .await
                .is_err()
        {
            tracing::error!("waiting for the server's threads failed");
        }
        tracing::info!(name = self.shared.name, "ended");
    }
}

impl Drop for RunningGateway {
    fn drop(&mut self) {
        self.shared.lifecycle.enter(Phase::Draining);
        self.shared.lifecycle.stop_accepting.cancel();
        self.shared.lifecycle.close_connections.cancel();
        self.stop_control.cancel();
        if let Some(control) = self.control.take() {
            control.shutdown_background();
        }
    }
}
