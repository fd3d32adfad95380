//! What is let in and what is not: tokens with one thing wrong each, against a real issuer.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Authenticator;
use super::verified::{GENERATION, Verified, VerifiedTokens};
use crate::auth::api_key::{self, Environment};
use crate::auth::jwks::KeySets;
use crate::auth::revocation::Revocations;
use crate::auth::test_issuer::{Behaviour, EC, ED, FOREIGN, RSA, TestIssuer, until};
use crate::auth::{KeyUses, Principal, TokenPrincipal};
use crate::clock::unix_time;
use crate::config::{ApiKeyConfig, ApiKeysConfig, IssuerConfig};
use crate::deadline::Deadline;
use crate::error::{ClientError, Error, GatewayError};

struct Fixture {
    issuer: TestIssuer,
    authenticator: Authenticator,
    _stop: DropGuard,
}

impl Fixture {
    async fn start() -> Self {
        Self::with(TestIssuer::config, None).await
    }

    async fn with(
        config: impl FnOnce(&TestIssuer) -> IssuerConfig,
        api_keys: Option<&ApiKeysConfig>,
    ) -> Self {
        let issuer = TestIssuer::start(&[RSA.jwk("rsa"), EC.jwk("ec"), ED.jwk("ed")]).await;
        let keys = KeySets::new(&[config(&issuer)]);
        let stop = CancellationToken::new();
        keys.spawn_refresh(&Handle::current(), &stop);
        until("keys are there", || keys.readiness()[0].usable).await;
        Self {
            authenticator: Authenticator::new(keys)
                .api_keys(api_keys, &KeyUses::after(None, api_keys)),
            issuer,
            _stop: stop.drop_guard(),
        }
    }

    fn claims(&self) -> Value {
        let now = unix_time();
        json!({
            "iss": self.issuer.url, "sub": "someone", "aud": "acme-mobile", "exp": now + 60, "nbf": now - 1,
            "jti": "token-1", "scope": "widgets:read widgets:write", "roles": ["member"], "team": "red",
        })
    }

    fn claims_with(&self, name: &str, value: impl Into<Value>) -> Value {
        let mut claims = self.claims();
        claims[name] = value.into();
        claims
    }

    fn claims_without(&self, name: &str) -> Value {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().remove(name);
        claims
    }

