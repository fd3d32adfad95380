//! A service that counts what it sees, and does what a path says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(super) struct Service {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    seen: Mutex<HashMap<String, usize>>,
    host: Mutex<String>,
    time: Mutex<Duration>,
    connections: AtomicUsize,
    fails: AtomicBool,
    delay: Mutex<Duration>,
    released: watch::Sender<bool>,
}

impl Service {
    pub(super) async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub(super) async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let service = Self::at(listener.local_addr().unwrap());
        let state = Arc::clone(&service.state);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                state.connections.fetch_add(1, Ordering::Relaxed);
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    let answer = service_fn(|request: http::Request<hyper::body::Incoming>| {
                        let state = Arc::clone(&state);
                        async move { state.answer(request.map(Body::new)).await }
                    });
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), answer)
                        .await;
                });
            }
        });
        service
    }

    /// Nobody listens there.
    pub(super) async fn dead() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::at(listener.local_addr().unwrap())
    }

    fn at(address: SocketAddr) -> Self {
        Self {
            address,
            state: Arc::new(State {
                seen: Mutex::default(),
                host: Mutex::default(),
                time: Mutex::default(),
                connections: AtomicUsize::new(0),
                fails: AtomicBool::new(false),
                delay: Mutex::default(),
                released: watch::Sender::new(false),
            }),
        }
    }

    pub(super) fn quoted_url(&self) -> String {
        format!("\"http://{}\"", self.address)
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The `Host` of the last request.
    pub(super) fn last_host(&self) -> String {
        self.state.host.lock().unwrap().clone()
    }

    /// The time that the last request said there was.
    pub(super) fn last_time(&self) -> Duration {
        *self.state.time.lock().unwrap()
    }

    /// Requests for a path so far.
    pub(super) fn seen(&self, path: &str) -> usize {
        let seen = self.state.seen.lock().unwrap();
        seen.get(path).copied().unwrap_or(0)
    }

    /// Connections that were ever made.
    pub(super) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// What `/maybe` does.
    pub(super) fn fails(&self, fails: bool) {
        self.state.fails.store(fails, Ordering::Relaxed);
    }

    pub(super) fn is_slow(&self, delay: Duration) {
        *self.state.delay.lock().unwrap() = delay;
    }

    /// Ends the waiting of `/held`.
    pub(super) fn release(&self) {
        self.state.released.send_replace(true);
    }
}

impl State {
    async fn answer(&self, request: Request) -> Result<Response, std::io::Error> {
        let path = request.uri().path().to_owned();
        if let Some(host) = request.headers().get("host") {
            host.to_str()
                .unwrap()
                .clone_into(&mut self.host.lock().unwrap());
        }
        if let Some(time) = request.headers().get("request-timeout") {
            let millis = time.to_str().unwrap().parse().unwrap();
            *self.time.lock().unwrap() = Duration::from_millis(millis);
        }
        let number = {
            let mut seen = self.seen.lock().unwrap();
            let count = seen.entry(path.clone()).or_default();
            *count += 1;
            *count
        };
        let delay = *self.delay.lock().unwrap();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let answer = match path.as_str() {
            "/ok" => StatusCode::OK.into_response(),
            "/body" => "a body".into_response(),
            "/hang" => std::future::pending().await,
            "/held" => {
                let mut released = self.released.subscribe();
                let _ = released.wait_for(|released| *released).await;
                StatusCode::OK.into_response()
            }
            "/maybe" if self.fails.load(Ordering::Relaxed) => status(500),
            "/grpc.health.v1.Health/Check" => {
                let said = if self.fails.load(Ordering::Relaxed) {
                    2
                } else {
                    1
                };
                vec![0, 0, 0, 0, 2, 0x08, said].into_response()
            }
            "/maybe" => StatusCode::OK.into_response(),
            // The connection breaks, with the request read.
            "/reset" => return Err(std::io::Error::other("reset")),
            "/busy-or-reset" if self.fails.load(Ordering::Relaxed) => {
                return Err(std::io::Error::other("reset"));
            }
            "/busy" | "/busy-or-reset" => status(503),
            "/later" if number == 1 => ([("retry-after", "1")], status(503)).into_response(),
            "/much-later" => ([("retry-after", "60")], status(503)).into_response(),
            "/once" if number == 1 => status(502),
            "/break-once" if number == 1 => return Err(std::io::Error::other("reset")),
            "/later" | "/once" | "/break-once" => StatusCode::OK.into_response(),
            path => {
                let status = path.trim_start_matches('/').parse::<u16>().unwrap_or(404);
                if let Some(code) = path.strip_prefix("/grpc/") {
                    return Ok((
                        [("content-type", "application/grpc"), ("grpc-status", code)],
                        (),
                    )
                        .into_response());
                }
                StatusCode::from_u16(status).unwrap().into_response()
            }
        };
        Ok(answer)
    }
}

fn status(code: u16) -> Response {
    StatusCode::from_u16(code).unwrap().into_response()
}
