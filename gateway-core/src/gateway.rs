//! Putting a gateway together from a BFF's [`App`] and a configuration, and ending it. What the parts do is their own;
//! when another configuration takes over is `reload.rs`.

mod generation;
mod upkeep;
mod warnings;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::config::{Config, ConfigFaults};
use crate::events::{ChangeEvent, Source};
use crate::idempotency;
use crate::problem::chain;
use crate::quota::{self};
use crate::reload::{Live, Reloader};
use crate::route::{RouteSummary, Routes};
use crate::server::Server;
use crate::shutdown::{Lifecycle, Phase};
use crate::store::{self, Tables};
use crate::telemetry::TracesFault;
use crate::upstream::{UnknownUpstream, Upstreams};
use crate::webhooks::{self};
pub(crate) use generation::{Generation, Shared};

/// How long the end waits for counts of quotas to be written down.
const LAST_COUNTS: Duration = Duration::from_secs(3);

/// What a BFF hands to the gateway.
#[derive(Clone, Copy)]
pub struct App {
    /// The process's name in logs.
    pub name: &'static str,
    /// The composed routes. Called once for each worker: what the routes hold is that worker's own.
    pub routes: fn(&Upstreams, &Config) -> Result<Routes, UnknownUpstream>,
    /// Which tags a change event concerns; [`no_tags`](crate::events::no_tags) for an app without events.
    pub tags: fn(&ChangeEvent) -> Option<Vec<String>>,
    /// What it keeps in the durable store, which is there only for an app that has such tables.
    pub tables: &'static [Tables],
    /// What partners are told of a change, for an app that has [`webhooks::TABLES`](crate::webhooks::TABLES) among its
    /// tables.
    pub announce: Option<webhooks::Announce>,
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
    #[error("the durable store cannot be used")]
    Store(#[from] store::OpenError),
    #[error(transparent)]
    Traces(Box<dyn std::error::Error + Send + Sync>),
}

/// A gateway that has been put together and checked, and has not bound a socket yet.
pub struct Gateway {
    app: App,
    live: Arc<Live>,
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
    live: Arc<Live>,
    lifecycle: Lifecycle,
    reload: Arc<Notify>,
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

    /// What its workers would share.
    #[cfg(feature = "bench")]
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.live.shared()
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
        let Self { app, live } = self;
        let shared = live.shared();
        let bind = |address: SocketAddr, inherited: Option<TcpListener>| {
            inherited
                .map_or_else(|| TcpListener::bind(address), Ok)
                .and_then(|listener| Ok((listener.local_addr()?, listener)))
                .map_err(|source| StartError::Listen { address, source })
        };
        let (admin_address, admin_listener) = bind(shared.config.admin.address, inherited.admin)?;
        let (address, listener) = bind(shared.config.server.address, inherited.public)?;

        if !app.tables.is_empty() {
            // After the sockets: a second process that was started by mistake does not touch the file of the first.
            shared.store.open(app.tables)?;
        }

        // Everything shared that does I/O lives here; workers only ever wait for it by channels.
        let control = tokio::runtime::Builder::new_multi_thread()
            // Two: what takes long on one of them (a large key set that is parsed, a console's page, an answer for a scraper)
            // keeps neither the other's timers nor Redis' answers, which requests wait for, from being heard.
            .worker_threads(2)
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        shared
            .traces
            .spawn()
            .map_err(|fault: TracesFault| StartError::Traces(fault.into()))?;
        shared.metrics.watch_runtime("control", control.handle());
        let stop_control = CancellationToken::new();
        shared.keys.spawn_refresh(control.handle(), &stop_control);
        shared.upstreams.look_after(control.handle());
        if let Some(store) = &shared.limiter_store {
            store.spawn_link(control.handle(), stop_control.clone());
        }
        if let Some(second) = shared.reads.tags.second_level() {
            second.start(control.handle(), stop_control.clone());
        }
        if let Some(sessions) = &shared.sessions {
            sessions.start(control.handle(), &stop_control);
        }
        if let Some(feed) = &shared.feed {
            let live = Arc::clone(&live);
            let source = move || {
                let shared = live.shared();
                Source::new(&shared.config, shared.signer.as_ref(), shared.number)
            };
            control.spawn(Arc::clone(feed).run(source, stop_control.clone()));
        }
        if app.announce.is_some() {
            shared.webhooks.start(control.handle(), &stop_control);
        }
        if let Some(revocations) = &shared.shared_revocations {
            revocations.start_link(control.handle(), stop_control.clone());
        }
        if let Some(redis) = shared.store.redis() {
            redis.live_on(control.handle());
        }
        if !shared.config.plans.is_empty() {
            let quotas = Arc::clone(&shared.quotas);
            upkeep::before_the_first_request(&control, async move {
                quotas.load(SystemTime::now()).await
            });
            control.spawn(quota::keep(Arc::clone(&live), stop_control.clone()));
        }
        let remembers = |tables: &Tables| tables.owner == idempotency::TABLES.owner;
        if app.tables.iter().any(remembers) && shared.store.redis().is_none() {
            control.spawn(idempotency::keep(shared.store.clone()));
        }
        control.spawn(upkeep::look_after(Arc::clone(&live)));
        if let Some(tls) = &shared.tls {
            control.spawn(upkeep::watch_certificate(
                Arc::clone(tls),
                shared.metrics.clone(),
            ));
        }
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
        warnings::log(&shared, app);
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

    #[cfg(test)]
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.live.shared()
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
        let shared = self.live.shared();
        // First, so that what is under way to partners has all this time to end.
        shared.webhooks.stop();
        lifecycle.enter(Phase::Draining);
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
        let flushed = match tokio::time::timeout(LAST_COUNTS, shared.quotas.flush()).await {
            Ok(outcome) => outcome.map_err(|error| chain(&error)),
            Err(_elapsed) => Err("it took too long".to_owned()),
        };
        // What comes of it is in the log.
        if let Err(error) = flushed {
            tracing::error!(error, "the last counts of quotas are lost");
        }
        shared.webhooks.ended().await;
        let patience = shared.config.tracing.timeout;
        let traces = shared.traces.clone();
        let store = shared.store.clone();
        let ending = tokio::task::spawn_blocking(move || {
            store.close();
            traces.finish(patience);
        });
        // What comes of it is in the log.
        let _ = ending.await;
        tracing::info!(name = shared.name, "ended");
    }
}

impl Drop for RunningGateway {
    fn drop(&mut self) {
        self.lifecycle.enter(Phase::Draining);
        self.lifecycle.stop_accepting.cancel();
        self.lifecycle.close_connections.cancel();
        self.stop_control.cancel();
        self.live.shared().traces.close();
        if let Some(control) = self.control.take() {
            control.shutdown_background();
        }
    }
}
