//! A tiny service of a test's own that counts how often it is called. Services that do something are FTGO's real ones.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers everything with 200, for as long as the test's runtime lives: when the request is there as a whole, and below
/// `/x/early` when its head is. `/x/events` is a stream of one event that does not end, `/x/socket` a WebSocket that says
/// nothing, and `/x/hang` has no answer.
pub struct Upstream {
    pub address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Upstream {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let requests = Arc::new(AtomicUsize::new(0));
        tokio::spawn(serve(listener, Arc::clone(&requests)));
        Ok(Self { address, requests })
    }

    /// On a thread of its own, for as long as the process lives: what it costs is not charged to the test's clients.
    pub fn start_apart() -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::spawn(move || {
            runtime.block_on(async {
                if let Ok(listener) = TcpListener::from_std(listener) {
                    serve(listener, counted).await;
                }
            });
        });
        Ok(Self { address, requests })
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, requests: Arc<AtomicUsize>) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(answer(socket, Arc::clone(&requests)));
    }
}

async fn answer(mut socket: TcpStream, requests: Arc<AtomicUsize>) -> std::io::Result<()> {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const EVENT: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
                           9\r\ndata: 1\n\n\r\n";
    const SOCKET: &[u8] =
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                            sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let mut request = Vec::new();
    let mut answered = false;
    loop {
        if socket.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        let Some(length) = length(&request) else {
            continue;
        };
        let whole = request.len() >= length;
        if !answered && (whole || request.starts_with(b"POST /x/early")) {
            requests.fetch_add(1, Ordering::Relaxed);
            let answer = match path(&request) {
                b"/x/events" => EVENT,
                b"/x/socket" => SOCKET,
                b"/x/hang" => b"",
                _ => ANSWER,
            };
            socket.write_all(answer).await?;
            answered = true;
        }
        if whole {
            request.drain(..length);
            answered = false;
        }
    }
}

fn path(request: &[u8]) -> &[u8] {
    request.split(|byte| *byte == b' ').nth(1).unwrap_or(b"")
}

/// How long the request is that begins here, once its head is there. The tests' bodies have their lengths.
fn length(request: &[u8]) -> Option<usize> {
    let end = request.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let body = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    Some(end + body.unwrap_or(0))
}
