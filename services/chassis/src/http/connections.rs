//! Accepts connections and serves a router on them, HTTP/1.1 and HTTP/2 with prior knowledge (as gRPC speaks it), until
//! it is told to stop. What is answered is the router's business.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// How long requests under way and open streams may take once the server is told to stop.
const GRACE: Duration = Duration::from_millis(1500);
/// How long a client may take to send the head of a request. hyper counts idle time on a kept-alive connection, too, so
/// this is longer than any client pools one: else a request could meet the closing of its connection.
const HEAD_LIMIT: Duration = Duration::from_secs(75);
/// Pause after a failed accept: it fails again until some other connection is closed (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connection that a request came on, in the extensions of the request.
#[derive(Clone)]
pub(crate) struct Connection {
    reset: CancellationToken,
}

impl Connection {
    /// Ends the connection with a TCP reset.
    pub(crate) fn reset(&self) {
        self.reset.cancel();
    }
}

/// Serves `router` on `listener`. After `shutdown` nothing new is accepted, idle connections are closed at once, others
/// when their requests are done; what is left after 1.5 s is dropped.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, router.clone(), shutdown.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        tracing::debug!(open = connections.len(), "connections are dropped");
    }
    connections.shutdown().await;
}

async fn converse(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    // Answers are small: waiting to fill a segment would only add latency.
    let _ = stream.set_nodelay(true);
    let reset = CancellationToken::new();
    let connection = Connection {
        reset: reset.clone(),
    };
    let service = router.map_request(move |request: http::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection.clone());
        request
    });
    let socket = Socket {
        stream,
        reset: reset.clone(),
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT);
    builder.http2().timer(TokioTimer::new());
    let mut conversation =
        pin!(builder.serve_connection(TokioIo::new(socket), TowerToHyperService::new(service)));
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = conversation.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a connection failed");
                }
                return;
            }
            () = reset.cancelled() => return,
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                conversation.as_mut().graceful_shutdown();
            }
        }
    }
}

/// A socket that is closed with a reset if it was asked for.
struct Socket {
    stream: TcpStream,
    reset: CancellationToken,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.is_cancelled() {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
