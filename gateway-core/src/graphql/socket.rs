//! GraphQL over a WebSocket (RFC 6455), as the protocol graphql-transport-ws has it: handshake, messages, close codes, limits.
//! Who may open one, and from which pages, is decided at the edge, like for any request; the caller is who the handshake's
//! credentials say, and what `connection_init` carries is not looked at.

mod message;
mod operations;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use async_graphql::{Executor, Response as Executed};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{FutureExt, SinkExt, StreamExt};
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};
use tokio_util::sync::CancellationToken;

use super::SocketLimits;
use super::error::{coded, whole};
use super::response::{self, to_json};
use super::transport::{Transport, weight};
use crate::context::RequestContext;
use crate::deadline::StreamEnd;
use crate::error::{Error, GatewayError};
use crate::proxy::{Tunnels, upgrade};
use message::{FromClient, Invalid, ToClient};
use operations::{Operations, Said};

const PROTOCOL: &str = "graphql-transport-ws";

/// What a handshake's key is answered with (RFC 6455, 1.3).
const ACCEPT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What is read at once, in bytes; every socket has it for its life.
const READ_BUFFER: usize = 4 << 10;
/// How long a client may take to read what it is sent.
const SEND: Duration = Duration::from_secs(10);
/// How long it may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Answers a handshake; the socket goes on in a task of its own.
pub(super) fn open<E: Executor>(
    transport: &Transport<E>,
    request: &mut Request,
) -> Result<Response, Error> {
    let missing = || GatewayError::Bug("a handler ran without the edge".to_owned());
    let tunnels: Tunnels = request.extensions().get().cloned().ok_or_else(missing)?;
    let context: &RequestContext = request.extensions().get().ok_or_else(missing)?;
    let context = context.clone();
    if tunnels.drain.is_cancelled() {
        return Err(GatewayError::Overloaded.into());
    }
    let client = upgrade::take(request)?;
    // It is counted among the streams, and not among the requests that are worked on.
    let place = context.socket_place()?;
    context.give_place_back();
    let context = context.renewed();
    let speaks = speaks_protocol(request.headers());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    upgrade::mark(headers);
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept(request.headers()));
    if speaks {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }

    let transport = transport.clone();
    let Tunnels {
        config,
        running,
        drain,
    } = tunnels;
    running.spawn(async move {
        let upgraded: Upgraded = match client.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "a WebSocket did not come about");
                return;
            }
        };
        let max = usize::try_from(config.max_frame_bytes).unwrap_or(usize::MAX);
        let bounds = Bounds {
            idle: config.idle,
            end: StreamEnd::of(context.caller(), config.lifetime),
            max_message: max,
            drain,
            limits: transport.inner.settings.sockets,
        };
        run(TokioIo::new(upgraded), transport, context, bounds, speaks).await;
        drop(place);
    });
    Ok(response)
}

fn speaks_protocol(headers: &HeaderMap) -> bool {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim() == PROTOCOL)
}

fn accept(headers: &HeaderMap) -> HeaderValue {
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, ACCEPT].concat());
    // Letters, digits and signs that a header may have.
    HeaderValue::try_from(STANDARD.encode(hash)).unwrap_or(HeaderValue::from_static(""))
}

struct Bounds {
    /// How long a client may be silent, and how long it may keep a socket on which nothing happens.
    idle: Duration,
    end: StreamEnd,
    /// In bytes.
    max_message: usize,
    drain: CancellationToken,
    limits: SocketLimits,
}

/// Why a socket ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The client has closed it or broken off.
    Gone,
    /// We close it, with a code and a reason.
    Close(u16, String),
}

impl End {
    fn close(code: u16, reason: impl Into<String>) -> Self {
        Self::Close(code, reason.into())
    }
}

impl From<Invalid> for End {
    fn from(Invalid: Invalid) -> Self {
        Self::close(4400, "Invalid message")
    }
}

