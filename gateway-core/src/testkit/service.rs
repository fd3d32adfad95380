//! A service of a test on a socket of its own: it notes what it was asked, and answers or fails as the test says.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::response::Response;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::answer::Answer;
use super::fault::Fault;

/// A service that a BFF calls, by the name of its upstream in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Json(&'static str),
    Grpc(&'static str),
}

impl Service {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json(name) | Self::Grpc(name) => name,
        }
    }
}

/// A request that a service has got.
#[derive(Clone, Debug)]
pub struct Seen {
    pub service: &'static str,
    /// Method and path, for example `GET /widgets/1`.
    pub call: String,
    /// What follows the path's `?`, or nothing.
    pub query: String,
    pub headers: HeaderMap,
    /// `null` when it is not JSON.
    pub body: Value,
}

impl Seen {
    /// Path and query, for example `/widgets?limit=3`.
    #[must_use]
    pub fn target(&self) -> String {
        let path = self.call.split(' ').nth(1).unwrap_or_default();
        if self.query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", self.query)
        }
    }

    /// Method, path and query, for example `GET /widgets?limit=3`.
    #[must_use]
    pub fn whole_call(&self) -> String {
        match self.query.as_str() {
            "" => self.call.clone(),
            query => format!("{}?{query}", self.call),
        }
    }

    /// A parameter of the query, as it is on the wire.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.split('&');
        pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

/// A call that fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct FaultAt {
    pub(super) service: &'static str,
    /// As in [`Seen::call`].
    pub(super) call: &'static str,
    pub(super) fault: Fault,
}

pub(super) type Answers = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

/// What the services of one test have in common.
pub(super) struct World {
    pub(super) answers: Answers,
    pub(super) fault: Option<FaultAt>,
    pub(super) seen: Mutex<Vec<Seen>>,
    /// Requests that have arrived and have neither been answered nor given up.
    pub(super) under_way: AtomicUsize,
}

/// A service at work; it ends with this.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    _accepting: Accepting,
}

enum Accepting {
    Connections {
        _task: AbortOnDropHandle<()>,
    },
    /// The port is taken, and nobody listens on it.
    Nothing {
        _socket: TcpSocket,
    },
}

impl Running {
    pub(super) async fn start(service: Service, world: &Arc<World>) -> Self {
        let name = service.name();
        let refuses = world
            .fault
            .is_some_and(|at| at.service == name && at.fault == Fault::Refused);
        if refuses {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
            return Self {
                address: socket.local_addr().unwrap(),
                _accepting: Accepting::Nothing { _socket: socket },
            };
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(accept(listener, service, Arc::clone(world)));
        Self {
            address,
            _accepting: Accepting::Connections {
                _task: AbortOnDropHandle::new(task),
            },
        }
    }
}

async fn accept(listener: TcpListener, service: Service, world: Arc<World>) {
    // Connections end with the task that accepts them.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let world = Arc::clone(&world);
        connections.spawn(async move {
            let answer = service_fn(move |request| answer(request, service, Arc::clone(&world)));
            // That a gateway closes a connection is none of a service's troubles.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

/// The connection is to break.
#[derive(Debug, thiserror::Error)]
#[error("the connection breaks on purpose")]
struct Break;

async fn answer(
    request: Request<Incoming>,
    service: Service,
    world: Arc<World>,
) -> Result<Response, Break> {
    let _under_way = UnderWay::begin(&world);
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map_err(|_| Break)?.to_bytes();
    let seen = Seen {
        service: service.name(),
        call: format!("{} {}", parts.method, parts.uri.path()),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    };
    world.seen.lock().unwrap().push(seen.clone());
    match world.fault {
        Some(at) if at.service == seen.service && at.call == seen.call => {
            let is_grpc = matches!(service, Service::Grpc(_));
            at.fault.instead(is_grpc).await.ok_or(Break)
        }
        _ => {
            let answer = (world.answers)(&seen);
            match answer.after {
                None => std::future::pending().await,
                Some(Duration::ZERO) => {}
                Some(delay) => tokio::time::sleep(delay).await,
            }
            Ok(answer.into_response())
        }
    }
}

struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn begin(world: &'a World) -> Self {
        world.under_way.fetch_add(1, Ordering::SeqCst);
        Self(&world.under_way)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
