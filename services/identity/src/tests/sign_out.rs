//! Sessions, `prompt=none`, signing out and revocation. Not here: how one signs in.

use reqwest::{Response, StatusCode};
use serde_json::Value;
use url::Url;

use super::Identity;
use super::code_flow::{CALLBACK, choose, code, exchange, handed_over, redeem, request};

const HOME: &str = "http://127.0.0.1:8080/";

fn cookie(response: &Response) -> String {
    let set = response.headers()["set-cookie"].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

async fn get_with(
    identity: &Identity,
    path: &str,
    pairs: &[(&str, &str)],
    cookie: &str,
) -> Response {
    let url = Url::parse_with_params(&identity.url(path), pairs).unwrap();
    let request = identity.client.get(url).header("cookie", cookie);
    request.send().await.unwrap()
}

/// Asks for a code without a page.
async fn silently(identity: &Identity, cookie: &str, changes: &[(&str, &str)]) -> Value {
    let changes = [&[("prompt", "none")], changes].concat();
    let pairs = request(&changes);
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect::<Vec<_>>();
    handed_over(
        &get_with(identity, "/authorize", &pairs, cookie).await,
        CALLBACK,
    )
}

async fn refreshes(identity: &Identity, tokens: &Value) -> bool {
    let token = tokens["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
    exchange(identity, &form).await.status() == StatusCode::OK
}

#[tokio::test]
async fn who_is_signed_in_gets_a_code_without_a_page_until_signing_out() {
    let identity = Identity::start().await;
    let chosen = choose(&identity, "consumer-4", &[]).await;
    let cookie = cookie(&chosen);
    let first = handed_over(&chosen, CALLBACK);
    let tokens = redeem(&identity, first["code"].as_str().unwrap()).await;

    let silent = silently(&identity, &cookie, &[("max_age", "60")]).await;
    let again = redeem(&identity, silent["code"].as_str().unwrap()).await;
    let id_token = again["id_token"].as_str().unwrap();
    let id = identity.verify(id_token, "JWT").await;
    assert_eq!(id["sub"], "consumer-4");

    let pairs = [
        ("id_token_hint", id_token),
        ("post_logout_redirect_uri", HOME),
        ("state", "bye"),
    ];
    let response = get_with(&identity, "/end-session", &pairs, &cookie).await;
    assert_eq!(handed_over(&response, HOME)["state"], "bye");
    let cleared = response.headers()["set-cookie"].to_str().unwrap();
    assert!(cleared.starts_with("ftgo-identity-session=;") && cleared.contains("Max-Age=0"));
    assert_eq!(
        silently(&identity, &cookie, &[]).await["error"],
        "login_required"
    );
    assert!(!refreshes(&identity, &tokens).await);
    assert!(!refreshes(&identity, &again).await);
}

#[tokio::test]
async fn without_a_hint_the_person_is_asked() {
    let identity = Identity::start().await;
    let cookie = cookie(&choose(&identity, "courier-3", &[]).await);
    let pairs = [("client_id", "bff-web"), ("post_logout_redirect_uri", HOME)];
    let page = get_with(&identity, "/end-session", &pairs, &cookie).await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.text().await.unwrap().contains("<form method=\"post\""));
    assert!(silently(&identity, &cookie, &[("scope", "openid")]).await["code"].is_string());

    let post = |site: &'static str| {
        identity
            .client
            .post(identity.url("/end-session"))
            .header("cookie", &cookie)
            .header("sec-fetch-site", site)
            .form(&pairs)
            .send()
    };
    let forged = post("cross-site").await.unwrap();
    assert_eq!(forged.status(), StatusCode::FORBIDDEN);
    let confirmed = post("same-origin").await.unwrap();
    assert_eq!(confirmed.headers()["location"], HOME);
    let after = silently(&identity, &cookie, &[("scope", "openid")]).await;
    assert_eq!(after["error"], "login_required");
}

#[tokio::test]
async fn signing_out_never_leads_to_an_unregistered_address() {
    let identity = Identity::start().await;
    let tokens = redeem(&identity, &code(&identity, "consumer-1", &[]).await).await;
    let hint = tokens["id_token"].as_str().unwrap();
    let forged = format!("{}x", &hint[..hint.len() - 5]);
    let access_token = tokens["access_token"].as_str().unwrap();
    for pairs in [
        [
            ("id_token_hint", hint),
            ("post_logout_redirect_uri", "https://evil.example/"),
        ],
        [
            ("client_id", "mobile-app"),
            ("post_logout_redirect_uri", HOME),
        ],
        [("id_token_hint", hint), ("client_id", "mobile-app")],
        [
            ("id_token_hint", forged.as_str()),
            ("post_logout_redirect_uri", HOME),
        ],
        [
            ("id_token_hint", access_token),
            ("post_logout_redirect_uri", HOME),
        ],
    ] {
        let response = get_with(&identity, "/end-session", &pairs, "").await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{pairs:?}");
        assert!(!response.headers().contains_key("location"));
    }
    assert!(refreshes(&identity, &tokens).await);
}

#[tokio::test]
async fn a_revoked_refresh_token_is_of_no_use() {
    let identity = Identity::start().await;
    let tokens = redeem(&identity, &code(&identity, "staff-1", &[]).await).await;
    let token = tokens["refresh_token"].as_str().unwrap();
    let revoke = |secret: &'static str, token: &str| {
        identity
            .client
            .post(identity.url("/revoke"))
            .basic_auth("bff-web", Some(secret))
            .form(&[("token", token)])
            .send()
    };
    assert_eq!(
        revoke("wrong", token).await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        revoke("demo", "unknown").await.unwrap().status(),
        StatusCode::OK
    );
    assert_eq!(
        revoke("demo", token).await.unwrap().status(),
        StatusCode::OK
    );
    assert!(!refreshes(&identity, &tokens).await);
}
