//! Connections to one endpoint, of each worker its own: a stack of idle HTTP/1.1 connections, the last used on top, or one
//! HTTP/2 connection that carries all calls. hyper speaks the protocol; what is kept, and for how long, is decided here.
//!
//! A connection is driven by a task on the runtime of the worker that opened it, so that no call crosses threads. It comes
//! back when the body of its answer has ended.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::endpoints::{Dial, Endpoint};
use super::outgoing::Outgoing;
use crate::config::{UpstreamConfig, UpstreamProtocol};
use crate::metrics::ConnectMetrics;

/// Where a peer that has vanished without a word is noticed.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);
/// A peer that does not answer is gone a quarter of a minute later.
const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const TCP_KEEPALIVE_RETRIES: u32 = 3;
/// One HTTP/2 connection carries all calls: there it has to be noticed sooner.
const HTTP2_PING: Duration = Duration::from_secs(5);
/// gRPC servers close connections on which pings come often, or while no call is under way (gRFC A8).
const GRPC_PING: Duration = Duration::from_secs(10);
const HTTP2_PING_ANSWER: Duration = Duration::from_secs(2);
/// What of one answer may wait here for its reader, in bytes.
const HTTP2_STREAM_WINDOW: u32 = 256 << 10;
/// No limit of its own (RFC 9113, 6.9.1): clients that do not take their answers must not keep others' on the way.
const HTTP2_CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// How long a connection may take to be ready again after its answer.
const READY: Duration = Duration::from_secs(1);

pub(super) struct Pool {
    settings: Settings,
    workers: Box<[Worker]>,
    /// Open connections, of all workers.
    open: Arc<AtomicUsize>,
    metrics: ConnectMetrics,
}

#[derive(Clone)]
struct Settings {
    protocol: UpstreamProtocol,
    connect_timeout: Duration,
    idle_timeout: Duration,
    max_idle: usize,
    max_connections: usize,
    warm: usize,
}

/// One worker's connections. Only it takes the locks, but for the sweep now and then; they make its tasks `Send`.
#[repr(align(128))]
#[derive(Default)]
struct Worker {
    idle: Mutex<Vec<Idle>>,
    multiplexed: Mutex<Option<http2::SendRequest<Outgoing>>>,
    /// Held while the one HTTP/2 connection is made: who comes second waits for it.
    dialing: tokio::sync::Mutex<()>,
    /// How often it could not be made: who waited meanwhile does not wait for another try.
    failed: AtomicUsize,
}

struct Idle {
    sender: http1::SendRequest<Outgoing>,
    since: Instant,
}

/// Why there is no connection. Nothing of the call was sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("no connection to {to} within its time")]
    Timeout { to: String },
    #[error("no connection to {to}")]
    Io { to: String, source: std::io::Error },
    #[error("no HTTP connection to {to}")]
    Handshake { to: String, source: hyper::Error },
    #[error("no connection to {to}, as a call before this one has found")]
    Awaited { to: String },
    #[error("as many connections to {to} as the configuration allows")]
    TooMany { to: String },
}

/// A connection for one call.
pub(super) enum Connection {
    Http1(Lease),
    Http2 {
        sender: http2::SendRequest<Outgoing>,
        /// It was open before: its peer may have closed it in the meantime.
        reused: bool,
    },
}

/// An HTTP/1.1 connection that belongs to one call, and goes back when its answer has ended.
pub(super) struct Lease {
    pub(super) sender: http1::SendRequest<Outgoing>,
    /// It has been idle: its peer may have closed it in the meantime.
    pub(super) reused: bool,
    endpoint: Arc<Endpoint>,
    worker: usize,
}

impl Connection {
    /// Whether it was there already.
    pub(super) fn is_reused(&self) -> bool {
        match self {
            Self::Http1(lease) => lease.reused,
            Self::Http2 { reused, .. } => *reused,
        }
    }
}

impl Pool {
    pub(super) fn new(config: &UpstreamConfig, workers: usize, metrics: &ConnectMetrics) -> Self {
        Self {
            settings: Settings {
                protocol: config.protocol,
                connect_timeout: config.connect_timeout,
                idle_timeout: config.idle_timeout,
                max_idle: config.max_idle,
                // Over HTTP/2 each worker has one of its own, which is never idle.
                max_connections: match config.protocol {
                    UpstreamProtocol::Http1 => config.max_connections,
                    UpstreamProtocol::Http2 | UpstreamProtocol::Grpc => {
                        config.max_connections.max(workers)
                    }
                },
                warm: config.warm,
            },
            workers: (0..workers.max(1)).map(|_| Worker::default()).collect(),
            open: Arc::default(),
            metrics: metrics.clone(),
        }
    }

