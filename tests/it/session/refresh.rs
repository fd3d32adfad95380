//! Tokens that end while their session goes on: renewed once, in passing, whoever asks; and the sessions that end because
//! they cannot be. The provider is the test's own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use ftgo_tests::browser::Browser;
use ftgo_tests::provider::Provider;
use ftgo_tests::system::eventually;
use ftgo_tests::web::{Echo, Web};
use reqwest::Method;
use serde_json::{Value, json};

use super::answers::{revoked, sign_in, user};
use super::{COOKIE, HOST};

/// Tokens are replaced when they have ended, and not before.
const AT_THE_END: &str = "refresh_before = \"0s\"\n";

/// What a client says of how long it waits, in milliseconds.
const TIMEOUT: &str = "request-timeout";

/// Until the token with a life of one second has ended.
async fn token_has_ended() {
    // The provider's and the gateway's seconds: there is nothing to look at but the clock.
    tokio::time::sleep(Duration::from_millis(2100)).await;
}

fn renewed(provider: &Provider, subject: &str, refresh: &str) -> Result<Value> {
    let mut claims = provider.id_claims(subject, "");
    claims["nonce"].take();
    claims.as_object_mut().map(|claims| claims.remove("nonce"));
    provider.tokens(&claims, 300, refresh)
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_requests_with_an_expired_token_cost_one_refresh() -> Result<()> {
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    let web = Web::with(&provider, &echo, AT_THE_END).await?;
    let browser = Arc::new(Browser::new()?);
    sign_in(&browser, &web, &provider, "ann", 1).await?;
    let tokens = renewed(&provider, "ann", "refresh-2")?;
    provider.answers(move |_| (200, tokens.clone()));
    token_has_ended().await;

    let url = web.url("/api/orders/1");
    let asks: Vec<_> = (0..20)
        .map(|_| {
            let (browser, url) = (Arc::clone(&browser), url.clone());
            tokio::spawn(async move {
                let request = browser.script(Method::GET, &url)?;
                anyhow::Ok(browser.send(request).await?.status().as_u16())
            })
        })
        .collect();
    for ask in asks {
        assert_eq!(ask.await??, 200);
    }
    assert_eq!(provider.refreshes(), 1);
    assert_eq!(
        provider
            .asked()
            .pop()
            .and_then(|form| form.get("refresh_token").cloned())
            .as_deref(),
        Some("refresh-of-ann")
    );
    assert_eq!(echo.seen().len(), 20);
    let metric = "gateway_session_refreshes_total{outcome=\"success\"}";
    assert_eq!(web.metric(metric).await?, 1.0);

    // The new refresh token has taken the place of the old one.
    browser
        .send(browser.script(Method::POST, &web.url("/bff/logout"))?)
        .await?;
    assert_eq!(revoked(&provider).await?[0]["token"], "refresh-2");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_holds_up_nobody_whose_token_is_good() -> Result<()> {
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    // Early enough that every token is due at once.
    let web = Web::with(&provider, &echo, "refresh_before = \"10m\"\n").await?;
    let browser = Browser::new()?;
    sign_in(&browser, &web, &provider, "ann", 300).await?;
    provider.hold(true);
    for _ in 0..5 {
        let request = browser.script(Method::GET, &web.url("/bff/user"))?;
        let answer = browser.send(request.header(TIMEOUT, "3000")).await?;
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
    eventually("the provider is asked", async || {
        Ok((provider.refreshes() == 1).then_some(()))
    })
    .await?;
    let mut claims = provider.id_claims("ann", "");
    claims.as_object_mut().map(|claims| claims.remove("nonce"));
    let tokens = provider.tokens(&claims, 3600, "refresh-2")?;
    provider.answers(move |_| (200, tokens.clone()));
    provider.hold(false);
    eventually("the tokens are renewed all the same", async || {
        assert_eq!(user(&browser, &web).await?, 200);
        let metric = "gateway_session_refreshes_total{outcome=\"success\"}";
        Ok((web.metric(metric).await? >= 1.0).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_token_a_provider_that_hangs_is_to_blame() -> Result<()> {
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    let web = Web::with(&provider, &echo, AT_THE_END).await?;
    let browser = Browser::new()?;
    sign_in(&browser, &web, &provider, "ann", 1).await?;
    provider.hold(true);
    token_has_ended().await;
    let request = browser.script(Method::GET, &web.url("/bff/user"))?;
    let answer = browser.send(request.header(TIMEOUT, "500")).await?;
    assert_eq!(answer.status(), 503, "{answer:?}");
    let problem: Value = answer.json().await?;
    assert_eq!(problem["type"], "/problems/identity-provider-unavailable");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_runs_to_its_end_when_its_client_has_gone() -> Result<()> {
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    let web = Web::with(&provider, &echo, AT_THE_END).await?;
    let browser = Browser::new()?;
    sign_in(&browser, &web, &provider, "ann", 1).await?;
    let tokens = renewed(&provider, "ann", "refresh-2")?;
    provider.answers(move |_| (200, tokens.clone()));
    provider.hold(true);
    token_has_ended().await;
    let request = browser.script(Method::GET, &web.url("/bff/user"))?;
    let asking = tokio::spawn(request.send());
    eventually("the provider is asked", async || {
        Ok((provider.refreshes() == 1).then_some(()))
    })
    .await?;
    asking.abort();
    provider.hold(false);
    assert_eq!(user(&browser, &web).await?, 200);
    assert_eq!(provider.refreshes(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_its_tokens_are_refused() -> Result<()> {
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    let web = Web::with(&provider, &echo, AT_THE_END).await?;
    let (ann, bob, eve) = (Browser::new()?, Browser::new()?, Browser::new()?);
    for (browser, subject) in [(&ann, "ann"), (&bob, "bob"), (&eve, "eve")] {
        sign_in(browser, &web, &provider, subject, 1).await?;
    }
    let of_somebody_else = renewed(&provider, "mallory", "r")?;
    let of_bob = renewed(&provider, "bob", "r")?;
    token_has_ended().await;
    // Refused: the session is over, also when the provider would be kinder later.
    provider.answers(|_| (400, json!({"error": "invalid_grant"})));
    assert_eq!(user(&ann, &web).await?, 401);
    let kind = of_bob.clone();
    provider.answers(move |_| (200, kind.clone()));
    assert_eq!(user(&ann, &web).await?, 401);
    assert_eq!(
        web.metric("gateway_session_refreshes_total{outcome=\"refused\"}")
            .await?,
        1.0
    );
    // Somebody else's tokens end it, too.
    provider.answers(move |_| (200, of_somebody_else.clone()));
    assert_eq!(user(&eve, &web).await?, 401);
    assert_eq!(user(&eve, &web).await?, 401);

    // A provider that is down has refused nothing: 503, and on it goes when it is back.
    provider.answers(|_| (500, json!({})));
    assert_eq!(user(&bob, &web).await?, 503);
    provider.answers(move |_| (200, of_bob.clone()));
    eventually("the session goes on", async || {
        Ok((user(&bob, &web).await? == 200).then_some(()))
    })
    .await?;
    assert!(bob.cookie(HOST, COOKIE).is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_unused_and_at_the_end_of_its_life() -> Result<()> {
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    let web = Web::with(&provider, &echo, "idle = \"3s\"\nlifetime = \"8s\"\n").await?;
    let (used, unused) = (Browser::new()?, Browser::new()?);
    sign_in(&used, &web, &provider, "ann", 3600).await?;
    sign_in(&unused, &web, &provider, "bob", 3600).await?;
    let began = tokio::time::Instant::now();
    // It slides while it is used, and ends all the same.
    eventually("the used one has ended", async || {
        let status = user(&used, &web).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok((status == 401).then_some(()))
    })
    .await?;
    assert!(
        began.elapsed() >= Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(user(&unused, &web).await?, 401);
    eventually("both are forgotten", async || {
        Ok((web.metric("gateway_sessions").await? == 0.0).then_some(()))
    })
    .await
}
