//! Sockets and threads: one thread accepts, each worker thread serves its connections on a runtime of its own.
//! What is done with a request is the edge's; when the server ends is `shutdown.rs`.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::config::ServerConfig;
use crate::edge::EdgeSlot;
use crate::gateway::Shared;
use crate::shutdown::Lifecycle;

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
                edge,
                shared: Arc::clone(shared),
                connections: Arc::clone(&connections),
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || runtime.block_on(worker.run(receiver)))?;
            handles.push(WorkerHandle {
                sockets,
                connections,
            });
            workers.push(thread);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let acceptor = Acceptor {
            workers: handles,
            max_connections: shared.config.server.max_connections,
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
            tracing::warn!(%peer, total, "connection refused: the limit of connections is reached");
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
    shared: Arc<Shared>,
    connections: Arc<AtomicUsize>,
}

impl Worker {
    async fn run(self, mut sockets: mpsc::UnboundedReceiver<Handover>) {
        let builder = Arc::new(protocol(&self.shared.config.server));
        let tracker = TaskTracker::new();
        // The channel ends when the acceptor does.
        while let Some((socket, peer)) = sockets.recv().await {
            let open = OpenConnection::new(&self.connections, &self.shared);
            let socket = match TcpStream::from_std(socket) {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::warn!(%peer, %error, "a connection cannot be used");
                    continue;
                }
            };
            let task = connection(
                socket,
                peer,
                Arc::clone(&builder),
                Arc::clone(&self.edge),
                self.shared.lifecycle.clone(),
                open,
            );
            tracker.spawn(task);
        }
        tracker.close();
        let commands = self.edge.commands();
        let ended = async {
            tracker.wait().await;
            // What clients asked for outlives their connections.
            commands.close();
            commands.wait().await;
        };
        if tokio::time::timeout(self.shared.config.server.grace, ended)
            .await
            .is_err()
        {
            tracing::warn!(
                connections = tracker.len(),
                commands = commands.len(),
                "cut: the grace period is over"
            );
        }
    }
}

/// Counts a connection for as long as it is open.
struct OpenConnection {
    connections: Arc<AtomicUsize>,
    gauge: metrics::Gauge,
}

impl OpenConnection {
    fn new(connections: &Arc<AtomicUsize>, shared: &Shared) -> Self {
        shared.metrics.connections.increment(1.0);
        Self {
            connections: Arc::clone(connections),
            gauge: shared.metrics.connections.clone(),
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        self.gauge.decrement(1.0);
    }
}

/// HTTP/1.1 and HTTP/2 with prior knowledge on one port.
fn protocol(config: &ServerConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_headers(config.max_headers)
        .max_buf_size(config.max_header_bytes.max(MIN_BUFFER));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(HTTP2_STREAMS);
    builder
}

/// hyper refuses smaller buffers.
const MIN_BUFFER: usize = 8192;

/// Requests that one HTTP/2 connection may have open.
const HTTP2_STREAMS: u32 = 250;

async fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    builder: Arc<auto::Builder<TokioExecutor>>,
    edge: Arc<EdgeSlot>,
    lifecycle: Lifecycle,
    _open: OpenConnection,
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY was refused");
    }
    let service = service_fn(move |request: http::Request<Incoming>| {
        // The newest one: a reload does not wait for connections to end.
        let edge = edge.load();
        async move { Ok::<_, std::convert::Infallible>(edge.serve(request, peer).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = lifecycle.close_connections.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients that go away or speak something else are their own business; a line at debug helps when they ask.
        tracing::debug!(%peer, error = %error, "connection ended with an error");
    }
}
