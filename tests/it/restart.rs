//! The end of a process and the beginning of the next: how soon, and what its clients notice of it. What a single
//! connection sees of a drain is in gateway-core's own tests.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ftgo_runner::service::Service;
use ftgo_tests::bff::Bff;
use ftgo_tests::fleet::overlay;
use ftgo_tests::process::{BffProcess, Process, shipped_file};
use ftgo_tests::system::eventually;
use ftgo_tests::upstream::Upstream;
use ftgo_tests::{Client, System};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Where clients connect, and where operators do.
async fn listening(process: &Process) -> Result<(SocketAddr, SocketAddr)> {
    let line = process
        .logs("it listens", |line| line["message"] == "listening")
        .await?;
    let address = |name: &str| -> Result<SocketAddr> {
        Ok(line[name].as_str().context("no address")?.parse()?)
    };
    Ok((address("address")?, address("admin")?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_ends_the_process_at_once() -> Result<()> {
    let system = System::start().await?;
    let token = system.token("consumer-1").await?;
    let mut bff = BffProcess::start(Bff::Mobile, &system).await?;
    let hang = json!([{"path": "/", "kind": "hang"}]);
    system.fault(Service::OrderHistory, &hang).await?;

    // A request that takes until its deadline of three seconds, so that the drain has something to wait for.
    let url = format!("{}/orders", bff.base);
    let waiting = system.http.request(Method::GET, &url).bearer_auth(&token);
    let waiting = tokio::spawn(waiting.send());
    let metrics = format!("{}/metrics", bff.admin);
    eventually("the request is under way", async || {
        let text = system.http.get_raw(&metrics).await?.text().await?;
        let running = "gateway_requests_in_flight 1";
        Ok(text.lines().any(|line| line == running).then_some(()))
    })
    .await?;

    bff.process.signal(Signal::INT)?;
    bff.process
        .logs("the drain has begun", |line| line["message"] == "draining")
        .await?;
    ensure!(!waiting.is_finished(), "there is nothing to wait for");
    bff.process.signal(Signal::INT)?;
    bff.process.ends_within(Duration::from_secs(1)).await?;
    // Cut, and not answered at its deadline.
    assert!(waiting.await?.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_at_the_end_of_the_grace_period_is_not_told_as_its_clients_leaving()
-> Result<()> {
    let upstream = Upstream::start().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("overlay.toml");
    let more = "server.grace = \"300ms\"\n[[routes]]\nname = \"hang\"\npath = \"/x/hang\"\n\
                upstream = \"order\"\naccess = \"public\"\n";
    let overlay = overlay(upstream.address, more).replacen("info,access=off", "info", 1);
    std::fs::write(&file, overlay)?;
    let file = file.to_str().context("an odd path")?;
    let arguments = ["--config", &shipped_file("mobile"), "--config", file];
    let mut process = Process::start("bff-mobile", &arguments)?;
    let (address, _) = listening(&process).await?;
    let mut client = TcpStream::connect(address).await?;
    client
        .write_all(b"GET /x/hang HTTP/1.1\r\nHost: a\r\n\r\n")
        .await?;
    eventually("the service is asked", async || {
        Ok((upstream.requests() == 1).then_some(()))
    })
    .await?;
    process.signal(Signal::TERM)?;
    let status = process.ends_within(Duration::from_secs(8)).await?;
    assert!(status.success(), "{status}");
    let line = process
        .logs("the request's end", |line| line["target"] == "access")
        .await?;
    assert_eq!(line["status"], 503, "{line}");
    assert_eq!(line["error_source"], "gateway", "{line}");
    assert_eq!(line["error"], "cut: the grace period is over", "{line}");
    assert_eq!(line["complete"], false, "{line}");
    // Nothing was sent: the client is told by the end of its connection.
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
    Ok(())
}

/// What the clients of a test have seen so far.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    connections: AtomicUsize,
    answers: AtomicUsize,
    /// Answers to whoever waited for a change.
    looks: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Seen {
    fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    /// Waits for so many answers more.
    async fn more(&self, count: usize) -> Result<()> {
        let goal = self.answers() + count;
        eventually("more answers", async || {
            Ok((self.answers() >= goal).then_some(()))
        })
        .await
    }
}

/// Asks again and again, a tenth of the time on a new connection.
async fn ask(address: SocketAddr, seen: Arc<Seen>) {
    while !seen.stop.load(Ordering::Relaxed) {
        if let Err(error) = on_one_connection(address, &seen).await {
            let mut failures = seen.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.push(format!("{error:#}"));
        }
    }
}

async fn on_one_connection(address: SocketAddr, seen: &Seen) -> Result<()> {
    let mut stream = TcpStream::connect(address).await.context("refused")?;
    seen.connections.fetch_add(1, Ordering::Relaxed);
    for number in 0..10 {
        stream
            .write_all(b"GET /x/open HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .context("not sent")?;
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\nok") {
            let read = stream.read_buf(&mut text).await.context("reset")?;
            ensure!(read > 0, "closed without an answer to request {number}");
        }
        let text = String::from_utf8_lossy(&text);
        ensure!(text.starts_with("HTTP/1.1 200"), "{text}");
        seen.answers.fetch_add(1, Ordering::Relaxed);
        if text.contains("connection: close") {
            return Ok(());
        }
    }
    Ok(())
}

/// What the reloads of a test change, and where it is seen that they did.
struct Changes {
    file: PathBuf,
    /// What does not change, with `{number}` where a number of the configuration's stands.
    overlay: String,
    client: Client,
    address: SocketAddr,
}

impl Changes {
    fn write(&self, number: u32) -> Result<()> {
        let overlay = self.overlay.replace("{number}", &number.to_string());
        Ok(std::fs::write(&self.file, overlay)?)
    }

    /// Writes another configuration and waits until it is at work, and for answers that came during the change or after.
    /// Every other time the process is asked for it; else it finds out by itself.
    async fn reload(
        &self,
        process: &Process,
        admin: SocketAddr,
        number: u32,
        seen: &Seen,
    ) -> Result<()> {
        let text = async |path: &str| -> Result<String> {
            let answer = self
                .client
                .get_raw(&format!("http://{admin}{path}"))
                .await?;
            Ok(answer.text().await?)
        };
        let generation = async || -> Result<u64> {
            let config: Value = serde_json::from_str(&text("/config").await?)?;
            config["generation"].as_u64().context("no generation")
        };
        let before = generation().await?;
        self.write(number)?;
        if number.is_multiple_of(2) {
            process.signal(Signal::HUP)?;
        }
        eventually("the new limit of calls", async || {
            let wanted = format!("gateway_upstream_in_flight_max{{upstream=\"order\"}} {number}");
            let there = text("/metrics").await?.lines().any(|line| line == wanted);
            Ok(there.then_some(()))
        })
        .await?;
        ensure!(generation().await? > before, "without a reload");
        // Every worker has it.
        let config: Value = serde_json::from_str(&text("/config").await?)?;
        assert_eq!(config["lastReload"]["outcome"], "success");
        assert_eq!(config["workers"], 1);
        let wanted = format!("\"address\";q={number};w=1");
        eventually("the new rate limit", async || {
            let url = format!("http://{}/x/open", self.address);
            let answer = self.client.get_raw(&url).await?;
            seen.looks.fetch_add(1, Ordering::Relaxed);
            let policy = answer.headers().get("ratelimit-policy");
            Ok(policy
                .is_some_and(|policy| *policy == *wanted)
                .then_some(()))
        })
        .await?;
        seen.more(400).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_reloads_and_a_restart_on_a_socket_that_is_passed_on_lose_nothing() -> Result<()> {
    const REQUESTS: usize = 10_000;
    let upstream = Upstream::start().await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let folder = tempfile::tempdir()?;
    let route = "server.lame_duck = \"200ms\"\nupstreams.order.max_in_flight = {number}\n\
                 rate_limits.address = { key = \"address\", rate = \"100000/s\", burst = {number} }\n\
                 [[routes]]\nname = \"open\"\npath = \"/x/open\"\nupstream = \"order\"\naccess = \"public\"\n\
                 limits = [\"address\"]\n";
    let changes = Changes {
        file: folder.path().join("overlay.toml"),
        overlay: overlay(upstream.address, route).replacen("server.lame_duck = \"0ms\"\n", "", 1),
        client: Client::new()?,
        address,
    };
    changes.write(10_000)?;
    let file = changes.file.to_str().context("an odd path")?;
    let arguments = ["--config", &shipped_file("mobile"), "--config", file];
    let mut old = Process::start_on("bff-mobile", &arguments, &listener)?;
    let (public, admin) = listening(&old).await?;
    ensure!(public == address, "it has a socket of its own");

    let seen = Arc::new(Seen::default());
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(ask(address, Arc::clone(&seen)));
    }
    seen.more(400).await?;
    for number in 10_001..=10_005 {
        changes.reload(&old, admin, number, &seen).await?;
    }
    let new = Process::start_on("bff-mobile", &arguments, &listener)?;
    let (_, admin) = listening(&new).await?;
    // Both accept; then the old one ends, in the middle of requests and with connections that were just accepted.
    seen.more(400).await?;
    old.signal(Signal::TERM)?;
    let status = old.ends_within(Duration::from_secs(8)).await?;
    assert!(status.success(), "{status}");
    for number in 10_006..=10_010 {
        changes.reload(&new, admin, number, &seen).await?;
    }
    seen.more(REQUESTS.saturating_sub(seen.answers())).await?;
    seen.stop.store(true, Ordering::Relaxed);
    clients.join_all().await;

    let failures = seen.failures.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(*failures, Vec::<String>::new());
    let (answers, connections) = (seen.answers(), seen.connections.load(Ordering::Relaxed));
    assert!(connections >= answers / 10, "{connections} for {answers}");
    // Each was answered once, and none was sent on twice.
    let looks = seen.looks.load(Ordering::Relaxed);
    assert_eq!(upstream.requests(), answers + looks);
    Ok(())
}
