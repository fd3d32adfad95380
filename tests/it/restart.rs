//! The end of a process and the beginning of the next: how soon, and what its clients notice of it. What a single
//! connection sees of a drain is in gateway-core's own tests.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ftgo_runner::service::Service;
use ftgo_tests::System;
use ftgo_tests::bff::Bff;
use ftgo_tests::fleet::overlay;
use ftgo_tests::process::{BffProcess, Process, shipped_file};
use ftgo_tests::system::eventually;
use ftgo_tests::upstream::Upstream;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

async fn listening(process: &Process) -> Result<SocketAddr> {
    let line = process
        .logs("it listens", |line| line["message"] == "listening")
        .await?;
    Ok(line["address"].as_str().context("no address")?.parse()?)
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

/// What the clients of a test have seen so far.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    connections: AtomicUsize,
    answers: AtomicUsize,
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

/// Asks for a reload and waits until it has been made, and for answers that came during it or after.
async fn reload(process: &Process, generation: u64, seen: &Seen) -> Result<()> {
    process.signal(Signal::HUP)?;
    process
        .logs("the reload", |line| {
            line["message"] == "configuration reloaded" && line["generation"] == generation
        })
        .await?;
    seen.more(400).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_reloads_and_a_restart_on_a_socket_that_is_passed_on_lose_nothing() -> Result<()> {
    const REQUESTS: usize = 10_000;
    let upstream = Upstream::start().await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("overlay.toml");
    let route = "server.lame_duck = \"200ms\"\n[[routes]]\nname = \"open\"\npath = \"/x/open\"\n\
                 upstream = \"order\"\naccess = \"public\"\n";
    let overlay = overlay(upstream.address, route).replacen("server.lame_duck = \"0ms\"\n", "", 1);
    std::fs::write(&file, overlay)?;
    let file = file.to_str().context("an odd path")?;
    let arguments = ["--config", &shipped_file("mobile"), "--config", file];
    let mut old = Process::start_on("bff-mobile", &arguments, &listener)?;
    ensure!(
        listening(&old).await? == address,
        "it has a socket of its own"
    );

    let seen = Arc::new(Seen::default());
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(ask(address, Arc::clone(&seen)));
    }
    seen.more(400).await?;
    for generation in 2..=6 {
        reload(&old, generation, &seen).await?;
    }
    let new = Process::start_on("bff-mobile", &arguments, &listener)?;
    listening(&new).await?;
    // Both accept; then the old one ends, in the middle of requests and with connections that were just accepted.
    seen.more(400).await?;
    old.signal(Signal::TERM)?;
    let status = old.ends_within(Duration::from_secs(8)).await?;
    assert!(status.success(), "{status}");
    for generation in 2..=6 {
        reload(&new, generation, &seen).await?;
    }
    seen.more(REQUESTS.saturating_sub(seen.answers())).await?;
    seen.stop.store(true, Ordering::Relaxed);
    clients.join_all().await;

    let failures = seen.failures.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(*failures, Vec::<String>::new());
    let (answers, connections) = (seen.answers(), seen.connections.load(Ordering::Relaxed));
    assert!(connections >= answers / 10, "{connections} for {answers}");
    // Each was answered once, and none was sent on twice.
    assert_eq!(upstream.requests(), answers);
    Ok(())
}