async fn run<E: Executor, S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    transport: Transport<E>,
    context: RequestContext,
    bounds: Bounds,
    speaks: bool,
) {
    let opened = Instant::now();
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(bounds.max_message);
    config.max_frame_size = Some(bounds.max_message);
    config.read_buffer_size = READ_BUFFER;
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let operations = Operations::new(bounds.limits.operations);
    let mut session = Session {
        socket,
        transport,
        context,
        initialised: false,
        operations,
        allowance: Allowance::new(bounds.limits.operations_per_second),
        count: 0,
        bounds,
    };
    let end = if speaks {
        // A bug in a resolver costs this socket, and says so.
        match AssertUnwindSafe(session.live(opened)).catch_unwind().await {
            Ok(end) => end,
            Err(_panic) => End::close(4500, "Internal server error"),
        }
    } else {
        End::close(4406, "Subprotocol not acceptable")
    };
    session.close(&end).await;
    let code = match end {
        End::Gone => None,
        End::Close(code, _) => Some(code),
    };
    tracing::info!(
        request_id = session.context.request_id().as_str(),
        trace_id = %session.context.trace().trace_id(),
        code,
        operations = session.count,
        duration_ms = opened.elapsed().as_secs_f64() * 1e3,
        "a GraphQL WebSocket has ended"
    );
}

struct Session<E, S> {
    socket: WebSocketStream<S>,
    transport: Transport<E>,
    context: RequestContext,
    /// Whether the client has said `connection_init`.
    initialised: bool,
    operations: Operations,
    allowance: Allowance,
    /// Operations that were begun.
    count: u64,
    bounds: Bounds,
}

impl<E: Executor, S: AsyncRead + AsyncWrite + Unpin> Session<E, S> {
    async fn live(&mut self, opened: Instant) -> End {
        match self.turns(opened).await {
            Err(end) => end,
            Ok(never) => match never {},
        }
    }

    async fn turns(&mut self, opened: Instant) -> Result<std::convert::Infallible, End> {
        let Bounds {
            idle, end, limits, ..
        } = self.bounds;
        let drain = self.bounds.drain.clone();
        let context = self.context.clone();
        let mut revoked = std::pin::pin!(context.until_revoked());
        // Anything at all, and something that counts as use.
        let (mut heard, mut used) = (opened, opened);
        let mut ping = opened + idle / 4;
        loop {
            if !self.operations.is_empty() {
                used = Instant::now();
            }
            let init = opened + limits.init_timeout;
            tokio::select! {
                // Ends first: a socket that is always busy ends, too.
                biased;
                () = drain.cancelled() => return Err(End::close(1001, "going away")),
                () = &mut revoked => return Err(End::close(4403, "credentials revoked")),
                () = sleep_until(end.at) => {
                    let reason = if end.by_credential { "credentials expired" } else { "lifetime" };
                    return Err(End::close(4403, reason));
                }
                () = sleep_until(init), if !self.initialised => {
                    return Err(End::close(4408, "Connection initialisation timeout"));
                }
                () = sleep_until((heard + idle).min(used + idle)) => {
                    return Err(End::close(4403, "idle"));
                }
                () = sleep_until(ping) => {
                    ping = Instant::now() + idle / 4;
                    self.write(Message::Ping(Vec::new().into())).await?;
                }
                message = self.socket.next() => {
                    heard = Instant::now();
                    match message {
                        Some(Ok(Message::Text(text))) => {
                            used = heard;
                            self.hear(text.as_str()).await?;
                        }
                        Some(Ok(Message::Binary(_))) => return Err(Invalid.into()),
                        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                        Some(Ok(Message::Close(_))) | None => return Err(End::Gone),
                        Some(Err(error)) => return Err(broken(&error)),
                    }
                }
                said = self.operations.next() => self.tell(said).await?,
            }
        }
    }

