//! Clients that drip their requests, four hundred at a time: all are closed at the timeout, and requests beside them take
//! as long as those of a gateway that has none. How each timeout counts is tested in gateway-core.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ftgo_tests::Client;
use ftgo_tests::fleet::{Fleet, overlay};
use ftgo_tests::system::eventually;
use ftgo_tests::upstream::Upstream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// Slow clients that drip heads, and as many that drip bodies.
const SLOW: usize = 200;
const A_BYTE_EVERY: Duration = Duration::from_secs(1);
/// The head's timeout, and the deadline of a request whose body goes on arriving. Between two bytes: with one that has just
/// come it is the service that is waited for.
const TIMEOUT: Duration = Duration::from_millis(3500);
/// A busy machine may close late.
const LATE: Duration = Duration::from_secs(4);

/// Requests to each gateway in one round: twenty of them are slower than its p99.
const REQUESTS: usize = 2000;
const ROUNDS: usize = 7;

const HEAD: &[u8] = b"GET /x/open HTTP/1.1\r\nHost: a\r\nX-Slow: ";
const BODY: &[u8] = b"POST /x/whole HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
/// For a service that does not wait for it: with the answer the request's deadline is gone, and the client is not.
const ANSWERED: &[u8] = b"POST /x/early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";

/// Slow clients on a thread of their own, so that what they cost is not charged to those who are measured. Whenever the
/// gateway closes one the next one comes, until they are stopped.
struct Slow {
    seen: Arc<Seen>,
    thread: thread::JoinHandle<Result<()>>,
}

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    open: AtomicUsize,
    closed: Mutex<Vec<Closed>>,
}

/// How a slow client ended.
#[derive(Debug)]
struct Closed {
    early: &'static [u8],
    after: Duration,
    /// The status line, if there was one.
    answer: String,
}

impl Slow {
    fn start(address: SocketAddr) -> Self {
        let seen = Arc::new(Seen::default());
        let kept = Arc::clone(&seen);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async move {
                let mut clients = JoinSet::new();
                for number in 0..SLOW {
                    let body = if number % 2 == 0 { BODY } else { ANSWERED };
                    for early in [HEAD, body] {
                        clients.spawn(drip_on(address, early, number, Arc::clone(&kept)));
                    }
                }
                while let Some(ended) = clients.join_next().await {
                    ended??;
                }
                Ok(())
            })
        });
        Self { seen, thread }
    }

    /// Waits until all are there at once; from then on the next one comes when one has been closed.
    async fn all_have_come(&self) -> Result<()> {
        eventually("all slow clients are connected", async || {
            Ok((self.seen.open.load(Ordering::Relaxed) == 2 * SLOW).then_some(()))
        })
        .await
    }

    /// No new ones come; waits until the gateway has closed those that are there.
    async fn stop(self) -> Result<Vec<Closed>> {
        self.seen.stop.store(true, Ordering::Relaxed);
        let ended = tokio::task::spawn_blocking(move || self.thread.join()).await?;
        ended.ok().context("the slow clients' thread panicked")??;
        let mut closed = self
            .seen
            .closed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *closed))
    }
}

async fn drip_on(
    address: SocketAddr,
    early: &'static [u8],
    number: usize,
    seen: Arc<Seen>,
) -> Result<()> {
    // Two hundred different clients do not write in the same instant.
    sleep(A_BYTE_EVERY.mul_f64(number as f64 / SLOW as f64)).await;
    while !seen.stop.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(address).await.context("refused")?;
        stream.write_all(early).await?;
        seen.open.fetch_add(1, Ordering::Relaxed);
        let closed = drip(&mut stream, early).await?;
        seen.open.fetch_sub(1, Ordering::Relaxed);
        seen.closed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(closed);
    }
    Ok(())
}

/// A byte now and then, until the gateway closes.
async fn drip(stream: &mut TcpStream, early: &'static [u8]) -> Result<Closed> {
    let began = Instant::now();
    let mut next = began + A_BYTE_EVERY;
    let mut text = Vec::new();
    loop {
        ensure!(
            began.elapsed() < TIMEOUT + LATE,
            "it is open after {:?}",
            began.elapsed()
        );
        match timeout_at(next, stream.read_buf(&mut text)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(_)) => {}
            Err(_elapsed) => {
                next += A_BYTE_EVERY;
                // Refused when the gateway has closed already: then there is something to read.
                let _ = stream.write_all(b"a").await;
            }
        }
    }
    let text = String::from_utf8_lossy(&text);
    Ok(Closed {
        early,
        after: began.elapsed(),
        answer: text.lines().next().unwrap_or_default().to_owned(),
    })
}

