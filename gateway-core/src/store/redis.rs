//! The way to Redis: how a connection is made, how long that may take, and the pauses between two attempts. What is said
//! over a connection is with who says it: `edge/rate_limit/store/`, `auth/revocation/`, `quota/` and `idempotency/`.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{AsyncConnectionConfig, Client, FromRedisValue, Pipeline, RedisError};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore};
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
        sleep(self.next()).await;
    }

    /// How long the next pause is to be.
    fn next(&mut self) -> Duration {
        let pause = jittered(self.0);
        self.0 = (self.0 * 2).min(MAX_RETRY);
        pause
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
/// What may be asked at once. More is refused: who waits behind so many has given up before their turn comes.
const MAX_ASKED: usize = 1024;

/// What replicas keep together: commands over one connection, which is made when it is first needed, and again after it
/// was lost. While the server is away, one that asks in each pause tries to find it again, and all others are refused at
/// once: nothing queues up behind a server that swallows what it is sent.
pub(crate) struct RedisStore {
    server: RedisServer,
    /// What all keys begin with.
    prefix: String,
    /// Where the connection lives: workers' runtimes do no I/O that is shared.
    runtime: OnceLock<Handle>,
    /// One for each that asks. Who has gone away still has one until its answer or timeout.
    room: Arc<Semaphore>,
    /// The last attempt to reach the server has failed: nobody waits for the next one.
    is_away: AtomicBool,
    link: Mutex<Link>,
}

struct Link {
    /// With its number, so that what is said of an older one does not end it.
    connection: Option<(u64, MultiplexedConnection)>,
    /// How many have been made.
    made: u64,
    /// When the last one was made.
    since: Instant,
    retry: Retry,
    /// Until then nobody tries again.
    not_before: Option<Instant>,
}

impl RedisStore {
    pub(crate) fn new(config: &RedisConfig, app: &str) -> Self {
        Self {
            server: config.server.clone(),
            prefix: config.key_prefix(app).to_owned(),
            runtime: OnceLock::new(),
            room: Arc::new(Semaphore::new(MAX_ASKED)),
            is_away: AtomicBool::new(false),
            link: Mutex::new(Link {
                connection: None,
                made: 0,
                since: Instant::now(),
                retry: Retry::new(),
                not_before: None,
            }),
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
        let full = |_| "too much waits for an answer".to_owned();
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(full)?;
        let this = Arc::clone(self);
        let asking = async move {
            let _room = room;
            this.ask_here(&pipeline).await
        };
        match self.runtime.get() {
            Some(runtime) => match runtime.spawn(asking).await {
                Ok(answer) => answer,
                Err(ended) => Err(ended.to_string()),
            },
            None => asking.await,
        }
    }

    async fn ask_here<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, String> {
        let (number, mut connection) = self.connect().await?;
        match timeout(ANSWER_TIMEOUT, pipeline.query_async(&mut connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                // What the server refuses says nothing against the connection; it is made anew all the same.
                self.lost(number, false).await;
                Err(words(error))
            }
            Err(_elapsed) => {
                self.lost(number, true).await;
                Err("did not answer in time".to_owned())
            }
        }
    }

    /// The connection that there is, or a new one, with its number.
    async fn connect(&self) -> Result<(u64, MultiplexedConnection), String> {
        let away = || "is away; it is looked for again soon".to_owned();
        let mut link = if self.is_away.load(Ordering::Relaxed) {
            self.link.try_lock().map_err(|_busy| away())?
        } else {
            self.link.lock().await
        };
        if let Some((number, connection)) = &link.connection {
            return Ok((*number, connection.clone()));
        }
        if link.not_before.is_some_and(|then| Instant::now() < then) {
            return Err(away());
        }
        match in_time(open(&self.server)).await {
            Ok(connection) => {
                self.is_away.store(false, Ordering::Relaxed);
                link.made += 1;
                link.since = Instant::now();
                link.not_before = None;
                let numbered = (link.made, connection);
                link.connection = Some(numbered.clone());
                Ok(numbered)
            }
            Err(reason) => {
                self.is_away.store(true, Ordering::Relaxed);
                let pause = link.retry.next();
                link.not_before = Some(Instant::now() + pause);
                Err(reason)
            }
        }
    }

    /// The connection with this number is of no use any more. A server that was silent is looked for by one at a time.
    async fn lost(&self, number: u64, was_silent: bool) {
        let mut link = self.link.lock().await;
        if link
            .connection
            .as_ref()
            .is_some_and(|(held, _)| *held == number)
        {
            let since = link.since;
            link.connection = None;
            link.retry.lost(since);
            if was_silent {
                self.is_away.store(true, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;
