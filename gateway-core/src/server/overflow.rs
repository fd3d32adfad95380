//! Connections above the limit: told so, counted, and closed. What is said to requests above theirs is
//! `edge/admission.rs`.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::connection::linger;
use crate::metrics::{Counter, Metrics};

/// Written without a look at the request: whoever is at its limit does not read more.
const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// So many refused connections at once are closed with care; more are just closed.
const CAREFUL: usize = 256;

/// The least time between two lines in the log.
const QUIET: Duration = Duration::from_secs(1);

/// The accepting thread's own.
pub(super) struct Overflow {
    refused: Counter,
    tls: bool,
    careful: Arc<Semaphore>,
    warned: Cell<Option<Instant>>,
    unsaid: Cell<u64>,
}

impl Overflow {
    /// With `tls` nothing can be said: the client would have to be given a handshake for it.
    pub(super) fn new(metrics: &Metrics, tls: bool) -> Self {
        Self {
            refused: metrics.refused.clone(),
            tls,
            careful: Arc::new(Semaphore::new(CAREFUL)),
            warned: Cell::new(None),
            unsaid: Cell::new(0),
        }
    }

    pub(super) fn refuse(&self, mut socket: TcpStream, peer: SocketAddr, open: usize) {
        self.refused.increment(1);
        self.unsaid.set(self.unsaid.get() + 1);
        if self.warned.get().is_none_or(|at| at.elapsed() >= QUIET) {
            self.warned.set(Some(Instant::now()));
            tracing::warn!(
                %peer,
                open,
                refused = self.unsaid.take(),
                "connections refused: the limit of connections is reached"
            );
        }
        if self.tls {
            return;
        }
        if let Ok(place) = Arc::clone(&self.careful).try_acquire_owned() {
            tokio::spawn(async move {
                // A socket that has just been opened has room for so little.
                if socket.write_all(ANSWER).await.is_ok() {
                    linger(&mut socket).await;
                }
                drop(place);
            });
        }
    }
}
