//! The control runtime's side of the shared store: one connection, checks in batches, and the way back after an outage.
//! It decides nothing about limits; that is the script's (`gcra.lua`), or the share's when there is no answer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{Entry, Job, Store, Verdict, command};
use crate::store::redis::{Retry, in_time, open, words};

const SCRIPT: &str = include_str!("gcra.lua");
/// Checks in one pipeline.
const MAX_BATCH: usize = 256;
/// Pipelines on their way at once: while one travels, the next ones fill.
const MAX_FLYING: usize = 4;
/// A store that goes away while nobody asks is noticed after this.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// By then every replica that can reach the store has found it again.
const SETTLING: Duration = Duration::from_millis(2500);

/// Keeps the store connected for as long as it is polled.
pub(super) async fn run(store: &Store, mut jobs: mpsc::Receiver<Job>) {
    crate::telemetry::install_crypto();
    let server = &store.config.server;
    let mut retry = Retry::new();
    let mut reported_down = false;
    let mut was_away = false;
    loop {
        match connect(store).await {
            Ok(connection) => {
                // An old loss must not end the new connection.
                while store.lost.notified().now_or_never().is_some() {}
                store.found(was_away);
                reported_down = false;
                tracing::info!(%server, "rate limits are shared through the store");
                let since = Instant::now();
                let reason = work(store, connection, &mut jobs).await;
                retry.lost(since);
                store.lose(&reason);
            }
            Err(reason) => *super::lock(&store.reason) = reason,
        }
        was_away = true;
        if !reported_down {
            reported_down = true;
            let reason = super::lock(&store.reason).clone();
            tracing::warn!(%server, reason, replicas = store.replicas(),
                "the rate limits' store is away: this replica keeps to its share");
        }
        // Whoever waits in there is told by the drop, and decides without us.
        while jobs.try_recv().is_ok() {}
        retry.pause().await;
    }
}

/// A connection over which a whole check has succeeded in time.
async fn connect(store: &Store) -> Result<MultiplexedConnection, String> {
    let connecting = async {
        let mut connection = open(&store.config.server).await?;
        let script: String = load().query_async(&mut connection).await?;
        Ok((connection, script))
    };
    let (connection, script) = in_time(connecting).await?;
    let script = store.script.get_or_init(|| script);
    send(store, connection.clone(), vec![probe(store, script)]).await?;
    Ok(connection)
}

fn load() -> Cmd {
    let mut command = redis::cmd("SCRIPT");
    command.arg("LOAD").arg(SCRIPT);
    command
}

/// A check of nobody's: it also finds a store that answers but refuses to write.
fn probe(store: &Store, script: &str) -> Job {
    let entry = Entry {
        key: format!("{}:probe", store.prefix),
        interval: "1",
        burst: 1_000_000,
    };
    Job {
        command: command(script, &[entry], 1),
        verdict: oneshot::channel().0,
    }
}

/// Sends what comes, until the connection is of no use any more; returns why.
async fn work(
    store: &Store,
    connection: MultiplexedConnection,
    jobs: &mut mpsc::Receiver<Job>,
) -> String {
    let mut flying = FuturesUnordered::new();
    let mut waiting = Vec::with_capacity(MAX_BATCH);
    let mut probes = interval(PROBE_EVERY);
    probes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let settled = sleep(SETTLING);
    tokio::pin!(settled);
    loop {
        tokio::select! {
            () = store.lost.notified() => return super::lock(&store.reason).clone(),
            Some(ended) = flying.next() => {
                if let Err(reason) = ended {
                    return reason;
                }
            }
            taken = jobs.recv_many(&mut waiting, MAX_BATCH), if flying.len() < MAX_FLYING => {
                if taken == 0 {
                    return "the gateway ends".to_owned();
                }
                // A request that has gone, or has decided without us, pays nothing.
                waiting.retain(|job: &Job| !job.verdict.is_closed());
                if !waiting.is_empty() {
                    flying.push(send(store, connection.clone(), std::mem::take(&mut waiting)));
                }
            }
            () = &mut settled, if store.is_settling() => {
                store.settling.store(false, Ordering::Relaxed);
            }
            _ = probes.tick(), if flying.is_empty() => {
                if let Some(script) = store.script.get() {
                    flying.push(send(store, connection.clone(), vec![probe(store, script)]));
                }
            }
        }
    }
}

/// One pipeline: all `jobs` in one round trip, each told its verdict.
async fn send(
    store: &Store,
    mut connection: MultiplexedConnection,
    jobs: Vec<Job>,
) -> Result<(), String> {
    let exchange = async {
        let mut unknown = Vec::new();
        let answers = query(&mut connection, Pipeline::new(), &jobs).await?;
        for (job, answer) in jobs.into_iter().zip(answers) {
            match answer {
                Err(error) if error.code() == Some("NOSCRIPT") => unknown.push(job),
                answer => tell(job, answer)?,
            }
        }
        // Somebody flushed the scripts: nothing was counted for these.
        if !unknown.is_empty() {
            let mut pipeline = Pipeline::new();
            pipeline.add_command(load()).ignore();
            let answers = query(&mut connection, pipeline, &unknown).await?;
            for (job, answer) in unknown.into_iter().zip(answers) {
                tell(job, answer)?;
            }
        }
        Ok(())
    };
    timeout(store.config.timeout, exchange)
        .await
        .map_err(|_elapsed| "no answer in time".to_owned())?
        .map_err(words)
}

/// The answers to `jobs`, in their order; the pipeline may begin with commands whose answers are ignored.
async fn query(
    connection: &mut MultiplexedConnection,
    mut pipeline: Pipeline,
    jobs: &[Job],
) -> Result<Vec<Result<Vec<i64>, RedisError>>, RedisError> {
    pipeline.ignore_errors();
    for job in jobs {
        pipeline.add_command(job.command.clone());
    }
    pipeline.query_async(connection).await
}

fn tell(job: Job, answer: Result<Vec<i64>, RedisError>) -> Result<(), RedisError> {
    let verdict = Verdict::read(&answer?).ok_or_else(|| {
        RedisError::from((
            redis::ErrorKind::UnexpectedReturnType,
            "not an answer of the script",
        ))
    })?;
    // Who does not wait any more has decided by its share.
    let _ = job.verdict.send(verdict);
    Ok(())
}