    fn worker(&self, worker: usize) -> &Worker {
        &self.workers[worker % self.workers.len()]
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn idle(&self) -> usize {
        self.workers
            .iter()
            .map(|worker| locked(&worker.idle).len())
            .sum()
    }

    /// Closes the connection that has been idle for longest, of whichever worker. Whether there was one.
    fn make_room(&self) -> bool {
        let oldest = |worker: &&Worker| locked(&worker.idle).first().map(|idle| idle.since);
        let with_idle = self
            .workers
            .iter()
            .filter(|worker| oldest(worker).is_some());
        let Some(worker) = with_idle.min_by_key(oldest) else {
            return false;
        };
        let mut idle = locked(&worker.idle);
        // It may have been taken since.
        !idle.is_empty() && {
            idle.remove(0);
            true
        }
    }

    /// Closes what has been idle for too long, or whose peer has closed it: without calls nobody else would.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        for worker in &self.workers {
            locked(&worker.idle).retain(|idle| {
                !idle.sender.is_closed() && now - idle.since < self.settings.idle_timeout
            });
        }
    }
}

/// A connection to `endpoint` for one call of `worker`: one that is idle, unless a `fresh` one is wanted, or a new one.
pub(super) async fn connection(
    endpoint: &Arc<Endpoint>,
    worker: usize,
    now: Instant,
    fresh: bool,
) -> Result<Connection, ConnectError> {
    match endpoint.pool.settings.protocol {
        UpstreamProtocol::Http1 => http1(endpoint, worker, now, fresh)
            .await
            .map(Connection::Http1),
        UpstreamProtocol::Http2 | UpstreamProtocol::Grpc => {
            let (sender, reused) = http2(endpoint, worker).await?;
            Ok(Connection::Http2 { sender, reused })
        }
    }
}

/// Opens connections until `worker` has as many as it should keep ready, or there may be no more of them, so that the first calls
/// after a quiet time do not wait for one.
pub(super) async fn warm_up(endpoint: &Arc<Endpoint>, worker: usize) -> Result<(), ConnectError> {
    let settings = &endpoint.pool.settings;
    if settings.warm == 0 {
        return Ok(());
    }
    if settings.protocol != UpstreamProtocol::Http1 {
        return http2(endpoint, worker).await.map(drop);
    }
    let idle = || locked(&endpoint.pool.worker(worker).idle).len();
    while idle() < settings.warm.min(settings.max_idle) {
        let opened = open_http1(endpoint, worker, When::ThereIsRoom).await;
        let mut lease = match opened {
            Err(ConnectError::TooMany { .. }) => return Ok(()),
            opened => opened?,
        };
        let to = endpoint.place.dial.to_string();
        lease
            .sender
            .ready()
            .await
            .map_err(|source| ConnectError::Handshake { to, source })?;
        lease.keep(Instant::now());
    }
    Ok(())
}

async fn http1(
    endpoint: &Arc<Endpoint>,
    worker: usize,
    now: Instant,
    fresh: bool,
) -> Result<Lease, ConnectError> {
    if !fresh && let Some(sender) = reuse(&endpoint.pool, worker, now) {
        return Ok(Lease {
            sender,
            reused: true,
            endpoint: Arc::clone(endpoint),
            worker,
        });
    }
    // Rare, and large: calls over a connection that is there should not carry its place along.
    Box::pin(open_http1(endpoint, worker, When::Needed)).await
}

/// When a connection is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// A call waits for it: one that is idle makes room.
    Needed,
    /// It is kept for later: it takes nobody's place.
    ThereIsRoom,
}

async fn open_http1(
    endpoint: &Arc<Endpoint>,
    worker: usize,
    when: When,
) -> Result<Lease, ConnectError> {
    let (stream, open) = dial(endpoint, when).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|source| ConnectError::Handshake {
            to: endpoint.place.dial.to_string(),
            source,
        })?;
    tokio::spawn(async move {
        let _open = open;
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to an upstream ended");
        }
    });
    Ok(Lease {
        sender,
        reused: false,
        endpoint: Arc::clone(endpoint),
        worker,
    })
}

/// The connection that was used last: the others may then grow old and be closed.
fn reuse(pool: &Pool, worker: usize, now: Instant) -> Option<http1::SendRequest<Outgoing>> {
    let mut idle = locked(&pool.worker(worker).idle);
    while let Some(last) = idle.pop() {
        if now.saturating_duration_since(last.since) >= pool.settings.idle_timeout {
            // Those below it are older.
            idle.clear();
            return None;
        }
        if last.sender.is_ready() {
            return Some(last.sender);
        }
    }
    None
}

