//! A real Redis of a test's own: on a free port, without a file, gone with the test. What gateways do with it is tested
//! in `it/rate_limits`.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::process::send;
use crate::system::eventually;

/// A running server. It is killed when the test drops it.
pub struct Redis {
    address: SocketAddr,
    child: Child,
}

impl Redis {
    pub async fn start() -> Result<Self> {
        // Somebody may take the port in between: then the next one.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
            if let Ok(redis) = Self::start_at(free).await {
                return Ok(redis);
            }
        }
        bail!("redis-server does not start: is it installed? `scripts/setup.sh test` does it")
    }

    async fn start_at(address: SocketAddr) -> Result<Self> {
        let port = address.port().to_string();
        let mut child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port])
            .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .context("redis-server cannot be started")?;
        eventually("Redis answers", async || {
            if let Some(status) = child.try_wait()? {
                bail!("redis-server ended: {status}");
            }
            // Another test's server may have the port: then ours ends.
            let ours = format!("process_id:{}", child.id().unwrap_or_default());
            let about = command(address, "INFO server").await;
            let is_ours = about.is_ok_and(|about| about.lines().any(|line| line == ours));
            Ok(is_ours.then_some(()))
        })
        .await?;
        Ok(Self { address, child })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// Ends it as a crash would: nothing is said, nothing is saved.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Starts it again where it was, empty.
    pub async fn restart(&mut self) -> Result<()> {
        *self = Self::start_at(self.address).await?;
        Ok(())
    }

    /// It keeps its connections and answers nobody.
    pub fn pause(&self) -> Result<()> {
        send(&self.child, Signal::STOP)
    }

    pub fn resume(&self) -> Result<()> {
        send(&self.child, Signal::CONT)
    }

    /// The answer to one command, as it is on the wire, without the last line's end.
    pub async fn command(&self, text: &str) -> Result<String> {
        command(self.address, text).await
    }

    /// How often `name` has been called.
    pub async fn calls(&self, name: &str) -> Result<u64> {
        let stats = self.command("INFO commandstats").await?;
        let calls = stats.lines().find_map(|line| {
            let line = line.strip_prefix(&format!("cmdstat_{name}:calls="))?;
            line.split(',').next()?.parse().ok()
        });
        Ok(calls.unwrap_or(0))
    }
}

async fn command(address: SocketAddr, text: &str) -> Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    socket
        .write_all(format!("{text}\r\nQUIT\r\n").as_bytes())
        .await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    let answer = answer.strip_suffix("+OK\r\n").context("no end")?;
    Ok(answer.trim_end().to_owned())
}
