//! An OpenID provider of a test's own, which answers as the test says: tokens that are wrong, late, or few. FTGO's identity
//! provider and the certified one behave.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::issuer::{Issuer, unix_time};

pub const CLIENT: &str = "web-client";
pub const SECRET: &str = "a secret/with+marks";

pub type Form = BTreeMap<String, String>;
type Answers = Box<dyn FnMut(&Form) -> (u16, Value) + Send>;

/// A provider, for as long as the test's runtime lives.
pub struct Provider {
    pub url: String,
    pub issuer: Issuer,
    shared: Arc<Shared>,
}

struct Shared {
    tokens: Mutex<Answers>,
    asked: Mutex<Vec<Form>>,
    revoked: Mutex<Vec<Form>>,
    /// `Authorization` of requests for tokens.
    clients: Mutex<Vec<String>>,
    metadata: Mutex<Value>,
    /// So many requests for tokens, from the first one on, wait for their answers.
    held: watch::Sender<usize>,
}

impl Provider {
    pub async fn start() -> Result<Self> {
        let issuer = Issuer::start().await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let metadata = json!({
            "issuer": url,
            "jwks_uri": format!("{}/jwks", issuer.url),
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"),
            "revocation_endpoint": format!("{url}/revoke"),
            "end_session_endpoint": format!("{url}/end?of=session"),
            "authorization_response_iss_parameter_supported": true,
        });
        let shared = Arc::new(Shared {
            tokens: Mutex::new(Box::new(|_| (500, json!({})))),
            asked: Mutex::default(),
            revoked: Mutex::default(),
            clients: Mutex::default(),
            metadata: Mutex::new(metadata),
            held: watch::Sender::new(0),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata_of))
            .route("/token", post(token))
            .route("/revoke", post(revoke))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            url,
            issuer,
            shared,
        })
    }

    /// How the token endpoint answers from now on.
    pub fn answers(&self, answers: impl FnMut(&Form) -> (u16, Value) + Send + 'static) {
        *lock(&self.shared.tokens) = Box::new(answers);
    }

    /// Whoever asks for tokens waits for them from now on, or not any more.
    pub fn hold(&self, held: bool) {
        let held = if held { usize::MAX } else { 0 };
        self.shared.held.send_replace(held);
    }

    /// Whoever has asked for tokens so far goes on waiting for them; whoever asks later is answered.
    pub fn hold_these(&self) {
        let asked = lock(&self.shared.asked).len();
        self.shared.held.send_replace(asked);
    }

    /// Changes what the provider says of itself; only before anybody has asked.
    pub fn says(&self, member: &str, value: Value) {
        lock(&self.shared.metadata)[member] = value;
    }

    /// What the token endpoint was asked, in order.
    pub fn asked(&self) -> Vec<Form> {
        lock(&self.shared.asked).clone()
    }

    pub fn refreshes(&self) -> usize {
        let asked = lock(&self.shared.asked);
        asked
            .iter()
            .filter(|form| {
                form.get("grant_type")
                    .is_some_and(|grant| grant == "refresh_token")
            })
            .count()
    }

    pub fn revoked(&self) -> Vec<Form> {
        lock(&self.shared.revoked).clone()
    }

    pub fn clients(&self) -> Vec<String> {
        lock(&self.shared.clients).clone()
    }

    /// The claims of a good ID token.
    pub fn id_claims(&self, subject: &str, nonce: &str) -> Value {
        let now = unix_time();
        json!({
            "iss": self.url, "sub": subject, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce,
            "sid": format!("sid-of-{subject}"), "roles": ["member"], "name": "Somebody",
        })
    }

    pub fn signed(&self, typ: &str, claims: &Value) -> Result<String> {
        let header = json!({"alg": "RS256", "typ": typ, "kid": "rsa"});
        self.issuer
            .rsa
            .sign(&header.to_string(), &claims.to_string())
    }

    /// A good answer of the token endpoint.
    pub fn tokens(&self, id_claims: &Value, expires_in: u64, refresh: &str) -> Result<Value> {
        Ok(json!({
            "access_token": format!("access-{refresh}"), "token_type": "Bearer", "expires_in": expires_in,
            "refresh_token": refresh, "scope": "openid orders:read", "id_token": self.signed("JWT", id_claims)?,
        }))
    }
}

async fn metadata_of(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(lock(&shared.metadata).clone())
}

async fn token(
    State(shared): State<Arc<Shared>>,
    headers: reqwest::header::HeaderMap,
    body: String,
) -> Response {
    let form = form(&body);
    let client = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    lock(&shared.clients).push(client.unwrap_or_default().to_owned());
    let number = {
        let mut asked = lock(&shared.asked);
        asked.push(form.clone());
        asked.len()
    };
    // The sender is in the same place: it does not go away.
    let _ = shared
        .held
        .subscribe()
        .wait_for(|held| number > *held)
        .await;
    let (status, answer) = (lock(&shared.tokens))(&form);
    let status = StatusCode::from_u16(status).unwrap_or_default();
    (status, Json(answer)).into_response()
}

async fn revoke(State(shared): State<Arc<Shared>>, body: String) -> StatusCode {
    lock(&shared.revoked).push(form(&body));
    StatusCode::OK
}

fn form(body: &str) -> Form {
    let url = reqwest::Url::parse(&format!("http://form.example/?{body}"));
    url.map_or_else(
        |_| Form::new(),
        |url| url.query_pairs().into_owned().collect(),
    )
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
