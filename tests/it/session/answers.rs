//! What a provider, or somebody in its place, can answer to a login and to a logout: only what is right makes or ends a
//! session. The provider is the test's own.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use ftgo_tests::browser::{Browser, location, parameter};
use ftgo_tests::issuer::unix_time;
use ftgo_tests::provider::{CLIENT, Form, Provider, SECRET};
use ftgo_tests::system::eventually;
use ftgo_tests::web::{Echo, Web, begin};
use gateway_core::encode::query_value;
use reqwest::Method;
use serde_json::{Value, json};

use super::{COOKIE, HOST};

/// The callback that the provider would send the browser to.
pub(super) fn callback(
    web: &Web,
    provider: &Provider,
    authorize: &str,
    more: &str,
) -> Result<String> {
    let state = parameter(authorize, "state").context("no state")?;
    Ok(web.url(&format!(
        "/bff/callback?state={state}&iss={}{more}",
        query_value(&provider.url)
    )))
}

/// Signs `subject` in, with tokens that end after `expires_in` seconds.
pub(super) async fn sign_in(
    browser: &Browser,
    web: &Web,
    provider: &Provider,
    subject: &str,
    expires_in: u64,
) -> Result<()> {
    let authorize = begin(browser, web, "/").await?;
    let nonce = parameter(&authorize, "nonce").context("no nonce")?;
    let refresh = format!("refresh-of-{subject}");
    let tokens = provider.tokens(&provider.id_claims(subject, &nonce), expires_in, &refresh)?;
    provider.answers(move |_| (200, tokens.clone()));
    let landed = browser
        .open(&callback(web, provider, &authorize, "&code=c")?)
        .await?;
    assert_eq!(landed.status(), 303, "{landed:?}");
    Ok(())
}

/// What was revoked: a session has ended before the provider is told.
pub(super) async fn revoked(provider: &Provider) -> Result<Vec<Form>> {
    eventually("tokens are revoked", async || {
        let revoked = provider.revoked();
        Ok((!revoked.is_empty()).then_some(revoked))
    })
    .await
}