    async fn authenticate(&self, fields: &[(&str, &str)]) -> Result<Principal, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let deadline = Deadline::after(Duration::from_secs(5));
        match self.authenticator.authenticate(&headers, deadline).await {
            Ok(principal) => Ok(principal),
            Err(Error::Client(ClientError::InvalidToken(reason))) => Err(reason.to_owned()),
            Err(Error::Gateway(GatewayError::KeysUnavailable)) => Err("unavailable".to_owned()),
            Err(other) => Err(format!("{other:?}")),
        }
    }

    async fn bearer(&self, token: &str) -> Result<Arc<TokenPrincipal>, String> {
        let value = format!("Bearer {token}");
        match self
            .authenticate(&[(AUTHORIZATION.as_str(), &value)])
            .await?
        {
            Principal::Token(token) => Ok(token),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_good_token_says_who_is_calling() {
    let fixture = Fixture::start().await;
    for (key, kid) in [(&*RSA, "rsa"), (&*EC, "ec"), (&*ED, "ed")] {
        let claims = fixture.claims();
        let principal = fixture.bearer(&key.token(kid, &claims)).await.unwrap();
        assert_eq!(
            *principal,
            TokenPrincipal {
                issuer: fixture.issuer.url.clone(),
                subject: "someone".to_owned(),
                name: "someone".to_owned(),
                scopes: vec!["widgets:read".to_owned(), "widgets:write".to_owned()],
                roles: vec!["member".to_owned()],
                attributes: BTreeMap::from([("team".to_owned(), "red".to_owned())]),
                expires_at: claims["exp"].as_u64().unwrap(),
                token_id: Some("token-1".to_owned()),
            },
            "{kid}"
        );
    }
    assert_eq!(fixture.authenticate(&[]).await, Ok(Principal::Anonymous));
}

#[tokio::test]
async fn a_token_with_one_thing_wrong_is_refused() {
    let fixture = Fixture::start().await;
    let now = unix_time();
    let claims = fixture.claims().to_string();
    let good = RSA.token("rsa", &fixture.claims());
    let header = |json: Value| RSA.sign(&json.to_string(), &claims);
    let with = |name: &str, value: Value| RSA.token("rsa", &fixture.claims_with(name, value));
    let without = |name: &str| RSA.token("rsa", &fixture.claims_without(name));

    // HS256 with the public key as its secret: what confuses a verifier that believes the header.
    let public_key = serde_json::to_vec(&RSA.jwk("rsa")).unwrap();
    let confused_header = json!({ "alg": "HS256", "typ": "at+jwt", "kid": "rsa" }).to_string();
    let confused_message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(&confused_header),
        URL_SAFE_NO_PAD.encode(&claims)
    );
    let confused_signature = jsonwebtoken::crypto::sign(
        confused_message.as_bytes(),
        &EncodingKey::from_secret(&public_key),
        Algorithm::HS256,
    )
    .unwrap();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let unsigned = |alg: &str| {
        let header = json!({ "alg": alg, "typ": "at+jwt", "kid": "rsa" }).to_string();
        format!(
            "{}.{}.",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(&claims)
        )
    };
    let other_payload = URL_SAFE_NO_PAD.encode(fixture.claims_with("sub", "root").to_string());
    let header_part = good.split('.').next().unwrap();
    let twice = claims.replacen('{', r#"{"sub":"root","#, 1);
    let padding = "x".repeat(8 * 1024);

    for (what, token, expected) in [
        ("alg none", unsigned("none"), "algorithm not allowed"),
        ("alg None", unsigned("nOnE"), "algorithm not allowed"),
        ("no signature", unsigned("RS256"), "wrong signature"),
        (
            "HS256 with the public key",
            format!("{confused_message}.{confused_signature}"),
            "algorithm not allowed",
        ),
        (
            "PS256, not in the list",
            header(json!({ "alg": "PS256", "typ": "at+jwt", "kid": "rsa" })),
            "algorithm not allowed",
        ),
        (
            "RS256 with the EC key",
            header(json!({ "alg": "RS256", "typ": "at+jwt", "kid": "ec" })),
            "the key is not for the algorithm",
        ),
        (
            "ES256 with the RSA key",
            EC.sign(
                &json!({ "alg": "ES256", "typ": "at+jwt", "kid": "rsa" }).to_string(),
                &claims,
            ),
            "the key is not for the algorithm",
        ),
        (
            "unknown kid",
            RSA.token("other", &fixture.claims()),
            "unknown key",
        ),
        (
            "another's key under a known kid",
            FOREIGN.token("rsa", &fixture.claims()),
            "wrong signature",
        ),
        (
            "a key that the token brings along",
            FOREIGN.sign(
                &json!({ "alg": "RS256", "typ": "at+jwt", "kid": "rsa", "jwk": FOREIGN.jwk("rsa") }).to_string(),
                &claims,
            ),
            "wrong signature",
        ),
        (
            "another payload",
            format!("{header_part}.{other_payload}.{signature}"),
            "wrong signature",
        ),
        (
            "an ECDSA signature of zeros",
            format!(
                "{}.{}.{}",
                URL_SAFE_NO_PAD.encode(json!({ "alg": "ES256", "typ": "at+jwt", "kid": "ec" }).to_string()),
                URL_SAFE_NO_PAD.encode(&claims),
                URL_SAFE_NO_PAD.encode([0; 64])
            ),
            "wrong signature",
        ),
        (
            "critical extension",
            header(json!({ "alg": "RS256", "typ": "at+jwt", "kid": "rsa", "crit": ["exp"] })),
            "critical extensions",
        ),
        (
            "an ID token",
            header(json!({ "alg": "RS256", "typ": "JWT", "kid": "rsa" })),
            "wrong typ",
        ),
        (
            "no typ",
            header(json!({ "alg": "RS256", "kid": "rsa" })),
            "no typ",
        ),
        ("expired by one second", with("exp", json!(now - 1)), "expired"),
        ("expires now", with("exp", json!(now)), "expired"),
        ("no exp", without("exp"), "no exp"),
        (
            "not valid yet",
            with("nbf", json!(now + 30)),
            "not valid yet",
        ),
        ("wrong aud", with("aud", json!("acme-public")), "wrong audience"),
        (
            "wrong auds",
            with("aud", json!(["acme", "acme-mobile2"])),
            "wrong audience",
        ),
        ("no aud", without("aud"), "wrong audience"),
        (
            "unknown issuer",
            with("iss", json!("https://somebody.example.com")),
            "unknown issuer",
        ),
        ("no issuer", without("iss"), "no iss"),
        ("no subject", without("sub"), "no sub"),
        ("empty subject", with("sub", json!("")), "empty sub"),
        (
            "a claim twice",
            RSA.sign(
                &json!({ "alg": "RS256", "typ": "at+jwt", "kid": "rsa" }).to_string(),
                &twice,
            ),
            "not a JSON object with unique members",
        ),
        (
            "a header member twice",
            RSA.sign(
                r#"{"alg":"RS256","alg":"RS256","typ":"at+jwt","kid":"rsa"}"#,
                &claims,
            ),
            "not a JSON object with unique members",
        ),
        ("huge", with("padding", json!(padding)), "too long"),
        ("no token at all", "abc".to_owned(), "not a JWT"),
        ("two parts", message.to_owned(), "not a JWT"),
        ("four parts", format!("{good}.x"), "not a JWT"),
        (
            "an encrypted token",
            "a.b.c.d.e".to_owned(),
            "not a JWT",
        ),
        ("not base64", "?.?.?".to_owned(), "not base64url"),
    ] {
        let found = fixture.bearer(&token).await;
        assert_eq!(found, Err(expected.to_owned()), "{what}");
    }
    // One fetch at the start, one for the kid that nobody knows.
    assert_eq!(fixture.issuer.fetches(), 2);
    assert!(fixture.bearer(&good).await.is_ok());
}

#[tokio::test]
async fn the_same_subject_of_two_issuers_is_two_callers() {
    let issuers = [
        TestIssuer::start(&[RSA.jwk("rsa")]).await,
        TestIssuer::start(&[RSA.jwk("rsa")]).await,
    ];
    let configs = [
        IssuerConfig {
            reserved_prefixes: vec!["partners:".to_owned()],
            ..issuers[0].config()
        },
        IssuerConfig {
            subject_prefix: "partners:".to_owned(),
            ..issuers[1].config()
        },
    ];
    let keys = KeySets::new(&configs);
    let stop = CancellationToken::new();
    keys.spawn_refresh(&Handle::current(), &stop);
    until("keys are there", || {
        keys.readiness().iter().all(|issuer| issuer.usable)
    })
    .await;
    let [own, other] = issuers;
    let fixture = Fixture {
        authenticator: Authenticator::new(keys),
        issuer: own,
        _stop: stop.drop_guard(),
    };
    let name = async |issuer: &str, subject: &str| {
        let mut claims = fixture.claims_with("iss", issuer);
        claims["sub"] = subject.into();
        let token = fixture.bearer(&RSA.token("rsa", &claims)).await?;
        assert_eq!(token.subject, subject);
        let principal = Principal::Token(token);
        Ok::<_, String>(principal.subject().unwrap_or_default().to_owned())
    };
    let own = &fixture.issuer.url;
    assert_eq!(name(own, "someone").await.unwrap(), "someone");
    assert_eq!(
        name(&other.url, "someone").await.unwrap(),
        "partners:someone"
    );
    // Whoever can choose a `sub` there cannot choose one of the other's people.
    assert_eq!(
        name(own, "partners:someone").await,
        Err("a sub that would be another issuer's".to_owned())
    );
    assert_eq!(
        name(&other.url, "partners:someone").await.unwrap(),
        "partners:partners:someone"
    );
}

#[tokio::test]
async fn what_is_unusual_but_right_is_let_in() {
    let fixture = Fixture::with(
        |issuer| IssuerConfig {
            leeway: Duration::from_secs(10),
            ..issuer.config()
        },
        None,
    )
    .await;
    let now = unix_time();
    let claims = fixture.claims().to_string();
    for (what, token) in [
        (
            "several audiences",
            RSA.token(
                "rsa",
                &fixture.claims_with("aud", json!(["other", "acme-web"])),
            ),
        ),
        (
            "typ as a whole media type",
            RSA.sign(
                &json!({ "alg": "RS256", "typ": "Application/AT+JWT", "kid": "rsa" }).to_string(),
                &claims,
            ),
        ),
        (
            "no kid, and one key for the algorithm",
            RSA.sign(
                &json!({ "alg": "RS256", "typ": "at+jwt" }).to_string(),
                &claims,
            ),
        ),
        (
            "expired within the leeway",
            RSA.token("rsa", &fixture.claims_with("exp", now - 5)),
        ),
        (
            "valid soon, within the leeway",
            RSA.token("rsa", &fixture.claims_with("nbf", now + 5)),
        ),
        ("no nbf", RSA.token("rsa", &fixture.claims_without("nbf"))),
    ] {
        let found = fixture.bearer(&token).await;
        assert!(found.is_ok(), "{what}: {found:?}");
    }
}

#[tokio::test]
async fn a_token_is_verified_once_and_believed_until_it_ends_or_its_key_goes() {
    let fixture = Fixture::with(
        |issuer| IssuerConfig {
            refresh: Duration::from_millis(20),
            ..issuer.config()
        },
        None,
    )
    .await;
    let claims = fixture.claims();
    let token = RSA.token("rsa", &claims);
    let first = fixture.bearer(&token).await.unwrap();
    let second = fixture.bearer(&token).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));

    let digest: [u8; 32] = Sha256::digest(&token).into();
    let exp = claims["exp"].as_u64().unwrap();
    let verified = &fixture.authenticator.verified;
    assert!(verified.find(&digest, exp - 1).is_some());
    assert!(verified.find(&digest, exp).is_none());
    assert!(fixture.bearer(&token).await.is_ok());

    // The issuer takes the key back.
    fixture.issuer.publish(&[EC.jwk("ec")]);
    until("the key is gone", || {
        verified.find(&digest, exp - 1).is_none()
    })
    .await;
    assert_eq!(fixture.bearer(&token).await, Err("unknown key".to_owned()));
}

