//! The end of a process and the beginning of the next: how soon, and what its clients notice of it. What a single
//! connection sees of a drain is in gateway-core's own tests.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ftgo_runner::service::Service;
use ftgo_tests::bff::{self, Bff};
use ftgo_tests::process::Process;
use ftgo_tests::system::eventually;
use rustix::process::Signal;
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

#[tokio::test]
async fn a_second_interrupt_ends_the_process_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let arguments = arguments(&folder, "header_timeout = \"60s\"\ngrace = \"60s\"")?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut process = Process::start("bff-mobile", &arguments)?;
    let address = listening(&process).await?;
    // Half a head, so that the drain has something to wait for.
    let mut slow = TcpStream::connect(address).await?;
    slow.write_all(b"GET / HTTP/1.1\r\n").await?;
    process.signal(Signal::INT)?;
    eventually("it has stopped listening", async || {
        Ok(TcpStream::connect(address).await.is_err().then_some(()))
    })
    .await?;
    ensure!(
        process.ends_within(Duration::from_secs(1)).await.is_err(),
        "there was nothing to wait for"
    );
    process.signal(Signal::INT)?;
    process.ends_within(Duration::from_secs(2)).await?;
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
