//! A client that looks at every answer twice: once for the test, and once for what must hold for all answers of a BFF.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tokio::time::Instant;

/// Longer than any deadline under test.
const TIMEOUT: Duration = Duration::from_secs(15);

pub struct Client {
    http: reqwest::Client,
}

/// An answer of a BFF that has passed the checks.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    pub took: Duration,
}

impl Client {
    pub fn new() -> Result<Self> {
        gateway_core::install_crypto();
        Ok(Self {
            http: reqwest::Client::builder().timeout(TIMEOUT).build()?,
        })
    }

    pub async fn get(&self, url: &str, token: &str) -> Result<Answer> {
        self.send(self.request(Method::GET, url).bearer_auth(token))
            .await
    }

    pub async fn post(&self, url: &str, token: &str, body: &Value) -> Result<Answer> {
        self.send(
            self.request(Method::POST, url)
                .bearer_auth(token)
                .json(body),
        )
        .await
    }

    /// A request to be completed by the test and given to [`Client::send`].
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// Sends a request to a BFF and checks the answer.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer> {
        let began = Instant::now();
        let response = request.send().await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = response.bytes().await?;
        let took = began.elapsed();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap_or(Value::Null)
        };
        let answer = Answer {
            status,
            headers,
            body,
            took,
        };
        answer.check().with_context(|| format!("{answer:?}"))?;
        Ok(answer)
    }

    // Requests to services and admin listeners, which promise less.

    pub async fn get_raw(&self, url: &str) -> Result<Response> {
        Ok(self.http.get(url).send().await?)
    }

    pub async fn put_raw(&self, url: &str, body: &Value) -> Result<Response> {
        Ok(self.http.put(url).json(body).send().await?)
    }

    pub async fn post_raw(&self, url: &str, body: &Value) -> Result<Response> {
        Ok(self.http.post(url).json(body).send().await?)
    }

    pub async fn delete_raw(&self, url: &str) -> Result<Response> {
        Ok(self.http.delete(url).send().await?)
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// What holds for every answer of a BFF.
    fn check(&self) -> Result<()> {
        let request_id = self.header("x-request-id").context("no X-Request-Id")?;
        anyhow::ensure!(self.status != 500, "a 500");
        anyhow::ensure!(
            self.header("x-content-type-options") == Some("nosniff"),
            "nosniff is missing"
        );
        if self.status < 400 {
            return Ok(());
        }
        let graphql = self
            .header("content-type")
            .is_some_and(|kind| kind.contains("graphql"));
        if graphql {
            return Ok(());
        }
        anyhow::ensure!(
            self.header("content-type") == Some("application/problem+json"),
            "not a problem"
        );
        anyhow::ensure!(self.body["status"] == self.status, "status in the body");
        anyhow::ensure!(
            self.body["requestId"] == request_id,
            "requestId in the body"
        );
        for member in ["type", "title", "instance"] {
            anyhow::ensure!(self.body[member].is_string(), "no {member}");
        }
        Ok(())
    }
}
