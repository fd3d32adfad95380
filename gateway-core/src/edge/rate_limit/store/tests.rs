//! The shared store's side that needs no store; the script and outages are tested against a real Redis in `tests/it`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Entry, Left, Store, Verdict};
use crate::config;
use crate::deadline::Deadline;
use crate::metrics::Metrics;

fn store(url: &str) -> Arc<Store> {
    store_with(url, "30ms")
}

fn store_with(url: &str, timeout: &str) -> Arc<Store> {
    let config = config::from_text(&[&format!(
        "[redis]\nurl = \"{url}\"\nreplicas = 3\ntimeout = \"{timeout}\""
    )])
    .unwrap();
    let metrics = Metrics::new(1).limiter_store();
    Store::new(&config.redis.unwrap(), "app", metrics)
}

async fn ask(store: &Store, deadline: Duration) -> Option<Verdict> {
    let entry = Entry {
        key: "key".to_owned(),
        interval: "1000",
        burst: 10,
    };
    store.ask(&[entry], 1, Deadline::after(deadline)).await
}

#[test]
fn what_the_script_answers_becomes_a_verdict() {
    let left = |remaining, micros| Left {
        remaining,
        full_after: Duration::from_micros(micros),
    };
    for (answer, expected) in [
        (
            vec![0, 9, 1000, 4, 2500],
            Some(Verdict::Allowed(vec![left(9, 1000), left(4, 2500)])),
        ),
        (vec![0], Some(Verdict::Allowed(Vec::new()))),
        (
            vec![2, 700, 0, 10_000],
            Some(Verdict::Denied {
                policy: 1,
                wait: Duration::from_micros(700),
                left: left(0, 10_000),
            }),
        ),
        (vec![], None),
        (vec![0, 9], None),
        (vec![1, 700], None),
        (vec![-1, 700, 0, 10_000], None),
        (vec![0, -9, 1000], None),
    ] {
        assert_eq!(Verdict::read(&answer), expected, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_store_that_was_never_found() {
    let store = store("redis://user:hunter2@127.0.0.1:1/0");
    let began = Instant::now();
    assert_eq!(ask(&store, Duration::from_secs(3)).await, None);
    assert_eq!(began.elapsed(), Duration::ZERO);
    let readiness = store.readiness();
    assert!(!readiness.up);
    assert_eq!(
        readiness.detail,
        "127.0.0.1:1: not connected yet; this replica keeps to its share, 1/3 of each limit"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_costs_one_request_its_timeout_and_the_next_ones_nothing() {
    let store = store("redis://127.0.0.1:1");
    store.script.set("script".to_owned()).unwrap();
    store.found(false);
    let began = Instant::now();
    // A request with less time than the store is given says nothing about the store.
    assert_eq!(ask(&store, Duration::from_millis(10)).await, None);
    assert_eq!(began.elapsed(), Duration::from_millis(10));
    assert!(store.readiness().up);

    assert_eq!(ask(&store, Duration::from_secs(3)).await, None);
    assert_eq!(began.elapsed(), Duration::from_millis(40));
    assert!(!store.readiness().up);
    assert_eq!(ask(&store, Duration::from_secs(3)).await, None);
    assert_eq!(began.elapsed(), Duration::from_millis(40));
}

#[tokio::test]
async fn a_store_that_accepts_and_says_nothing_is_not_taken_for_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = store(&format!(
        "redis://:hunter2@{}",
        listener.local_addr().unwrap()
    ));
    let stop = CancellationToken::new();
    store.spawn_link(&tokio::runtime::Handle::current(), stop.clone());
    let (_socket, _) = listener.accept().await.unwrap();
    let (_second, _) = listener.accept().await.unwrap();
    let readiness = store.readiness();
    assert!(!readiness.up);
    assert!(
        readiness.detail.contains("cannot be reached in time")
            && !readiness.detail.contains("hunter2"),
        "{}",
        readiness.detail
    );
    stop.cancel();
}

/// Reads one command as a client sends it: its first word.
async fn command(socket: &mut BufReader<TcpStream>) -> Option<String> {
    async fn length(socket: &mut BufReader<TcpStream>) -> Option<usize> {
        let mut line = String::new();
        socket.read_line(&mut line).await.ok()?;
        line.trim_end().get(1..)?.parse().ok()
    }
    let mut name = None;
    for _ in 0..length(socket).await? {
        let mut word = vec![0; length(socket).await? + 2];
        socket.read_exact(&mut word).await.ok()?;
        name.get_or_insert(String::from_utf8_lossy(&word).trim_end().to_owned());
    }
    name
}

/// Takes commands as they come, and answers all that have come whenever it is told to; says each time how many checks
/// there were.
async fn slow_store(
    socket: TcpStream,
    mut turns: mpsc::Receiver<()>,
    checks: mpsc::Sender<usize>,
) -> Option<()> {
    let mut socket = BufReader::new(socket);
    let mut connected = false;
    loop {
        if connected {
            turns.recv().await?;
        }
        let mut answers = String::new();
        let mut count = 0;
        loop {
            match command(&mut socket).await?.as_str() {
                "SCRIPT" => answers.push_str("$4\r\nhash\r\n"),
                "EVALSHA" => {
                    count += 1;
                    answers.push_str("*3\r\n:0\r\n:9\r\n:1000\r\n");
                }
                _ => answers.push_str("+OK\r\n"),
            }
            if socket.buffer().is_empty() {
                break;
            }
        }
        socket.write_all(answers.as_bytes()).await.ok()?;
        if connected {
            checks.send(count).await.ok()?;
        }
        // The link's first probe ends the handshake.
        connected |= count > 0;
    }
}

#[tokio::test]
async fn checks_that_wait_are_sent_as_one_pipeline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = store_with(&format!("redis://{}", listener.local_addr().unwrap()), "1s");
    let stop = CancellationToken::new();
    store.spawn_link(&tokio::runtime::Handle::current(), stop.clone());
    let (socket, _) = listener.accept().await.unwrap();
    let (turn, turns) = mpsc::channel(100);
    let (sender, mut checks) = mpsc::channel(100);
    tokio::spawn(slow_store(socket, turns, sender));
    while !store.readiness().up {
        tokio::task::yield_now().await;
    }

    let asked = join_all((0..100).map(|_| ask(&store, Duration::from_secs(3))));
    let answering = async {
        let mut pipelines = Vec::new();
        // The link's own probe can be among them.
        while pipelines.iter().sum::<usize>() < 100 {
            turn.send(()).await.unwrap();
            pipelines.push(checks.recv().await.unwrap());
        }
        pipelines
    };
    let (verdicts, pipelines) = tokio::join!(asked, answering);
    assert!(verdicts.iter().all(Option::is_some));
    assert!(pipelines.len() <= 10, "{pipelines:?}");
    stop.cancel();
}