#[tokio::test]
async fn without_keys_a_token_can_be_neither_good_nor_bad() {
    let issuer = TestIssuer::start(&[]).await;
    issuer.behave(Behaviour::Hangs);
    let keys = KeySets::new(&[issuer.config()]);
    let fixture = Fixture {
        authenticator: Authenticator::new(keys),
        issuer,
        _stop: CancellationToken::new().drop_guard(),
    };
    let token = RSA.token("rsa", &fixture.claims());
    assert_eq!(fixture.bearer(&token).await, Err("unavailable".to_owned()));
    // That it is not ours can be said without keys.
    let token = RSA.token("rsa", &fixture.claims_with("iss", "https://a.example"));
    assert_eq!(
        fixture.bearer(&token).await,
        Err("unknown issuer".to_owned())
    );
}

#[tokio::test]
async fn an_api_key_stands_in_either_place() {
    let key = api_key::generate("acme", Environment::Live).unwrap();
    let mut hash = [0; 32];
    hash.copy_from_slice(&Sha256::digest(&key.secret));
    let config = ApiKeysConfig {
        prefix: "acme".to_owned(),
        keys: vec![ApiKeyConfig {
            id: "key-1".to_owned(),
            owner: "partner-a".to_owned(),
            hash,
            scopes: vec!["widgets:read".to_owned()],
            attributes: BTreeMap::new(),
        }],
    };
    let fixture = Fixture::with(TestIssuer::config, Some(&config)).await;
    let bearer = format!("Bearer {}", key.secret);
    for fields in [
        [("x-api-key", key.secret.as_str())],
        [("authorization", bearer.as_str())],
    ] {
        let principal = fixture.authenticate(&fields).await.unwrap();
        assert_eq!(principal.kind(), "api_key");
        assert_eq!(principal.subject(), Some("partner-a"));
    }
    let unknown = api_key::generate("acme", Environment::Live).unwrap().secret;
    for (value, expected) in [
        (unknown.as_str(), "unknown API key"),
        ("acme_live_0", "API key with a wrong checksum"),
        ("other_live_0", "not an API key"),
    ] {
        let found = fixture.authenticate(&[("x-api-key", value)]).await;
        assert_eq!(found, Err(expected.to_owned()), "{value}");
    }
    // Tokens work beside keys; where there are no keys, none is accepted.
    let token = RSA.token("rsa", &fixture.claims());
    assert!(fixture.bearer(&token).await.is_ok());
    let without = Fixture::start().await;
    let found = without.authenticate(&[("x-api-key", &key.secret)]).await;
    assert_eq!(found, Err("API keys are not accepted here".to_owned()));
    assert_eq!(
        without.bearer(&key.secret).await,
        Err("not a JWT".to_owned())
    );
}

