//! The life of one client's connection: which protocol it speaks, hyper serving it, its rest while nothing is asked, and an end
//! at which the client still gets its last answer. The bytes are `client_io.rs`'s, the requests the edge's.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::activity::{Activity, TrackedBody};
use super::client_io::{ClientIo, Ended, Patience};
use super::refusal::Refusals;
use super::request_body;
use crate::config::ServerConfig;
use crate::edge::EdgeSlot;
use crate::error::ClientError;
use crate::shutdown::Lifecycle;

/// hyper refuses smaller buffers.
const MIN_BUFFER: usize = 8192;

/// Requests that one HTTP/2 connection may have open.
const HTTP2_STREAMS: u32 = 250;

/// Streams that a client opened and reset before they were looked at (CVE-2023-44487), and streams that we had to reset
/// for the client's errors: one more ends the connection.
const HTTP2_RESETS: usize = 32;

/// HTTP/2 clients that do not answer a ping are gone. It stands behind what the kernel has not sent yet, which takes a slow
/// client its time; one that takes nothing at all is closed before (`Activity::unasked_since`).
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(60);

/// How long an HTTP/2 client that has been told to go may take for it.
const GOODBYE: Duration = Duration::from_secs(5);

/// On drain: how long a connection that is idle or has just been accepted is kept for a request that may be on its way;
/// its answer says `close`.
const LAST_CALL: Duration = Duration::from_millis(500);

/// Closing with bytes unread resets the connection, and the client may lose its answer with it. So the rest of what it
/// sends is read and thrown away, within bounds.
const LINGER_BYTES: usize = 16 << 20;
const LINGER_SILENCE: Duration = Duration::from_millis(500);
const LINGER: Duration = Duration::from_secs(2);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The most that is read before it is known which protocol is spoken.
const EARLY_BYTES: usize = 1024;

/// A connection that can end so that nobody takes what has come for all of it.
pub(super) trait Abort {
    /// Closes with a reset, and without the word by which TLS says that all was sent (RFC 8446, 6.1).
    fn abort(self);
}

impl Abort for TcpStream {
    fn abort(self) {
        // Refused for a socket that is gone already.
        let _ = self.set_zero_linger();
    }
}

impl Abort for Box<TlsStream<TcpStream>> {
    fn abort(self) {
        let _ = self.get_ref().0.set_zero_linger();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// How one worker serves its connections.
pub(super) struct Connections {
    edge: Arc<EdgeSlot>,
    lifecycle: Lifecycle,
    refusals: Refusals,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    patience: Patience,
    handshake: Duration,
    max_target: usize,
}

impl Connections {
    pub(super) fn new(
        config: &ServerConfig,
        edge: Arc<EdgeSlot>,
        lifecycle: Lifecycle,
        refusals: Refusals,
    ) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            // `ClientIo` has timers of its own: hyper's cannot tell an idle connection from a slow head.
            .header_read_timeout(None)
            .max_headers(config.max_headers)
            .max_buf_size(config.max_header_bytes.max(MIN_BUFFER));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_pending_accept_reset_streams(HTTP2_RESETS)
            .max_local_error_reset_streams(HTTP2_RESETS)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        Self {
            edge,
            lifecycle,
            refusals,
            http1,
            http2,
            patience: Patience {
                header: config.header_timeout,
                idle: config.idle_timeout,
                body: config.body_timeout,
            },
            handshake: config
                .tls
                .as_ref()
                .map_or(config.header_timeout, |tls| tls.handshake_timeout),
            // A target that is merely too long is the edge's to refuse, where the request has an id and a path; this is for
            // one that would fill hyper's buffer before its end is seen.
            max_target: config.max_uri_bytes.max(config.max_header_bytes / 2),
        }
    }

    /// Serves `socket` to its end, under TLS; ALPN tells the protocol, if the client offers any.
    pub(super) async fn serve_tls(
        &self,
        acceptor: TlsAcceptor,
        socket: TcpStream,
        peer: SocketAddr,
    ) {
        // Boxed, both: a connection has no room for its handshake afterwards, and a TLS stream is large and would stand at
        // every step of the way.
        let shaken = Box::pin(self.shake_hands(acceptor, socket, peer)).await;
        let Some(stream) = shaken.map(Box::new) else {
            return;
        };
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Some(Protocol::Http2),
            Some(_) => Some(Protocol::Http1),
            None => None,
        };
        self.serve(stream, peer, protocol).await;
    }

