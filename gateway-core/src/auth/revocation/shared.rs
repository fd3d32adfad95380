//! Revocations that all replicas know: published in Redis for whoever listens, and kept there until they end for whoever
//! comes later. No request waits for any of it; whether a token is revoked is decided by the process's own list.
//!
//! Nothing is lost by an outage, on either side: after every connection, and every few seconds beside it, the list and the
//! stored set take over from one another what they lack.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as blocking};
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Pipeline};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::{MOST_OF_ALL, Revocation, Revocations};
use crate::clock::unix_time;
use crate::config::RedisConfig;
use crate::store::redis::{Retry, in_time, open, subscribe, words};

/// Revocations that wait to be stored; an operator's script sends one after the other.
const MAX_WAITING: usize = 256;
/// Revocations in one message and one command.
const BATCH: usize = 500;
/// Messages that are taken over together.
const MESSAGES: usize = 256;
/// For one exchange with the store, and the longest that an operator waits for one.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often list and stored set are compared, and the way of published revocations is tried.
const COMPARE_EVERY: Duration = Duration::from_secs(5);
/// The longest that a start waits for what other replicas know.
const START_PATIENCE: Duration = Duration::from_secs(1);

/// Whether other replicas are told and heard, in words for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharedReadiness {
    pub(crate) up: bool,
    pub(crate) detail: String,
}

/// The process's list, and the store through which it is that of all replicas.
pub(crate) struct SharedRevocations {
    list: Arc<Revocations>,
    config: RedisConfig,
    /// A sorted set: what is revoked, by its end.
    key: String,
    /// Where arrays of revocations are published.
    channel: String,
    jobs: mpsc::Sender<Job>,
    /// Until the link takes it.
    waiting: Mutex<Option<mpsc::Receiver<Job>>>,
    up: AtomicBool,
    /// How many were taken here and could not be stored yet.
    unshared: AtomicUsize,
    /// Why the store is away.
    reason: Mutex<String>,
}

/// A revocation on its way to the store.
struct Job {
    revocation: Revocation,
    stored: oneshot::Sender<()>,
}

impl SharedRevocations {
    /// Nothing is dialled before `spawn_link`. `app` begins all keys, unless the configuration says otherwise.
    pub(crate) fn new(list: Arc<Revocations>, config: &RedisConfig, app: &str) -> Arc<Self> {
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let prefix = config.key_prefix(app);
        Arc::new(Self {
            list,
            key: format!("{prefix}:revocations"),
            channel: format!("{prefix}:revocations:new"),
            config: config.clone(),
            jobs,
            waiting: Mutex::new(Some(waiting)),
            up: AtomicBool::new(false),
            unshared: AtomicUsize::new(0),
            reason: Mutex::new("not connected yet".to_owned()),
        })
    }

    /// Connects on `control`, again and again, until `stop`; waits, for a bounded time, until what is stored has been read
    /// or cannot be. The second call does nothing.
    pub(crate) fn start_link(self: &Arc<Self>, control: &Handle, stop: CancellationToken) {
        let Some(jobs) = lock(&self.waiting).take() else {
            return;
        };
        let (tried, first_try) = blocking::sync_channel(1);
        let shared = Arc::clone(self);
        control.spawn(async move {
            stop.run_until_cancelled(shared.run(jobs, tried)).await;
        });
        // A token that was revoked elsewhere is not let in by a replica that has just not asked yet.
        let _ = first_try.recv_timeout(START_PATIENCE);
    }

    /// Tells all replicas of what the list was told already. Says whether it is stored; if not, it will be when the store
    /// is back.
    pub(crate) async fn tell(&self, revocation: Revocation) -> bool {
        let stored = self.store(revocation).await;
        if !stored {
            self.unshared.fetch_add(1, Ordering::Relaxed);
        }
        stored
    }

    async fn store(&self, revocation: Revocation) -> bool {
        if !self.is_up() {
            return false;
        }
        let (stored, told) = oneshot::channel();
        let job = Job { revocation, stored };
        self.jobs.try_send(job).is_ok()
            && timeout(EXCHANGE_TIMEOUT, told)
                .await
                .is_ok_and(|stored| stored.is_ok())
    }

