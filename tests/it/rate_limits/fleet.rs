//! Replicas of one gateway, a tiny upstream behind them, and a steady load over all of them. What must hold of their
//! answers is in `../rate_limits.rs`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ftgo_tests::Client;
use ftgo_tests::process::Process;
use ftgo_tests::system::eventually;
use gateway_core::RunningGateway;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// What is laid over the shipped file: listeners on free ports, no issuers, and one upstream. `more` comes last.
pub(super) fn overlay(upstream: SocketAddr, more: &str) -> String {
    format!(
        "issuers = []\nserver.address = \"127.0.0.1:0\"\nserver.workers = 1\n\
         server.lame_duck = \"0ms\"\nadmin.address = \"127.0.0.1:0\"\nlog.filter = \"info,access=off\"\n\
         upstreams.order.address = \"http://{upstream}\"\n{more}"
    )
}

/// Answers everything with 200.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Upstream {
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

pub(super) async fn upstream() -> Result<Upstream> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket, Arc::clone(&counted)));
        }
    });
    Ok(Upstream { address, requests })
}

async fn answer(mut socket: TcpStream, requests: Arc<AtomicUsize>) -> std::io::Result<()> {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let mut head = Vec::new();
    loop {
        if socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            requests.fetch_add(1, Ordering::Relaxed);
            socket.write_all(ANSWER).await?;
        }
    }
}

pub(super) struct Fleet {
    processes: Vec<Process>,
    addresses: Vec<SocketAddr>,
    admin: Vec<SocketAddr>,
    _folder: Option<tempfile::TempDir>,
}

impl Fleet {
    /// `replicas` processes with the same configuration.
    pub(super) async fn start(replicas: usize, upstream: SocketAddr, config: &str) -> Result<Self> {
        gateway_core::install_crypto();
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("overlay.toml");
        std::fs::write(&file, overlay(upstream, config))?;
        let file = file.to_str().context("an odd path")?;
        let shipped = format!("{}/../config/mobile.toml", env!("CARGO_MANIFEST_DIR"));
        let mut fleet = Self {
            processes: Vec::new(),
            addresses: Vec::new(),
            admin: Vec::new(),
            _folder: None,
        };
        for _ in 0..replicas {
            let arguments = ["--config", &shipped, "--config", file];
            fleet
                .processes
                .push(Process::start("bff-mobile", &arguments)?);
        }
        for process in &fleet.processes {
            let line = process
                .logs("the gateway listens", |line| line["message"] == "listening")
                .await?;
            let address = |name: &str| -> Result<SocketAddr> {
                Ok(line[name].as_str().context("no address")?.parse()?)
            };
            fleet.addresses.push(address("address")?);
            fleet.admin.push(address("admin")?);
        }
        Ok(Self {
            _folder: Some(folder),
            ..fleet
        })
    }

    /// Gateways of this process.
    pub(super) fn of(gateways: &[&RunningGateway]) -> Self {
        Self {
            processes: Vec::new(),
            addresses: gateways.iter().map(|gateway| gateway.address()).collect(),
            admin: gateways
                .iter()
                .map(|gateway| gateway.admin_address())
                .collect(),
            _folder: None,
        }
    }

    /// Waits until all of them say that the store is there, or that it is not.
    pub(super) async fn becomes(&self, client: &Client, up: bool) -> Result<()> {
        let wanted = if up { "1" } else { "0" };
        eventually(
            &format!("every replica says {wanted} of its store"),
            async || {
                for admin in &self.admin {
                    let value = sample(client, *admin, "gateway_rate_limit_store_up").await?;
                    if value.as_deref() != Some(wanted) {
                        return Ok(None);
                    }
                }
                Ok(Some(()))
            },
        )
        .await
    }

    /// How many checks were decided by the `store`, or by the replica's `share`.
    pub(super) async fn decided(&self, client: &Client, by: &str) -> Result<Vec<u64>> {
        let name = format!("gateway_rate_limit_checks_total{{decided_by=\"{by}\"}}");
        let mut counts = Vec::new();
        for admin in &self.admin {
            let value = sample(client, *admin, &name).await?;
            counts.push(value.context("no such metric")?.parse()?);
        }
        Ok(counts)
    }

