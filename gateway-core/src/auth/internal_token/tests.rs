//! What services are told, and how often it is signed: real keys, paused time.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderValue;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use tokio::time::advance;

use super::cache::{GENERATION, InternalTokens};
use super::{InternalTokenSigner, SigningKey};
use crate::auth::{ApiKeyPrincipal, Principal, TokenPrincipal};
use crate::config::InternalTokenConfig;

struct Fixture {
    signer: Arc<InternalTokenSigner>,
    public: DecodingKey,
}

impl Fixture {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let der = pair.to_pkcs8v1().unwrap();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(der.as_ref())
        );
        let config = InternalTokenConfig {
            key: SigningKey::from_pem(&pem).unwrap(),
            key_id: "key-1".to_owned(),
            lifetime: Duration::from_secs(60),
            attributes: vec!["team".to_owned(), "region".to_owned()],
        };
        Self {
            signer: Arc::new(InternalTokenSigner::new("acme-edge", &config)),
            public: DecodingKey::from_ec_der(pair.public_key().as_ref()),
        }
    }

    fn tokens(&self, upstream: &'static str) -> InternalTokens {
        InternalTokens::new(&self.signer, upstream)
    }

    /// The claims, once the service `audience` has checked the token.
    fn claims(&self, token: &str, audience: &str) -> jsonwebtoken::errors::Result<Value> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[audience]);
        jsonwebtoken::decode(token, &self.public, &validation).map(|data| data.claims)
    }
}

fn someone(subject: &str) -> Principal {
    Principal::Token(Arc::new(TokenPrincipal {
        issuer: "https://login.example.com".to_owned(),
        subject: subject.to_owned(),
        name: subject.to_owned(),
        scopes: vec!["widgets:read".to_owned(), "widgets:write".to_owned()],
        roles: vec!["member".to_owned()],
        attributes: BTreeMap::from([
            ("team".to_owned(), "red".to_owned()),
            ("email".to_owned(), "someone@example.com".to_owned()),
        ]),
        expires_at: 4_000_000_000,
        token_id: None,
    }))
}

fn text(header: &HeaderValue) -> &str {
    header.to_str().unwrap()
}

#[tokio::test]
async fn a_service_learns_who_is_calling_and_no_more() {
    let fixture = Fixture::new();
    let header = fixture.tokens("widgets").header(&someone("anna")).unwrap();
    assert!(header.is_sensitive());

    let claims = fixture.claims(text(&header), "widgets").unwrap();
    let (issued, expires) = (
        claims["iat"].as_u64().unwrap(),
        claims["exp"].as_u64().unwrap(),
    );
    assert_eq!(expires - issued, 60);
    assert_eq!(
        claims,
        json!({
            "iss": "acme-edge", "aud": "widgets", "sub": "anna", "kind": "token", "roles": ["member"],
            "scope": "widgets:read widgets:write", "attributes": {"team": "red"}, "iat": issued, "exp": expires,
        })
    );
    let head = text(&header).split('.').next().unwrap();
    let head: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap();
    assert_eq!(
        head,
        json!({"typ": "internal+jwt", "alg": "ES256", "kid": "key-1"})
    );
}

#[tokio::test]
async fn each_upstream_gets_a_token_of_its_own() {
    let fixture = Fixture::new();
    let header = fixture.tokens("widgets").header(&someone("anna")).unwrap();
    fixture.claims(text(&header), "widgets").unwrap();
    fixture.claims(text(&header), "gadgets").unwrap_err();
}

#[tokio::test]
async fn nobody_in_particular_gets_none() {
    let fixture = Fixture::new();
    assert!(
        fixture
            .tokens("widgets")
            .header(&Principal::Anonymous)
            .is_none()
    );
}

#[tokio::test]
async fn callers_of_two_issuers_are_two_for_services() {
    let fixture = Fixture::new();
    let tokens = fixture.tokens("widgets");
    let own = someone("anna");
    let partner = changed(&own, |token| {
        token.issuer = "https://partners.example.com".to_owned();
        token.name = "partners:anna".to_owned();
    });
    for (principal, sub) in [(own, "anna"), (partner, "partners:anna")] {
        let header = tokens.header(&principal).unwrap();
        let claims = fixture.claims(text(&header), "widgets").unwrap();
        assert_eq!(claims["sub"], sub);
    }
}

