//! Active health: every endpoint of an upstream is asked now and then whether it is well, from the control runtime and over
//! connections of its own. One that is not, several times in a row, gets no calls until it is again.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, uri};
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::timeout;

use super::endpoints::Endpoint;
use super::flight::grpc_verdict;
use super::outgoing::Outgoing;
use super::pool::connect;
use super::shared::Upstream;
use crate::config::{HealthConfig, UpstreamProtocol};

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// What checks have found out about one endpoint. It is taken for well until they say otherwise.
#[derive(Default)]
pub(super) struct Health {
    is_down: AtomicBool,
    /// Checks in a row that say the opposite.
    against: AtomicU32,
}

impl Health {
    pub(super) fn is_up(&self) -> bool {
        !self.is_down.load(Ordering::Relaxed)
    }

    /// Whether this check has changed what is known. Only the one task that checks comes here.
    fn heard(&self, well: bool, config: &HealthConfig) -> bool {
        if well == self.is_up() {
            self.against.store(0, Ordering::Relaxed);
            return false;
        }
        let needed = if well {
            config.healthy
        } else {
            config.unhealthy
        };
        let against = self.against.fetch_add(1, Ordering::Relaxed) + 1;
        if against < needed {
            return false;
        }
        self.against.store(0, Ordering::Relaxed);
        self.is_down.store(!well, Ordering::Relaxed);
        true
    }
}

/// Asks all endpoints, again and again, until nobody has the upstream any more.
pub(super) async fn watch(upstream: Weak<Upstream>, config: HealthConfig) {
    loop {
        let Some(upstream) = upstream.upgrade() else {
            return;
        };
        let endpoints = upstream.endpoints.load_full();
        join_all(
            endpoints
                .all()
                .iter()
                .map(|endpoint| check(&upstream, endpoint, &config)),
        )
        .await;
        drop((upstream, endpoints));
        // Replicas that were started together should not ask together.
        let pause = config.interval.mul_f64(0.9 + fastrand::f64() * 0.2);
        tokio::time::sleep(pause).await;
    }
}

async fn check(upstream: &Upstream, endpoint: &Arc<Endpoint>, config: &HealthConfig) {
    let asked = async {
        match upstream.config.protocol {
            UpstreamProtocol::Http1 => ask_http1(endpoint, config).await,
            UpstreamProtocol::Http2 => ask_http2(endpoint, config).await,
            UpstreamProtocol::Grpc => ask_grpc(endpoint).await,
        }
    };
    let found = timeout(config.timeout, asked)
        .await
        .unwrap_or_else(|_elapsed| Err("no answer in time".into()));
    if endpoint.health.heard(found.is_ok(), config) {
        let at = &endpoint.place.dial;
        match found {
            Ok(()) => {
                tracing::info!(upstream = upstream.name, endpoint = %at, "an endpoint is well again");
            }
            Err(error) => {
                tracing::warn!(upstream = upstream.name, endpoint = %at, %error, "an endpoint is not well: it gets no calls");
            }
        }
    }
}

fn get(endpoint: &Endpoint, config: &HealthConfig) -> Request<Outgoing> {
    let mut request = Request::new(Outgoing::empty());
    *request.uri_mut() = endpoint.place.uri(config.path.clone());
    let agent = HeaderValue::from_static("gateway-health");
    request.headers_mut().insert(USER_AGENT, agent);
    request
}

async fn ask_http1(endpoint: &Endpoint, config: &HealthConfig) -> Result<(), Fault> {
    let stream = connect(&endpoint.place.dial).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = get(endpoint, config);
    *request.uri_mut() = config.path.clone().into();
    request
        .headers_mut()
        .insert(HOST, endpoint.place.host.clone());
    let status = sender.send_request(request).await.map(|a| a.status());
    connection.abort();
    is_success(status?)
}

async fn ask_http2(endpoint: &Endpoint, config: &HealthConfig) -> Result<(), Fault> {
    let stream = connect(&endpoint.place.dial).await?;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(get(endpoint, config)).await;
    connection.abort();
    is_success(answer?.status())
}

fn is_success(status: StatusCode) -> Result<(), Fault> {
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("status {status}").into())
    }
}

/// The gRPC health checking protocol (`grpc.health.v1`) for the server as a whole. Its two messages are so small that they
/// stand here as bytes: an empty request, and `status = SERVING`.
async fn ask_grpc(endpoint: &Endpoint) -> Result<(), Fault> {
    const EMPTY: &[u8] = &[0, 0, 0, 0, 0];
    const SERVING: &[u8] = &[0, 0, 0, 0, 2, 0x08, 0x01];
    let stream = connect(&endpoint.place.dial).await?;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::new(Outgoing::whole(Bytes::from_static(EMPTY)));
    *request.method_mut() = Method::POST;
    let path = uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    *request.uri_mut() = endpoint.place.uri(path);
    let headers = request.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "application/grpc"),
        (TE, "trailers"),
        (USER_AGENT, "gateway-health"),
    ] {
        headers.insert::<HeaderName>(name, HeaderValue::from_static(value));
    }
    let asked = async {
        let answer = sender.send_request(request).await?;
        let failed = grpc_verdict(answer.headers());
        let message = answer.into_body().collect().await?.to_bytes();
        Ok::<_, hyper::Error>((failed, message))
    };
    let answer = asked.await;
    connection.abort();
    match answer? {
        (_, message) if message == SERVING => Ok(()),
        (said, _) => Err(format!("not serving ({said:?})").into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_takes_several_checks_in_a_row_to_change_its_mind() {
        let config = HealthConfig {
            path: uri::PathAndQuery::from_static("/"),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            unhealthy: 3,
            healthy: 2,
        };
        let health = Health::default();
        let mut up = Vec::new();
        for well in [
            false, false, true, false, false, false, true, false, true, true,
        ] {
            health.heard(well, &config);
            up.push(health.is_up());
        }
        assert_eq!(
            up,
            [
                true, true, true, true, true, false, false, false, false, true
            ]
        );
    }
}
