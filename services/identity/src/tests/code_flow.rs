//! Authorization code with PKCE, refresh, UserInfo, and the page. Not here: signing out.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::Identity;
use crate::secret::{code_challenge, generate};

pub(super) const CALLBACK: &str = "http://127.0.0.1:8080/bff/callback";
pub(super) const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";
const SCOPE: &str = "openid profile email orders:read orders:write";

/// The request of the BFF; a pair in `changes` replaces its namesake, an empty value leaves it out.
pub(super) fn request(changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let challenge = code_challenge(VERIFIER);
    let usual = [
        ("response_type", "code"),
        ("client_id", "bff-web"),
        ("redirect_uri", CALLBACK),
        ("scope", SCOPE),
        ("state", "st&te 1"),
        ("nonce", "n-1"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let mut pairs = usual
        .iter()
        .filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name))
        .chain(changes)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect::<Vec<_>>();
    pairs.retain(|(_, value)| !value.is_empty());
    pairs
}

pub(super) async fn show(identity: &Identity, changes: &[(&str, &str)]) -> Response {
    let url = Url::parse_with_params(&identity.url("/authorize"), request(changes)).unwrap();
    identity.client.get(url).send().await.unwrap()
}

pub(super) async fn choose(identity: &Identity, sub: &str, changes: &[(&str, &str)]) -> Response {
    let mut form = request(changes);
    form.push(("sub".to_owned(), sub.to_owned()));
    let request = identity.client.post(identity.url("/authorize")).form(&form);
    request.send().await.unwrap()
}