pub(super) async fn user(browser: &Browser, web: &Web) -> Result<u16> {
    let request = browser.script(Method::GET, &web.url("/bff/user"))?;
    Ok(browser.send(request).await?.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_proves_itself_and_the_service_sees_neither_cookie_nor_token() -> Result<()> {
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    let web = Web::with(&provider, &echo, "").await?;
    let browser = Browser::new()?;
    sign_in(&browser, &web, &provider, "ann", 300).await?;
    let asked = provider.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0]["grant_type"], "authorization_code");
    assert_eq!(asked[0]["redirect_uri"], web.url("/bff/callback"));
    assert!(asked[0]["code_verifier"].len() >= 43);
    // RFC 6749, 2.3.1: both are encoded before.
    let basic = format!("{CLIENT}:{}", query_value(SECRET));
    use base64::Engine;
    let basic = base64::engine::general_purpose::STANDARD.encode(basic);
    assert_eq!(provider.clients(), [format!("Basic {basic}")]);

    let request = browser
        .script(Method::GET, &web.url("/api/orders/1"))?
        .header("cookie", "other=1");
    let answer = browser.send(request).await?;
    assert_eq!(answer.status(), 200);
    let seen = echo.seen().pop().context("nothing was sent")?;
    for secret in ["cookie", "authorization"] {
        assert_eq!(seen.get(secret), None, "{seen}");
    }
    assert!(!seen.to_string().contains("access-"), "{seen}");
    let token = seen["x-internal-token"]
        .as_str()
        .context("no internal token")?;
    let claims = token.split('.').nth(1).context("no claims")?;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims)?;
    let claims: Value = serde_json::from_slice(&claims)?;
    // Behind the issuer's prefix: another issuer may have an ann, too.
    assert_eq!(claims["sub"], "x-ann");
    assert_eq!(claims["scope"], "openid orders:read");

    // Signing out ends the tokens, too.
    let out = browser
        .send(browser.script(Method::POST, &web.url("/bff/logout"))?)
        .await?;
    let out: Value = out.json().await?;
    let end = out["logoutUrl"].as_str().context("no logoutUrl")?;
    assert!(
        end.starts_with(&format!(
            "{}/end?of=session&client_id={CLIENT}&",
            provider.url
        )),
        "{end}"
    );
    let revoked = revoked(&provider).await?;
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0]["token"], "refresh-of-ann");
    assert_eq!(revoked[0]["token_type_hint"], "refresh_token");
    assert_eq!(user(&browser, &web).await?, 401);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_answer_makes_a_session() -> Result<()> {
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    let web = Web::with(&provider, &echo, "").await?;
    let other = query_value("https://evil.example").to_string();
    // What the answer at the callback says in place of the usual.
    let own = query_value(&provider.url).to_string();
    for (answer, status) in [
        (format!("code=c&iss={own}&state=STATE"), 303),
        (format!("code=c&iss={other}&state=STATE"), 400),
        ("code=c&state=STATE".to_owned(), 400),
        (format!("code=c&iss={own}"), 400),
        (
            format!("code=c&iss={own}&state=AAAAAAAAAAAAAAAAAAAAAA"),
            400,
        ),
        (format!("code=c&iss={own}&state=STATE&state=STATE"), 400),
        (format!("code=c&code=d&iss={own}&state=STATE"), 400),
        (format!("iss={own}&state=STATE"), 400),
        (format!("error=server_error&iss={own}&state=STATE"), 400),
        (format!("error=access_denied&iss={other}&state=STATE"), 400),
    ] {
        let browser = Browser::new()?;
        let authorize = begin(&browser, &web, "/").await?;
        let nonce = parameter(&authorize, "nonce").context("no nonce")?;
        let tokens = provider.tokens(&provider.id_claims("ann", &nonce), 300, "r")?;
        provider.answers(move |_| (200, tokens.clone()));
        let state = parameter(&authorize, "state").context("no state")?;
        let url = web.url(&format!(
            "/bff/callback?{}",
            answer.replace("STATE", &state)
        ));
        let landed = browser.open(&url).await?;
        assert_eq!(landed.status(), status, "{answer}");
        assert_eq!(
            browser.cookie(HOST, COOKIE).is_some(),
            status == 303,
            "{answer}"
        );
    }
    // Whoever does not want to sign in goes back, without a session.
    let browser = Browser::new()?;
    let authorize = begin(&browser, &web, "/back").await?;
    let url = callback(&web, &provider, &authorize, "&error=access_denied")?;
    let landed = browser.open(&url).await?;
    assert_eq!(location(&landed).as_deref(), Some("/back"));
    assert!(browser.cookies(HOST).is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_finishes_a_login_that_another_browser_has_begun() -> Result<()> {
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    let web = Web::with(&provider, &echo, "").await?;
    let (attacker, victim) = (Browser::new()?, Browser::new()?);
    let authorize = begin(&attacker, &web, "/").await?;
    let nonce = parameter(&authorize, "nonce").context("no nonce")?;
    let tokens = provider.tokens(&provider.id_claims("mallory", &nonce), 300, "r")?;
    provider.answers(move |_| (200, tokens.clone()));
    let url = callback(&web, &provider, &authorize, "&code=of-mallory")?;
    assert_eq!(victim.open(&url).await?.status(), 400);
    // Nor with a login of its own.
    begin(&victim, &web, "/").await?;
    assert_eq!(victim.open(&url).await?.status(), 400);
    // Nor under another name: a cookie is for its state.
    let name = |browser: &Browser| {
        let names = browser.cookies(HOST);
        names.into_iter().find(|name| name.contains("-login-"))
    };
    let of_attacker = name(&attacker).context("no login")?;
    let of_victim = name(&victim).context("no login")?;
    let value = victim.cookie(HOST, &of_victim).context("no login")?;
    victim.put_cookie(HOST, &of_attacker, &value);
    assert_eq!(victim.open(&url).await?.status(), 400);
    assert_eq!(victim.cookie(HOST, COOKIE), None);
    assert!(provider.asked().is_empty(), "no code was exchanged");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_tokens_make_a_session() -> Result<()> {
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    let web = Web::with(&provider, &echo, "").await?;
    let foreign = ftgo_tests::issuer::Issuer::start_another().await?;
    type Change = Box<dyn Fn(&mut Value, &str) -> Result<()>>;
    let with_claim = |name: &'static str, value: Value| -> Change {
        let (url, key) = (provider.url.clone(), provider.issuer.rsa);
        Box::new(move |answer, nonce| {
            let now = unix_time();
            let mut claims = json!({
                "iss": url, "sub": "ann", "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce,
            });
            claims[name] = value.clone();
            let header = json!({"alg": "RS256", "typ": "JWT", "kid": "rsa"});
            answer["id_token"] = key.sign(&header.to_string(), &claims.to_string())?.into();
            Ok(())
        })
    };
    let cases: Vec<(&str, Change, u16)> = vec![
        ("as it should be", with_claim("more", json!(1)), 303),
        ("another nonce", with_claim("nonce", json!("n")), 400),
        ("another client", with_claim("aud", json!("other")), 400),
        (
            "another issuer",
            with_claim("iss", json!("https://evil.example")),
            400,
        ),
        ("expired", with_claim("exp", json!(1000)), 400),
        (
            "of the future",
            with_claim("iat", json!(unix_time() + 1000)),
            400,
        ),
        (
            "another access token",
            with_claim("at_hash", json!("x")),
            400,
        ),
        ("nobody", with_claim("sub", json!("")), 400),
        (
            "no ID token",
            Box::new(|answer, _| {
                answer["id_token"] = Value::Null;
                Ok(())
            }),
            400,
        ),
        (
            "signed by somebody else",
            Box::new({
                let url = provider.url.clone();
                move |answer, nonce| {
                    let now = unix_time();
                    let claims = json!({
                        "iss": url, "sub": "ann", "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce,
                    });
                    let header = json!({"alg": "RS256", "typ": "JWT", "kid": "rsa"});
                    answer["id_token"] = foreign
                        .rsa
                        .sign(&header.to_string(), &claims.to_string())?
                        .into();
                    Ok(())
                }
            }),
            400,
        ),
        (
            "not signed",
            Box::new({
                let url = provider.url.clone();
                move |answer, nonce| {
                    let now = unix_time();
                    let claims = json!({
                        "iss": url, "sub": "ann", "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce,
                    });
                    let header = json!({"alg": "none", "typ": "JWT"}).to_string();
                    let text = ftgo_tests::issuer::unsigned(&header, &claims.to_string());
                    answer["id_token"] = format!("{text}.").into();
                    Ok(())
                }
            }),
            400,
        ),
        (
            "no bearer token",
            Box::new(|answer, _| {
                answer["token_type"] = "DPoP".into();
                Ok(())
            }),
            503,
        ),
    ];
    for (what, change, status) in cases {
        let browser = Browser::new()?;
        let authorize = begin(&browser, &web, "/").await?;
        let nonce = parameter(&authorize, "nonce").context("no nonce")?;
        let mut tokens = provider.tokens(&provider.id_claims("ann", &nonce), 300, "r")?;
        change(&mut tokens, &nonce)?;
        provider.answers(move |_| (200, tokens.clone()));
        let url = callback(&web, &provider, &authorize, "&code=c")?;
        let landed = browser.open(&url).await?;
        assert_eq!(landed.status(), status, "{what}");
        assert_eq!(
            browser.cookie(HOST, COOKIE).is_some(),
            status == 303,
            "{what}"
        );
    }
    // A provider that refuses, and one that fails.
    for (answer, status) in [
        ((400, json!({"error": "invalid_grant"})), 400),
        ((500, json!({})), 503),
    ] {
        let browser = Browser::new()?;
        let authorize = begin(&browser, &web, "/").await?;
        provider.answers(move |_| answer.clone());
        let url = callback(&web, &provider, &authorize, "&code=c")?;
        assert_eq!(browser.open(&url).await?.status(), status);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_ends_a_session_or_all_of_a_person() -> Result<()> {
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    let web = Web::with(&provider, &echo, "").await?;
    let browsers = [Browser::new()?, Browser::new()?, Browser::new()?];
    for (browser, subject) in browsers.iter().zip(["ann", "bob", "bob"]) {
        sign_in(browser, &web, &provider, subject, 300).await?;
    }
    let users = async || -> Result<Vec<u16>> {
        let mut statuses = Vec::new();
        for browser in &browsers {
            statuses.push(user(browser, &web).await?);
        }
        Ok(statuses)
    };
    let send = async |token: String| -> Result<u16> {
        let url = web.url("/bff/backchannel");
        // The provider is no browser: no cookie, no origin.
        let request = reqwest::Client::new()
            .post(&url)
            .form(&[("logout_token", token)]);
        Ok(request.send().await?.status().as_u16())
    };
    let tell = async |typ: &str, claims: Value| -> Result<u16> {
        send(provider.signed(typ, &claims)?).await
    };
    let jti = AtomicUsize::new(0);
    let about = |more: Value| {
        let now = unix_time();
        let mut claims = json!({
            "iss": provider.url, "aud": CLIENT, "iat": now, "exp": now + 120, "jti": jti.fetch_add(1, Ordering::Relaxed).to_string(),
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        claims
    };
    // Not one of these ends anything.
    assert_eq!(tell("logout+jwt", about(json!({}))).await?, 400);
    assert_eq!(
        tell("logout+jwt", about(json!({"sub": "ann", "nonce": "n"}))).await?,
        400
    );
    assert_eq!(
        tell("logout+jwt", about(json!({"sub": "ann", "aud": "other"}))).await?,
        400
    );
    assert_eq!(
        tell("logout+jwt", about(json!({"sub": "ann", "events": {}}))).await?,
        400
    );
    assert_eq!(tell("JWT", provider.id_claims("ann", "n")).await?, 400);
    let bare = reqwest::Client::new()
        .post(web.url("/bff/backchannel"))
        .send()
        .await?;
    assert_eq!(bare.status(), 415);
    assert_eq!(users().await?, [200, 200, 200]);
    // Nobody is that person in that session.
    let nobodys = about(json!({"sid": "sid-of-ann", "sub": "bob"}));
    assert_eq!(tell("logout+jwt", nobodys).await?, 200);
    assert_eq!(users().await?, [200, 200, 200]);

    let kept = provider.signed(
        "logout+jwt",
        &about(json!({"sid": "sid-of-ann", "sub": "ann"})),
    )?;
    assert_eq!(send(kept.clone()).await?, 200);
    assert_eq!(users().await?, [401, 200, 200]);
    // A token is good for one use: who has kept it ends nothing by it.
    sign_in(&browsers[0], &web, &provider, "ann", 300).await?;
    assert_eq!(send(kept).await?, 400);
    assert_eq!(users().await?, [200, 200, 200]);
    assert_eq!(
        tell("logout+jwt", about(json!({"sid": "sid-of-ann"}))).await?,
        200
    );
    assert_eq!(users().await?, [401, 200, 200]);
    assert_eq!(tell("logout+jwt", about(json!({"sub": "bob"}))).await?, 200);
    assert_eq!(users().await?, [401, 401, 401]);
    // Nobody is left; that is no fault.
    assert_eq!(tell("logout+jwt", about(json!({"sub": "bob"}))).await?, 200);
    assert_eq!(
        web.metric("gateway_session_ends_total{by=\"provider\"}")
            .await?,
        4.0
    );
    // A form of very many parameters is refused before they are compared.
    let many: Vec<String> = (0..3000).map(|at| format!("p{at}=")).collect();
    let request = reqwest::Client::new()
        .post(web.url("/bff/backchannel"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(many.join("&"));
    assert_eq!(request.send().await?.status(), 400);
    Ok(())
}
