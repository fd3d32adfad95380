//! Another configuration for a gateway at work: read, put together and checked beside the one that serves, then handed to
//! the workers. When files have changed is found in `reload/watch.rs`; what is put together is `gateway.rs`.
//!
//! No request notices: each ends on the edge that it began with, listeners and connections of clients stay as they are,
//! and a configuration with a fault changes nothing at all.

#[cfg(test)]
mod tests;
mod watch;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{self, Config, ConfigFault, ConfigFaults, NeedsRestart};
use crate::edge::EdgeSlot;
use crate::gateway::{App, Generation, Shared};
use crate::shutdown::Phase;
use watch::{Contents, Watch};

/// How long the keys of new issuers are waited for. Without them the configuration is taken over all the same: an issuer
/// that is down must not keep a limit from being raised.
const KEYS: Duration = Duration::from_secs(5);

/// The configuration at work, and the place from which each worker takes its edge.
pub(crate) struct Live {
    shared: ArcSwap<Shared>,
    workers: Vec<Arc<EdgeSlot>>,
    history: Mutex<History>,
}

struct History {
    since: DateTime<Utc>,
    needs_restart: Vec<NeedsRestart>,
    last: Option<LastReload>,
}

/// Why the files were read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Trigger {
    Signal,
    FileChange,
}

impl Trigger {
    fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::FileChange => "file_change",
        }
    }
}

/// How the last reload went.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LastReload {
    pub(crate) at: String,
    trigger: Trigger,
    /// `success`, or `failure`: then the configuration before is still at work.
    pub(crate) outcome: &'static str,
    pub(crate) faults: Vec<ConfigFault>,
}

/// What `/config` on the admin listener answers.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigReport {
    name: &'static str,
    /// Counts the configurations since the start of the process, from 1.
    pub(crate) generation: u64,
    /// When this one took over.
    pub(crate) since: String,
    /// In the order in which they are merged.
    pub(crate) files: Vec<PathBuf>,
    /// What `VAR_FILE` variables and keys such as `internal_token.key_file` name.
    secret_files: Vec<PathBuf>,
    pub(crate) last_reload: Option<LastReload>,
    pub(crate) needs_restart: Vec<NeedsRestart>,
    pub(crate) warnings: Vec<String>,
    workers: usize,
    /// In the shape of the files, every default included, secrets redacted.
    configuration: Value,
}

impl Live {
    /// `commands` are those of the workers that the edges are for.
    pub(crate) fn new(first: Generation, commands: Vec<TaskTracker>) -> Self {
        let workers = first
            .edges
            .into_iter()
            .zip(commands)
            .map(|(edge, commands)| Arc::new(EdgeSlot::new(edge, commands)))
            .collect();
        Self {
            shared: ArcSwap::new(first.shared),
            workers,
            history: Mutex::new(History {
                since: Utc::now(),
                needs_restart: Vec::new(),
                last: None,
            }),
        }
    }

