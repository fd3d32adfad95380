//! Putting a gateway together from a BFF's [`App`] and a configuration, and ending it. What the parts do is their own;
//! when another configuration takes over is `reload.rs`.

mod upkeep;
mod warnings;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin;
use crate::auth::internal_token::InternalTokenSigner;
use crate::auth::{
    Authenticator, KeySets, KeyUses, RevocationWatch, Revocations, SharedRevocations,
};
use crate::cache::{ResponseCache, Tags};
use crate::config::{Config, ConfigFault, ConfigFaults, TracingConfig};
use crate::edge::{Admission, Edge, RateLimitStore, RateLimiter};
use crate::events::{ChangeEvent, Events, Feed, Source};
use crate::finished::RecentRequests;
use crate::graphql::Documents;
use crate::idempotency;
use crate::metrics::Metrics;
use crate::problem::chain;
use crate::proxy::{Proxy, Tunnels};
use crate::quota::{self, Ledger, Quotas};
use crate::reload::{Live, Reloader};
use crate::route::{RouteSummary, RouteTable, Routes};
use crate::server::{Server, Tls, TlsFault};
use crate::session::Sessions;
use crate::shutdown::{Lifecycle, Phase};
use crate::store::{self, RedisStore, Store, Tables};
use crate::telemetry::{Traces, TracesFault};
use crate::trace::Sampling;
use crate::upstream::{Reads, SharedUpstreams, UnknownUpstream, Upstreams};
use crate::webhooks::{self, Webhooks};

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

/// What all workers of a process share for as long as one configuration is at work.
pub(crate) struct Shared {
    pub(crate) name: &'static str,
    /// Counts the configurations since the start of the process, from 1.
    pub(crate) number: u64,
    pub(crate) config: Config,
    pub(crate) table: RouteTable,
    pub(crate) limiter: Arc<RateLimiter>,
    pub(crate) quotas: Arc<Quotas>,
    /// Where replicas count together, when the configuration names a place.
    pub(crate) limiter_store: Option<Arc<RateLimitStore>>,
    pub(crate) keys: Arc<KeySets>,
    pub(crate) cache: Arc<ResponseCache>,
    /// What composed reads share.
    pub(crate) reads: Reads,
    pub(crate) events: Events,
    /// For the life of the process; it is opened when the gateway runs.
    pub(crate) store: Store,
    /// For the life of the process; nobody is told anything when the app announces nothing.
    pub(crate) webhooks: Webhooks,
    /// GraphQL documents that were seen before.
    pub(crate) documents: Documents,
    /// For the life of the process, when its first configuration has a feed.
    pub(crate) feed: Option<Arc<Feed>>,
    pub(crate) signer: Option<Arc<InternalTokenSigner>>,
    pub(crate) upstreams: Arc<SharedUpstreams>,
    pub(crate) revocations: Arc<Revocations>,
    /// Of browsers, when the configuration has them.
    pub(crate) sessions: Option<Sessions>,
    /// How replicas tell one another of revocations, when the configuration names a place.
    pub(crate) shared_revocations: Option<Arc<SharedRevocations>>,
    /// For what has been let in already.
    pub(crate) revocation_watch: RevocationWatch,
    pub(crate) key_uses: KeyUses,
    pub(crate) metrics: Metrics,
    /// Which traces are recorded.
    pub(crate) sampling: Sampling,
    /// Where they go.
    pub(crate) traces: Traces,
    /// The last requests, for the console.
    pub(crate) recent: Arc<RecentRequests>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) admission: Admission,
    /// The public listener's certificate; plain text without it.
    pub(crate) tls: Option<Arc<Tls>>,
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

/// One configuration, put together: what all workers share, and an edge for each.
pub(crate) struct Generation {
    pub(crate) shared: Arc<Shared>,
    pub(crate) edges: Vec<Edge>,
}

