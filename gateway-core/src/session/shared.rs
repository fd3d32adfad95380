//! Sessions that replicas share through Redis, sealed: each is readable only with the id that its cookie has. Kept beside
//! them: which of them belong to a person and to a session of the provider's, and who is refreshing one.
//!
//! Keys, behind the app's prefix: `session:{digest}` (the sealed record, which goes when it was not used for long enough),
//! `session:{digest}:refresh` (held while its tokens are being refreshed), `session:of:{digest}` (a sorted set of the
//! digests of a person's sessions, or of one of the provider's, by their ends), `session:logout:{digest}` (there while a logout
//! token that was used would be believed again).
//!
//! Replicas tell one another on the channel `session:ended` which sessions they have ended, so that what these have opened
//! elsewhere ends, too. What was told while a replica could not hear, it finds out when it can.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures_util::StreamExt;
use redis::aio::MultiplexedConnection;
use redis::aio::PubSubStream;
use redis::{FromRedisValue, Pipeline};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Sessions;
use super::record::{Record, SessionKey};
use super::used_tokens::TokenDigest;
use crate::config::RedisConfig;
use crate::encode::hex;
use crate::metrics::Gauge;
use crate::store::redis::{Retry, in_time, open, subscribe, words};

/// A server that goes away while nobody asks is noticed after this.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// What is published and heard by nobody is noticed after this.
const HEARD_EVERY: Duration = Duration::from_secs(10);
/// So many sessions are asked for at once.
const COMPARED: usize = 500;
/// For what is not asked at every request: signing in and out, refreshing.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(1);
/// Renewed for as long as a refresh takes: a replica that dies in the middle of one holds up the session for so long.
const REFRESH_LEASE: Duration = Duration::from_secs(15);
/// So often; twice in vain is once too few.
const KEEP_LEASE: Duration = Duration::from_secs(5);

/// Removes the lease that is still one's own.
const GIVE_BACK: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

/// Makes the lease that is still one's own last longer.
const KEEP: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) else return 0 end";
/// Puts a record in the place of the one that it was made of.
const REPLACE: &str = "local kept = redis.call('GET', KEYS[1]) if not kept then return 0 end if kept ~= ARGV[1] then return 1 end redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) return 2";
/// Removes the record that is meant, and no newer one, and says so.
const REMOVE: &str = "local kept = redis.call('GET', KEYS[1]) if not kept then return 0 end if kept ~= ARGV[1] then return 1 end redis.call('DEL', KEYS[1]) redis.call('PUBLISH', ARGV[2], ARGV[3]) return 2";

/// What became of a record that was to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// It has ended meanwhile, and stays ended.
    Gone,
    /// Another replica has renewed it since, which stays.
    Newer,
    Done,
}

/// The store cannot be asked now; why is in its readiness.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the store of sessions is away")]
pub(super) struct Away;