    /// What belongs to the configuration that is at work now.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.load_full()
    }

    pub(crate) fn workers(&self) -> &[Arc<EdgeSlot>] {
        &self.workers
    }

    pub(crate) fn report(&self) -> ConfigReport {
        let shared = self.shared();
        let history = self.history();
        let origin = &shared.config.origin;
        ConfigReport {
            name: shared.name,
            generation: shared.number,
            since: rfc3339(history.since),
            files: origin.files.clone(),
            secret_files: origin.secret_files.clone(),
            last_reload: history.last.clone(),
            needs_restart: history.needs_restart.clone(),
            warnings: shared.config.warnings.clone(),
            workers: self.workers.len(),
            configuration: origin.shown.clone(),
        }
    }

    /// From here on every request that arrives is served by `next`.
    fn take_over(&self, next: Generation) {
        next.shared.admission.take_over();
        self.shared.store(next.shared);
        for (worker, edge) in self.workers.iter().zip(next.edges) {
            worker.replace(edge);
        }
        // After the edges: what a key that is taken away has opened until now ends, and it opens nothing more.
        let shared = self.shared();
        let keys = shared.config.api_keys.as_ref();
        shared.revocation_watch.take_over(keys);
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one task that replaces the configuration, so that two never race.
pub(crate) struct Reloader {
    pub(crate) app: App,
    pub(crate) live: Arc<Live>,
    /// Somebody asks for a reload, whether a file has changed or not.
    pub(crate) requested: Arc<Notify>,
    pub(crate) stop: CancellationToken,
}

impl Reloader {
    /// Until `stop`.
    pub(crate) async fn run(self) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.reloads()).await;
    }

    async fn reloads(self) {
        let files = self.watched();
        let mut watch = Watch::new(&files);
        watch.look_at(&files);
        let mut seen = read(files).await;
        loop {
            let trigger = tokio::select! {
                () = self.requested.notified() => Trigger::Signal,
                () = watch.stirred() => Trigger::FileChange,
            };
            let files = self.watched();
            // Before they are read for good: a change in between is another one.
            watch.look_at(&files);
            let contents = read(files).await;
            if trigger == Trigger::FileChange && contents == seen {
                continue;
            }
            seen = contents;
            if self.live.shared().lifecycle.phase() == Phase::Draining {
                tracing::warn!("the configuration is not read again: the gateway is draining");
                continue;
            }
            let outcome = self.reload().await;
            self.note(trigger, outcome);
            // It may have named files that were not watched before.
            watch.look_at(&self.watched());
        }
    }

    fn watched(&self) -> Vec<PathBuf> {
        let shared = self.live.shared();
        let origin = &shared.config.origin;
        origin
            .files
            .iter()
            .chain(&origin.secret_files)
            .cloned()
            .collect()
    }

    /// Reads the files and, if they are good, lets what they say take over. Everything that takes time or blocks is
    /// done on threads that serve no request.
    async fn reload(&self) -> Result<Vec<NeedsRestart>, ConfigFaults> {
        let running = self.live.shared();
        let files = running.config.origin.files.clone();
        if files.is_empty() {
            return Err(fault(
                "--config",
                "the configuration did not come from files",
            ));
        }
        let mut config: Config = spawn_blocking(move || config::from_files(&files))
            .await
            .map_err(|error| panicked(&error))??;
        let needs_restart = config.origin.keep_running(&running.config.origin);

        let app = self.app;
        let commands: Vec<TaskTracker> = self
            .live
            .workers
            .iter()
            .map(|worker| worker.commands().clone())
            .collect();
        let next = spawn_blocking(move || Generation::after(&running, app, config, &commands))
            .await
            .map_err(|error| panicked(&error))??;

        next.shared.upstreams.look_after(&Handle::current());
        let keys = &next.shared.keys;
        keys.spawn_refresh(&Handle::current(), &self.stop);
        if timeout(KEYS, keys.settled()).await.is_err() {
            tracing::warn!("an issuer's keys are not there yet: its tokens cannot be checked");
        }
        self.live.take_over(next);
        Ok(needs_restart)
    }

    fn note(&self, trigger: Trigger, outcome: Result<Vec<NeedsRestart>, ConfigFaults>) {
        let shared = self.live.shared();
        let now = Utc::now();
        let (outcome, faults) = match outcome {
            Ok(needs_restart) => {
                shared.metrics.config.applied(shared.number);
                tracing::info!(
                    name = shared.name,
                    trigger = trigger.as_str(),
                    generation = shared.number,
                    routes = shared.table.summaries().len(),
                    "configuration reloaded"
                );
                for warning in &shared.config.warnings {
                    tracing::warn!("{warning}");
                }
                for change in &needs_restart {
                    tracing::warn!(
                        key = change.key,
                        running = %change.running,
                        configured = %change.configured,
                        "this change needs a restart; everything else was taken over"
                    );
                }
                let mut history = self.live.history();
                history.since = now;
                history.needs_restart = needs_restart;
                ("success", Vec::new())
            }
            Err(ConfigFaults(faults)) => {
                shared.metrics.config.refused();
                for fault in &faults {
                    tracing::error!(%fault, "configuration fault");
                }
                tracing::error!(
                    name = shared.name,
                    trigger = trigger.as_str(),
                    faults = faults.len(),
                    generation = shared.number,
                    "the configuration was not reloaded: the one before stays at work"
                );
                ("failure", faults)
            }
        };
        self.live.history().last = Some(LastReload {
            at: rfc3339(now),
            trigger,
            outcome,
            faults,
        });
    }
}

/// What stands in the files now.
async fn read(files: Vec<PathBuf>) -> Option<Contents> {
    spawn_blocking(move || Contents::of(&files)).await.ok()
}

fn fault(path: &str, message: impl Into<String>) -> ConfigFaults {
    ConfigFaults(vec![ConfigFault {
        path: path.to_owned(),
        message: message.into(),
    }])
}

/// A bug in a BFF's routes must not end the reloads.
fn panicked(error: &JoinError) -> ConfigFaults {
    fault(
        "code",
        format!("putting the gateway together failed: {error}"),
    )
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
