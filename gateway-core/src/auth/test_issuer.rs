//! An issuer for tests: a real HTTP server with discovery and a key set, and keys to sign with. Nothing is checked here.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::StatusCode;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::config::IssuerConfig;

/// A private key with its public half.
pub(super) struct SigningKey {
    pub(super) algorithm: Algorithm,
    key: EncodingKey,
    jwk: Value,
}

// Making an RSA key takes a while without optimisation: once for all tests.
pub(super) static RSA: LazyLock<SigningKey> = LazyLock::new(SigningKey::rsa);
pub(super) static EC: LazyLock<SigningKey> = LazyLock::new(|| {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
    SigningKey::new(Algorithm::ES256, key)
});
pub(super) static ED: LazyLock<SigningKey> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::generate().unwrap();
    let key = EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref());
    SigningKey::new(Algorithm::EdDSA, key)
});
/// Of somebody who is not the issuer.
pub(super) static FOREIGN: LazyLock<SigningKey> = LazyLock::new(SigningKey::rsa);

impl SigningKey {
    fn rsa() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(der.as_ref())
        );
        Self::new(
            Algorithm::RS256,
            EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(),
        )
    }

    fn new(algorithm: Algorithm, key: EncodingKey) -> Self {
        crate::telemetry::install_crypto();
        let jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
        Self {
            algorithm,
            key,
            jwk: serde_json::to_value(jwk).unwrap(),
        }
    }

    pub(super) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = kid.into();
        jwk
    }

    /// Signs whatever the parts say.
    pub(super) fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        );
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }

    pub(super) fn token(&self, kid: &str, claims: &Value) -> String {
        let header = json!({ "alg": format!("{:?}", self.algorithm), "typ": "at+jwt", "kid": kid });
        self.sign(&header.to_string(), &claims.to_string())
    }
}

/// How the key set's endpoint behaves.
#[derive(Clone)]
pub(super) enum Behaviour {
    Keys(Value),
    Status(StatusCode),
    /// Takes the request and never answers.
    Hangs,
}

pub(super) struct TestIssuer {
    pub(super) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    url: String,
    /// What discovery says who it is.
    name: Mutex<String>,
    behaviour: Mutex<Behaviour>,
    fetches: AtomicUsize,
}

impl TestIssuer {
    pub(super) async fn start(keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            url: url.clone(),
            name: Mutex::new(url.clone()),
            behaviour: Mutex::new(Behaviour::Keys(json!(keys))),
            fetches: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    pub(super) fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    pub(super) fn publish(&self, keys: &[Value]) {
        self.behave(Behaviour::Keys(json!(keys)));
    }

    pub(super) fn call_itself(&self, name: &str) {
        name.clone_into(&mut self.shared.name.lock().unwrap());
    }

    /// How often the key set was asked for.
    pub(super) fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    pub(super) fn config(&self) -> IssuerConfig {
        IssuerConfig {
            issuer: self.url.clone(),
            subject_prefix: String::new(),
            reserved_prefixes: Vec::new(),
            jwks_uri: None,
            audiences: vec!["acme-mobile".to_owned(), "acme-web".to_owned()],
            algorithms: vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
            token_types: vec!["at+jwt".to_owned()],
            partner_claim: None,
            leeway: Duration::ZERO,
            refresh: Duration::from_hours(1),
            cooldown: Duration::from_hours(1),
            max_stale: Duration::from_hours(1),
        }
    }
}

async fn discovery(State(shared): State<Arc<Shared>>) -> axum::Json<Value> {
    let name = shared.name.lock().unwrap().clone();
    axum::Json(json!({ "issuer": name, "jwks_uri": format!("{}/jwks", shared.url) }))
}

async fn jwks(State(shared): State<Arc<Shared>>) -> Response {
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    let behaviour = shared.behaviour.lock().unwrap().clone();
    match behaviour {
        Behaviour::Keys(keys) => axum::Json(json!({ "keys": keys })).into_response(),
        Behaviour::Status(status) => status.into_response(),
        Behaviour::Hangs => std::future::pending().await,
    }
}

/// Polls until `condition` holds.
pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}
