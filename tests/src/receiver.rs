//! A partner's server that takes webhooks: it writes down what comes and answers as the test says. What signatures mean is checked
//! here with nothing of the gateway's; what the deliveries should be is the tests'.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use aws_lc_rs::hmac;
use axum::Router;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::sync::watch;

use crate::system::eventually;

/// What came.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

pub struct Receiver {
    pub address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    received: Mutex<Vec<Received>>,
    /// By path: what is answered instead of 204.
    answers: Mutex<HashMap<String, Reply>>,
    released: watch::Sender<bool>,
}

/// How a path answers.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    Status(u16),
    /// To the path.
    Redirect(&'static str),
    Never,
    /// 204, once [`Receiver::release`] was called.
    Held,
}

impl Receiver {
    pub async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let inner = Arc::<Inner>::default();
        let app = Router::new().fallback(take).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, inner })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on.
    pub fn answer(&self, path: &str, reply: Reply) {
        lock(&self.inner.answers).insert(path.to_owned(), reply);
    }

    /// Answers what is held, and holds nothing from now on.
    pub fn release(&self) {
        self.inner.released.send_replace(true);
    }

    /// What came to `path`, in order.
    pub fn at(&self, path: &str) -> Vec<Received> {
        let received = lock(&self.inner.received);
        received
            .iter()
            .filter(|one| one.path == path)
            .cloned()
            .collect()
    }

    pub fn count(&self) -> usize {
        lock(&self.inner.received).len()
    }

    /// What came to `path`, once it is `count` at least.
    pub async fn wait(&self, path: &str, count: usize) -> Result<Vec<Received>> {
        eventually(&format!("{count} messages at {path}"), async || {
            let received = self.at(path);
            Ok((received.len() >= count).then_some(received))
        })
        .await
    }
}

async fn take(
    State(inner): State<Arc<Inner>>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    let path = uri.path().to_owned();
    let reply = lock(&inner.answers).get(&path).copied();
    lock(&inner.received).push(Received {
        path,
        headers,
        body,
    });
    match reply {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(Reply::Status(status)) => StatusCode::from_u16(status)
            .unwrap_or_default()
            .into_response(),
        Some(Reply::Redirect(to)) => {
            (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, to)]).into_response()
        }
        Some(Reply::Never) => std::future::pending().await,
        Some(Reply::Held) => {
            let mut released = inner.released.subscribe();
            // It fails when the sender is gone, which is held here.
            let _ = released.wait_for(|released| *released).await;
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub fn json(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.body)?)
    }

    /// Whether one of its signatures was made with `secret`.
    pub fn is_signed_with(&self, secret: &str) -> Result<bool> {
        let secret = secret.strip_prefix("whsec_").context("no secret")?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(secret)?);
        let at = self.header("webhook-timestamp");
        let signed = format!("{}.{at}.{}", self.id(), self.body);
        ensure!(at.parse::<u64>().is_ok(), "no time: {self:?}");
        for signature in self.header("webhook-signature").split(' ') {
            let signature = signature.strip_prefix("v1,").context("no v1")?;
            let tag = STANDARD.decode(signature)?;
            if hmac::verify(&key, signed.as_bytes(), &tag).is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