async fn http2(
    endpoint: &Arc<Endpoint>,
    worker: usize,
) -> Result<(http2::SendRequest<Outgoing>, bool), ConnectError> {
    let slot = endpoint.pool.worker(worker);
    let known = || {
        locked(&slot.multiplexed)
            .as_ref()
            .filter(|sender| sender.is_ready())
            .cloned()
    };
    if let Some(sender) = known() {
        return Ok((sender, true));
    }
    let failed = slot.failed.load(Ordering::Relaxed);
    let _dialing = slot.dialing.lock().await;
    if let Some(sender) = known() {
        return Ok((sender, true));
    }
    if slot.failed.load(Ordering::Relaxed) != failed {
        let to = endpoint.place.dial.to_string();
        return Err(ConnectError::Awaited { to });
    }
    let sender = Box::pin(open_http2(endpoint)).await.inspect_err(|_| {
        slot.failed.fetch_add(1, Ordering::Relaxed);
    })?;
    *locked(&slot.multiplexed) = Some(sender.clone());
    Ok((sender, false))
}

async fn open_http2(
    endpoint: &Arc<Endpoint>,
) -> Result<http2::SendRequest<Outgoing>, ConnectError> {
    let (stream, open) = dial(endpoint, When::Needed).await?;
    let is_grpc = endpoint.pool.settings.protocol == UpstreamProtocol::Grpc;
    let ping = if is_grpc { GRPC_PING } else { HTTP2_PING };
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(ping)
        .keep_alive_timeout(HTTP2_PING_ANSWER)
        .keep_alive_while_idle(!is_grpc)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|source| ConnectError::Handshake {
            to: endpoint.place.dial.to_string(),
            source,
        })?;
    tokio::spawn(async move {
        let _open = open;
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an upstream ended");
        }
    });
    Ok(sender)
}

/// Counts a connection for as long as it is open.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn dial(endpoint: &Endpoint, when: When) -> Result<(TcpStream, Open), ConnectError> {
    let pool = &endpoint.pool;
    let to = || endpoint.place.dial.to_string();
    let metrics = &pool.metrics;
    let before = pool.open.fetch_add(1, Ordering::Relaxed);
    let open = Open(Arc::clone(&pool.open));
    // What another worker has no use for is no reason to refuse: it is closing, and counts for a moment longer.
    let is_full = before >= pool.settings.max_connections;
    if is_full && when == When::ThereIsRoom {
        return Err(ConnectError::TooMany { to: to() });
    }
    if is_full && !pool.make_room() {
        metrics.over_limit.increment(1);
        return Err(ConnectError::TooMany { to: to() });
    }
    let began = Instant::now();
    let connect = connect(&endpoint.place.dial);
    match timeout(pool.settings.connect_timeout, connect).await {
        Ok(Ok(stream)) => {
            metrics.made.increment(1);
            metrics.duration.observe(began.elapsed());
            Ok((stream, open))
        }
        Ok(Err(source)) => {
            metrics.failed.increment(1);
            Err(ConnectError::Io { to: to(), source })
        }
        Err(_elapsed) => {
            metrics.timed_out.increment(1);
            Err(ConnectError::Timeout { to: to() })
        }
    }
}

/// A socket as all ours are.
pub(super) async fn connect(dial: &Dial) -> std::io::Result<TcpStream> {
    let stream = match dial {
        Dial::Socket(address) => TcpStream::connect(address).await?,
        Dial::Name(host, port) => TcpStream::connect((host.as_str(), *port)).await?,
    };
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(TCP_KEEPALIVE)
        .with_interval(TCP_KEEPALIVE_INTERVAL)
        .with_retries(TCP_KEEPALIVE_RETRIES);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

impl Lease {
    /// The answer has ended: the connection is for the next call, as soon as hyper is done with this one.
    pub(super) fn give_back(mut self, now: Instant) {
        if self.sender.is_ready() {
            self.keep(now);
        } else if !self.sender.is_closed() {
            // The rest of the request is still on its way, or a connection's task has not run yet.
            tokio::spawn(async move {
                if matches!(timeout(READY, self.sender.ready()).await, Ok(Ok(()))) {
                    self.keep(Instant::now());
                }
            });
        }
    }

    fn keep(self, now: Instant) {
        let pool = &self.endpoint.pool;
        let mut idle = locked(&pool.worker(self.worker).idle);
        if idle.len() < pool.settings.max_idle {
            idle.push(Idle {
                sender: self.sender,
                since: now,
            });
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