    async fn hear(&mut self, text: &str) -> Result<(), End> {
        match FromClient::read(text)? {
            FromClient::Init if self.initialised => {
                Err(End::close(4429, "Too many initialisation requests"))
            }
            FromClient::Init => {
                self.initialised = true;
                self.say("connection_ack", None, None::<()>).await
            }
            FromClient::Ping(payload) => self.say("pong", None, payload).await,
            FromClient::Pong => Ok(()),
            FromClient::Subscribe { .. } if !self.initialised => {
                Err(End::close(4401, "Unauthorized"))
            }
            FromClient::Subscribe { id, .. } if self.operations.has(&id) => Err(End::close(
                4409,
                format!("Subscriber for {id} already exists"),
            )),
            FromClient::Subscribe { id, asked } => {
                self.count += 1;
                let context = self.context.renewed();
                let prepared = if self.operations.is_full() {
                    Err(coded("TOO_MANY_OPERATIONS", "Too many operations at once."))
                } else if !self.allowance.take(Instant::now()) {
                    Err(coded(
                        "RATE_LIMITED",
                        "Too many operations in a short time.",
                    ))
                } else {
                    let prepared = self.transport.prepare(*asked);
                    // The handshake was one request; each operation counts as another.
                    match context.charge(weight(&prepared)).await {
                        Ok(()) => prepared,
                        Err(refused) => Err(whole(&refused)),
                    }
                };
                match prepared {
                    Ok(ready) => {
                        let results = self.transport.results(ready, context);
                        self.operations.begin(id, results);
                        Ok(())
                    }
                    Err(error) => {
                        let mut answer = Executed::from_errors(vec![error]);
                        response::complete(&mut answer, &self.context);
                        self.say("error", Some(&id), Some(&answer.errors)).await
                    }
                }
            }
            FromClient::Complete { id } => {
                self.operations.end(&id);
                Ok(())
            }
        }
    }

    async fn tell(&mut self, said: Said) -> Result<(), End> {
        match said {
            // Nothing was executed, and nothing will come.
            Said::Result { id, answer, first } if first && response::is_refused(&answer) => {
                self.operations.end(&id);
                self.say("error", Some(&id), Some(&answer.errors)).await
            }
            Said::Result { id, answer, .. } => {
                let payload = response::Body::of(&answer);
                self.say("next", Some(&id), Some(&payload)).await
            }
            Said::Complete { id } => self.say("complete", Some(&id), None::<()>).await,
        }
    }

    async fn say(
        &mut self,
        kind: &'static str,
        id: Option<&str>,
        payload: Option<impl Serialize>,
    ) -> Result<(), End> {
        let message = ToClient {
            id,
            r#type: kind,
            payload,
        };
        let text = to_json(&message)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| End::close(4500, "Internal server error"))?;
        self.write(Message::Text(text.into())).await
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        // A client that does not read is gone: there is nobody to tell.
        match timeout(SEND, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }

    /// Says why, and waits a moment for the other side to have heard it.
    async fn close(&mut self, end: &End) {
        let End::Close(code, reason) = end else {
            // A client's own goodbye is answered by reading on: whoever writes is told that there is nobody any more.
            let farewell = async { while let Some(Ok(_)) = self.socket.next().await {} };
            let _ = timeout(GOODBYE, farewell).await;
            return;
        };
        let mut reason = reason.clone();
        // A control frame has at most 125 bytes, two of them for the code.
        while reason.len() > 123 {
            reason.pop();
        }
        let frame = CloseFrame {
            code: CloseCode::from(*code),
            reason: reason.into(),
        };
        let goodbye = async {
            if self.socket.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        let _ = timeout(GOODBYE, goodbye).await;
    }
}

fn broken(error: &WsError) -> End {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => {
            End::close(1009, "message too large")
        }
        WsError::Utf8(_) => End::close(1007, "text that is not UTF-8"),
        WsError::Protocol(_) => End::close(1002, "protocol error"),
        _ => End::Gone,
    }
}

/// So many operations a second, with as many at once.
struct Allowance {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    fn new(per_second: usize) -> Self {
        let per_second = f64::from(u32::try_from(per_second).unwrap_or(u32::MAX));
        Self {
            per_second,
            left: per_second,
            at: Instant::now(),
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * self.per_second).min(self.per_second);
        self.at = now;
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests;
