//! A service from its first breath to its last: address, database, relay, consumer, HTTP, background work. What is
//! served and handled comes from the service itself.

#[cfg(test)]
mod tests;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use ftgo_messaging::{
    BoxError, Consumer, Database, DatabaseError, InProcessTransport, MessageHandler, Relay,
};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, join};
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::caller::{Admission, TrustedGateways};
use crate::openapi::Document;
use crate::traces::{Collector, Traces};
use crate::{http, idempotency, metrics};

/// How long background work may take to end.
const BACKGROUND_GRACE: Duration = Duration::from_millis(1500);
/// How long the database may take to close.
const DATABASE_GRACE: Duration = Duration::from_millis(900);
const HOUSEKEEPING: Duration = Duration::from_secs(10);
/// Housekeeping rounds from one deletion of old idempotency keys to the next: an hour.
const ROUNDS_PER_PRUNING: u64 = 360;

pub(crate) static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.dangerous_set_table_name("_chassis_migrations");
    migrator
});

/// Where a service runs and with whom.
#[derive(Clone)]
pub struct Environment {
    /// Port 0 takes any free port.
    pub address: SocketAddr,
    /// The database is `<data_dir>/<service>.db`.
    pub data_dir: PathBuf,
    /// Without one, messages stay in the outbox.
    pub transport: Option<Arc<InProcessTransport>>,
    /// Whether the service can be told to misbehave (`/faults`). Never in production.
    pub faults: bool,
    /// Whether the service writes its demonstration data, as far as it is missing.
    pub seed: bool,
    /// Who may call: requests need an internal token of one of these gateways. Without it whoever gets here may.
    pub trust: Option<TrustedGateways>,
    /// Who is told of traces. Nobody without it.
    pub collector: Option<Collector>,
}

/// A service that holds its address and its database, and serves nothing yet.
pub struct Service {
    name: &'static str,
    environment: Environment,
    listener: TcpListener,
    address: SocketAddr,
    database: Database,
    shutdown: CancellationToken,
    routes: Router,
    public: &'static [&'static str],
    openapi: Document,
    handler: Option<Arc<dyn MessageHandler>>,
    background: Vec<(&'static str, BoxFuture<'static, ()>)>,
}

/// A service at work. Dropping it stops it, too, without waiting.
pub struct RunningService {
    name: &'static str,
    address: SocketAddr,
    shutdown: DropGuard,
    ended: JoinHandle<()>,
}