#[tokio::test]
async fn verified_tokens_are_bounded_and_those_in_use_stay() {
    let fixture = Fixture::start().await;
    let principal = fixture
        .bearer(&RSA.token("rsa", &fixture.claims()))
        .await
        .unwrap();
    let issuer = fixture.authenticator.keys.issuer(&fixture.issuer.url);
    let issuer = issuer.unwrap();
    let verified = VerifiedTokens::default();
    let digest = |number: usize| {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_le_bytes());
        digest
    };
    let now = unix_time();
    for number in 0..GENERATION * 4 {
        verified.remember(
            digest(number),
            Verified {
                principal: Arc::clone(&principal),
                issuer: Arc::clone(issuer),
                version: 0,
            },
        );
        assert!(verified.find(&digest(0), now).is_some(), "{number}");
    }
    assert!(verified.len() <= 2 * GENERATION + 1, "{}", verified.len());
    assert!(verified.find(&digest(1), now).is_none());
}

#[tokio::test]
async fn a_revoked_token_is_refused_also_when_it_was_verified_before() {
    let mut fixture = Fixture::start().await;
    let list = Arc::new(Revocations::default());
    fixture.authenticator = fixture.authenticator.revocations(Arc::clone(&list));
    let mut claims = fixture.claims();
    let first = EC.token("ec", &claims);
    claims["jti"] = "token-2".into();
    let second = EC.token("ec", &claims);
    fixture.bearer(&first).await.unwrap();
    fixture.bearer(&second).await.unwrap();

    let issuer = fixture.issuer.url.clone();
    let revoke = |what: Value| {
        let mut told = what;
        told["issuer"] = issuer.clone().into();
        list.add(&serde_json::from_value(told).unwrap()).unwrap();
    };
    revoke(json!({"jti": "token-1"}));
    assert_eq!(fixture.authenticator.verified.len(), 2);
    assert_eq!(fixture.bearer(&first).await.unwrap_err(), "revoked");
    assert_eq!(fixture.authenticator.verified.len(), 1);
    // Verified again, and not remembered.
    assert_eq!(fixture.bearer(&first).await.unwrap_err(), "revoked");
    assert_eq!(fixture.authenticator.verified.len(), 1);
    fixture.bearer(&second).await.unwrap();
    revoke(json!({"sub": "someone"}));
    assert_eq!(fixture.bearer(&second).await.unwrap_err(), "revoked");
}
