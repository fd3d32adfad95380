//! Metadata, keys, `/dev/token` and client credentials. Not here: anything with a browser.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Identity, start_in};
use crate::SigningAlgorithm;

#[tokio::test]
async fn a_token_of_either_algorithm_verifies_with_the_published_keys() {
    let identity = Identity::start().await;
    for algorithm in SigningAlgorithm::ALL {
        let alg = algorithm.name();
        let answer = identity
            .get_json(&format!("/dev/token?sub=consumer-1&alg={alg}"))
            .await;
        let token = answer["access_token"].as_str().unwrap();
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!(format!("{:?}", header.alg), alg);
        let claims = identity.verify(token, "at+jwt").await;
        assert_eq!(claims["sub"], "consumer-1");
        assert_eq!(claims["aud"], json!(["ftgo-mobile", "ftgo-web"]));
        assert_eq!(claims["roles"], json!(["consumer"]));
        assert_eq!(
            claims["scope"],
            "orders:read orders:write restaurants:read profile"
        );
        assert_eq!(answer["scope"], claims["scope"]);
        assert_eq!(answer["token_type"], "Bearer");
        assert_eq!(answer["expires_in"], 3600);
        let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert_eq!(life, 3600);
        assert_eq!(claims["nbf"], claims["iat"]);
        assert!(claims["jti"].is_string() && claims["client_id"].is_string());
        assert!(claims.get("restaurant_ids").is_none() && claims.get("partner_id").is_none());
    }
}

#[tokio::test]
async fn the_metadata_lead_to_every_endpoint_and_nothing_private_is_published() {
    let identity = Identity::start().await;
    let metadata = identity.get_json("/.well-known/openid-configuration").await;
    assert_eq!(
        metadata,
        identity
            .get_json("/.well-known/oauth-authorization-server")
            .await
    );
    assert_eq!(
        metadata["code_challenge_methods_supported"],
        json!(["S256"])
    );
    assert_eq!(metadata["request_uri_parameter_supported"], false);
    for (endpoint, status) in [
        ("jwks_uri", 200),
        ("authorization_endpoint", 400),
        ("token_endpoint", 405),
        ("revocation_endpoint", 405),
        ("userinfo_endpoint", 401),
        ("end_session_endpoint", 200),
    ] {
        let url = metadata[endpoint].as_str().unwrap();
        let response = identity.client.get(url).send().await.unwrap();
        assert_eq!(response.status(), status, "{endpoint}");
    }
    let keys = identity.get_json("/jwks.json").await;
    let keys = keys["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    for key in keys {
        let members = key.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let expected: &[&str] = match key["kty"].as_str().unwrap() {
            "RSA" => &["alg", "e", "kid", "kty", "n", "use"],
            "EC" => &["alg", "crv", "kid", "kty", "use", "x", "y"],
            other => panic!("{other}"),
        };
        let mut members = members.iter().map(String::as_str).collect::<Vec<_>>();
        members.sort_unstable();
        assert_eq!(members, expected);
    }
}

#[tokio::test]
async fn a_rotation_signs_with_new_keys_and_old_tokens_still_verify() {
    let identity = Identity::start().await;
    let token = |answer: &Value| answer["access_token"].as_str().unwrap().to_owned();
    let old = token(&identity.get_json("/dev/token?sub=courier-1").await);
    let rotation = identity.post("/dev/keys/rotate", &[]).await;
    assert_eq!(rotation.status(), StatusCode::OK);
    let rotation: Value = rotation.json().await.unwrap();
    assert_eq!(rotation["published"], 4);
    let new = token(&identity.get_json("/dev/token?sub=courier-1").await);
    let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    assert_ne!(kid(&old), kid(&new));
    assert_eq!(kid(&new), rotation["current"][0]["kid"].as_str().unwrap());
    for token in [&old, &new] {
        let claims = identity.verify(token, "at+jwt").await;
        assert_eq!(claims["scope"], "deliveries:read deliveries:write");
    }

    let withdrawn = identity.post("/dev/keys/rotate?withdraw=true", &[]).await;
    let withdrawn: Value = withdrawn.json().await.unwrap();
    assert_eq!(withdrawn["published"], 2);
}

#[tokio::test]
async fn a_restart_keeps_the_keys_and_another_port_is_another_issuer() {
    let identity = Identity::start().await;
    let keys = identity.get_json("/jwks.json").await;
    let first = identity.service.address();
    identity.service.stop().await;
    let service = start_in(identity.folder.path()).await;
    let identity = Identity {
        service,
        ..identity
    };
    assert_ne!(first, identity.service.address());
    assert_eq!(identity.get_json("/jwks.json").await, keys);
    let answer = identity.get_json("/dev/token?sub=consumer-2").await;
    identity
        .verify(answer["access_token"].as_str().unwrap(), "at+jwt")
        .await;
}

