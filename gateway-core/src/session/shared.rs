//! Sessions that replicas share through Redis, sealed: each is readable only with the id that its cookie has. Kept beside
//! them: which of them belong to a person and to a session of the provider's, and who is refreshing one.
//!
//! Keys, behind the app's prefix: `session:{digest}` (the sealed record, which goes when it was not used for long enough),
//! `session:{digest}:refresh` (held while its tokens are being refreshed), `session:of:{digest}` (a sorted set of the
//! digests of a person's sessions, or of one of the provider's, by their ends), `session:logout:{digest}` (there while a logout
//! token that was used would be believed again).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Pipeline};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::record::{Record, SessionKey};
use super::used_tokens::TokenDigest;
use crate::config::RedisConfig;
use crate::encode::hex;
use crate::metrics::Gauge;
use crate::store::redis::{Retry, in_time, open, words};

/// A server that goes away while nobody asks is noticed after this.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// For what is not asked at every request: signing in and out, refreshing.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(1);
/// Longer than a refresh takes: a replica that dies in the middle of one holds up the session for so long.
const REFRESH_LEASE: Duration = Duration::from_secs(15);

/// Removes the lease that is still one's own.
const GIVE_BACK: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

/// The store cannot be asked now; why is in its readiness.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the store of sessions is away")]
pub(super) struct Away;

pub(super) struct SharedSessions {
    config: RedisConfig,
    prefix: String,
    /// In seconds.
    idle: u64,
    connection: ArcSwapOption<MultiplexedConnection>,
    lost: Notify,
    started: AtomicBool,
    reason: Mutex<String>,
    up: Gauge,
}

/// The right to refresh one session's tokens.
pub(super) struct Lease {
    key: String,
    owner: String,
}

impl SharedSessions {
    pub(super) fn new(config: &RedisConfig, app: &str, idle: u64, up: Gauge) -> Arc<Self> {
        Arc::new(Self {
            prefix: format!("{}:session:", config.key_prefix(app)),
            config: config.clone(),
            idle,
            connection: ArcSwapOption::empty(),
            lost: Notify::new(),
            started: AtomicBool::new(false),
            reason: Mutex::new("not connected yet".to_owned()),
            up,
        })
    }

    /// Connects on `control`, again and again, until `stop`.
    pub(super) fn start(self: &Arc<Self>, control: &Handle, stop: CancellationToken) {
        if self.started.swap(true, Ordering::Relaxed) {
            return;
        }
        let shared = Arc::clone(self);
        control.spawn(async move {
            stop.run_until_cancelled(shared.run()).await;
        });
    }

    /// Whether sessions can be read, and why not.
    pub(super) fn readiness(&self) -> (bool, String) {
        let server = &self.config.server;
        if self.connection.load().is_some() {
            return (true, format!("sessions are kept in {server}"));
        }
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        let detail = format!(
            "{server}: {reason}; sessions that this replica knows go on until their tokens end, nobody can sign in or out"
        );
        (false, detail)
    }

    /// The sealed record under `key`; reading it is using it.
    pub(super) async fn read(&self, key: &SessionKey) -> Result<Option<Bytes>, Away> {
        let mut pipeline = Pipeline::new();
        pipeline
            .cmd("GETEX")
            .arg(self.key(key))
            .arg("EX")
            .arg(self.idle);
        let (found,): (Option<Vec<u8>>,) = self.ask(&pipeline, self.config.timeout).await?;
        Ok(found.map(Bytes::from))
    }

    /// Keeps a new session.
    pub(super) async fn create(
        &self,
        key: &SessionKey,
        record: &Record,
        sealed: &[u8],
        now: u64,
    ) -> Result<(), Away> {
        let mut pipeline = Pipeline::new();
        pipeline.atomic();
        pipeline
            .cmd("SET")
            .arg(self.key(key))
            .arg(sealed)
            .arg("EX")
            .arg(self.idle)
            .ignore();
        let subject = self.index(&record.issuer, "sub", &record.subject);
        let session = record
            .provider_session
            .as_deref()
            .map(|sid| self.index(&record.issuer, "sid", sid));
        for index in std::iter::once(subject).chain(session) {
            let life = record.ends.saturating_sub(now).max(1);
            pipeline
                .cmd("ZREMRANGEBYSCORE")
                .arg(&index)
                .arg("-inf")
                .arg(now)
                .ignore();
            pipeline
                .cmd("ZADD")
                .arg(&index)
                .arg(record.ends)
                .arg(&key.0)
                .ignore();
            pipeline.cmd("EXPIRE").arg(&index).arg(life).ignore();
        }
        self.ask(&pipeline, EXCHANGE_TIMEOUT).await
    }

    /// Puts a refreshed session in its place. One that has ended meanwhile stays ended: false.
    pub(super) async fn replace(&self, key: &SessionKey, sealed: &[u8]) -> Result<bool, Away> {
        let mut pipeline = Pipeline::new();
        pipeline
            .cmd("SET")
            .arg(self.key(key))
            .arg(sealed)
            .arg("XX")
            .arg("EX")
            .arg(self.idle);
        let (done,): (Option<String>,) = self.ask(&pipeline, EXCHANGE_TIMEOUT).await?;
        Ok(done.is_some())
    }

