//! An issuer of a test's own, whose tokens can say anything: a real HTTP server with discovery and a key set, and keys to
//! sign with. FTGO's identity provider makes good tokens only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The audience that gateways under test are.
pub const AUDIENCE: &str = "ours";
/// Seconds for which gateways under test forgive clocks.
pub const LEEWAY: u64 = 5;

/// A private key with its public half in the forms in which it is known.
pub struct SigningKey {
    pub algorithm: Algorithm,
    key: EncodingKey,
    pub jwk: Value,
    /// SubjectPublicKeyInfo.
    pub public_der: Vec<u8>,
    pub public_pem: String,
}

// Making an RSA key takes a while without optimisation: once for all tests.
static RSA: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::rsa().expect("an RSA key"));
static EC: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::ec().expect("a P-256 key"));
static OTHER_RSA: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::rsa().expect("an RSA key"));
static OTHER_EC: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::ec().expect("a P-256 key"));

impl SigningKey {
    fn rsa() -> Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair)?;
        let key = EncodingKey::from_rsa_pem(pem("PRIVATE", private.as_ref()).as_bytes())?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
        Self::new(Algorithm::RS256, key, public.as_ref())
    }

    fn ec() -> Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let key = EncodingKey::from_ec_der(pair.to_pkcs8v1()?.as_ref());
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
        Self::new(Algorithm::ES256, key, public.as_ref())
    }

    fn new(algorithm: Algorithm, key: EncodingKey, public_der: &[u8]) -> Result<Self> {
        gateway_core::install_crypto();
        Ok(Self {
            algorithm,
            jwk: serde_json::to_value(Jwk::from_encoding_key(&key, algorithm)?)?,
            key,
            public_der: public_der.to_vec(),
            public_pem: pem("PUBLIC", public_der),
        })
    }

    /// A token with exactly these parts.
    pub fn sign(&self, header: &str, payload: &str) -> Result<String> {
        self.sign_as(self.algorithm, header, payload)
    }

    /// The same, by another algorithm of the key's family.
    pub fn sign_as(&self, algorithm: Algorithm, header: &str, payload: &str) -> Result<String> {
        signed(&self.key, algorithm, header, payload)
    }

    fn published(&self, kid: &str) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = kid.into();
        jwk
    }
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN {kind} KEY-----\n{lines}\n-----END {kind} KEY-----\n")
}

fn signed(key: &EncodingKey, by: Algorithm, header: &str, payload: &str) -> Result<String> {
    let message = unsigned(header, payload);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, by)?;
    Ok(format!("{message}.{signature}"))
}

/// Header and payload as they stand in a token.
pub fn unsigned(header: &str, payload: &str) -> String {
    let encode = |part: &str| URL_SAFE_NO_PAD.encode(part);
    format!("{}.{}", encode(header), encode(payload))
}

/// A token that is signed with a secret that everybody knows.
pub fn signed_with_secret(secret: &[u8], header: &str, payload: &str) -> Result<String> {
    let key = EncodingKey::from_secret(secret);
    signed(&key, Algorithm::HS256, header, payload)
}

/// An issuer, for as long as the test's runtime lives.
pub struct Issuer {
    pub address: SocketAddr,
    pub url: String,
    /// Its keys are called `rsa` and `ec`.
    pub rsa: &'static SigningKey,
    pub ec: &'static SigningKey,
    strays: Arc<AtomicUsize>,
}

impl Issuer {
    pub async fn start() -> Result<Self> {
        Self::with(&RSA, &EC).await
    }

    /// With keys of its own.
    pub async fn start_another() -> Result<Self> {
        Self::with(&OTHER_RSA, &OTHER_EC).await
    }

    async fn with(rsa: &'static SigningKey, ec: &'static SigningKey) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let url = format!("http://{address}");
        let discovery = json!({"issuer": url, "jwks_uri": format!("{url}/jwks")});
        let keys = json!({"keys": [rsa.published("rsa"), ec.published("ec")]});
        let strays = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&strays);
        let router = Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(async move || Json(discovery.clone())),
            )
            .route("/jwks", get(async move || Json(keys.clone())))
            .fallback(async move || {
                counted.fetch_add(1, Ordering::Relaxed);
            });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            address,
            url,
            rsa,
            ec,
            strays,
        })
    }

    /// Requests for anything but discovery and the key set.
    pub fn strays(&self) -> usize {
        self.strays.load(Ordering::Relaxed)
    }

    /// As a gateway's configuration names it, as an inline table.
    pub fn config(&self) -> String {
        format!(
            "{{ issuer = \"{}\", audiences = [\"{AUDIENCE}\"], algorithms = [\"RS256\", \"ES256\"], \
             token_types = [\"at+jwt\"], leeway = \"{LEEWAY}s\" }}",
            self.url
        )
    }

    /// The claims of a good token.
    pub fn claims(&self) -> Value {
        let now = unix_time();
        json!({
            "iss": self.url, "sub": "someone", "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 300,
            "jti": "token-1",
        })
    }

    /// A good token, but for what `claims` make of it.
    pub fn token(&self, claims: &Value) -> Result<String> {
        let header = json!({"alg": "RS256", "typ": "at+jwt", "kid": "rsa"});
        self.rsa.sign(&header.to_string(), &claims.to_string())
    }
}

pub fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
