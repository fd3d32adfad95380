//! Sockets and threads: one thread accepts, each worker thread serves its connections on a runtime of its own.
//! What is done with a request is the edge's; when the server ends is `shutdown.rs`.

mod activity;
mod client_io;
mod connection;
mod framing;
mod overflow;
mod refusal;
mod request_body;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::config::ServerConfig;
use crate::edge::EdgeSlot;
use crate::gateway::Shared;
use crate::metrics::{Level, Metrics, enter_worker};
use crate::shutdown::Lifecycle;
use connection::Connections;
use overflow::Overflow;
use refusal::Refusals;
pub(crate) use request_body::BodyError;
pub(crate) use tls::{Tls, TlsFault};

/// The pause after an `accept` that failed for lack of file descriptors: others have to close first.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// A socket on its way to a worker.
type Handover = (std::net::TcpStream, SocketAddr);

/// The accepting thread's view of a worker.
struct WorkerHandle {
    sockets: mpsc::UnboundedSender<Handover>,
    connections: Arc<AtomicUsize>,
}

/// The threads of a running server.
pub(crate) struct Server {
    acceptor: JoinHandle<()>,
    workers: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts the accepting thread and one worker thread for each of `edges`.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made.
    pub(crate) fn start(
        listener: TcpListener,
        shared: &Arc<Shared>,
        edges: Vec<Arc<EdgeSlot>>,
    ) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let mut handles = Vec::new();
        let mut workers = Vec::new();
        for (number, edge) in edges.into_iter().enumerate() {
            let (sockets, receiver) = mpsc::unbounded_channel();
            let connections = Arc::new(AtomicUsize::new(0));
            let worker = Worker {
                refusals: Refusals::new(&edge, &shared.metrics),
                edge,
                config: shared.config.server.clone(),
                lifecycle: shared.lifecycle.clone(),
                tls: shared.tls.clone(),
                metrics: shared.metrics.clone(),
                connections: Arc::clone(&connections),
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let name = format!("worker-{number}");
            shared.metrics.watch_runtime(&*name, runtime.handle());
            let thread = std::thread::Builder::new().name(name).spawn(move || {
                enter_worker(number);
                runtime.block_on(worker.run(receiver));
            })?;
            handles.push(WorkerHandle {
                sockets,
                connections,
            });
            workers.push(thread);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        shared.metrics.watch_runtime("accept", runtime.handle());
        let acceptor = Acceptor {
            workers: handles,
            max_connections: shared.config.server.max_connections,
            overflow: Overflow::new(&shared.metrics, shared.config.server.tls.is_some()),
            lifecycle: shared.lifecycle.clone(),
        };
        let acceptor = std::thread::Builder::new()
            .name("accept".to_owned())
            .spawn(move || runtime.block_on(acceptor.run(listener)))?;
        Ok(Self { acceptor, workers })
    }

    /// Waits for all threads. They end after `Lifecycle` has said so; the caller bounds the time.
    pub(crate) fn join(self) {
        for thread in std::iter::once(self.acceptor).chain(self.workers) {
            if thread.join().is_err() {
                tracing::error!("a server thread panicked");
            }
        }
    }
}

struct Acceptor {
    workers: Vec<WorkerHandle>,
    max_connections: usize,
    overflow: Overflow,
    lifecycle: Lifecycle,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "the listener cannot be used");
                return;
            }
        };
        loop {
            let accepted = tokio::select! {
                () = self.lifecycle.stop_accepting.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => self.hand_over(socket, peer),
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    fn hand_over(&self, socket: TcpStream, peer: SocketAddr) {
        let load = |worker: &WorkerHandle| worker.connections.load(Ordering::Relaxed);
        let total: usize = self.workers.iter().map(load).sum();
        if total >= self.max_connections {
            self.overflow.refuse(socket, peer, total);
            return;
        }
        let Some(worker) = self.workers.iter().min_by_key(|worker| load(worker)) else {
            return;
        };
        // Counted here, not at the worker: the next socket must see it.
        worker.connections.fetch_add(1, Ordering::Relaxed);
        let handed = socket
            .into_std()
            .map(|socket| worker.sockets.send((socket, peer)).is_ok());
        if !matches!(handed, Ok(true)) {
            worker.connections.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!(%peer, "a connection was lost on its way to a worker");
        }
    }
}

struct Worker {
    edge: Arc<EdgeSlot>,
    refusals: Refusals,
    // Of the configuration of the start nothing else is held: a reload lets the rest of it go.
    config: ServerConfig,
    lifecycle: Lifecycle,
    tls: Option<Arc<Tls>>,
    metrics: Metrics,
    connections: Arc<AtomicUsize>,
}

impl Worker {
    async fn run(self, mut sockets: mpsc::UnboundedReceiver<Handover>) {
        let config = &self.config;
        let grace = config.grace;
        let lifecycle = self.lifecycle.clone();
        let commands = self.edge.commands().clone();
        let warm = tokio::spawn(keep_warm(Arc::clone(&self.edge)));
        let connections = Arc::new(Connections::new(
            config,
            self.edge,
            self.lifecycle.clone(),
            self.refusals,
        ));
        let tracker = TaskTracker::new();
        // The channel ends when the acceptor does.
        while let Some((socket, peer)) = sockets.recv().await {
            let open = OpenConnection::new(&self.connections, &self.metrics);
            let socket = match TcpStream::from_std(socket) {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::warn!(%peer, %error, "a connection cannot be used");
                    continue;
                }
            };
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%peer, %error, "TCP_NODELAY was refused");
            }
            let connections = Arc::clone(&connections);
            // The certificate of this moment: connections that are open keep theirs.
            let tls = self.tls.as_deref().map(Tls::acceptor);
            tracker.spawn(async move {
                match tls {
                    None => connections.serve(socket, peer, None).await,
                    // Boxed: a connection without TLS has no room for one with it.
                    Some(acceptor) => Box::pin(connections.serve_tls(acceptor, socket, peer)).await,
                }
                drop(open);
            });
        }
        tracker.close();
        warm.abort();
        let ended = async {
            tracker.wait().await;
            // What clients asked for outlives their connections.
            commands.close();
            commands.wait().await;
        };
        if tokio::time::timeout(grace, ended).await.is_err() {
            // Before the runtime drops them, and each tells of its end.
            lifecycle.cut();
            tracing::warn!(
                connections = tracker.len(),
                commands = commands.len(),
                "cut: the grace period is over"
            );
        }
    }
}

/// How often a worker looks whether it has the connections to upstreams that it should keep ready.
const WARM: Duration = Duration::from_secs(1);

/// Here, since a connection is driven by the runtime that has opened it.
async fn keep_warm(edge: Arc<EdgeSlot>) {
    loop {
        // Looked up each time: a reload may have changed what is wanted.
        let upstreams = edge.load().upstreams().clone();
        upstreams.warm_up().await;
        tokio::time::sleep(WARM).await;
    }
}

/// Counts a connection for as long as it is open.
struct OpenConnection {
    connections: Arc<AtomicUsize>,
    open: Level,
}

impl OpenConnection {
    fn new(connections: &Arc<AtomicUsize>, metrics: &Metrics) -> Self {
        metrics.connections.up();
        Self {
            connections: Arc::clone(connections),
            open: metrics.connections.clone(),
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        self.open.down();
    }
}

#[cfg(test)]
mod tests;
