//! Putting a gateway together from a BFF's [`App`] and a configuration, and ending it. What the parts do is their own.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::auth::internal_token::InternalTokenSigner;
use crate::auth::{Authenticator, KeySets, Revocations};
use crate::cache::ResponseCache;
use crate::config::{Config, ConfigFault, ConfigFaults};
use crate::edge::{Admission, Edge, RateLimiter};
use crate::metrics::Metrics;
use crate::problem::chain;
use crate::proxy::Proxy;
use crate::route::{RouteSummary, RouteTable, Routes};
use crate::server::{Server, Tls, TlsFault};
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

/// What all workers of a process share.
pub(crate) struct Shared {
    pub(crate) name: &'static str,
    pub(crate) config: Config,
    pub(crate) table: RouteTable,
    pub(crate) limiter: Arc<RateLimiter>,
    pub(crate) keys: Arc<KeySets>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) metrics: Metrics,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) admission: Admission,
    /// The public listener's certificate; plain text without it.
    pub(crate) tls: Option<Tls>,
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
    #[error("a socket that was passed on cannot be used")]
    Inherited(#[source] std::io::Error),
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

/// Listeners that were bound before this process started, and outlive it: a restart loses no connection. They take the
/// place of the configured addresses.
#[derive(Debug, Default)]
pub struct Inherited {
    pub public: Option<TcpListener>,
    pub admin: Option<TcpListener>,
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
        let limiter = Arc::new(RateLimiter::new(&config.rate_limits));
        let signer = config
            .internal_token
            .as_ref()
            .map(|token| Arc::new(InternalTokenSigner::new(app.name, token)));
        let probe = Upstreams::new(&config.upstreams, &metrics, signer.as_ref());
        let (declared, mut faults) = match (app.routes)(&probe, &config) {
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
        let tls = match config.server.tls.clone().map(Tls::new).transpose() {
            Ok(tls) => tls,
            Err(fault) => return Err(ConfigFaults(vec![bad_tls(&fault)]).into()),
        };
        let shared = Arc::new(Shared {
            tls,
            name: app.name,
            keys: KeySets::new(&config.issuers),
            revocations: Arc::default(),
            table,
            limiter,
            metrics,
            lifecycle: Lifecycle::new(),
            admission: Admission::new(
                config.server.max_requests,
                config.server.max_wait,
                config.server.body_timeout,
            ),
            config,
        });
        let cache = Arc::new(ResponseCache::new(&shared.config.cache));
        let mut edges = Vec::new();
        for _ in 0..shared.config.server.workers.max(1) {
            let upstreams =
                Upstreams::new(&shared.config.upstreams, &shared.metrics, signer.as_ref());
            let routes = (app.routes)(&upstreams, &shared.config)
                .map_err(|unknown| ConfigFaults(vec![unknown_upstream(&unknown)]))?;
            let authenticator =
                Authenticator::new(Arc::clone(&shared.keys), shared.config.api_keys.as_ref())
                    .revocations(Arc::clone(&shared.revocations));
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
        self.run_on(Inherited::default())
    }

    /// Starts all threads, on the listeners that were passed on, and on new ones in place of those that were not.
    ///
    /// # Errors
    /// An address that cannot be bound, threads that cannot be made.
    pub fn run_on(self, inherited: Inherited) -> Result<RunningGateway, StartError> {
        let Self { shared, edges } = self;
        let bind = |address: SocketAddr, inherited: Option<TcpListener>| {
            inherited
                .map_or_else(|| TcpListener::bind(address), Ok)
                .and_then(|listener| Ok((listener.local_addr()?, listener)))
                .map_err(|source| StartError::Listen { address, source })
        };
        let (admin_address, admin_listener) = bind(shared.config.admin.address, inherited.admin)?;
        let (address, listener) = bind(shared.config.server.address, inherited.public)?;

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
        control.spawn(upkeep(Arc::clone(&shared)));
        control.spawn(watch_certificate(Arc::clone(&shared)));
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
        if shared.config.internal_token.is_none() && !shared.config.upstreams.is_empty() {
            tracing::warn!(
                "internal_token has no key: services are not told who is calling and cannot check it again"
            );
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

fn bad_tls(fault: &TlsFault) -> ConfigFault {
    ConfigFault {
        path: fault.key().to_owned(),
        message: chain(fault),
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

/// How often the certificate's files are looked at.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(2);

/// Takes a new certificate when its files change, or on SIGHUP.
async fn watch_certificate(shared: Arc<Shared>) {
    let Some(tls) = &shared.tls else { return };
    let mut ticks = tokio::time::interval(CERTIFICATE_LOOK);
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be listened to");
        return;
    };
    loop {
        let asked = tokio::select! {
            _ = ticks.tick() => false,
            _ = hangup.recv() => true,
        };
        match tls.reload(asked) {
            Ok(true) => tracing::info!("the certificate has been read again"),
            Ok(false) => {}
            Err(fault) => {
                shared.metrics.certificate_faults.increment(1);
                let error = chain(&fault);
                tracing::error!(key = fault.key(), error, "the old certificate stays in use");
            }
        }
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
