//! A tiny service of a test's own that counts how often it is called. Services that do something are FTGO's real ones.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers everything with 200, for as long as the test's runtime lives.
pub struct Upstream {
    pub address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Upstream {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(answer(socket, Arc::clone(&counted)));
            }
        });
        Ok(Self { address, requests })
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn answer(mut socket: TcpStream, requests: Arc<AtomicUsize>) -> std::io::Result<()> {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let mut head = Vec::new();
    loop {
        if socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            requests.fetch_add(1, Ordering::Relaxed);
            socket.write_all(ANSWER).await?;
        }
    }
}