    /// All replicas are ready, and say that their store is not.
    pub(super) async fn ready_in_spite_of(&self, client: &Client, store: SocketAddr) -> Result<()> {
        for admin in &self.admin {
            let answer = client.get_raw(&format!("http://{admin}/ready")).await?;
            ensure!(answer.status() == 200, "not ready: {answer:?}");
            let body: Value = answer.json().await?;
            let check = body["checks"]
                .as_array()
                .and_then(|checks| {
                    checks
                        .iter()
                        .find(|check| check["name"] == "rate limit store")
                })
                .with_context(|| format!("the store is not mentioned: {body}"))?;
            let detail = check["detail"].as_str().unwrap_or_default();
            ensure!(
                check["ok"] == false
                    && detail.starts_with(&format!("{store}: "))
                    && detail.ends_with("this replica keeps to its share, 1/3 of each limit"),
                "{check}"
            );
        }
        Ok(())
    }

    pub(super) fn logs(&self) -> Vec<Vec<Value>> {
        self.processes.iter().map(Process::log).collect()
    }
}

/// The value of one sample in a scrape.
async fn sample(client: &Client, admin: SocketAddr, name: &str) -> Result<Option<String>> {
    let text = client
        .get_raw(&format!("http://{admin}/metrics"))
        .await?
        .text()
        .await?;
    Ok(text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .map(str::to_owned))
}

/// Clients of each replica, and the pause between two requests of one.
const CLIENTS: usize = 2;
const PAUSE: Duration = Duration::from_millis(5);

/// A load that goes on until it is stopped.
pub(super) struct Load {
    clients: JoinSet<()>,
    samples: Arc<Mutex<Vec<Sample>>>,
}

struct Sample {
    /// When the answer was there.
    at: Instant,
    took: Duration,
    /// `None` for a request without an answer.
    status: Option<u16>,
}

impl Load {
    pub(super) fn start(fleet: &Fleet, path: &str) -> Result<Self> {
        let samples = Arc::new(Mutex::new(Vec::new()));
        let mut clients = JoinSet::new();
        for address in &fleet.addresses {
            for _ in 0..CLIENTS {
                let client = Client::new()?;
                let url = format!("http://{address}{path}");
                let samples = Arc::clone(&samples);
                clients.spawn(async move {
                    let mut pace = interval(PAUSE);
                    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    loop {
                        pace.tick().await;
                        let began = Instant::now();
                        let status = match client.get_raw(&url).await {
                            Ok(answer) => Some(answer.status().as_u16()),
                            Err(_) => None,
                        };
                        let sample = Sample {
                            at: Instant::now(),
                            took: began.elapsed(),
                            status,
                        };
                        samples
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(sample);
                    }
                });
            }
        }
        Ok(Self { clients, samples })
    }

    /// Waits for so many answers.
    pub(super) async fn samples_reach(&self, count: usize) -> Result<()> {
        eventually("the load runs", async || {
            let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            Ok((samples.len() >= count).then_some(()))
        })
        .await
    }

    pub(super) async fn stop(mut self) -> Result<Samples> {
        self.clients.shutdown().await;
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Samples(std::mem::take(&mut *samples)))
    }
}

/// What the clients saw.
pub(super) struct Samples(Vec<Sample>);

impl Samples {
    pub(super) fn admitted_between(&self, from: Instant, to: Instant) -> usize {
        self.count(|sample| sample.status == Some(200) && (from..to).contains(&sample.at))
    }

    /// How many have to pass where a limit grants `granted`: nearly all of those, or half of what a machine with too much
    /// to do has asked for.
    pub(super) fn at_least(&self, granted: f64, from: Instant, to: Instant) -> f64 {
        let asked = self.count(|sample| (from..to).contains(&sample.at)) as f64;
        (granted * 0.9).min(asked * 0.5)
    }

    pub(super) fn denied(&self) -> usize {
        self.count(|sample| sample.status == Some(429))
    }

    /// Neither let through nor refused by the limit.
    pub(super) fn failed(&self) -> usize {
        self.count(|sample| !matches!(sample.status, Some(200 | 429)))
    }

    pub(super) fn slowest(&self) -> Duration {
        self.0
            .iter()
            .map(|sample| sample.took)
            .max()
            .unwrap_or_default()
    }

    fn count(&self, wanted: impl Fn(&Sample) -> bool) -> usize {
        self.0.iter().filter(|sample| wanted(sample)).count()
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, {} denied, {} failed, the slowest took {:?}",
            self.0.len(),
            self.denied(),
            self.failed(),
            self.slowest()
        )
    }
}
