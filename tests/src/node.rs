//! Scripts on Node, in `tests/web`: a test says what is to be done, step by step, and they answer. What the steps are is
//! in the scripts; what they have to come to is in the tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long one step may take: a browser on a busy machine takes its time.
const STEP: Duration = Duration::from_secs(90);

/// A running script. It ends when it is dropped.
pub struct Script {
    /// Taken from it to say that there will be no more.
    stdin: tokio::sync::Mutex<Option<ChildStdin>>,
    heard: Arc<Heard>,
    next: AtomicU64,
    child: Mutex<Child>,
}

#[derive(Default)]
struct Heard {
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<Value>>>,
    /// What is no answer, for whoever looks into a failure.
    lines: Mutex<Vec<String>>,
}

/// Where the scripts and their packages are.
pub fn folder() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    ensure!(
        folder.join("node_modules").exists(),
        "the packages of tests/web are not installed: `scripts/setup.sh test` does it"
    );
    Ok(folder)
}

impl Script {
    /// Starts `tests/web/{name}`, with `environment` besides our own.
    pub fn start(name: &str, environment: &[(&str, &str)]) -> Result<Self> {
        let mut child = Command::new("node")
            .arg(name)
            .current_dir(folder()?)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("Node cannot be started")?;
        let heard = Arc::new(Heard::default());
        let stdout = child.stdout.take().context("no standard output")?;
        let stderr = child.stderr.take().context("no standard error")?;
        tokio::spawn(hear(stderr, Arc::clone(&heard)));
        let answers = Arc::clone(&heard);
        tokio::spawn(async move {
            hear(stdout, Arc::clone(&answers)).await;
            // Nobody is answered any more.
            lock(&answers.waiting).clear();
        });
        Ok(Self {
            stdin: tokio::sync::Mutex::new(child.stdin.take()),
            heard,
            next: AtomicU64::new(1),
            child: Mutex::new(child),
        })
    }

    /// Has the script do one step; what it answers.
    pub async fn step(&self, step: &str, with: Value) -> Result<Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        lock(&self.heard.waiting).insert(id, answer);
        let line = format!("{}\n", json!({"id": id, "step": step, "with": with}));
        let mut stdin = self.stdin.lock().await;
        let said = stdin.as_mut().context("it has ended")?;
        let said = said.write_all(line.as_bytes()).await;
        drop(stdin);
        let answer = match timeout(STEP, answered).await {
            Ok(Ok(answer)) if said.is_ok() => answer,
            Ok(_) => bail!("the script has ended in {step}: {}", self.printed()),
            Err(_) => bail!("no answer to {step} in {STEP:?}: {}", self.printed()),
        };
        match answer.get("answer") {
            Some(answer) => Ok(answer.clone()),
            None => bail!(
                "{}\n{}",
                answer["error"].as_str().unwrap_or("no answer"),
                self.printed()
            ),
        }
    }

    /// What it has printed besides its answers.
    pub fn printed(&self) -> String {
        lock(&self.heard.lines).join("\n")
    }

    /// Lets it clean up, and waits until it has.
    pub async fn end(self) -> Result<()> {
        drop(self.stdin.lock().await.take());
        let mut child = self
            .child
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let ended = timeout(STEP, child.wait()).await;
        ended.context("the script does not end")??;
        Ok(())
    }
}

async fn hear(output: impl AsyncRead + Unpin, heard: Arc<Heard>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = serde_json::from_str::<Value>(&line).ok();
        let waiting = answer
            .as_ref()
            .and_then(|answer| lock(&heard.waiting).remove(&answer["id"].as_u64()?));
        match (answer, waiting) {
            (Some(answer), Some(waiting)) => {
                // Whoever has given up does not want it any more.
                let _ = waiting.send(answer);
            }
            _ => lock(&heard.lines).push(line),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