    pub(super) async fn remove(&self, key: &SessionKey) -> Result<(), Away> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("DEL").arg(self.key(key)).ignore();
        self.ask(&pipeline, EXCHANGE_TIMEOUT).await
    }

    /// Ends all sessions that belong to all of `about`: to a person (`sub`), to a session of the provider's (`sid`). How
    /// many.
    pub(super) async fn remove_all(
        &self,
        issuer: &str,
        about: &[(&'static str, &str)],
    ) -> Result<usize, Away> {
        if about.is_empty() {
            return Ok(0);
        }
        let indexes: Vec<String> = about
            .iter()
            .map(|(kind, value)| self.index(issuer, kind, value))
            .collect();
        let mut pipeline = Pipeline::new();
        pipeline.cmd("ZINTER").arg(indexes.len()).arg(&indexes);
        let (keys,): (Vec<Vec<u8>>,) = self.ask(&pipeline, EXCHANGE_TIMEOUT).await?;
        let mut pipeline = Pipeline::new();
        pipeline.atomic();
        for key in keys.iter().filter_map(|key| key.as_slice().try_into().ok()) {
            pipeline.cmd("DEL").arg(self.key(&SessionKey(key)));
        }
        // One that was added meanwhile stays in the index.
        if !keys.is_empty() {
            for index in &indexes {
                pipeline.cmd("ZREM").arg(index).arg(&keys).ignore();
            }
            let removed: Vec<usize> = self.ask(&pipeline, EXCHANGE_TIMEOUT).await?;
            return Ok(removed.into_iter().sum());
        }
        Ok(0)
    }

    /// Whether the logout token with this digest was used, at whichever replica.
    pub(super) async fn is_used(&self, token: &TokenDigest) -> Result<bool, Away> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("EXISTS").arg(self.used(token));
        let (found,): (bool,) = self.ask(&pipeline, EXCHANGE_TIMEOUT).await?;
        Ok(found)
    }

    /// Keeps in mind for so many seconds that it was.
    pub(super) async fn note_used(&self, token: &TokenDigest, seconds: u64) -> Result<(), Away> {
        let mut pipeline = Pipeline::new();
        pipeline
            .cmd("SET")
            .arg(self.used(token))
            .arg(1)
            .arg("EX")
            .arg(seconds.max(1))
            .ignore();
        self.ask(&pipeline, EXCHANGE_TIMEOUT).await
    }

    fn used(&self, token: &TokenDigest) -> String {
        format!("{}logout:{}", self.prefix, hex(token))
    }

    /// The right to refresh the session under `key`, unless another replica has it.
    pub(super) async fn lease(&self, key: &SessionKey) -> Result<Option<Lease>, Away> {
        let lease = Lease {
            key: format!("{}:refresh", self.key(key)),
            owner: Uuid::new_v4().to_string(),
        };
        let mut pipeline = Pipeline::new();
        pipeline
            .cmd("SET")
            .arg(&lease.key)
            .arg(&lease.owner)
            .arg("NX")
            .arg("PX")
            .arg(REFRESH_LEASE.as_millis() as u64);
        let (taken,): (Option<String>,) = self.ask(&pipeline, EXCHANGE_TIMEOUT).await?;
        Ok(taken.map(|_| lease))
    }

    pub(super) async fn give_back(&self, lease: Lease) {
        let mut pipeline = Pipeline::new();
        pipeline
            .cmd("EVAL")
            .arg(GIVE_BACK)
            .arg(1)
            .arg(&lease.key)
            .arg(&lease.owner)
            .ignore();
        // If it cannot be given back, it ends by itself.
        let _: Result<(), Away> = self.ask(&pipeline, EXCHANGE_TIMEOUT).await;
    }

    fn key(&self, key: &SessionKey) -> String {
        format!("{}{}", self.prefix, hex(&key.0))
    }

    /// Of digests, so that names of people are no names of keys.
    fn index(&self, issuer: &str, kind: &'static str, value: &str) -> String {
        let mut digest = Sha256::new();
        for part in [issuer, kind, value] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        format!("{}of:{}", self.prefix, hex(&digest.finalize()))
    }

    async fn ask<T: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
        patience: Duration,
    ) -> Result<T, Away> {
        let connection = self.connection.load_full().ok_or(Away)?;
        let mut connection = MultiplexedConnection::clone(&connection);
        let reason = match timeout(patience, pipeline.query_async(&mut connection)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => words(error),
            Err(_elapsed) => "no answer in time".to_owned(),
        };
        tracing::debug!(reason, "a session could not be asked for");
        self.lost.notify_one();
        Err(Away)
    }

    /// Keeps the connection for as long as it is polled.
    async fn run(&self) {
        crate::telemetry::install_crypto();
        let server = &self.config.server;
        let mut retry = Retry::new();
        let mut reported_down = false;
        loop {
            let since = Instant::now();
            let reason = match in_time(open(server)).await {
                Ok(connection) => {
                    tracing::info!(%server, "sessions are kept in the store");
                    reported_down = false;
                    let reason = self.watch(connection).await;
                    retry.lost(since);
                    reason
                }
                Err(reason) => reason,
            };
            self.connection.store(None);
            self.up.set(0.0);
            if !reported_down {
                reported_down = true;
                tracing::warn!(%server, reason, "the store of sessions is away: nobody can sign in or out");
            }
            *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
            retry.pause().await;
        }
    }

    /// From a connection's first answer to its end; says why it ended.
    async fn watch(&self, connection: MultiplexedConnection) -> String {
        let mut probes = interval(PROBE_EVERY);
        loop {
            tokio::select! {
                // One late answer is no lost server: the next probe tells.
                () = self.lost.notified() => {}
                _ = probes.tick() => {}
            }
            let mut connection = connection.clone();
            let probe = redis::cmd("PING");
            match timeout(
                EXCHANGE_TIMEOUT,
                probe.query_async::<String>(&mut connection),
            )
            .await
            {
                Ok(Ok(_pong)) => {}
                Ok(Err(error)) => return words(error),
                Err(_elapsed) => return "no answer in time".to_owned(),
            }
            if self.connection.load().is_none() {
                self.connection.store(Some(Arc::new(connection)));
                self.up.set(1.0);
            }
        }
    }
}