/// How long requests to each of two gateways take, asked in turn: what else the machine does, be it in bursts of a few
/// milliseconds, meets both alike. Phases with and without slow clients, one after the other, differ by more than what is to
/// be found. The p99 of each.
async fn p99(gateways: [SocketAddr; 2]) -> Result<[Duration; 2]> {
    let mut streams = [
        TcpStream::connect(gateways[0]).await?,
        TcpStream::connect(gateways[1]).await?,
    ];
    let mut took = [const { Vec::new() }; 2];
    for number in 0..REQUESTS {
        // Whoever comes second finds caches warm.
        for at in [number % 2, 1 - number % 2] {
            took[at].push(ask(&mut streams[at]).await?);
        }
    }
    Ok(took.map(|mut took| {
        took.sort_unstable();
        took[REQUESTS * 99 / 100]
    }))
}

async fn ask(stream: &mut TcpStream) -> Result<Duration> {
    let began = Instant::now();
    stream
        .write_all(b"GET /x/open HTTP/1.1\r\nHost: a\r\n\r\n")
        .await?;
    let mut text = Vec::with_capacity(1024);
    while !text.ends_with(b"\r\n\r\nok") {
        let read = stream.read_buf(&mut text).await?;
        ensure!(read > 0, "closed: {}", String::from_utf8_lossy(&text));
    }
    let took = began.elapsed();
    ensure!(
        text.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&text)
    );
    Ok(took)
}

fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    durations[durations.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn four_hundred_slow_clients_are_closed_and_nobody_else_notices() -> Result<()> {
    let upstream = Upstream::start_apart()?;
    let config = format!(
        "server.header_timeout = \"{0}ms\"\nserver.body_timeout = \"{0}ms\"\nserver.max_requests = 1000\n\
         [[routes]]\nname = \"open\"\npath = \"/x/open\"\nupstream = \"order\"\naccess = \"public\"\n\
         [[routes]]\nname = \"body\"\npath = \"/x/{{when}}\"\nmethods = [\"POST\"]\nupstream = \"order\"\n\
         access = \"public\"\ndeadline = \"{0}ms\"\n",
        TIMEOUT.as_millis()
    );
    // As many workers as a machine with two cores has.
    let overlay = overlay(upstream.address, &config).replacen("workers = 1\n", "workers = 2\n", 1);
    let fleet = Fleet::start(2, &overlay).await?;
    let [alone, crowded] = *fleet.addresses() else {
        anyhow::bail!("two gateways");
    };

    let slow = Slow::start(crowded);
    slow.all_have_come().await?;
    let (mut quiet, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let [without, with] = p99([alone, crowded]).await?;
        quiet.push(without);
        beside.push(with);
    }
    let all_closed = slow.stop().await?;
    fleet
        .says(&Client::new()?, "gateway_connections", "0")
        .await?;

    assert!(all_closed.len() >= 2 * SLOW, "{}", all_closed.len());
    // A client that gets no time to read before its next byte arrives at a closed connection finds it reset.
    let unread = |closed: &&Closed| closed.answer.is_empty();
    let unread = all_closed.iter().filter(unread).count();
    assert!(
        unread * 100 <= all_closed.len(),
        "{unread} of {}",
        all_closed.len()
    );
    for closed in &all_closed {
        // With an answer that says why, or the service's; and not before the time that everybody has.
        let answer = if closed.early == ANSWERED {
            "HTTP/1.1 200"
        } else {
            "HTTP/1.1 408"
        };
        let read = !closed.answer.is_empty();
        assert!(!read || closed.answer.starts_with(answer), "{closed:?}");
        assert!(closed.after + A_BYTE_EVERY > TIMEOUT, "{closed:?}");
    }
    let (quiet, beside) = (median(quiet), median(beside));
    println!(
        "p99 {quiet:?} alone, {beside:?} beside {} slow clients",
        2 * SLOW
    );
    assert!(
        beside <= 2 * quiet,
        "p99 {beside:?} beside slow clients, {quiet:?} alone"
    );
    Ok(())
}