    /// Whether other replicas are told and heard now.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    pub(crate) fn readiness(&self) -> SharedReadiness {
        let up = self.is_up();
        let server = &self.config.server;
        SharedReadiness {
            up,
            detail: if up {
                format!("revocations are shared through {server}")
            } else {
                format!(
                    "{server}: {}; revocations hold in the replica that was told, {} of this one are to be shared",
                    lock(&self.reason),
                    self.unshared.load(Ordering::Relaxed)
                )
            },
        }
    }

    /// Keeps list and store alike for as long as it is polled.
    async fn run(&self, mut jobs: mpsc::Receiver<Job>, tried: blocking::SyncSender<()>) {
        crate::telemetry::install_crypto();
        let server = &self.config.server;
        let mut retry = Retry::new();
        let mut reported_down = false;
        loop {
            let since = Instant::now();
            let connected = self.session(&mut jobs, &tried).await;
            // Whoever asks for readiness after a start that was let go finds the reason.
            let _ = tried.try_send(());
            let was_up = self.up.swap(false, Ordering::AcqRel);
            let Err(reason) = connected;
            if was_up {
                retry.lost(since);
                reported_down = false;
            }
            reason.clone_into(&mut lock(&self.reason));
            if !reported_down {
                reported_down = true;
                tracing::warn!(%server, reason, "the store of revocations is away: those that are told hold in the replica that was told");
            }
            // They are on the list, and stored with it when the store is back.
            while jobs.try_recv().is_ok() {}
            retry.pause().await;
        }
    }

    /// From one connection to its end; says why it ended.
    async fn session(
        &self,
        jobs: &mut mpsc::Receiver<Job>,
        tried: &blocking::SyncSender<()>,
    ) -> Result<Infallible, String> {
        let server = &self.config.server;
        // Before the set is read: what is published in between is heard.
        let messages = in_time(subscribe(server, &self.channel)).await?;
        let mut messages = messages.ready_chunks(MESSAGES);
        let mut connection = in_time(open(server)).await?;
        self.compare(&mut connection).await?;
        self.up.store(true, Ordering::Release);
        let _ = tried.try_send(());
        tracing::info!(%server, "revocations are shared through the store");

        let mut heard = false;
        exchange::<()>(&mut connection, &self.nothing_new()).await?;
        let mut waiting = Vec::new();
        let mut comparisons = interval_at(Instant::now() + COMPARE_EVERY, COMPARE_EVERY);
        comparisons.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                some = messages.next() => {
                    let Some(some) = some else {
                        return Err("the connection has ended".to_owned());
                    };
                    heard = true;
                    let payloads = some.iter().map(redis::Msg::get_payload_bytes);
                    self.learn(&payloads.flat_map(read).collect::<Vec<_>>());
                }
                taken = jobs.recv_many(&mut waiting, BATCH) => {
                    if taken == 0 {
                        return Err("the gateway ends".to_owned());
                    }
                    let jobs = std::mem::take(&mut waiting);
                    let (new, stored): (Vec<_>, Vec<_>) =
                        jobs.into_iter().map(|job| (job.revocation, job.stored)).unzip();
                    self.give(&mut connection, &new).await?;
                    for stored in stored {
                        // Who does not wait any more has said that it is to be shared; now it is.
                        let _ = stored.send(());
                    }
                }
                _ = comparisons.tick() => {
                    if !std::mem::replace(&mut heard, false) {
                        return Err("what is published does not arrive".to_owned());
                    }
                    self.compare(&mut connection).await?;
                    exchange::<()>(&mut connection, &self.nothing_new()).await?;
                }
            }
        }
    }

    /// List and set take over what they lack.
    async fn compare(&self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        let taken_here = self.unshared.load(Ordering::Relaxed);
        let now = unix_time();
        let mut pipeline = Pipeline::new();
        pipeline
            .cmd("ZREMRANGEBYSCORE")
            .arg(&self.key)
            .arg("-inf")
            .arg(now)
            .ignore();
        // One more than fit, to know of them.
        pipeline
            .cmd("ZRANGE")
            .arg(&self.key)
            .arg("+inf")
            .arg(format!("({now}"))
            .arg(&["BYSCORE", "REV", "LIMIT", "0"])
            .arg(MOST_OF_ALL + 1)
            .arg("WITHSCORES");
        let (stored,): (Vec<(String, u64)>,) = exchange(connection, &pipeline).await?;
        let stored: HashMap<String, u64> = stored.into_iter().collect();
        let known: Vec<Revocation> = stored
            .iter()
            .filter_map(|(member, until)| {
                let revocation: Revocation = serde_json::from_str(member).ok()?;
                Some(Revocation {
                    until: Some(*until),
                    ..revocation
                })
            })
            .collect();
        if known.len() < stored.len() {
            tracing::warn!(
                key = self.key,
                "the store has entries that are no revocations"
            );
        }
        let missing: Vec<Revocation> = self
            .list
            .all()
            .into_iter()
            .filter(|own| {
                let until = stored.get(&member(own));
                until.copied() < own.until
            })
            .collect();
        self.learn(&known);
        for batch in missing.chunks(BATCH) {
            self.give(connection, batch).await?;
        }
        // Those that came meanwhile are counted on.
        self.unshared.fetch_sub(taken_here, Ordering::Relaxed);
        Ok(())
    }

    fn learn(&self, known: &[Revocation]) {
        if let Err(full) = self.list.learn(known) {
            tracing::error!(error = %full, "revocations of other replicas are not known here");
        }
    }

    /// Stores and publishes `new`, which have their ends.
    async fn give(
        &self,
        connection: &mut MultiplexedConnection,
        new: &[Revocation],
    ) -> Result<(), String> {
        let now = unix_time();
        let latest = new.iter().map(|revocation| revocation.until(now)).max();
        let mut pipeline = Pipeline::new();
        pipeline.atomic();
        let add = pipeline.cmd("ZADD").arg(&self.key).arg("GT");
        for revocation in new {
            add.arg(revocation.until(now)).arg(member(revocation));
        }
        add.ignore();
        // The set goes with its last entry: `GT` alone does nothing for a key that has no end yet.
        for condition in ["NX", "GT"] {
            pipeline
                .cmd("EXPIREAT")
                .arg(&self.key)
                .arg(latest.unwrap_or(now))
                .arg(condition)
                .ignore();
        }
        pipeline.add_command(self.publication(new)).ignore();
        exchange(connection, &pipeline).await
    }

    fn publication(&self, new: &[Revocation]) -> Cmd {
        let mut publish = redis::cmd("PUBLISH");
        // Texts and numbers: this does not fail.
        let text = serde_json::to_string(new).unwrap_or_default();
        publish.arg(&self.channel).arg(text);
        publish
    }

    /// Something to hear, for a way that may be cut without a sound.
    fn nothing_new(&self) -> Pipeline {
        let mut pipeline = Pipeline::new();
        pipeline.add_command(self.publication(&[])).ignore();
        pipeline
    }
}

async fn exchange<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    pipeline: &Pipeline,
) -> Result<T, String> {
    timeout(EXCHANGE_TIMEOUT, pipeline.query_async(connection))
        .await
        .map_err(|_elapsed| "no answer in time".to_owned())?
        .map_err(words)
}

/// What was published in one message; nothing, when it is not from one of us.
fn read(message: &[u8]) -> Vec<Revocation> {
    serde_json::from_slice(message).unwrap_or_else(|error| {
        tracing::warn!(%error, "something was published that is no list of revocations");
        Vec::new()
    })
}

/// The entry in the set: the same for the same thing, however long it holds.
fn member(revocation: &Revocation) -> String {
    let undated = Revocation {
        until: None,
        ..revocation.clone()
    };
    // Texts: this does not fail.
    serde_json::to_string(&undated).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole values are replaced: a panic in between leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
