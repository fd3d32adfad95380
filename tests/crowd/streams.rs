//! Five thousand streams of events at a time, from one process: each is told what happens to its order, behind one
//! subscription, and an open one takes little memory. What a stream tells is tested in `../it/mobile/events.rs`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ftgo_runner::service::Service;
use ftgo_tests::System;
use ftgo_tests::bff::{Bff, gateway_key};
use ftgo_tests::process::BffProcess;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const STREAMS: usize = 5_000;
const ORDERS: usize = 200;
/// Streams that are being opened at the same time.
const AT_ONCE: usize = 64;
/// For everything to arrive everywhere, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What one may take, its connection included, in a build without optimization, whose futures are larger. It was 20.3 KiB when
/// this was written.
const MOST_PER_STREAM: usize = 40 << 10;

/// What the clients have seen, all together.
#[derive(Default)]
struct Seen {
    opened: AtomicUsize,
    told: AtomicUsize,
}

impl Seen {
    async fn reach(&self, counter: impl Fn(&Self) -> &AtomicUsize, what: &str) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        while counter(self).load(Ordering::Relaxed) < STREAMS {
            let count = counter(self).load(Ordering::Relaxed);
            ensure!(Instant::now() < give_up, "{what}: {count} of {STREAMS}");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// Follows one order until the kitchen has accepted it, and then until the test ends.
async fn follow(
    address: SocketAddr,
    head: String,
    opening: Arc<Semaphore>,
    seen: Arc<Seen>,
) -> Result<()> {
    let place = opening.acquire().await?;
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(head.as_bytes()).await?;
    let mut text = String::new();
    read_until(&mut stream, &mut text, "event: state\n").await?;
    ensure!(text.starts_with("HTTP/1.1 200"), "{text}");
    seen.opened.fetch_add(1, Ordering::Relaxed);
    drop(place);
    read_until(&mut stream, &mut text, "event: TicketAccepted\n").await?;
    seen.told.fetch_add(1, Ordering::Relaxed);
    drop(text);
    std::future::pending::<()>().await;
    drop(stream);
    Ok(())
}

async fn read_until(stream: &mut TcpStream, text: &mut String, wanted: &str) -> Result<()> {
    let mut buffer = [0; 2048];
    while !text.contains(wanted) {
        let read = stream.read(&mut buffer).await?;
        ensure!(read > 0, "the stream ended before {wanted:?}: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    Ok(())
}

/// Resident memory of a process, in bytes.
fn resident(process: u32) -> Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.context("no VmRSS")?.trim().parse::<usize>()? << 10)
}

async fn accept(system: &System, id: &str) -> Result<()> {
    let url = format!(
        "http://{}/tickets/{id}/accept",
        system.address(Service::Kitchen)?
    );
    let token = gateway_key().signer().for_itself(Service::Kitchen.name())?;
    let answer = system
        .http
        .request(reqwest::Method::POST, &url)
        .header("x-internal-token", token)
        .json(&json!({"readyBy": "2099-01-01T00:00:00Z"}))
        .send()
        .await?;
    ensure!(answer.status().is_success(), "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_streams_are_told_and_take_little_memory() -> Result<()> {
    let system = System::start().await?;
    let more = format!("[streams]\nmax_per_caller = {STREAMS}\n");
    let bff = BffProcess::start_with(Bff::Mobile, &system, &more).await?;
    let address: SocketAddr = bff.base.trim_start_matches("http://").parse()?;
    let process = bff.process.id()?;

    let mut orders = Vec::new();
    for number in 0..ORDERS {
        let token = system
            .token(&format!("consumer-{}", number % 4 + 1))
            .await?;
        let id = system.place(&token).await?;
        system.order_becomes(&token, &id, "APPROVED").await?;
        orders.push((id, token));
    }

    let (seen, opening) = (Arc::<Seen>::default(), Arc::new(Semaphore::new(AT_ONCE)));
    let mut clients = JoinSet::new();
    let before = resident(process)?;
    for number in 0..STREAMS {
        let (id, token) = &orders[number % ORDERS];
        let head = format!(
            "GET /orders/{id}/events HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        clients.spawn(follow(
            address,
            head,
            Arc::clone(&opening),
            Arc::clone(&seen),
        ));
    }
    tokio::select! {
        opened = seen.reach(|seen| &seen.opened, "streams opened") => opened?,
        Some(ended) = clients.join_next() => ended??,
    }
    let each = resident(process)?.saturating_sub(before) / STREAMS;
    println!("an open stream takes {:.1} KiB", each as f64 / 1024.0);
    ensure!(each <= MOST_PER_STREAM, "{each} bytes each");

    let metrics = system
        .http
        .get_raw(&format!("{}/metrics", bff.admin))
        .await?;
    let metrics = metrics.text().await?;
    let says = |line: &str| metrics.lines().any(|said| said == line);
    ensure!(
        says(&format!("gateway_streams_open {STREAMS}")),
        "{metrics}"
    );
    // They wait, and keep nobody from working.
    ensure!(says("gateway_admission_places_taken 0"), "{metrics}");

    let began = Instant::now();
    for (id, _) in &orders {
        accept(&system, id).await?;
    }
    tokio::select! {
        told = seen.reach(|seen| &seen.told, "streams told") => told?,
        Some(ended) = clients.join_next() => ended??,
    }
    println!(
        "{ORDERS} changes were told {STREAMS} times within {:?}",
        began.elapsed()
    );
    Ok(())
}
