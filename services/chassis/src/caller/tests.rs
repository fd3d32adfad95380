//! Who is let in and who is not: a service on a real socket, and tokens with one thing wrong each.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::trust::unix_time;
use super::{Caller, TrustedGateways, UnusableKey};
use crate::service::{Environment, RunningService, Service};
use crate::testing::{Client, NO_MIGRATIONS, Reply, environment};

/// A key of a gateway.
struct Key {
    private: EncodingKey,
    public_pem: String,
}

static KEY: LazyLock<Key> = LazyLock::new(Key::new);
static FOREIGN: LazyLock<Key> = LazyLock::new(Key::new);

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

impl Key {
    fn new() -> Key {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        Key {
            private: EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()),
            public_pem: pem(public.as_ref()),
        }
    }
}

fn header() -> Header {
    let mut header = Header::new(Algorithm::ES256);
    header.typ = Some("internal+jwt".to_owned());
    header.kid = Some("key-1".to_owned());
    header
}

fn claims() -> Value {
    let now = unix_time();
    json!({
        "iss": "bff", "aud": "test", "sub": "someone", "kind": "token", "roles": ["staff"], "scope": "a b",
        "attributes": {"restaurant_ids": "r1 r2"}, "iat": now, "exp": now + 60,
    })
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn signed(claims: &Value) -> String {
    jsonwebtoken::encode(&header(), claims, &KEY.private).unwrap()
}

fn trust() -> TrustedGateways {
    TrustedGateways::new("key-1", &KEY.public_pem, &["bff"]).unwrap()
}

struct Door {
    client: Client,
    _service: RunningService,
    _directory: TempDir,
}

impl Door {
    async fn of(trust: Option<TrustedGateways>) -> Door {
        let directory = tempfile::tempdir().unwrap();
        let environment = Environment {
            trust,
            faults: true,
            ..environment(directory.path())
        };
        let who = async |caller: Caller| format!("{caller:?}");
        let routes = Router::new()
            .route("/private", get(who).post(who))
            .route("/public/{id}", get(who).post(who));
        let service = Service::bind("test", environment, &NO_MIGRATIONS)
            .await
            .unwrap();
        let service = service.public(&["/public/{id}"]).routes(routes).start();
        Door {
            client: Client::new(&service),
            _service: service,
            _directory: directory,
        }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.client
            .try_send(method, path, headers, Body::empty())
            .await
            .unwrap()
    }

    async fn with_token(&self, token: &str) -> Reply {
        self.ask("GET", "/private", &[("x-internal-token", token)])
            .await
    }
}

#[tokio::test]
async fn a_good_token_says_who_is_calling() {
    let door = Door::of(Some(trust())).await;
    let token = signed(&claims());
    // The second time it is known already.
    for _ in 0..2 {
        let reply = door.with_token(&token).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        for part in [r#"gateway: "bff""#, r#"subject: "someone""#, r#"{"staff"}"#] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
    let itself = door.with_token(&signed(&with("kind", "gateway"))).await;
    assert_eq!(itself.body, "Internal");
}

#[tokio::test]
async fn a_token_with_one_thing_wrong_is_refused() {
    let door = Door::of(Some(trust())).await;
    let now = unix_time();
    let other_header = |change: fn(&mut Header)| {
        let mut header = header();
        change(&mut header);
        jsonwebtoken::encode(&header, &claims(), &KEY.private).unwrap()
    };
    let good = signed(&claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = message.split_once('.').unwrap();
    let admin = URL_SAFE_NO_PAD.encode(with("roles", json!(["admin"])).to_string());
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"internal+jwt","kid":"key-1"}"#);
    let mut hmac = header();
    hmac.alg = Algorithm::HS256;
    let public = EncodingKey::from_secret(KEY.public_pem.as_bytes());
    for (fault, token) in [
        ("no JWT", "abc".to_owned()),
        ("empty", String::new()),
        (
            "another gateway's key",
            jsonwebtoken::encode(&header(), &claims(), &FOREIGN.private).unwrap(),
        ),
        ("changed claims", format!("{head}.{admin}.{signature}")),
        ("no signature", format!("{message}.")),
        (
            "alg none",
            format!("{none}.{}.", URL_SAFE_NO_PAD.encode(claims().to_string())),
        ),
        (
            "HMAC with the public key",
            jsonwebtoken::encode(&hmac, &claims(), &public).unwrap(),
        ),
        (
            "another typ",
            other_header(|header| header.typ = Some("at+jwt".to_owned())),
        ),
        ("no typ", other_header(|header| header.typ = None)),
        (
            "unknown kid",
            other_header(|header| header.kid = Some("key-2".to_owned())),
        ),
        ("no kid", other_header(|header| header.kid = None)),
        ("another service", signed(&with("aud", "kitchen"))),
        ("several services", signed(&with("aud", json!([])))),
        ("no aud", signed(&without("aud"))),
        ("another gateway", signed(&with("iss", "somebody"))),
        ("no iss", signed(&without("iss"))),
        ("expired a second ago", signed(&with("exp", now - 1))),
        ("no exp", signed(&without("exp"))),
        ("lives for an hour", signed(&with("exp", now + 3600))),
        ("empty sub", signed(&with("sub", ""))),
        ("no sub", signed(&without("sub"))),
        ("unknown kind", signed(&with("kind", "root"))),
        ("no kind", signed(&without("kind"))),
    ] {
        let reply = door.with_token(&token).await;
        let problem = reply.problem(401);
        assert_eq!(
            problem["detail"], "the call has no valid internal token",
            "{fault}"
        );
        assert_eq!(
            reply.header("www-authenticate"),
            "Internal-Token",
            "{fault}"
        );
        // Public does not mean that a forged token is ignored.
        let public = door
            .ask("GET", "/public/1", &[("x-internal-token", &token)])
            .await;
        assert_eq!(public.status, 401, "{fault}");
    }
    let twice = [
        ("x-internal-token", good.as_str()),
        ("x-internal-token", &good),
    ];
    assert_eq!(door.ask("GET", "/private", &twice).await.status, 401);
}

#[tokio::test]
async fn without_a_token_only_public_reads_and_operations_are_answered() {
    let door = Door::of(Some(trust())).await;
    let bearer = [("authorization", "Bearer of-a-client")];
    for (method, path, status) in [
        ("GET", "/private", 401),
        ("POST", "/private", 401),
        ("POST", "/public/1", 401),
        ("DELETE", "/private", 401),
        ("GET", "/nothing", 404),
        ("GET", "/health/live", 200),
        ("GET", "/health/ready", 200),
        ("GET", "/metrics", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/faults", 200),
    ] {
        let reply = door.ask(method, path, &bearer).await;
        assert_eq!(reply.status, status, "{method} {path}");
    }
    assert_eq!(door.ask("GET", "/public/1", &[]).await.body, "Anonymous");

    let grpc = [("content-type", "application/grpc")];
    let reply = door.ask("POST", "/private", &grpc).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("grpc-status")),
        (200, "16")
    );
}

#[tokio::test]
async fn without_trust_the_network_decides() {
    let door = Door::of(None).await;
    assert_eq!(door.ask("GET", "/private", &[]).await.body, "Internal");
    // Nobody can check it, so it says nothing.
    assert_eq!(door.with_token("forged").await.body, "Internal");
}

#[tokio::test]
async fn a_lenient_service_still_checks_the_tokens_that_come() {
    let door = Door::of(Some(trust().lenient())).await;
    assert_eq!(door.ask("GET", "/private", &[]).await.body, "Internal");
    assert_eq!(door.with_token("forged").await.status, 401);
    assert_eq!(door.with_token(&signed(&claims())).await.status, 200);
}

#[tokio::test]
async fn two_keys_can_be_trusted_at_once() {
    let both = trust().and("key-2", &FOREIGN.public_pem, &["bff"]).unwrap();
    let door = Door::of(Some(both)).await;
    let mut second = header();
    second.kid = Some("key-2".to_owned());
    let by_second = jsonwebtoken::encode(&second, &claims(), &FOREIGN.private).unwrap();
    assert_eq!(door.with_token(&by_second).await.status, 200);
    assert_eq!(door.with_token(&signed(&claims())).await.status, 200);
    // A key stands for its own name only.
    let crossed = jsonwebtoken::encode(&second, &claims(), &KEY.private).unwrap();
    assert_eq!(door.with_token(&crossed).await.status, 401);
}

#[tokio::test]
async fn an_ed25519_key_does_too() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let trust = TrustedGateways::new("key-1", &pem(public.as_ref()), &["bff"]).unwrap();
    let door = Door::of(Some(trust)).await;
    let mut head = header();
    head.alg = Algorithm::EdDSA;
    let private = EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref());
    let token = jsonwebtoken::encode(&head, &claims(), &private).unwrap();
    assert_eq!(door.with_token(&token).await.status, 200);
    assert_eq!(door.with_token(&signed(&claims())).await.status, 401);
}

