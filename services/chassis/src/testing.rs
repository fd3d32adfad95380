//! What the tests of this crate share: a service on a real socket and a client. No test is here.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::{Client as HyperClient, Error, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use sqlx::migrate::Migrator;
use tempfile::TempDir;

use crate::service::{Environment, RunningService, Service};

pub(crate) static NO_MIGRATIONS: LazyLock<Migrator> =
    LazyLock::new(|| Migrator::with_migrations(Vec::new()));

pub(crate) fn environment(directory: &Path) -> Environment {
    Environment {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: directory.to_owned(),
        transport: None,
        faults: false,
        seed: false,
        trust: None,
        collector: None,
    }
}

/// A service with these routes. Its files are gone with the directory.
pub(crate) async fn start(routes: Router, faults: bool) -> (RunningService, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let environment = Environment {
        faults,
        ..environment(directory.path())
    };
    let service = Service::bind("test", environment, &NO_MIGRATIONS)
        .await
        .unwrap();
    (service.routes(routes).start(), directory)
}

pub(crate) struct Client {
    base: String,
    inner: HyperClient<HttpConnector, Body>,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) fn new(service: &RunningService) -> Client {
        Client {
            base: format!("http://{}", service.address()),
            inner: HyperClient::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// HTTP/2 with prior knowledge.
    pub(crate) fn http2(service: &RunningService) -> Client {
        Client {
            inner: HyperClient::builder(TokioExecutor::new())
                .http2_only(true)
                .build_http(),
            ..Client::new(service)
        }
    }

    pub(crate) async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Result<Reply, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .inner
            .request(request.body(body.into()).unwrap())
            .await?;
        let (parts, body) = response.into_parts();
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.try_send("GET", path, &[], Body::empty())
            .await
            .unwrap()
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: &str) -> Reply {
        let headers = [("content-type", "application/json")];
        self.try_send(method, path, &headers, body.to_owned())
            .await
            .unwrap()
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The body as a problem of this status.
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.value();
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["type"].is_string());
        problem
    }
}
