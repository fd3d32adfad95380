//! The buckets that all replicas share, in Redis: asking for a verdict, and knowing at once when nobody answers.
//! Connections, batches and recovery are `store/link.rs`; what happens without a verdict is decided in `rate_limit.rs`.

mod link;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use redis::Cmd;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::RedisConfig;
use crate::deadline::Deadline;
use crate::metrics::LimiterStoreMetrics;

/// Checks that wait to be sent. More than that come only when nobody answers, and then the share decides anyway.
const MAX_WAITING: usize = 4096;

/// What is left of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) remaining: u32,
    pub(super) full_after: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// For each policy in the order in which they were asked for.
    Allowed(Vec<Left>),
    Denied {
        policy: usize,
        wait: Duration,
        left: Left,
    },
}

/// One policy's part of a question.
pub(super) struct Entry<'a> {
    pub(super) key: String,
    /// In microseconds.
    pub(super) interval: &'a str,
    pub(super) burst: u32,
}

/// Whether the store decides, in words for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreReadiness {
    pub(crate) up: bool,
    pub(crate) detail: String,
}

/// The workers' side of the shared store.
pub(crate) struct Store {
    config: RedisConfig,
    prefix: String,
    jobs: mpsc::Sender<Job>,
    /// Until the link takes it.
    waiting: Mutex<Option<mpsc::Receiver<Job>>>,
    up: AtomicBool,
    /// Back after an outage, while others may not be: the share holds, too.
    settling: AtomicBool,
    /// Wakes the link when a worker waited in vain.
    lost: Notify,
    /// Why the store is away.
    reason: Mutex<String>,
    /// The script's name in the store, known from the first connection on.
    script: OnceLock<String>,
    metrics: LimiterStoreMetrics,
}

/// A check on its way to the store.
struct Job {
    command: Cmd,
    verdict: oneshot::Sender<Verdict>,
}

impl Store {
    /// Nothing is dialled before `spawn_link`. `app` begins all keys, unless the configuration says otherwise.
    pub(crate) fn new(config: &RedisConfig, app: &str, metrics: LimiterStoreMetrics) -> Arc<Self> {
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        metrics.up.set(0.0);
        Arc::new(Self {
            prefix: config.key_prefix(app).to_owned(),
            config: config.clone(),
            jobs,
            waiting: Mutex::new(Some(waiting)),
            up: AtomicBool::new(false),
            settling: AtomicBool::new(false),
            lost: Notify::new(),
            reason: Mutex::new("not connected yet".to_owned()),
            script: OnceLock::new(),
            metrics,
        })
    }

    /// Connects on `control`, again and again, until `stop`. The second call does nothing.
    pub(crate) fn spawn_link(self: &Arc<Self>, control: &Handle, stop: CancellationToken) {
        if let Some(jobs) = lock(&self.waiting).take() {
            let store = Arc::clone(self);
            control.spawn(async move {
                stop.run_until_cancelled(link::run(&store, jobs)).await;
            });
        }
    }

    pub(crate) fn readiness(&self) -> StoreReadiness {
        let up = self.up.load(Ordering::Acquire);
        let server = &self.config.server;
        StoreReadiness {
            up,
            detail: if up && self.is_settling() {
                format!(
                    "{server}: back; until all replicas are, this one does not exceed its share"
                )
            } else if up {
                format!("limits are shared through {server}")
            } else {
                format!(
                    "{server}: {}; this replica keeps to its share, 1/{} of each limit",
                    lock(&self.reason),
                    self.config.replicas
                )
            },
        }
    }

    /// How many replicas share the limits.
    pub(super) fn replicas(&self) -> u32 {
        self.config.replicas.get()
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether the store is back and other replicas may not have found it yet: what they still grant by their shares it
    /// does not know, so nobody may take more than its own from it.
    pub(super) fn is_settling(&self) -> bool {
        self.settling.load(Ordering::Relaxed)
    }

    /// Counts a request that the share has refused before the store was asked.
    pub(super) fn spared(&self) {
        self.metrics.decided_by_share.increment(1);
    }

    /// The store's verdict over all `entries` at once, or `None` when there is none in time. It never waits longer than
    /// the configured timeout, nor beyond `deadline`; only the first is held against the store.
    pub(super) async fn ask(
        &self,
        entries: &[Entry<'_>],
        cost: u32,
        deadline: Deadline,
    ) -> Option<Verdict> {
        let verdict = self.answer(entries, cost, deadline).await;
        match verdict {
            Some(_) => self.metrics.decided_by_store.increment(1),
            None => self.metrics.decided_by_share.increment(1),
        }
        verdict
    }

    async fn answer(
        &self,
        entries: &[Entry<'_>],
        cost: u32,
        deadline: Deadline,
    ) -> Option<Verdict> {
        if !self.up.load(Ordering::Acquire) {
            return None;
        }
        let command = command(self.script.get()?, entries, cost);
        let (sender, verdict) = oneshot::channel();
        let job = Job {
            command,
            verdict: sender,
        };
        self.jobs.try_send(job).ok()?;
        let began = Instant::now();
        let patience = began + self.config.timeout;
        let verdict = timeout_at(patience.min(deadline.at()), verdict).await;
        self.metrics.duration.observe(began.elapsed());
        match verdict {
            Ok(verdict) => verdict.ok(),
            Err(_elapsed) => {
                if Instant::now() >= patience {
                    self.lose("no answer in time");
                }
                None
            }
        }
    }

    /// From now on nobody waits for the store, until the link has found it again.
    fn lose(&self, reason: &str) {
        if self.up.swap(false, Ordering::AcqRel) {
            reason.clone_into(&mut lock(&self.reason));
            self.metrics.up.set(0.0);
            self.lost.notify_one();
        }
    }

    fn found(&self, settling: bool) {
        self.settling.store(settling, Ordering::Relaxed);
        self.up.store(true, Ordering::Release);
        self.metrics.up.set(1.0);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole values are replaced: a panic in between leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn command(script: &str, entries: &[Entry<'_>], cost: u32) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(script).arg(entries.len());
    for entry in entries {
        command.arg(&entry.key);
    }
    command.arg(cost);
    for entry in entries {
        command.arg(entry.interval).arg(entry.burst);
    }
    command
}

impl Verdict {
    /// What the script answered; `None` when it is no answer of the script.
    fn read(answer: &[i64]) -> Option<Self> {
        let micros = |number: i64| u64::try_from(number).ok().map(Duration::from_micros);
        let left = |remaining: i64, full_after: i64| {
            Some(Left {
                remaining: u32::try_from(remaining).ok()?,
                full_after: micros(full_after)?,
            })
        };
        match *answer {
            [0, ref all @ ..] => all
                .chunks(2)
                .map(|pair| match *pair {
                    [remaining, full_after] => left(remaining, full_after),
                    _ => None,
                })
                .collect::<Option<Vec<_>>>()
                .map(Self::Allowed),
            [index, wait, remaining, full_after] => Some(Self::Denied {
                policy: usize::try_from(index).ok()?.checked_sub(1)?,
                wait: micros(wait)?,
                left: left(remaining, full_after)?,
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