#[test]
fn a_text_that_is_no_key_is_refused() {
    for text in ["", "secret", &KEY.public_pem[..60]] {
        let error = TrustedGateways::new("key-1", text, &["bff"]).err();
        assert_eq!(error, Some(UnusableKey));
    }
}

#[test]
fn callers_own_what_is_theirs() {
    let principal = |subject: &str, attributes: &[(&str, &str)]| {
        let attributes = attributes
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Caller::Gateway(std::sync::Arc::new(super::Principal {
            subject: subject.to_owned(),
            attributes: attributes.collect(),
            ..super::Principal::default()
        }))
    };
    let consumer = principal("c1", &[]);
    assert!(consumer.is_consumer("c1") && !consumer.is_consumer("c2"));
    assert!(!consumer.works_for("r1") && consumer.require_internal().is_err());
    let partner = principal("p1", &[("consumer", "c3")]);
    assert!(partner.is_consumer("c3") && !partner.is_consumer("p1"));
    let staff = principal("s1", &[("restaurant_ids", "r1 r22")]);
    assert!(staff.works_for("r1") && staff.works_for("r22"));
    assert!(!staff.works_for("r2") && !staff.works_for(""));
    assert!(Caller::Internal.is_consumer("c1") && Caller::Internal.works_for("r1"));
    assert!(!Caller::Anonymous.is_consumer("c1") && !Caller::Anonymous.is_courier("k1"));
}