pub(super) struct SharedSessions {
    config: RedisConfig,
    prefix: String,
    /// Where it is published which sessions have ended.
    channel: String,
    /// Tells what this replica has published from what others have.
    replica: Uuid,
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
        let prefix = format!("{}:session:", config.key_prefix(app));
        Arc::new(Self {
            channel: format!("{prefix}ended"),
            prefix,
            replica: Uuid::new_v4(),
            config: config.clone(),
            idle,
            connection: ArcSwapOption::empty(),
            lost: Notify::new(),
            started: AtomicBool::new(false),
            reason: Mutex::new("not connected yet".to_owned()),
            up,
        })
    }

    /// Connects on `control`, again and again, until `stop`. Those of `sessions` that other replicas have ended are forgotten.
    pub(super) fn start(
        self: &Arc<Self>,
        control: &Handle,
        stop: CancellationToken,
        sessions: Sessions,
    ) {
        if self.started.swap(true, Ordering::Relaxed) {
            return;
        }
        let shared = Arc::clone(self);
        control.spawn(async move {
            stop.run_until_cancelled(shared.run(&sessions)).await;
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

    /// Puts a refreshed session in the place of the one that was `before`.
    pub(super) async fn replace(
        &self,
        key: &SessionKey,
        before: &[u8],
        sealed: &[u8],
    ) -> Result<Changed, Away> {
        let mut pipeline = Pipeline::new();
        pipeline
            .cmd("EVAL")
            .arg(REPLACE)
            .arg(1)
            .arg(self.key(key))
            .arg(before)
            .arg(sealed)
            .arg(self.idle);
        self.changed(&pipeline).await
    }

    /// Ends the session under `key` if it still is as it was `before`.
    pub(super) async fn remove_as(&self, key: &SessionKey, before: &[u8]) -> Result<Changed, Away> {
        let mut pipeline = Pipeline::new();
        pipeline
            .cmd("EVAL")
            .arg(REMOVE)
            .arg(1)
            .arg(self.key(key))
            .arg(before)
            .arg(&self.channel)
            .arg(self.announcement([*key]));
        self.changed(&pipeline).await
    }

    async fn changed(&self, pipeline: &Pipeline) -> Result<Changed, Away> {
        let (changed,): (u8,) = self.ask(pipeline, EXCHANGE_TIMEOUT).await?;
        Ok(match changed {
            0 => Changed::Gone,
            1 => Changed::Newer,
            _ => Changed::Done,
        })
    }

    pub(super) async fn remove(&self, key: &SessionKey) -> Result<(), Away> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("DEL").arg(self.key(key)).ignore();
        pipeline
            .cmd("PUBLISH")
            .arg(&self.channel)
            .arg(self.announcement([*key]))
            .ignore();
        self.ask(&pipeline, EXCHANGE_TIMEOUT).await
    }

    /// Ends all sessions that belong to all of `about`: to a person (`sub`), to a session of the provider's (`sid`). Which
    /// there were.
    pub(super) async fn remove_all(
        &self,
        issuer: &str,
        about: &[(&'static str, &str)],
    ) -> Result<Vec<SessionKey>, Away> {
        if about.is_empty() {
            return Ok(Vec::new());
        }
        let indexes: Vec<String> = about
            .iter()
            .map(|(kind, value)| self.index(issuer, kind, value))
            .collect();
        let mut pipeline = Pipeline::new();
        pipeline.cmd("ZINTER").arg(indexes.len()).arg(&indexes);
        let (keys,): (Vec<Vec<u8>>,) = self.ask(&pipeline, EXCHANGE_TIMEOUT).await?;
        let meant: Vec<SessionKey> = keys
            .iter()
            .filter_map(|key| key.as_slice().try_into().ok())
            .map(SessionKey)
            .collect();
        let mut pipeline = Pipeline::new();
        pipeline.atomic();
        for key in &meant {
            pipeline.cmd("DEL").arg(self.key(key));
        }
        pipeline
            .cmd("PUBLISH")
            .arg(&self.channel)
            .arg(self.announcement(meant.iter().copied()))
            .ignore();
        // One that was added meanwhile stays in the index.
        if !keys.is_empty() {
            for index in &indexes {
                pipeline.cmd("ZREM").arg(index).arg(&keys).ignore();
            }
            let removed: Vec<usize> = self.ask(&pipeline, EXCHANGE_TIMEOUT).await?;
            let ended = meant.into_iter().zip(removed);
            return Ok(ended
                .filter(|(_, was)| *was > 0)
                .map(|(key, _)| key)
                .collect());
        }
        Ok(meant)
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

    /// Keeps the lease for as long as it is polled.
    pub(super) async fn keep(&self, lease: &Lease) -> Infallible {
        loop {
            sleep(KEEP_LEASE).await;
            let mut pipeline = Pipeline::new();
            pipeline
                .cmd("EVAL")
                .arg(KEEP)
                .arg(1)
                .arg(&lease.key)
                .arg(&lease.owner)
                .arg(REFRESH_LEASE.as_millis() as u64)
                .ignore();
            // Who has lost it may have spent the tokens already: what it gets for them is still kept, if nothing newer is.
            let _: Result<(), Away> = self.ask(&pipeline, EXCHANGE_TIMEOUT).await;
        }
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

    /// Who publishes, and which sessions have ended; none: only that the channel works.
    fn announcement(&self, ended: impl IntoIterator<Item = SessionKey>) -> Vec<u8> {
        let mut text = self.replica.as_bytes().to_vec();
        for SessionKey(digest) in ended {
            text.extend_from_slice(&digest);
        }
        text
    }

    /// What another replica has published; what this one has, it has done.
    fn announced(&self, text: &[u8]) -> Vec<SessionKey> {
        let Some((replica, digests)) = text.split_first_chunk::<16>() else {
            return Vec::new();
        };
        if replica == self.replica.as_bytes() {
            return Vec::new();
        }
        digests
            .as_chunks()
            .0
            .iter()
            .copied()
            .map(SessionKey)
            .collect()
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
    async fn run(&self, sessions: &Sessions) {
        crate::telemetry::install_crypto();
        let server = &self.config.server;
        let mut retry = Retry::new();
        let mut reported_down = false;
        loop {
            let since = Instant::now();
            let connecting = async {
                // First: what is published while the connection is being made is heard.
                let messages = subscribe(server, &self.channel).await?;
                Ok((messages, open(server).await?))
            };
            let reason = match in_time(connecting).await {
                Ok((messages, connection)) => {
                    tracing::info!(%server, "sessions are kept in the store");
                    reported_down = false;
                    let reason = self.watch(connection, messages, sessions).await;
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
    async fn watch(
        &self,
        mut connection: MultiplexedConnection,
        mut messages: PubSubStream,
        sessions: &Sessions,
    ) -> String {
        if let Err(reason) = self.compare(&mut connection, sessions).await {
            return reason;
        }
        self.connection.store(Some(Arc::new(connection.clone())));
        self.up.set(1.0);
        let mut probes = interval(PROBE_EVERY);
        let mut beats = interval(HEARD_EVERY);
        // Of the beat before, which there was none.
        let mut heard = true;
        loop {
            let mut probe = Pipeline::new();
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else {
                        return "the connection has ended".to_owned();
                    };
                    heard = true;
                    for key in self.announced(message.get_payload_bytes()) {
                        sessions.ended_here_too(&key);
                    }
                    continue;
                }
                // One late answer is no lost server: the next probe tells.
                () = self.lost.notified() => probe.cmd("PING").ignore(),
                _ = probes.tick() => probe.cmd("PING").ignore(),
                _ = beats.tick() => {
                    if !std::mem::replace(&mut heard, false) {
                        return "what is published does not arrive".to_owned();
                    }
                    probe.cmd("PUBLISH").arg(&self.channel).arg(self.announcement([])).ignore()
                }
            };
            if let Err(reason) = exchange::<()>(&mut connection, &probe).await {
                return reason;
            }
        }
    }

    /// Forgets what has ended while nobody could be heard.
    async fn compare(
        &self,
        connection: &mut MultiplexedConnection,
        sessions: &Sessions,
    ) -> Result<(), String> {
        for keys in sessions.inner.memory.keys().chunks(COMPARED) {
            let mut pipeline = Pipeline::new();
            for key in keys {
                pipeline.cmd("EXISTS").arg(self.key(key));
            }
            let there: Vec<bool> = exchange(connection, &pipeline).await?;
            let gone = keys.iter().zip(there).filter(|(_, there)| !there);
            for (key, _) in gone {
                sessions.forget(key);
            }
        }
        Ok(())
    }
}

/// An answer in time, or why there is none.
async fn exchange<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    pipeline: &Pipeline,
) -> Result<T, String> {
    match timeout(EXCHANGE_TIMEOUT, pipeline.query_async(connection)).await {
        Ok(answer) => answer.map_err(words),
        Err(_elapsed) => Err("no answer in time".to_owned()),
    }
}
