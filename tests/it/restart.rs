//! The end of a process and the beginning of the next: how soon, and what its clients notice of it. What a single
//! connection sees of a drain is in gateway-core's own tests.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ftgo_runner::service::Service;
use ftgo_tests::System;
use ftgo_tests::bff::{self, Bff};
use ftgo_tests::process::{BffProcess, Process};
use ftgo_tests::system::eventually;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The arguments for a BFF without services; `server` are more keys of `[server]`.
fn arguments(folder: &TempDir, server: &str) -> Result<Vec<String>> {
    let nobody = BTreeMap::from([(Service::Identity, SocketAddr::from(([127, 0, 0, 1], 1)))]);
    let overlay = folder.path().join("overlay.toml");
    std::fs::write(&overlay, bff::overlay(Bff::Mobile, &nobody)?)?;
    let more = folder.path().join("more.toml");
    std::fs::write(&more, format!("[server]\n{server}\n"))?;
    let config = |name: &str| format!("{}/../config/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let files = [
        config("mobile"),
        config("demo"),
        overlay.display().to_string(),
        more.display().to_string(),
    ];
    Ok(files
        .into_iter()
        .flat_map(|file| ["--config".to_owned(), file])
        .collect())
}

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

/// Asks again and again, a tenth of the time on a new connection. Returns what went wrong.
async fn ask(
    address: SocketAddr,
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> Vec<String> {
    let mut failures = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match on_one_connection(address, &answered).await {
            Ok(()) => {}
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    failures
}

async fn on_one_connection(address: SocketAddr, answered: &AtomicUsize) -> Result<()> {
    let mut stream = TcpStream::connect(address).await.context("refused")?;
    for number in 0..10 {
        stream
            .write_all(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .context("not sent")?;
        let mut text = Vec::new();
        // The problem document is one object and nothing follows it.
        while !text.ends_with(b"}") {
            let read = stream.read_buf(&mut text).await.context("reset")?;
            ensure!(read > 0, "closed without an answer to request {number}");
        }
        let text = String::from_utf8_lossy(&text);
        ensure!(text.starts_with("HTTP/1.1 404"), "{text}");
        answered.fetch_add(1, Ordering::Relaxed);
        if text.contains("connection: close") {
            return Ok(());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_on_a_socket_that_is_passed_on_loses_nothing() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let folder = tempfile::tempdir()?;
    let arguments = arguments(&folder, "lame_duck = \"200ms\"")?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut old = Process::start_on("bff-mobile", &arguments, &listener)?;
    ensure!(
        listening(&old).await? == address,
        "it has a socket of its own"
    );

    let (answered, stop) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(ask(address, Arc::clone(&answered), Arc::clone(&stop)));
    }
    let more = async |count: usize| {
        let goal = answered.load(Ordering::Relaxed) + count;
        eventually("more answers", async || {
            Ok((answered.load(Ordering::Relaxed) >= goal).then_some(()))
        })
        .await
    };
    more(1000).await?;
    let new = Process::start_on("bff-mobile", &arguments, &listener)?;
    listening(&new).await?;
    more(500).await?;
    old.signal(Signal::TERM)?;
    let status = old.ends_within(Duration::from_secs(8)).await?;
    assert!(status.success(), "{status}");
    more(1000).await?;
    stop.store(true, Ordering::Relaxed);
    let failures: Vec<String> = clients.join_all().await.into_iter().flatten().collect();
    assert_eq!(failures, Vec::<String>::new());
    let asked_of_new = new.log().iter().any(|line| line["target"] == "access");
    assert!(asked_of_new, "the new process has answered nothing");
    Ok(())
}