/// The parameters that a redirect hands to the client.
pub(super) fn handed_over(response: &Response, to: &str) -> Value {
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let location = Url::parse(response.headers()["location"].to_str().unwrap()).unwrap();
    assert_eq!(location.as_str().split('?').next(), Some(to));
    location
        .query_pairs()
        .map(|(name, value)| (name.into_owned(), Value::from(value.into_owned())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

pub(super) async fn code(identity: &Identity, sub: &str, changes: &[(&str, &str)]) -> String {
    let response = choose(identity, sub, changes).await;
    let answer = handed_over(&response, CALLBACK);
    assert_eq!(answer["state"], "st&te 1");
    assert_eq!(answer["iss"], identity.url(""));
    answer["code"].as_str().unwrap().to_owned()
}

pub(super) async fn exchange(identity: &Identity, form: &[(&str, &str)]) -> Response {
    identity
        .client
        .post(identity.url("/token"))
        .basic_auth("bff-web", Some("demo"))
        .form(form)
        .send()
        .await
        .unwrap()
}

pub(super) async fn redeem(identity: &Identity, code: &str) -> Value {
    let response = exchange(
        identity,
        &[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ],
    )
    .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    response.json().await.unwrap()
}

async fn refused(response: Response, error: &str) {
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"], error, "{body}");
}

#[tokio::test]
async fn a_person_signs_in_and_the_client_refreshes() {
    let identity = Identity::start().await;
    let page = show(&identity, &[]).await;
    assert_eq!(page.status(), StatusCode::OK);
    let page = page.text().await.unwrap();
    assert!(page.contains("value=\"consumer-1\"") && page.contains("value=\"staff-2\""));
    assert!(!page.contains("partner-1"));

    let answer = redeem(&identity, &code(&identity, "consumer-1", &[]).await).await;
    assert_eq!(answer["scope"], SCOPE);
    assert_eq!(answer["expires_in"], 300);
    let access_token = answer["access_token"].as_str().unwrap();
    let access = identity.verify(access_token, "at+jwt").await;
    assert_eq!(access["sub"], "consumer-1");
    assert_eq!(access["client_id"], "bff-web");
    assert_eq!(access["aud"], json!(["ftgo-mobile", "ftgo-web"]));
    let id_token = answer["id_token"].as_str().unwrap();
    let id = identity.verify(id_token, "JWT").await;
    assert_eq!(id["aud"], "bff-web");
    assert_eq!(id["nonce"], "n-1");
    assert_eq!(id["name"], "Consumer One");
    assert_eq!(id["email"], "consumer-1@ftgo.example");
    assert!(id["auth_time"].is_i64());
    assert_eq!(id["sid"], access["sid"]);

    let info = identity
        .client
        .get(identity.url("/userinfo"))
        .bearer_auth(access_token)
        .send()
        .await
        .unwrap();
    let info: Value = info.json().await.unwrap();
    assert_eq!(info["sub"], "consumer-1");
    assert_eq!(info["roles"], json!(["consumer"]));

    let first = answer["refresh_token"].as_str().unwrap();
    let refresh = |token: String| {
        let identity = &identity;
        async move {
            let form = [("grant_type", "refresh_token"), ("refresh_token", &token)];
            exchange(identity, &form).await
        }
    };
    let second: Value = refresh(first.to_owned()).await.json().await.unwrap();
    let refreshed = identity
        .verify(second["id_token"].as_str().unwrap(), "JWT")
        .await;
    assert_eq!(refreshed["sid"], id["sid"]);
    assert_eq!(refreshed["auth_time"], id["auth_time"]);
    assert!(refreshed.get("nonce").is_none());
    let successor = second["refresh_token"].as_str().unwrap();
    assert_ne!(successor, first);

    refused(refresh(first.to_owned()).await, "invalid_grant").await;
    refused(refresh(successor.to_owned()).await, "invalid_grant").await;
}

#[tokio::test]
async fn a_code_is_good_for_one_exchange_with_the_right_proof() {
    let identity = Identity::start().await;
    let attempt = |code: String, redirect_uri: &'static str, verifier: &'static str| {
        let identity = &identity;
        async move {
            let form = [
                ("grant_type", "authorization_code"),
                ("code", code.as_str()),
                ("redirect_uri", redirect_uri),
                ("code_verifier", verifier),
            ];
            exchange(identity, &form).await
        }
    };
    let wrong = code(&identity, "consumer-1", &[]).await;
    let response = attempt(
        wrong,
        CALLBACK,
        "another-verifier-of-forty-three-characters",
    )
    .await;
    refused(response, "invalid_grant").await;
    let wrong = code(&identity, "consumer-1", &[]).await;
    let elsewhere = "http://localhost:8080/bff/callback";
    refused(attempt(wrong, elsewhere, VERIFIER).await, "invalid_grant").await;
    let missing = code(&identity, "consumer-1", &[]).await;
    refused(attempt(missing, CALLBACK, "").await, "invalid_request").await;
    refused(
        attempt(generate().unwrap(), CALLBACK, VERIFIER).await,
        "invalid_grant",
    )
    .await;

    let twice = code(&identity, "consumer-1", &[]).await;
    let tokens = redeem(&identity, &twice).await;
    refused(attempt(twice, CALLBACK, VERIFIER).await, "invalid_grant").await;
    // the reuse took the refresh token with it
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
    ];
    refused(exchange(&identity, &form).await, "invalid_grant").await;
}

#[tokio::test]
async fn an_untrusted_client_or_address_gets_no_redirect() {
    let identity = Identity::start().await;
    for changes in [
        ("client_id", "nobody"),
        ("client_id", ""),
        ("client_id", "partner-1"),
        ("redirect_uri", "https://evil.example/bff/callback"),
        ("redirect_uri", "http://127.0.0.1:8080/bff/callback/x"),
        ("redirect_uri", ""),
        ("redirect_uri", "\"><script>alert(1)</script>"),
    ] {
        for response in [
            show(&identity, &[changes]).await,
            choose(&identity, "consumer-1", &[changes]).await,
        ] {
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{changes:?}");
            assert!(!response.headers().contains_key("location"));
            assert!(!response.headers().contains_key("set-cookie"));
            assert!(!response.text().await.unwrap().contains("<script"));
        }
    }
}

#[tokio::test]
async fn other_faults_go_back_to_the_client() {
    let identity = Identity::start().await;
    for (changes, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", ""), "invalid_request"),
        (("response_mode", "fragment"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "too-short"), "invalid_request"),
        (("scope", "openid everything"), "invalid_scope"),
        (("request", "e30.e30."), "request_not_supported"),
        (("prompt", "none login"), "invalid_request"),
        (("prompt", "none"), "login_required"),
        (("max_age", "soon"), "invalid_request"),
    ] {
        let answer = handed_over(&show(&identity, &[changes]).await, CALLBACK);
        assert_eq!(answer["error"], error, "{changes:?}");
        assert_eq!(answer["state"], "st&te 1");
        assert!(answer.get("code").is_none());
    }
    let denied = choose(&identity, "", &[("decision", "deny")]).await;
    assert_eq!(handed_over(&denied, CALLBACK)["error"], "access_denied");
    let unfit = choose(&identity, "courier-1", &[("scope", "orders:read")]).await;
    assert_eq!(handed_over(&unfit, CALLBACK)["error"], "invalid_scope");
    for nobody in ["consumer-9", "partner-1"] {
        let response = choose(&identity, nobody, &[]).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn the_scope_is_what_was_asked_for_and_the_person_may_have() {
    let identity = Identity::start().await;
    let scope = "openid tickets:write orders:write";
    let answer = redeem(
        &identity,
        &code(&identity, "staff-1", &[("scope", scope)]).await,
    )
    .await;
    assert_eq!(answer["scope"], "openid tickets:write");
    let answer = redeem(
        &identity,
        &code(&identity, "courier-2", &[("scope", "")]).await,
    )
    .await;
    assert_eq!(answer["scope"], "deliveries:read deliveries:write");
    assert!(answer.get("id_token").is_none());
    let userinfo = identity
        .client
        .get(identity.url("/userinfo"))
        .bearer_auth(answer["access_token"].as_str().unwrap());
    let userinfo = userinfo.send().await.unwrap();
    assert_eq!(userinfo.status(), StatusCode::FORBIDDEN);
    assert!(userinfo.headers().contains_key("www-authenticate"));
}

#[tokio::test]
async fn the_page_is_safe_and_its_cookie_the_providers_own() {
    let identity = Identity::start().await;
    let evil = "\"><script>alert('x')</script>";
    let page = show(&identity, &[("state", evil), ("login_hint", "courier-2")]).await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert!(policy.contains("form-action 'self' http://127.0.0.1:8080;"));
    assert!(!policy.contains("unsafe"));
    assert_eq!(page.headers()["cache-control"], "no-store");
    let text = page.text().await.unwrap();
    assert!(!text.contains("<script") && !text.contains("style=") && !text.contains("<style"));
    assert!(text.contains("&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"));
    assert!(text.contains("value=\"courier-2\" aria-current=\"true\" autofocus"));
    let stylesheet = identity.get("/assets/identity.css").await;
    assert_eq!(stylesheet.status(), StatusCode::OK);
    assert_eq!(
        stylesheet.headers()["content-type"],
        "text/css; charset=utf-8"
    );

    let chosen = choose(&identity, "consumer-3", &[]).await;
    let cookie = chosen.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("ftgo-identity-session="));
    assert!(cookie.contains("; HttpOnly; SameSite=Lax;") && cookie.contains("; Path=/;"));
}

#[tokio::test]
async fn a_form_sent_by_another_site_is_refused() {
    let identity = Identity::start().await;
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "http://127.0.0.1:8080"),
        ("origin", "null"),
    ] {
        let mut form = request(&[]);
        form.push(("sub".to_owned(), "consumer-1".to_owned()));
        let url = identity.url("/authorize");
        let sent = identity.client.post(url).header(name, value).form(&form);
        let response = sent.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{name}: {value}");
    }
}

#[tokio::test]
async fn an_app_without_a_secret_needs_only_its_proof_and_any_loopback_port() {
    let identity = Identity::start().await;
    let callback = "http://127.0.0.1:51004/callback";
    let changes = [("client_id", "mobile-app"), ("redirect_uri", callback)];
    let response = choose(&identity, "courier-1", &changes).await;
    let answer = handed_over(&response, callback);
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "mobile-app"),
        ("code", answer["code"].as_str().unwrap()),
        ("redirect_uri", callback),
        ("code_verifier", VERIFIER),
    ];
    let response = identity.post("/token", &form).await;
    assert_eq!(response.status(), StatusCode::OK);
    let tokens: Value = response.json().await.unwrap();
    let header = jsonwebtoken::decode_header(tokens["id_token"].as_str().unwrap()).unwrap();
    assert_eq!(header.alg, jsonwebtoken::Algorithm::ES256);

    // an app can't use the confidential client's name
    let mut form = form;
    form[1].1 = "bff-web";
    let response = identity.post("/token", &form).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}
