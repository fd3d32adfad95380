//! One configuration put together: what all workers share, an edge for each of them, and what is taken over from the one
//! before. Starting and ending a gateway is `gateway.rs`, when another configuration takes over is `reload.rs`.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::{App, StartError};
use crate::auth::internal_token::InternalTokenSigner;
use crate::auth::{
    Authenticator, KeySets, KeyUses, RevocationWatch, Revocations, SharedRevocations,
};
use crate::cache::{ResponseCache, SecondLevel, Tags};
use crate::config::{Config, ConfigFault, ConfigFaults, TracingConfig};
use crate::edge::{Admission, Edge, RateLimitStore, RateLimiter};
use crate::events::{Events, Feed};
use crate::finished::RecentRequests;
use crate::graphql::Documents;
use crate::metrics::Metrics;
use crate::problem::chain;
use crate::proxy::{Proxy, Tunnels};
use crate::quota::{Ledger, Quotas};
use crate::route::RouteTable;
use crate::server::{Tls, TlsFault};
use crate::session::Sessions;
use crate::shutdown::Lifecycle;
use crate::store::{RedisStore, Store};
use crate::telemetry::Traces;
use crate::trace::Sampling;
use crate::upstream::{Reads, SharedUpstreams, UnknownUpstream, Upstreams};
use crate::webhooks::Webhooks;

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

/// One configuration, put together: what all workers share, and an edge for each.
pub(crate) struct Generation {
    pub(crate) shared: Arc<Shared>,
    pub(crate) edges: Vec<Edge>,
}

impl Generation {
    /// The first one of a process, for as many workers as the configuration says.
    pub(super) fn first(app: App, config: Config) -> Result<(Self, Vec<TaskTracker>), StartError> {
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
        let redis = config.redis.as_ref();
        let second_level = SecondLevel::of(redis, app.name, || metrics.second_level());
        let tags = Arc::new(Tags::beside(second_level));
        let reads = Reads::new(config.cache.parts_max_bytes, &tags, &metrics);
        let events = Events::new(&tags);
        let upstreams = SharedUpstreams::new(&config.upstreams, commands.len(), &metrics);
        let keys = KeySets::new(&config.issuers);
        let sessions = Sessions::of(&config, app.name, &keys, &revocations, &metrics);
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
        let places = shared.events.places();
        places.configure(&config.streams);
        places.allow_sockets(config.server.max_connections);
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

/// Stored answers say which upstream they are from by its name: they are good for as long as names mean the same. One that
/// goes may come back for something else.
fn may_keep_cache(before: &Config, now: &Config) -> bool {
    before.cache == now.cache
        && before.upstreams.iter().all(|(name, known)| {
            now.upstreams
                .get(name)
                .is_some_and(|upstream| upstream.discovery == known.discovery)
        })
}

fn unknown_upstream(unknown: &UnknownUpstream) -> ConfigFault {
    ConfigFault {
        path: format!("upstreams.{}", unknown.name),
        message: unknown.to_string(),
    }
}

fn bad_tls(fault: &TlsFault) -> ConfigFault {
    ConfigFault {
        path: fault.key().to_owned(),
        message: chain(fault),
    }
}