/// Why a service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}")]
    Address {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("cannot use the database")]
    Database(#[from] DatabaseError),
    #[error("cannot write the demonstration data")]
    Seed(#[source] BoxError),
    /// Something of the service itself, as its keys.
    #[error("cannot set up the service")]
    Setup(#[source] BoxError),
}

impl StartError {
    pub fn seed(error: impl Into<BoxError>) -> StartError {
        StartError::Seed(error.into())
    }

    pub fn setup(error: impl Into<BoxError>) -> StartError {
        StartError::Setup(error.into())
    }
}

impl Service {
    /// Takes the address and opens the database `<data_dir>/<name>.db` with the service's migrations.
    ///
    /// # Errors
    /// When the address can't be bound, or the database can't be opened or migrated.
    pub async fn bind(
        name: &'static str,
        environment: Environment,
        migrations: &'static Migrator,
    ) -> Result<Service, StartError> {
        let address_error = |source| StartError::Address {
            address: environment.address,
            source,
        };
        let listener = TcpListener::bind(environment.address)
            .await
            .map_err(address_error)?;
        let address = listener.local_addr().map_err(address_error)?;
        let file = environment.data_dir.join(format!("{name}.db"));
        let database = Database::open(&file, &[&*MIGRATOR, migrations]).await?;
        Ok(Service {
            openapi: Document::new(name),
            name,
            environment,
            listener,
            address,
            database,
            shutdown: CancellationToken::new(),
            routes: Router::new(),
            public: &[],
            handler: None,
            background: Vec::new(),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Whether the service shall write its demonstration data.
    pub fn seeds(&self) -> bool {
        self.environment.seed
    }

    /// Cancelled when the service is told to stop. Streams and background work end then.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// What the service answers, beside what the chassis does. A gRPC service gives tonic's `Routes::into_axum_router()`.
    #[must_use]
    pub fn routes(mut self, routes: Router) -> Service {
        self.routes = routes;
        self
    }

    /// Routes, by their paths as they were given to the router, that anybody may read: GET and HEAD need no token.
    #[must_use]
    pub fn public(mut self, routes: &'static [&'static str]) -> Service {
        self.public = routes;
        self
    }

    /// The document of `/openapi.json`.
    #[must_use]
    pub fn openapi(mut self, document: Document) -> Service {
        self.openapi = document;
        self
    }

    /// Who handles the messages that the service subscribes to.
    #[must_use]
    pub fn messages(mut self, handler: Arc<dyn MessageHandler>) -> Service {
        self.handler = Some(handler);
        self
    }

    /// Work beside the requests, given up 1.5 s after [`Service::shutdown`].
    #[must_use]
    pub fn background(
        mut self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Service {
        self.background.push((name, work.boxed()));
        self
    }

    /// Serves, consumes and relays from now on.
    pub fn start(self) -> RunningService {
        let (name, address) = (self.name, self.address);
        let shutdown = self.shutdown.clone();
        metrics::install();
        let ended = tokio::spawn(self.run());
        tracing::info!(service = name, %address, "started");
        RunningService {
            name,
            address,
            shutdown: shutdown.drop_guard(),
            ended,
        }
    }

    async fn run(self) {
        let (name, database, shutdown) = (self.name, self.database, self.shutdown);
        let mut background = JoinSet::new();
        background.spawn(housekeeping(name, database.clone(), shutdown.clone()));
        for (work_name, work) in self.background {
            background.spawn(async move {
                if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                    tracing::error!(
                        service = name,
                        work = work_name,
                        "background work ended by a panic"
                    );
                }
            });
        }
        let transport = self.environment.transport;
        let consumer = self
            .handler
            .map(|handler| Consumer::new(name, database.clone(), handler));
        if let (Some(transport), Some(consumer)) = (&transport, &consumer) {
            transport.attach(name, Arc::clone(consumer));
        }
        let relay = transport
            .clone()
            .map(|transport| Relay::spawn(name, database.clone(), transport, shutdown.clone()));
        let traces = self.environment.collector.as_ref().and_then(|collector| {
            // A service without traces is better than none.
            Traces::of(name, collector)
                .inspect_err(|error| {
                    let error: &dyn Error = error;
                    tracing::error!(service = name, error, "traces cannot be exported");
                })
                .ok()
        });
        let router = http::router(http::Parts {
            traces: traces.clone(),
            service: name,
            routes: self.routes,
            openapi: self.openapi,
            database: database.clone(),
            faults: self.environment.faults,
            admission: Admission::new(name, self.environment.trust, self.public),
        });
        let server = tokio::spawn(http::serve(self.listener, router, shutdown.clone()));

        shutdown.cancelled().await;
        // Nothing new comes in: no connection, no message. What is under way gets its time, all at once.
        if let (Some(transport), Some(consumer)) = (&transport, &consumer) {
            transport.withdraw(name, consumer);
        }
        join!(
            async {
                if let Err(error) = server.await {
                    tracing::error!(service = name, %error, "the server ended by a panic");
                }
            },
            async {
                if let Some(relay) = relay {
                    relay.ended().await;
                }
            },
            async {
                let all = async { while background.join_next().await.is_some() {} };
                if tokio::time::timeout(BACKGROUND_GRACE, all).await.is_err() {
                    tracing::warn!(service = name, "background work did not end in time");
                }
                background.shutdown().await;
            }
        );
        if tokio::time::timeout(DATABASE_GRACE, database.close())
            .await
            .is_err()
        {
            tracing::warn!(service = name, "the database was still in use at the end");
        }
        if let Some(traces) = traces {
            // What comes of it is nobody's business any more.
            let _ = tokio::task::spawn_blocking(move || traces.end()).await;
        }
        tracing::info!(service = name, "stopped");
    }
}

impl RunningService {
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// With the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops within 3 s: no new connections and messages, requests under way get 1.5 s, then the database is closed.
    pub async fn stop(self) {
        drop(self.shutdown);
        if let Err(error) = self.ended.await {
            tracing::error!(service = self.name, %error, "the service ended by a panic");
        }
    }
}

/// Keeps the metrics' memory and the table of idempotency keys small.
async fn housekeeping(name: &'static str, database: Database, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    for round in 0_u64.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        metrics::upkeep();
        if round % ROUNDS_PER_PRUNING == 0
            && let Err(error) = idempotency::prune(&database).await
        {
            let error: &dyn Error = &error;
            tracing::warn!(
                service = name,
                error,
                "old idempotency keys could not be deleted"
            );
        }
    }
}
