//! Real processes: the built binaries, their output line by line, and signals sent to them by their id.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ftgo_runner::service::Service;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::bff::{self, Bff};
use crate::client::Client;
use crate::system::{PATIENCE, System, eventually};

/// Where binaries are looked for first: to measure those of a release (`bench/README.md`).
const MEASURED: &str = "MEASURED_BINARIES";

/// The path of a binary of this workspace, built beside the tests.
pub fn binary(name: &str) -> Result<PathBuf> {
    let measured = std::env::var_os(MEASURED).map(|folder| Path::new(&folder).join(name));
    if let Some(path) = measured.filter(|path| path.exists()) {
        return Ok(path);
    }
    let path = profile_folder()?.join(name);
    ensure!(
        path.exists(),
        "{name} is not built: run `cargo build --workspace --bins` first (make test does)"
    );
    Ok(path)
}

/// Where what tests leave behind may go: `target`, wherever it is.
pub fn target_folder() -> Result<PathBuf> {
    let folder = profile_folder()?;
    Ok(folder
        .parent()
        .context("the profile has no folder")?
        .to_owned())
}

/// `target/<profile>`, of `target/<profile>/deps/it-…`.
fn profile_folder() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let folder = exe.parent().and_then(Path::parent);
    Ok(folder.context("the test binary has no folder")?.to_owned())
}

/// A running binary. It is killed when the test drops it.
pub struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts `name` and keeps what it prints to standard output.
    pub fn start(name: &str, arguments: &[&str]) -> Result<Self> {
        Self::start_in(name, arguments, &[])
    }

    /// The same, with these variables beside those of the test's own environment.
    pub fn start_in(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(binary(name)?);
        command
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null());
        Self::spawn(command)
    }

    /// Starts `name` with a listening socket passed on, as systemd does: it is descriptor 3, `LISTEN_FDS` says so.
    pub fn start_on(name: &str, arguments: &[&str], listener: &TcpListener) -> Result<Self> {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(r#"LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@" 3<&0 0</dev/null"#)
            .arg(binary(name)?)
            .args(arguments)
            .stdin(OwnedFd::from(listener.try_clone()?));
        Self::spawn(command)
    }

    fn spawn(command: Command) -> Result<Self> {
        let (child, mut output) = spawn(command)?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                kept.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        });
        Ok(Self { child, lines })
    }

    /// The JSON lines printed so far.
    pub fn log(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Everything printed so far.
    pub fn printed(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.join("\n")
    }

    /// Waits for a line that contains `text`, whatever it is.
    pub async fn prints(&self, text: &str) -> Result<()> {
        eventually(&format!("it prints {text}"), async || {
            let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(lines.iter().any(|line| line.contains(text)).then_some(()))
        })
        .await
    }

    pub fn id(&self) -> Result<u32> {
        self.child.id().context("it has ended already")
    }

    /// Waits for a line that `wanted` accepts.
    pub async fn logs(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually(what, async || {
            Ok(self.log().into_iter().find(|line| wanted(line)))
        })
        .await
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        send(&self.child, signal)
    }

    pub async fn ends_within(&mut self, limit: Duration) -> Result<ExitStatus> {
        Ok(timeout(limit, self.child.wait())
            .await
            .context("it did not end in time")??)
    }
}

/// FTGO's services in a process of their own, that can crash.
pub struct Services {
    child: Child,
    pub addresses: BTreeMap<Service, SocketAddr>,
}

impl Services {
    /// Starts all services on `data`; `more` are further arguments.
    pub async fn start(data: &Path, more: &[&str]) -> Result<Self> {
        Self::start_logging(data, more, Stdio::inherit()).await
    }

    /// The same; what they log goes to `log`.
    pub async fn start_logging(data: &Path, more: &[&str], log: impl Into<Stdio>) -> Result<Self> {
        let data = data.to_str().context("an odd path")?;
        let mut arguments = vec!["services", "--data", data, "--ports", "ephemeral", "--seed"];
        arguments.extend_from_slice(more);
        let mut command = Command::new(binary("ftgo")?);
        command.args(&arguments).stdin(Stdio::null());
        let (child, mut output) = spawn_logging(command, log.into())?;
        let ready = timeout(PATIENCE, async {
            while let Some(line) = output.next_line().await? {
                if let Ok(value) = serde_json::from_str::<Value>(&line)
                    && let Some(services) = value["services"].as_object()
                {
                    return addresses(services);
                }
            }
            bail!("the services ended before they were ready")
        });
        let addresses = ready
            .await
            .context("the services are not ready in time")??;
        // What it prints later is nobody's business, but a full pipe would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = output.next_line().await {} });
        Ok(Self { child, addresses })
    }