    /// The TLS handshake, within its time.
    async fn shake_hands(
        &self,
        acceptor: TlsAcceptor,
        socket: TcpStream,
        peer: SocketAddr,
    ) -> Option<TlsStream<TcpStream>> {
        let mut shaking = std::pin::pin!(timeout(self.handshake, acceptor.accept(socket)));
        let shaken = tokio::select! {
            shaken = &mut shaking => shaken,
            () = self.lifecycle.close_connections.cancelled() => {
                match timeout(LAST_CALL, shaking).await {
                    Ok(shaken) => shaken,
                    Err(_elapsed) => return None,
                }
            }
        };
        match shaken {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a TLS handshake failed");
                None
            }
            Err(_elapsed) => {
                tracing::debug!(%peer, "closed: the TLS handshake took too long");
                None
            }
        }
    }

    /// Serves `stream` to its end. Without a `protocol` the client's first bytes tell it.
    pub(super) async fn serve<S>(&self, mut stream: S, peer: SocketAddr, protocol: Option<Protocol>)
    where
        S: AsyncRead + AsyncWrite + Abort + Unpin + Send + 'static,
    {
        let activity = Activity::new();
        let mut early = BytesMut::new();
        let protocol = match protocol {
            Some(protocol) => protocol,
            None => {
                early.reserve(EARLY_BYTES);
                let mut telling =
                    std::pin::pin!(timeout(self.patience.header, told(&mut stream, &mut early)));
                let told = tokio::select! {
                    told = &mut telling => told,
                    // It was accepted a moment ago: its first request is on its way.
                    () = self.lifecycle.close_connections.cancelled() => {
                        match timeout(LAST_CALL, telling).await {
                            Ok(told) => told,
                            Err(_elapsed) => return,
                        }
                    }
                };
                match told {
                    Ok(Ok(Some(protocol))) => protocol,
                    Ok(Ok(None)) => return,
                    Ok(Err(error)) => {
                        tracing::debug!(%peer, %error, "a connection ended before its first request");
                        return;
                    }
                    Err(_elapsed) => {
                        tracing::debug!(%peer, "closed: nothing was asked");
                        return;
                    }
                }
            }
        };
        let mut early = early.freeze();
        // Boxed: a connection takes no memory for the protocol that it does not speak, nor for HTTP/1 while nothing is asked.
        if protocol == Protocol::Http2 {
            return Box::pin(self.http2(stream, early, peer, activity)).await;
        }
        while let Some(resting) = Box::pin(self.http1(stream, early, peer, &activity)).await {
            stream = resting;
            match self.rest(&mut stream, peer, &activity).await {
                Some(bytes) => early = bytes,
                None => return,
            }
        }
    }

    /// Serves `stream` until it has ended, or until nothing has come for a moment: then it is returned.
    async fn http1<S>(
        &self,
        stream: S,
        early: Bytes,
        peer: SocketAddr,
        activity: &Arc<Activity>,
    ) -> Option<S>
    where
        S: AsyncRead + AsyncWrite + Abort + Unpin + Send + 'static,
    {
        let io = ClientIo::http1(
            stream,
            early,
            self.max_target,
            self.patience,
            Arc::clone(activity),
        );
        let answering = self.answering(peer, activity);
        // Boxed: a connection has no room for a request's work while it waits for one.
        let service = service_fn(move |request| Box::pin(Arc::clone(&answering).answer(request)));
        let mut connection = self
            .http1
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.lifecycle.close_connections.cancelled() => {
                let last_call = if activity.idle_since().is_some() { LAST_CALL } else { Duration::ZERO };
                match timeout(last_call, &mut connection).await {
                    Ok(ended) => ended,
                    Err(_elapsed) => {
                        Pin::new(&mut connection).graceful_shutdown();
                        (&mut connection).await
                    }
                }
            }
        };
        let well = ended.is_ok();
        let unreadable = ended.as_ref().is_err_and(hyper::Error::is_parse);
        let broke_off = ended.as_ref().is_err_and(hyper::Error::is_user);
        if let Err(error) = ended {
            // Clients that go away or speak something else are their own business; a line at debug helps when they ask.
            tracing::debug!(%peer, %error, "connection ended with an error");
        }
        // There are no parts when the connection has been upgraded: it is somebody else's then.
        let parts = connection.into_parts()?;
        let io = parts.io.into_inner();
        if well && io.ended() == Some(Ended::Rests) && parts.read_buf.is_empty() {
            return Some(io.into_stream());
        }
        if broke_off && activity.ends_with_connection() {
            io.into_stream().abort();
            return None;
        }
        // Boxed: a connection has no room for its end before it comes.
        Box::pin(self.end(io, unreadable, peer)).await;
        None
    }

    /// Waits for the next request, without a buffer; its first bytes, or `None` at the connection's end.
    async fn rest<S>(&self, stream: &mut S, peer: SocketAddr, activity: &Activity) -> Option<Bytes>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let idle_since = activity.idle_since().unwrap_or_else(Instant::now);
        let come = {
            let coming = timeout_at(idle_since + self.patience.idle, next_bytes(stream));
            let mut coming = std::pin::pin!(coming);
            tokio::select! {
                come = &mut coming => come.ok(),
                () = self.lifecycle.close_connections.cancelled() => {
                    timeout(LAST_CALL, coming).await.ok().and_then(Result::ok)
                }
            }
        };
        match come {
            Some(Ok(bytes)) => return Some(bytes).filter(|bytes| !bytes.is_empty()),
            Some(Err(error)) => tracing::debug!(%peer, %error, "connection ended with an error"),
            // Boxed, as above.
            None => Box::pin(linger(stream)).await,
        }
        None
    }

    /// Says what is left to say, and closes so that it arrives.
    async fn end<S>(&self, mut io: ClientIo<S>, unreadable: bool, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let held = io.take_held();
        let refused = match (io.ended(), held) {
            (Some(Ended::Fault(fault)), _) if unreadable => Some(fault.error()),
            (Some(Ended::HeadTimeout), _) => Some(ClientError::HeadTimeout),
            (_, Some(414)) => Some(ClientError::UriTooLong),
            (_, Some(431)) => Some(ClientError::HeadTooLarge),
            (_, Some(_)) => Some(ClientError::BadRequest(
                "The request cannot be read.".to_owned(),
            )),
            (_, None) => None,
        };
        let (finished, stuck) = (io.end_of_input(), io.ended() == Some(Ended::WriteTimeout));
        let mut stream = io.into_stream();
        if let Some(error) = refused {
            let answer = self.refusals.answer(error, peer);
            if let Err(error) = send(&mut stream, &answer, self.patience.body).await {
                tracing::debug!(%peer, %error, "a refusal could not be sent");
                return;
            }
        }
        if !finished && !stuck {
            linger(&mut stream).await;
        }
    }

    async fn http2<S>(&self, stream: S, early: Bytes, peer: SocketAddr, activity: Arc<Activity>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = ClientIo::opaque(stream, early, self.patience, Arc::clone(&activity));
        let answering = self.answering(peer, &activity);
        let service = service_fn(move |request| Box::pin(Arc::clone(&answering).answer(request)));
        let connection = self.http2.serve_connection(TokioIo::new(io), service);
        tokio::pin!(connection);
        // Often enough for every deadline that is looked for.
        let interval = self.patience.idle.min(self.patience.body);
        let look = sleep(interval);
        tokio::pin!(look);
        let mut go_until = None;
        let ended = loop {
            tokio::select! {
                ended = connection.as_mut() => break ended,
                () = self.lifecycle.close_connections.cancelled(), if go_until.is_none() => {
                    connection.as_mut().graceful_shutdown();
                    go_until = Some(Instant::now() + GOODBYE);
                }
                () = look.as_mut() => {
                    let now = Instant::now();
                    let passed = |since: Option<Instant>, patience| since.map(|since| since + patience).filter(|deadline| *deadline <= now);
                    if passed(activity.unasked_since(), self.patience.body).is_some() {
                        tracing::debug!(%peer, "closed: the client does not take an answer");
                        return;
                    }
                    let idle = activity.idle_since();
                    if idle.is_some() && go_until.is_some_and(|until| until <= now) {
                        tracing::debug!(%peer, "closed: the client did not go");
                        return;
                    }
                    if go_until.is_none() && passed(idle, self.patience.idle).is_some() {
                        connection.as_mut().graceful_shutdown();
                        go_until = Some(now + GOODBYE);
                    }
                    let next = [
                        idle.map(|since| since + self.patience.idle).filter(|_| go_until.is_none()),
                        activity.unasked_since().map(|since| since + self.patience.body),
                        go_until.filter(|until| *until > now),
                    ];
                    look.as_mut().reset(next.into_iter().flatten().fold(now + interval, Instant::min));
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended with an error");
        }
    }

    /// What a request on this connection is answered with.
    fn answering(&self, peer: SocketAddr, activity: &Arc<Activity>) -> Arc<Answering> {
        Arc::new(Answering {
            edge: Arc::clone(&self.edge),
            lifecycle: self.lifecycle.clone(),
            activity: Arc::clone(activity),
            patience: self.patience.body,
            peer,
        })
    }
}

/// What answers one connection's requests.
struct Answering {
    edge: Arc<EdgeSlot>,
    lifecycle: Lifecycle,
    activity: Arc<Activity>,
    patience: Duration,
    peer: SocketAddr,
}

impl Answering {
    /// The request is boxed at once: the future of its answer would have room for it at every step.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<TrackedBody>, Infallible>> + Send {
        let running = self.activity.begin();
        if request.version() < Version::HTTP_11 {
            self.activity.knows_no_chunks();
        }
        let http1 = request.version() < Version::HTTP_2;
        let (head, body) = request.into_parts();
        let (body, reading) = request_body::watched(body, self.patience);
        let request = Box::new(Request::from_parts(head, body));
        async move {
            // The newest one: a reload does not wait for connections to end.
            let edge = self.edge.load();
            let mut response = edge.serve(request, self.peer).await;
            // What is not said here the client would find out by losing its next request: the connection does not go on
            // during a drain, nor behind a body that nobody reads.
            let last = self.lifecycle.close_connections.is_cancelled() || !reading.ended();
            if http1 && last {
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| running.until_sent(body, !http1)))
        }
    }
}

