//! The way to Redis: how a connection is made, how long that may take, and the pauses between two attempts. What is said
//! over a connection is with who says it: `edge/rate_limit/store/`, `auth/revocation/`, `quota/` and `idempotency/`.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{AsyncConnectionConfig, Client, FromRedisValue, Pipeline, RedisError};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::config::{RedisConfig, RedisServer};

/// For a connection with all it takes; no request waits for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The first pause before connecting again; it doubles from there.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const MAX_RETRY: Duration = Duration::from_secs(1);
/// A server that was there for less is flapping: the pause goes on growing.
const STABLE: Duration = Duration::from_secs(2);

/// A connection for commands. What is sent over it gets its timeout from who sends it.
pub(crate) async fn open(server: &RedisServer) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    Client::open(server.0.clone())?
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

/// A connection of its own on which everything arrives that is published on `channel` from now on; it ends when the
/// connection does.
pub(crate) async fn subscribe(
    server: &RedisServer,
    channel: &str,
) -> Result<PubSubStream, RedisError> {
    let mut connection = Client::open(server.0.clone())?.get_async_pubsub().await?;
    connection.subscribe(channel).await?;
    Ok(connection.into_on_message())
}

/// What `connecting` comes to, if it comes in time; otherwise why not, for logs and readiness.
pub(crate) async fn in_time<T>(
    connecting: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, String> {
    timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_elapsed| "cannot be reached in time".to_owned())?
        .map_err(words)
}

/// For logs and readiness. Errors of the client name commands and addresses, never the password.
#[expect(clippy::needless_pass_by_value, reason = "it ends a chain of map_err")]
pub(crate) fn words(error: RedisError) -> String {
    error.to_string()
}

/// The pauses between attempts to connect.
pub(crate) struct Retry(Duration);

impl Retry {
    pub(crate) fn new() -> Self {
        Self(FIRST_RETRY)
    }

    /// A connection that was made at `since` has ended.
    pub(crate) fn lost(&mut self, since: Instant) {
        if since.elapsed() >= STABLE {
            self.0 = FIRST_RETRY;
        }
    }

    pub(crate) async fn pause(&mut self) {
        sleep(jittered(self.0)).await;
        self.0 = (self.0 * 2).min(MAX_RETRY);
    }
}

/// Replicas that lost the server together do not come back together.
fn jittered(wait: Duration) -> Duration {
    // Every `RandomState` has keys of its own.
    let percent = 75 + RandomState::new().hash_one(()) % 50;
    wait.mul_f64(percent as f64 / 100.0)
}

/// No request waits for longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// What replicas keep together: commands over one connection, which is made when it is first needed, and again after it
/// was lost.
pub(crate) struct RedisStore {
    server: RedisServer,
    /// What all keys begin with.
    prefix: String,
    /// Where the connection lives: workers' runtimes do no I/O that is shared.
    runtime: OnceLock<Handle>,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl RedisStore {
    pub(crate) fn new(config: &RedisConfig, app: &str) -> Self {
        Self {
            server: config.server.clone(),
            prefix: config.key_prefix(app).to_owned(),
            runtime: OnceLock::new(),
            connection: Mutex::default(),
        }
    }

    /// From now on everything is asked from there.
    pub(crate) fn live_on(&self, runtime: &Handle) {
        // The first one stays: there is one control runtime.
        let _ = self.runtime.set(runtime.clone());
    }

    pub(crate) fn key(&self, rest: impl std::fmt::Display) -> String {
        format!("{}:{rest}", self.prefix)
    }

    /// The answer to `pipeline`, or why there is none: then it may have been done all the same.
    pub(crate) async fn ask<T: FromRedisValue + Send + 'static>(
        self: &Arc<Self>,
        pipeline: Pipeline,
    ) -> Result<T, String> {
        let this = Arc::clone(self);
        let asking = async move { this.ask_here(&pipeline).await };
        match self.runtime.get() {
            Some(runtime) => match runtime.spawn(asking).await {
                Ok(answer) => answer,
                Err(ended) => Err(ended.to_string()),
            },
            None => asking.await,
        }
    }

    async fn ask_here<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, String> {
        let mut connection = self.connect().await?;
        match timeout(ANSWER_TIMEOUT, pipeline.query_async(&mut connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                // What the server refuses says nothing against the connection; it is made anew all the same.
                *self.connection.lock().await = None;
                Err(words(error))
            }
            Err(_elapsed) => {
                *self.connection.lock().await = None;
                Err("did not answer in time".to_owned())
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        let connection = in_time(open(&self.server)).await?;
        *held = Some(connection.clone());
        Ok(connection)
    }
}
