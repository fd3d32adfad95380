//! Replicas of one gateway, with the shipped configuration of bff-mobile in front of one upstream. What is asked of them is
//! with the tests.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use gateway_core::RunningGateway;
use serde_json::Value;

use crate::Client;
use crate::process::{Process, shipped_file};
use crate::system::eventually;

/// What is laid over the shipped file: listeners on free ports, no issuers, and one upstream. `more` comes last.
pub fn overlay(upstream: SocketAddr, more: &str) -> String {
    overlay_trusting(&[], upstream, more)
}

/// The same, with issuers as [`Issuer::config`](crate::issuer::Issuer::config) writes them.
pub fn overlay_trusting(issuers: &[String], upstream: SocketAddr, more: &str) -> String {
    let issuers = issuers.join(", ");
    format!(
        "issuers = [{issuers}]\nserver.address = \"127.0.0.1:0\"\nserver.workers = 1\n\
         server.lame_duck = \"0ms\"\nadmin.address = \"127.0.0.1:0\"\nlog.filter = \"info,access=off\"\n\
         store.path = \"\"\nupstreams.order.address = \"http://{upstream}\"\n{more}"
    )
}

pub struct Fleet {
    processes: Vec<Process>,
    addresses: Vec<SocketAddr>,
    admin: Vec<SocketAddr>,
    folder: Option<tempfile::TempDir>,
}

impl Fleet {
    /// `replicas` processes with the same overlay.
    pub async fn start(replicas: usize, overlay: &str) -> Result<Self> {
        gateway_core::install_crypto();
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("overlay.toml");
        std::fs::write(&file, overlay)?;
        let mut fleet = Self {
            processes: Vec::new(),
            addresses: Vec::new(),
            admin: Vec::new(),
            folder: Some(folder),
        };
        for _ in 0..replicas {
            fleet.processes.push(fleet.process()?);
        }
        for at in 0..replicas {
            fleet.listens(at).await?;
        }
        Ok(fleet)
    }

    /// One replica more.
    pub async fn join(&mut self) -> Result<()> {
        self.processes.push(self.process()?);
        self.listens(self.processes.len() - 1).await
    }

    fn process(&self) -> Result<Process> {
        let folder = self.folder.as_ref().context("no processes")?;
        let file = folder.path().join("overlay.toml");
        let file = file.to_str().context("an odd path")?;
        let shipped = shipped_file("mobile");
        Process::start("bff-mobile", &["--config", &shipped, "--config", file])
    }

    async fn listens(&mut self, at: usize) -> Result<()> {
        let line = self.processes[at]
            .logs("the gateway listens", |line| line["message"] == "listening")
            .await?;
        let address = |name: &str| -> Result<SocketAddr> {
            Ok(line[name].as_str().context("no address")?.parse()?)
        };
        self.addresses.push(address("address")?);
        self.admin.push(address("admin")?);
        Ok(())
    }

    /// Where clients connect, replica by replica.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where operators do.
    pub fn admin(&self) -> &[SocketAddr] {
        &self.admin
    }

    /// Gateways of this process.
    pub fn of(gateways: &[&RunningGateway]) -> Self {
        Self {
            processes: Vec::new(),
            addresses: gateways.iter().map(|gateway| gateway.address()).collect(),
            admin: gateways
                .iter()
                .map(|gateway| gateway.admin_address())
                .collect(),
            folder: None,
        }
    }

    /// Waits until all of them say that the limits' store is there, or that it is not.
    pub async fn becomes(&self, client: &Client, up: bool) -> Result<()> {
        let wanted = if up { "1" } else { "0" };
        self.says(client, "gateway_rate_limit_store_up", wanted)
            .await
    }

    /// Waits until all of them show this value of a metric.
    pub async fn says(&self, client: &Client, metric: &str, wanted: &str) -> Result<()> {
        eventually(
            &format!("every replica says {wanted} of {metric}"),
            async || {
                for admin in &self.admin {
                    let value = sample(client, *admin, metric).await?;
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
    pub async fn decided(&self, client: &Client, by: &str) -> Result<Vec<u64>> {
        let name = format!("gateway_rate_limit_checks_total{{decided_by=\"{by}\"}}");
        let mut counts = Vec::new();
        for admin in &self.admin {
            let value = sample(client, *admin, &name).await?;
            counts.push(value.context("no such metric")?.parse()?);
        }
        Ok(counts)
    }

    /// All replicas are ready; what each says of the check `name`.
    pub async fn checks(&self, client: &Client, name: &str) -> Result<Vec<Value>> {
        let mut found = Vec::new();
        for admin in &self.admin {
            let answer = client.get_raw(&format!("http://{admin}/ready")).await?;
            ensure!(answer.status() == 200, "not ready: {answer:?}");
            let body: Value = answer.json().await?;
            let checks = body["checks"].as_array();
            let check = checks.and_then(|checks| checks.iter().find(|check| check["name"] == name));
            found.push(check.with_context(|| format!("no {name}: {body}"))?.clone());
        }
        Ok(found)
    }

    pub fn logs(&self) -> Vec<Vec<Value>> {
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