/// Reads until it is clear which protocol is spoken; `None` when the client has gone.
async fn told<S: AsyncRead + Unpin>(
    stream: &mut S,
    early: &mut BytesMut,
) -> io::Result<Option<Protocol>> {
    loop {
        if stream.read_buf(early).await? == 0 {
            return Ok(None);
        }
        let same = early.len().min(PREFACE.len());
        if early[..same] != PREFACE[..same] {
            return Ok(Some(Protocol::Http1));
        }
        if same == PREFACE.len() {
            return Ok(Some(Protocol::Http2));
        }
    }
}

/// What comes next, or nothing when the client has gone. There is a buffer only while there is something to be read.
async fn next_bytes<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Bytes> {
    poll_fn(|cx| {
        let mut space = [MaybeUninit::uninit(); EARLY_BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
    })
    .await
}

async fn send<S: AsyncWrite + Unpin>(
    stream: &mut S,
    answer: &[u8],
    patience: Duration,
) -> io::Result<()> {
    timeout(patience, async {
        stream.write_all(answer).await?;
        stream.flush().await
    })
    .await?
}

/// Closes our side and waits, within bounds, until the client has closed its own.
pub(super) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let until = Instant::now() + LINGER;
    let mut left = LINGER_BYTES;
    let mut nothing = vec![0; 16 << 10];
    let discarded = async {
        stream.shutdown().await?;
        while left > 0 {
            match timeout(LINGER_SILENCE, stream.read(&mut nothing)).await?? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok::<_, io::Error>(())
    };
    tokio::select! {
        // A client that resets the connection by now has what it wanted.
        _ = discarded => {}
        () = sleep_until(until) => {}
    }
}