    pub fn url(&self, service: Service, path: &str) -> Result<String> {
        let address = self
            .addresses
            .get(&service)
            .with_context(|| format!("{service} has no address"))?;
        Ok(format!("http://{address}{path}"))
    }

    pub async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(timeout(PATIENCE, self.child.wait())
            .await
            .context("it did not end")??)
    }

    pub async fn stop(mut self) -> Result<ExitStatus> {
        send(&self.child, Signal::TERM)?;
        self.ended().await
    }
}

fn addresses(services: &serde_json::Map<String, Value>) -> Result<BTreeMap<Service, SocketAddr>> {
    services
        .iter()
        .map(|(name, address)| {
            Ok((
                name.parse()?,
                address.as_str().context("no address")?.parse()?,
            ))
        })
        .collect()
}

fn spawn(command: Command) -> Result<(Child, Lines<BufReader<ChildStdout>>)> {
    spawn_logging(command, Stdio::inherit())
}

fn spawn_logging(
    mut command: Command,
    log: Stdio,
) -> Result<(Child, Lines<BufReader<ChildStdout>>)> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let output = child.stdout.take().context("no standard output")?;
    Ok((child, BufReader::new(output).lines()))
}

pub(crate) fn send(child: &Child, signal: Signal) -> Result<()> {
    let id = child.id().context("it has ended already")?;
    let pid = Pid::from_raw(i32::try_from(id)?).context("no such id")?;
    kill_process(pid, signal)?;
    Ok(())
}

/// A BFF in a process of its own, in front of a system's services.
pub struct BffProcess {
    pub process: Process,
    /// `http://` and the address that clients use.
    pub base: String,
    /// `http://` and the address that operators use.
    pub admin: String,
    _overlay: TempDir,
}

impl BffProcess {
    /// Starts the binary with the shipped configuration and waits until it is ready.
    pub async fn start(bff: Bff, system: &System) -> Result<Self> {
        Self::start_at(bff, &system.services.addresses()).await
    }

    /// The same, with `more` laid over the configuration.
    pub async fn start_with(bff: Bff, system: &System, more: &str) -> Result<Self> {
        Self::start_as(bff, &system.services.addresses(), more).await
    }

    /// The same, in front of services wherever they are.
    pub async fn start_at(bff: Bff, services: &BTreeMap<Service, SocketAddr>) -> Result<Self> {
        Self::start_as(bff, services, "").await
    }

    /// The same, with `more` laid over its configuration.
    pub async fn start_as(
        bff: Bff,
        services: &BTreeMap<Service, SocketAddr>,
        more: &str,
    ) -> Result<Self> {
        Self::start_in(bff, services, more, &[]).await
    }

    /// The same, with these variables in its environment.
    pub async fn start_in(
        bff: Bff,
        services: &BTreeMap<Service, SocketAddr>,
        more: &str,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let overlay = folder.path().join("overlay.toml");
        std::fs::write(&overlay, bff::overlay(bff, services)?)?;
        let last = folder.path().join("more.toml");
        std::fs::write(&last, more)?;
        let name = bff.binary();
        let shipped = shipped_file(name.trim_start_matches("bff-"));
        let demo = shipped_file("demo");
        let overlay = overlay.to_str().context("an odd path")?;
        let last = last.to_str().context("an odd path")?;
        let files = [&shipped, &demo, overlay, last];
        let arguments: Vec<&str> = files.iter().flat_map(|file| ["--config", file]).collect();
        let process = Process::start_in(name, &arguments, environment)?;
        let listening = process
            .logs("the BFF listens", |line| line["message"] == "listening")
            .await?;
        let url = |member: &str| -> Result<String> {
            let address = listening[member].as_str().context("no address")?;
            Ok(format!("http://{address}"))
        };
        let running = Self {
            base: url("address")?,
            admin: url("admin")?,
            process,
            _overlay: folder,
        };
        let ready = format!("{}/ready", running.admin);
        let http = Client::new()?;
        eventually("the BFF is ready", async || {
            Ok((http.get_raw(&ready).await?.status() == 200).then_some(()))
        })
        .await?;
        Ok(running)
    }
}

/// The path of `config/{name}.toml`.
pub fn shipped_file(name: &str) -> String {
    format!("{}/../config/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}
