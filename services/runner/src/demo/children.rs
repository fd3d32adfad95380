//! The BFFs as child processes: started, watched until ready, ended, and never outliving this process. Which BFFs
//! there are is `bff`'s.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{join_all, select_all, try_join_all};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval, timeout_at};

use crate::demo::bff::{self, Bff};
use crate::demo::certificate::Certificate;
use crate::demo::files::Files;
use crate::demo::preflight::Needs;

const READY_BOUND: Duration = Duration::from_secs(30);
const READY_INTERVAL: Duration = Duration::from_millis(50);
const TAIL_LINES: usize = 20;

/// The hidden command of our own binary that a child starts as; see [`exec_bound_to_parent`].
pub(crate) const BOUND_COMMAND: &str = "exec-bound-to-parent";

/// A BFF that does not run.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    #[error("{name} can't be started")]
    Start {
        name: &'static str,
        source: io::Error,
    },
    #[error("{name} ended by itself ({status}); the end of {}:", log.display())]
    Ended {
        name: &'static str,
        status: String,
        log: PathBuf,
    },
    #[error("{name} is not ready after {} s: {reason}; the end of {}:", READY_BOUND.as_secs(), log.display())]
    NotReady {
        name: &'static str,
        reason: String,
        log: PathBuf,
    },
}

impl ChildError {
    /// The last lines of the child's log.
    pub(crate) fn log_tail(&self) -> Option<String> {
        match self {
            ChildError::Start { .. } => None,
            ChildError::Ended { log, .. } | ChildError::NotReady { log, .. } => tail(log),
        }
    }
}

fn tail(log: &Path) -> Option<String> {
    let text = String::from_utf8_lossy(&fs::read(log).ok()?).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    Some(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

/// The process ids of all children, for an end that can't wait for anything.
#[derive(Clone, Default)]
pub(crate) struct ProcessIds(Arc<Mutex<Vec<Pid>>>);

impl ProcessIds {
    pub(crate) fn kill(&self) {
        for &process_id in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = kill_process(process_id, Signal::KILL);
        }
    }

    fn add(&self, process_id: Pid) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(process_id);
    }

    /// A process that was waited for: its id may become somebody else's.
    fn remove(&self, process_id: Pid) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|&other| other != process_id);
    }
}

/// The running children.
#[derive(Default)]
pub(crate) struct Children {
    running: Vec<Running>,
    process_ids: ProcessIds,
}

struct Running {
    bff: Bff,
    /// Where it says whether it is ready.
    ready: String,
    process: Child,
    log: PathBuf,
}

impl Children {
    pub(crate) fn process_ids(&self) -> ProcessIds {
        self.process_ids.clone()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Starts one BFF, its output in its log.
    ///
    /// Linux ends the child when the *thread* that started it ends. So this is called from the main thread, which
    /// lives as long as the process, never from a task.
    pub(crate) fn spawn(
        &mut self,
        bff: &Bff,
        needs: &Needs,
        files: &Files,
        certificate: Option<&Certificate>,
    ) -> Result<(), ChildError> {
        let log = files.log(bff.name);
        let failed = |source| ChildError::Start {
            name: bff.name,
            source,
        };
        let out = File::create(&log).map_err(failed)?;
        let err = out.try_clone().map_err(failed)?;

        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command
            .arg(BOUND_COMMAND)
            .arg(std::process::id().to_string())
            .arg(needs.binary(bff));
        for config in needs.configs(bff) {
            command.arg("--config").arg(config);
        }
        if *bff == bff::PUBLIC {
            command.arg("--config").arg(files.public_keys());
        }
        if let (bff::WEB, Some(certificate)) = (*bff, certificate) {
            command.arg("--config").arg(&certificate.config);
        }
        let process = command
            .env("INTERNAL_TOKEN_KEY_FILE", files.gateway_key())
            .env("STORE_PATH", files.store(bff.name))
            // As identity's client for browsers has it: the demo's secret is nobody's secret.
            .env("SESSION_CLIENT_SECRET", "demo")
            .envs(needs.environment(bff))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;

        if let Some(process_id) = process_id(&process) {
            self.process_ids.add(process_id);
        }
        self.running.push(Running {
            bff: *bff,
            ready: needs.offset().url(bff.admin_port, "/ready"),
            process,
            log,
        });
        Ok(())
    }

    /// Returns when all admin listeners say that their BFF is ready.
    pub(crate) async fn ready(&mut self) -> Result<(), ChildError> {
        let client = reqwest::Client::new();
        let give_up = Instant::now() + READY_BOUND;
        let all = self
            .running
            .iter_mut()
            .map(|child| child.ready(&client, give_up));
        try_join_all(all).await.map(drop)
    }

    /// The first child that ends, which none should.
    pub(crate) async fn first_to_end(&mut self) -> ChildError {
        let ends = self.running.iter_mut().map(|child| Box::pin(child.ended()));
        select_all(ends).await.0
    }

    /// Asks all children to drain; the ones still there at `give_up` are killed. None is left when this returns.
    pub(crate) async fn end(&mut self, give_up: Instant) {
        let ids = &self.process_ids;
        let ends = self.running.iter_mut().map(async |child| {
            let Some(process_id) = process_id(&child.process) else {
                return;
            };
            let _ = kill_process(process_id, Signal::TERM);
            if timeout_at(give_up, child.process.wait()).await.is_err() {
                tracing::warn!(name = child.bff.name, "not drained in time: killed");
                let _ = child.process.kill().await;
            }
            ids.remove(process_id);
        });
        join_all(ends).await;
    }
}

impl Running {
    async fn ready(
        &mut self,
        client: &reqwest::Client,
        give_up: Instant,
    ) -> Result<(), ChildError> {
        let name = self.bff.name;
        let log = self.log.clone();
        let url = self.ready.clone();
        let mut reason = String::from("no answer");
        let answered = async {
            let mut pace = interval(READY_INTERVAL);
            loop {
                pace.tick().await;
                match client.get(&url).send().await {
                    Ok(answer) if answer.status().is_success() => return,
                    Ok(answer) => {
                        reason = answer.text().await.unwrap_or_default().replace('\n', " ");
                    }
                    Err(_) => {}
                }
            }
        };
        tokio::select! {
            ended = self.ended() => return Err(ended),
            in_time = timeout_at(give_up, answered) => if in_time.is_ok() {
                return Ok(());
            },
        }
        Err(ChildError::NotReady { name, reason, log })
    }

    async fn ended(&mut self) -> ChildError {
        let status = self.process.wait().await;
        ChildError::Ended {
            name: self.bff.name,
            status: status.map_or_else(
                |error| error.to_string(),
                |status: ExitStatus| status.to_string(),
            ),
            log: self.log.clone(),
        }
    }
}

/// The id of a child that was not waited for yet.
fn process_id(process: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(process.id()?).ok()?)
}

/// Becomes `program`, which the operating system then kills when `parent` ends, however that ends: a SIGKILL
/// included. Only Linux can; elsewhere the program is just started. Returns only when that fails.
pub fn exec_bound_to_parent(
    parent: u32,
    program: &Path,
    arguments: &[std::ffi::OsString],
) -> io::Error {
    #[cfg(target_os = "linux")]
    {
        if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
            return error.into();
        }
        // The parent may have ended before that was set; then nobody would ever tell us.
        let actual = Pid::as_raw(rustix::process::getppid());
        if u32::try_from(actual) != Ok(parent) {
            return io::Error::other("the process that wanted this one has ended");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = parent;
    std::process::Command::new(program).args(arguments).exec()
}