#[tokio::test]
async fn the_short_cut_makes_every_token_that_a_test_needs() {
    let identity = Identity::start().await;
    let path = "/dev/token?sub=staff-2&aud=a,b&scope=tickets:read%20x&expires_in=90";
    let answer = identity.get_json(path).await;
    let claims = identity
        .verify(answer["access_token"].as_str().unwrap(), "at+jwt")
        .await;
    assert_eq!(claims["aud"], json!(["a", "b"]));
    assert_eq!(claims["scope"], "tickets:read x");
    assert_eq!(answer["expires_in"], 90);
    assert_eq!(
        claims["restaurant_ids"],
        json!(["restaurant-4", "restaurant-5", "restaurant-6"])
    );

    let expired = identity
        .get_json("/dev/token?sub=consumer-1&expires_in=-3600")
        .await;
    let claims = jsonwebtoken::dangerous::insecure_decode_claims::<Value>(
        expired["access_token"].as_str().unwrap(),
    )
    .unwrap();
    let now = crate::provider::now();
    assert!((now - 3605..=now - 3600).contains(&claims["exp"].as_i64().unwrap()));
    assert!(claims["iat"].as_i64() < claims["exp"].as_i64());

    for query in [
        "",
        "?sub=consumer-9",
        "?sub=",
        "?sub=consumer-1&alg=HS256",
        "?sub=consumer-1&alg=none",
        "?sub=consumer-1&expires_in=soon",
        "?sub=consumer-1&expires_in=999999999999",
        "?sub=consumer-1&aud=,",
        "?sub=consumer-1&scope=a%20%20b",
        "?sub=consumer-1&sub=consumer-2",
    ] {
        let response = identity.get(&format!("/dev/token{query}")).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{query}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["status"], 400, "{query}");
    }
}

#[tokio::test]
async fn a_partner_gets_a_token_by_either_way_of_authentication() {
    let identity = Identity::start().await;
    let posted = identity
        .post(
            "/token",
            &[
                ("grant_type", "client_credentials"),
                ("client_id", "partner-1"),
                ("client_secret", "demo"),
            ],
        )
        .await;
    let basic = identity
        .client
        .post(identity.url("/token"))
        .basic_auth("partner-2", Some("demo"))
        .form(&[
            ("grant_type", "client_credentials"),
            ("scope", "orders:read"),
        ])
        .send()
        .await
        .unwrap();
    for (response, partner, alg, scope) in [
        (
            posted,
            "partner-1",
            "RS256",
            "orders:read orders:write restaurants:read menus:write webhooks:write",
        ),
        (basic, "partner-2", "ES256", "orders:read"),
    ] {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["cache-control"], "no-store");
        let answer: Value = response.json().await.unwrap();
        let token = answer["access_token"].as_str().unwrap();
        let claims = identity.verify(token, "at+jwt").await;
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!(format!("{:?}", header.alg), alg);
        assert_eq!(claims["sub"], partner);
        assert_eq!(claims["partner_id"], partner);
        assert_eq!(claims["client_id"], partner);
        assert_eq!(claims["aud"], json!(["ftgo-public"]));
        assert_eq!(claims["scope"], scope);
        assert!(answer.get("refresh_token").is_none());
    }
}

#[tokio::test]
async fn a_wrong_secret_is_401_and_other_faults_are_400() {
    let identity = Identity::start().await;
    let grant = ("grant_type", "client_credentials");
    let partner = ("client_id", "partner-1");
    let secret = ("client_secret", "demo");
    type Form<'a> = &'a [(&'a str, &'a str)];
    let cases: &[(Form<'_>, u16, &str)] = &[
        (
            &[grant, partner, ("client_secret", "wrong")],
            401,
            "invalid_client",
        ),
        (&[grant, partner], 401, "invalid_client"),
        (
            &[grant, ("client_id", "nobody"), secret],
            401,
            "invalid_client",
        ),
        (&[grant], 401, "invalid_client"),
        (&[partner, secret], 400, "invalid_request"),
        (
            &[("grant_type", "password"), partner, secret],
            400,
            "unsupported_grant_type",
        ),
        (
            &[("grant_type", "refresh_token"), partner, secret],
            400,
            "unauthorized_client",
        ),
        (
            &[grant, ("client_id", "bff-web"), secret],
            400,
            "unauthorized_client",
        ),
        (
            &[grant, partner, secret, ("scope", "tickets:read")],
            400,
            "invalid_scope",
        ),
        (&[grant, partner, partner, secret], 400, "invalid_request"),
        (
            &[
                ("grant_type", "authorization_code"),
                ("client_id", "bff-web"),
                secret,
            ],
            400,
            "invalid_request",
        ),
    ];
    for (form, status, error) in cases {
        let response = identity.post("/token", form).await;
        assert_eq!(response.status(), *status, "{form:?}");
        assert_eq!(
            response.headers().contains_key("www-authenticate"),
            *status == 401
        );
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"], *error, "{form:?}");
        assert!(body["error_description"].is_string());
    }

    let both = identity
        .client
        .post(identity.url("/token"))
        .basic_auth("partner-1", Some("demo"))
        .form(&[grant, secret])
        .send()
        .await
        .unwrap();
    assert_eq!(both.status(), StatusCode::BAD_REQUEST);
    let json = identity
        .client
        .post(identity.url("/token"))
        .json(&json!({"grant_type": "client_credentials"}))
        .send()
        .await
        .unwrap();
    assert_eq!(json.status(), StatusCode::BAD_REQUEST);
}