impl Generation {
    /// The first one of a process, for as many workers as the configuration says.
    fn first(app: App, config: Config) -> Result<(Self, Vec<TaskTracker>), StartError> {
        let metrics = Metrics::new(config.server.workers.max(1));
        let limiter_store = config
            .redis
            .as_ref()
            .map(|redis| RateLimitStore::new(redis, app.name, metrics.limiter_store()));
        let limiter = RateLimiter::new(&config, limiter_store.clone(), &metrics);
        let revocations = Arc::new(Revocations::default());
        let shared_revocations = config
            .redis
            .as_ref()
            .map(|redis| SharedRevocations::new(Arc::clone(&revocations), redis, app.name));
        let tls = match config.server.tls.clone().map(Tls::new).transpose() {
            Ok(tls) => tls.map(Arc::new),
            Err(fault) => return Err(ConfigFaults(vec![bad_tls(&fault)]).into()),
        };
        let commands: Vec<TaskTracker> = (0..config.server.workers.max(1))
            .map(|_| TaskTracker::new())
            .collect();
        let tags = Arc::<Tags>::default();
        let reads = Reads::new(config.cache.parts_max_bytes, &tags, &metrics);
        let events = Events::new(&tags);
        let upstreams = SharedUpstreams::new(&config.upstreams, commands.len(), &metrics);
        let keys = KeySets::new(&config.issuers);
        let sessions = Sessions::of(&config, app.name, &keys, &revocations, &metrics);
        let redis = config.redis.as_ref();
        let redis = redis.map(|redis| Arc::new(RedisStore::new(redis, app.name)));
        let store = Store::beside(config.store.path.clone(), redis);
        let ledger = Arc::new(Ledger::new(&store));
        let webhooks = Webhooks::new(&store, &config.webhooks, app.announce);
        let feed = config.events.as_ref().map(|_| {
            let journal = app.announce.map(|_| webhooks.clone());
            Feed::new(events.clone(), app.tags, journal, metrics.feed())
        });
        let shared = Shared {
            quotas: Arc::new(Quotas::after(None, &config, &ledger)),
            tls,
            name: app.name,
            number: 1,
            table: build_table(
                app, &config, &upstreams, &limiter, &metrics, &events, &store,
            )?,
            upstreams: Arc::new(upstreams),
            reads,
            events,
            store,
            webhooks,
            documents: Documents::new(&config.graphql),
            feed,
            signer: signer(app, &config),
            keys,
            sessions,
            key_uses: KeyUses::after(None, config.api_keys.as_ref()),
            revocation_watch: RevocationWatch::new(
                Arc::clone(&revocations),
                config.api_keys.as_ref(),
            ),
            revocations,
            shared_revocations,
            limiter: Arc::new(limiter),
            limiter_store,
            cache: Arc::new(ResponseCache::new(&config.cache, &tags, metrics.cache())),
            sampling: config.tracing.sampling(),
            traces: Traces::new(&config.tracing, app.name, metrics.traces()),
            recent: Arc::new(RecentRequests::new(commands.len())),
            lifecycle: Lifecycle::new(),
            admission: Admission::new(
                config.server.max_requests,
                config.server.max_wait,
                config.server.body_timeout,
                metrics.admission(),
            ),
            metrics,
            config,
        };
        Ok((Self::with_edges(app, shared, &commands)?, commands))
    }