#[tokio::test]
async fn an_api_key_speaks_for_its_owner() {
    let fixture = Fixture::new();
    let key = Principal::ApiKey(Arc::new(ApiKeyPrincipal {
        key_id: "key".to_owned(),
        owner: "partner-a".to_owned(),
        scopes: Vec::new(),
        attributes: BTreeMap::from([("region".to_owned(), "west".to_owned())]),
    }));
    let header = fixture.tokens("widgets").header(&key).unwrap();
    let claims = fixture.claims(text(&header), "widgets").unwrap();
    assert_eq!(
        (&claims["sub"], &claims["kind"]),
        (&json!("partner-a"), &json!("api_key"))
    );
    assert_eq!(claims["attributes"], json!({"region": "west"}));
}

#[tokio::test]
async fn the_gateway_can_speak_for_itself() {
    let fixture = Fixture::new();
    let token = fixture.signer.for_itself("widgets").unwrap();
    let claims = fixture.claims(&token, "widgets").unwrap();
    assert_eq!(
        (&claims["sub"], &claims["kind"]),
        (&json!("acme-edge"), &json!("gateway"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_is_signed_once_and_anew_when_half_of_it_is_over() {
    let fixture = Fixture::new();
    let tokens = fixture.tokens("widgets");
    let first = tokens.header(&someone("anna")).unwrap();
    advance(Duration::from_millis(29_999)).await;
    // Another `Arc` with the same in it, as from another request, is the same caller.
    assert_eq!(tokens.header(&someone("anna")).unwrap(), first);
    assert_ne!(tokens.header(&someone("bert")).unwrap(), first);
    advance(Duration::from_millis(1)).await;
    // An ECDSA signature is never the same twice.
    let second = tokens.header(&someone("anna")).unwrap();
    assert_ne!(second, first);
    assert_eq!(tokens.header(&someone("anna")).unwrap(), second);
    assert_eq!(tokens.len(), 2);
}

/// `someone`, in another token of theirs.
fn changed(principal: &Principal, change: impl FnOnce(&mut TokenPrincipal)) -> Principal {
    let Principal::Token(token) = principal else {
        unreachable!("someone has a token")
    };
    let mut token = (**token).clone();
    change(&mut token);
    Principal::Token(Arc::new(token))
}

#[tokio::test]
async fn what_no_service_is_told_is_no_reason_to_sign_again() {
    let fixture = Fixture::new();
    let tokens = fixture.tokens("widgets");
    let anna = someone("anna");
    let first = tokens.header(&anna).unwrap();
    // The next token that her client was given.
    let renewed = changed(&anna, |token| {
        token.expires_at += 300;
        token.token_id = Some("token-2".to_owned());
        let attributes = &mut token.attributes;
        attributes.insert("sid".to_owned(), "another session".to_owned());
    });
    assert_eq!(tokens.header(&renewed).unwrap(), first);
    assert_eq!(tokens.len(), 1);

    let key = |key_id: &str| {
        Principal::ApiKey(Arc::new(ApiKeyPrincipal {
            key_id: key_id.to_owned(),
            owner: "anna".to_owned(),
            scopes: Vec::new(),
            attributes: BTreeMap::new(),
        }))
    };
    let old_key = tokens.header(&key("old")).unwrap();
    assert_eq!(tokens.header(&key("new")).unwrap(), old_key);
    assert_ne!(old_key, first);

    for (what, other) in [
        (
            "role",
            changed(&anna, |token| token.roles.push("admin".to_owned())),
        ),
        (
            "attribute",
            changed(&anna, |token| {
                token
                    .attributes
                    .insert("team".to_owned(), "blue".to_owned());
            }),
        ),
        (
            "attribute gone",
            changed(&anna, |token| token.attributes.clear()),
        ),
        (
            "issuer",
            changed(&anna, |token| token.name.insert_str(0, "b:")),
        ),
    ] {
        assert_ne!(tokens.header(&other).unwrap(), first, "{what}");
    }
}

#[tokio::test]
async fn other_permissions_are_another_token() {
    let fixture = Fixture::new();
    let tokens = fixture.tokens("widgets");
    let all = tokens.header(&someone("anna")).unwrap();
    let fewer = changed(&someone("anna"), |token| token.scopes.truncate(1));
    let fewer = tokens.header(&fewer).unwrap();
    assert_ne!(fewer, all);
    let claims = fixture.claims(text(&fewer), "widgets").unwrap();
    assert_eq!(claims["scope"], "widgets:read");
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let fixture = Fixture::new();
    let tokens = fixture.tokens("widgets");
    for number in 0..GENERATION * 2 + 10 {
        tokens.header(&someone(&number.to_string())).unwrap();
    }
    assert!(tokens.len() <= GENERATION * 2, "{}", tokens.len());
}
