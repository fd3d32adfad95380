//! Sessions that replicas share through Redis: what one begins, another goes on with, and what one ends has ended
//! everywhere; and what goes on while Redis is away. The provider is the test's own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ftgo_tests::browser::{Browser, parameter};
use ftgo_tests::provider::Provider;
use ftgo_tests::redis::Redis;
use ftgo_tests::system::eventually;
use ftgo_tests::web::{Echo, Web, begin, of};
use reqwest::Method;
use serde_json::json;

use super::answers::{callback, sign_in, user};
use super::{COOKIE, HOST};
use crate::web::socket::Socket;

/// Two replicas, known under the origin of the first.
async fn two(provider: &Provider, echo: &Echo, redis: &Redis) -> Result<(Web, Web)> {
    two_with(provider, echo, redis, "").await
}

/// The same, with more said of sessions.
async fn two_with(
    provider: &Provider,
    echo: &Echo,
    redis: &Redis,
    session: &str,
) -> Result<(Web, Web)> {
    let (first, origin) = Web::reserve()?;
    let (second, _) = Web::reserve()?;
    let start = |listener, name| {
        let more = format!(
            "{}refresh_before = \"0s\"\npublic_url = \"{origin}\"\n{session}[redis]\nurl = \"{}\"\nreplicas = 2\ntimeout = \"1s\"\n",
            of(provider),
            redis.url()
        );
        Web::start_on(listener, echo.address, &more).with_context(|| format!("the {name} replica"))
    };
    let replicas = (start(first, "first")?, start(second, "second")?);
    for replica in [&replicas.0, &replicas.1] {
        replica.is_ready().await?;
        store_is(replica, 1.0).await?;
    }
    Ok(replicas)
}