    /// The one after `previous`. What counts or remembers goes on wherever the configuration of it is the same.
    pub(crate) fn after(
        previous: &Shared,
        app: App,
        mut config: Config,
        commands: &[TaskTracker],
    ) -> Result<Self, ConfigFaults> {
        // What replicas share is connected to at the start.
        config.redis.clone_from(&previous.config.redis);
        config.store.clone_from(&previous.config.store);
        config.webhooks.clone_from(&previous.config.webhooks);
        config.session.clone_from(&previous.config.session);
        // So is the collector of traces; how many there are can change.
        config.tracing = TracingConfig {
            ratio: config.tracing.ratio,
            ..previous.config.tracing.clone()
        };
        let limiter_store = previous.limiter_store.clone();
        let limiter = RateLimiter::new(&config, limiter_store.clone(), &previous.metrics)
            .inherit(&previous.limiter);
        let keep_cache = may_keep_cache(&previous.config, &config);
        let keys = KeySets::after(&previous.keys, &config.issuers);
        let upstreams = SharedUpstreams::after(
            &previous.upstreams,
            &config.upstreams,
            commands.len(),
            &previous.metrics,
        );
        let shared = Shared {
            reads: if keep_cache {
                previous.reads.clone()
            } else {
                // The same tags: an event must not purge what is no longer at work.
                let tags = &previous.reads.tags;
                Reads::new(config.cache.parts_max_bytes, tags, &previous.metrics)
            },
            events: previous.events.clone(),
            store: previous.store.clone(),
            webhooks: previous.webhooks.clone(),
            documents: Documents::after(&previous.documents, &config.graphql),
            quotas: Arc::new(Quotas::after(
                Some(&previous.quotas),
                &config,
                previous.quotas.ledger(),
            )),
            feed: previous.feed.clone(),
            signer: signer(app, &config),
            tls: previous.tls.clone(),
            revocations: Arc::clone(&previous.revocations),
            shared_revocations: previous.shared_revocations.clone(),
            revocation_watch: previous.revocation_watch.clone(),
            key_uses: KeyUses::after(Some(&previous.key_uses), config.api_keys.as_ref()),
            limiter_store,
            name: app.name,
            number: previous.number + 1,
            table: build_table(
                app,
                &config,
                &upstreams,
                &limiter,
                &previous.metrics,
                &previous.events,
                &previous.store,
            )?,
            upstreams: Arc::new(upstreams),
            sessions: Sessions::after(previous.sessions.as_ref(), &keys),
            keys,
            limiter: Arc::new(limiter),
            cache: if keep_cache {
                Arc::clone(&previous.cache)
            } else {
                let (tags, metrics) = (&previous.reads.tags, previous.metrics.cache());
                Arc::new(ResponseCache::new(&config.cache, tags, metrics))
            },
            metrics: previous.metrics.clone(),
            sampling: config.tracing.sampling(),
            traces: previous.traces.clone(),
            recent: Arc::clone(&previous.recent),
            lifecycle: previous.lifecycle.clone(),
            admission: previous
                .admission
                .after(config.server.max_requests, config.server.max_wait),
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
        shared.events.places().configure(&config.streams);
        if let Some(events) = &config.events {
            shared.events.allow(events.max_subscribers);
        }
        shared.webhooks.bind(&config.partners);
        for (worker, commands) in commands.iter().enumerate() {
            let upstreams = Upstreams::new(
                &shared.upstreams,
                worker,
                commands,
                shared.signer.as_ref(),
                &shared.reads,
                &shared.events,
                &shared.store,
            )
            .with_webhooks(&shared.webhooks)
            .with_sessions(shared.sessions.as_ref())
            .with_documents(&shared.documents);
            let routes = (app.routes)(&upstreams, config)
                .map_err(|unknown| ConfigFaults(vec![unknown_upstream(&unknown)]))?;
            let authenticator = Authenticator::new(Arc::clone(&shared.keys))
                .api_keys(config.api_keys.as_ref(), &shared.key_uses)
                .partners(Arc::clone(&config.partners))
                .revocations(Arc::clone(&shared.revocations))
                .counted(shared.metrics.token_lookups());
            let tunnels = Tunnels {
                config: config.streams.clone(),
                running: commands.clone(),
                drain: shared.lifecycle.close_connections.clone(),
            };
            let proxy = Proxy::new(upstreams, Arc::clone(&shared.cache), tunnels);
            edges.push(Edge::new(
                Arc::clone(&shared),
                worker,
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
    upstreams: &SharedUpstreams,
    limiter: &RateLimiter,
    metrics: &Metrics,
    events: &Events,
    store: &Store,
) -> Result<RouteTable, ConfigFaults> {
    let upstreams = Upstreams::new(
        upstreams,
        0,
        &TaskTracker::new(),
        None,
        &Reads::new(0, &Arc::default(), metrics),
        events,
        store,
    );
    match (app.routes)(&upstreams, config) {
        Ok(routes) => RouteTable::build(config, &routes.into_parts().1, limiter, metrics),
        // Without the declared routes every policy would look like a fault, too.
        Err(unknown) => Err(ConfigFaults(vec![unknown_upstream(&unknown)])),
    }
}

fn signer(app: App, config: &Config) -> Option<Arc<InternalTokenSigner>> {
    let token = config.internal_token.as_ref()?;
    Some(Arc::new(InternalTokenSigner::new(app.name, token)))
}

/// Stored answers say which upstream they are from by its name: they are good for as long as names mean the same.
fn may_keep_cache(before: &Config, now: &Config) -> bool {
    before.cache == now.cache
        && now.upstreams.iter().all(|(name, upstream)| {
            before
                .upstreams
                .get(name)
                .is_none_or(|known| known.discovery == upstream.discovery)
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
            shared.webhooks.start(control.handle());
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
        // What comes of it is in the log.
        if let Err(error) = shared.quotas.flush().await {
            let error = chain(&error);
            tracing::error!(error, "the last counts of quotas are lost");
        }
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