async fn store_is(web: &Web, wanted: f64) -> Result<()> {
    eventually("the store of sessions is there, or not", async || {
        let up = web.metric("gateway_session_store_up").await?;
        Ok(((up - wanted).abs() < 0.5).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_every_replicas() -> Result<()> {
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    let redis = Redis::start().await?;
    let (one, two) = two(&provider, &echo, &redis).await?;
    let browser = Arc::new(Browser::new()?);
    // A login that begins at one replica ends at the other.
    let authorize = begin(&browser, &one, "/").await?;
    let nonce = parameter(&authorize, "nonce").context("no nonce")?;
    let tokens = provider.tokens(&provider.id_claims("ann", &nonce), 1, "refresh-1")?;
    provider.answers(move |_| (200, tokens.clone()));
    let landed = browser
        .open(&callback(&two, &provider, &authorize, "&code=c")?)
        .await?;
    assert_eq!(landed.status(), 303, "{landed:?}");

    // What Redis has says nothing of it.
    let keys = redis.command("KEYS *session*").await?;
    let stored = keys.lines().find(|line| {
        line.contains(":session:") && !line.contains(":of:") && !line.contains(":refresh")
    });
    let value = redis
        .command(&format!("STRLEN {}", stored.context("nothing is stored")?))
        .await?;
    assert!(
        value.trim_start_matches(':').parse::<usize>()? > 100,
        "{value}"
    );

    // Its token has ended: one refresh, wherever the requests go.
    let mut claims = provider.id_claims("ann", "");
    claims.as_object_mut().map(|claims| claims.remove("nonce"));
    let tokens = provider.tokens(&claims, 300, "refresh-2")?;
    provider.answers(move |_| (200, tokens.clone()));
    provider.hold(true);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let asks: Vec<_> = (0..20)
        .map(|at| {
            let url = if at % 2 == 0 { &one } else { &two }.url("/bff/user");
            let browser = Arc::clone(&browser);
            tokio::spawn(async move {
                let request = browser.script(Method::GET, &url)?;
                anyhow::Ok(browser.send(request).await?.status().as_u16())
            })
        })
        .collect();
    // While one replica asks, the other one waits.
    eventually("the provider is asked", async || {
        Ok((provider.refreshes() > 0).then_some(()))
    })
    .await?;
    provider.hold(false);
    for ask in asks {
        assert_eq!(ask.await??, 200);
    }
    assert_eq!(provider.refreshes(), 1);

    // Signing out at one ends it at the other.
    let kept = browser
        .cookie("127.0.0.1", "__Host-ftgo")
        .context("no session")?;
    let out = browser
        .send(browser.script(Method::POST, &one.url("/bff/logout"))?)
        .await?;
    assert_eq!(out.status(), 200);
    browser.put_cookie("127.0.0.1", "__Host-ftgo", &kept);
    assert_eq!(user(&browser, &two).await?, 401);
    assert_eq!(user(&browser, &one).await?, 401);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_providers_word_to_one_replica_holds_for_all() -> Result<()> {
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    let redis = Redis::start().await?;
    let (one, two) = two(&provider, &echo, &redis).await?;
    let browser = Browser::new()?;
    for kind in ["sid", "sub", "both"] {
        sign_in(&browser, &one, &provider, "ann", 300).await?;
        assert_eq!(user(&browser, &one).await?, 200);
        assert_eq!(user(&browser, &two).await?, 200);
        let now = ftgo_tests::issuer::unix_time();
        let mut claims = serde_json::json!({
            "iss": provider.url, "aud": ftgo_tests::provider::CLIENT, "iat": now, "exp": now + 60, "jti": kind,
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        });
        let tell = async |web: &Web, claims: &serde_json::Value| -> Result<u16> {
            let token = provider.signed("logout+jwt", claims)?;
            let request = reqwest::Client::new()
                .post(web.url("/bff/backchannel"))
                .form(&[("logout_token", token)]);
            Ok(request.send().await?.status().as_u16())
        };
        if kind != "sub" {
            claims["sid"] = "sid-of-ann".into();
        }
        if kind != "sid" {
            claims["sub"] = "ann".into();
        }
        if kind == "both" {
            // Nobody is that person in that session.
            let mut nobodys = claims.clone();
            nobodys["sub"] = "bob".into();
            nobodys["jti"] = "nobody's".into();
            assert_eq!(tell(&two, &nobodys).await?, 200);
            assert_eq!(user(&browser, &one).await?, 200);
        }
        assert_eq!(tell(&two, &claims).await?, 200);
        assert_eq!(user(&browser, &one).await?, 401, "{kind}");
        assert_eq!(user(&browser, &two).await?, 401, "{kind}");
        // Used at one, it is of no use at the other.
        assert_eq!(tell(&one, &claims).await?, 400);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_known_sessions_go_on_and_nobody_signs_in() -> Result<()> {
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    let mut redis = Redis::start().await?;
    let (one, two) = two(&provider, &echo, &redis).await?;
    let (known, other) = (Browser::new()?, Browser::new()?);
    sign_in(&known, &one, &provider, "ann", 300).await?;
    let authorize = begin(&other, &one, "/").await?;
    redis.kill().await?;
    store_is(&one, 0.0).await?;
    store_is(&two, 0.0).await?;

    // The replica that knows it goes on with it; the other one cannot know.
    assert_eq!(user(&known, &one).await?, 200);
    assert_eq!(user(&known, &two).await?, 503);
    // What is for anybody is answered all the same; what is not, is not.
    for (path, status) in [("/api/restaurants", 200), ("/api/orders/1", 503)] {
        let request = known.script(Method::GET, &two.url(path))?;
        assert_eq!(known.send(request).await?.status(), status, "{path}");
    }
    // Whoever has no session is served as ever.
    let nobody = Browser::new()?;
    assert_eq!(user(&nobody, &two).await?, 401);
    let url = callback(&one, &provider, &authorize, "&code=c")?;
    let nonce = parameter(&authorize, "nonce").context("no nonce")?;
    let tokens = provider.tokens(&provider.id_claims("bob", &nonce), 300, "r")?;
    provider.answers(move |_| (200, tokens.clone()));
    assert_eq!(other.open(&url).await?.status(), 503);
    // It is not said to be over when it is not.
    let out = known
        .send(known.script(Method::POST, &one.url("/bff/logout"))?)
        .await?;
    assert_eq!(out.status(), 503);
    let ready = reqwest::get(format!("http://{}/ready", one.gateway.admin_address())).await?;
    assert_eq!(ready.status(), 200);
    assert!(ready.text().await?.contains("session store"));

    // It comes back empty: what was in it is gone, and so are the sessions.
    redis.restart().await?;
    store_is(&one, 1.0).await?;
    assert_eq!(user(&known, &one).await?, 401);
    sign_in(&known, &one, &provider, "ann", 300).await?;
    assert_eq!(user(&known, &one).await?, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_has_opened_at_one_replica_ends_when_another_ends_it() -> Result<()> {
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    let mut redis = Redis::start().await?;
    let (one, two) = two(&provider, &echo, &redis).await?;
    let browser = Browser::new()?;
    // From here on nothing is asked of the second replica: its tokens are good for minutes.
    let open = async || {
        sign_in(&browser, &one, &provider, "ann", 300).await?;
        let cookie = browser.cookie(HOST, COOKIE).context("no session")?;
        let cookie = format!("{COOKIE}={cookie}");
        let fields = [("Cookie", cookie.as_str()), ("Origin", two.origin.as_str())];
        Socket::ready(two.gateway.address(), &fields).await
    };

    // The person signs out.
    let opened = open().await?;
    let out = browser.script(Method::POST, &one.url("/bff/logout"))?;
    assert_eq!(browser.send(out).await?.status(), 200);
    assert_eq!(opened.closed().await?.0, 4403);

    // The provider says so.
    let opened = open().await?;
    let now = ftgo_tests::issuer::unix_time();
    let claims = json!({
        "iss": provider.url, "aud": ftgo_tests::provider::CLIENT, "iat": now, "exp": now + 60, "jti": "1", "sub": "ann",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    });
    let token = provider.signed("logout+jwt", &claims)?;
    let tell = reqwest::Client::new().post(one.url("/bff/backchannel"));
    let told = tell.form(&[("logout_token", token)]).send().await?;
    assert_eq!(told.status(), 200);
    assert_eq!(opened.closed().await?.0, 4403);

    // What ended while nobody could be told is found out afterwards.
    let opened = open().await?;
    redis.kill().await?;
    store_is(&two, 0.0).await?;
    redis.restart().await?;
    store_is(&two, 1.0).await?;
    assert_eq!(opened.closed().await?.0, 4403);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_has_opened_ends_also_where_the_session_is_not_known_any_more() -> Result<()>
{
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    let redis = Redis::start().await?;
    // Each replica has room for a handful: whoever comes takes somebody's place.
    let (one, two) = two_with(&provider, &echo, &redis, "max_sessions = 1\n").await?;
    let open = async |subject: &str| -> Result<(Browser, Socket)> {
        let browser = Browser::new()?;
        sign_in(&browser, &one, &provider, subject, 300).await?;
        let cookie = browser.cookie(HOST, COOKIE).context("no session")?;
        let cookie = format!("{COOKIE}={cookie}");
        let fields = [("Cookie", cookie.as_str()), ("Origin", two.origin.as_str())];
        let socket = Socket::ready(two.gateway.address(), &fields).await?;
        Ok((browser, socket))
    };
    let (ann, of_ann) = open("ann").await?;
    let (_bob, of_bob) = open("bob").await?;
    for number in 0..60 {
        let other = Browser::new()?;
        sign_in(&other, &one, &provider, &format!("other-{number}"), 300).await?;
        assert_eq!(user(&other, &two).await?, 200);
    }

    let out = ann.script(Method::POST, &one.url("/bff/logout"))?;
    assert_eq!(ann.send(out).await?.status(), 200);
    assert_eq!(of_ann.closed().await?.0, 4403);

    // The provider tells the replica where it was opened.
    let now = ftgo_tests::issuer::unix_time();
    let claims = json!({
        "iss": provider.url, "aud": ftgo_tests::provider::CLIENT, "iat": now, "exp": now + 60, "jti": "1", "sub": "bob",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    });
    let token = provider.signed("logout+jwt", &claims)?;
    let tell = reqwest::Client::new().post(two.url("/bff/backchannel"));
    let told = tell.form(&[("logout_token", token)]).send().await?;
    assert_eq!(told.status(), 200);
    assert_eq!(of_bob.closed().await?.0, 4403);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_took_too_long_takes_nothing_back_that_another_replica_has_renewed()
-> Result<()> {
    let (provider, echo) = (Provider::start().await?, Echo::start().await?);
    let redis = Redis::start().await?;
    let (one, two) = two(&provider, &echo, &redis).await?;
    let browser = Arc::new(Browser::new()?);
    sign_in(&browser, &one, &provider, "ann", 1).await?;
    // The provider's and the gateway's seconds: there is nothing to look at but the clock.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let mut claims = provider.id_claims("ann", "");
    claims.as_object_mut().map(|claims| claims.remove("nonce"));
    let tokens = provider.tokens(&claims, 300, "refresh-2")?;
    // Both replicas ask with the same token, which is good for one of them.
    let mut spent = false;
    provider.answers(move |_| {
        if std::mem::replace(&mut spent, true) {
            (400, json!({"error": "invalid_grant"}))
        } else {
            (200, tokens.clone())
        }
    });
    provider.hold(true);
    let ask = |web: &Web| {
        let (url, browser) = (web.url("/bff/user"), Arc::clone(&browser));
        tokio::spawn(async move {
            let request = browser.script(Method::GET, &url)?;
            anyhow::Ok(browser.send(request).await?.status().as_u16())
        })
    };
    let first = ask(&one);
    eventually("the provider is asked", async || {
        Ok((provider.refreshes() == 1).then_some(()))
    })
    .await?;
    // As if the first replica had been away for longer than its lease.
    let keys = redis.command("KEYS *:refresh").await?;
    let lease = keys.lines().find(|line| line.ends_with(":refresh"));
    redis
        .command(&format!("DEL {}", lease.context("no lease")?))
        .await?;
    provider.hold_these();
    assert_eq!(ask(&two).await??, 200);
    assert_eq!(provider.refreshes(), 2);
    provider.hold(false);
    assert_eq!(first.await??, 200);
    // The session goes on, everywhere.
    assert_eq!(user(&browser, &one).await?, 200);
    assert_eq!(user(&browser, &two).await?, 200);
    Ok(())
}
