//! Sessions of browsers in bff-web: signing in and out with FTGO's identity provider, and what a cookie is worth. What a
//! provider can do wrong is in `session/answers.rs`, replicas are in `session/replicas.rs`, the certified provider is in
//! `session/certified.rs`.

mod answers;
pub(crate) mod certified;
mod refresh;
mod replicas;

use anyhow::{Context, Result};
use ftgo_runner::service::Service;
use ftgo_tests::System;
use ftgo_tests::browser::{Browser, location, parameter};
use ftgo_tests::system::eventually;
use ftgo_tests::web::choose;
use reqwest::{Method, Url};
use serde_json::{Value, json};

const HOST: &str = "127.0.0.1";
const COOKIE: &str = "__Host-ftgo";

/// Signs in at the whole system's bff-web; the session's cookie.
pub(crate) async fn sign_in(system: &System, browser: &Browser, subject: &str) -> Result<String> {
    let login = browser.open(&system.web_url("/bff/login")).await?;
    let authorize = location(&login).context("no location")?;
    let callback = choose(browser, &authorize, subject).await?;
    let landed = browser.open(&callback).await?;
    assert_eq!(landed.status(), 303, "{landed:?}");
    browser.cookie(HOST, COOKIE).context("no session")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_uses_the_shop_and_signs_out() -> Result<()> {
    let system = System::start().await?;
    let browser = Browser::new()?;
    let user = system.web_url("/bff/user");
    let anonymous = browser.send(browser.script(Method::GET, &user)?).await?;
    assert_eq!(anonymous.status(), 401);
    assert_eq!(
        anonymous.headers()["content-type"],
        "application/problem+json"
    );

    let login = browser
        .open(&system.web_url("/bff/login?returnUrl=%2Fgraphiql%3Fa%3Db"))
        .await?;
    assert_eq!(login.status(), 303);
    assert_eq!(login.headers()["cache-control"], "no-store");
    let authorize = location(&login).context("no location")?;
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "bff-web"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(
            parameter(&authorize, name).as_deref(),
            Some(value),
            "{authorize}"
        );
    }
    for name in ["state", "nonce", "code_challenge"] {
        let length = parameter(&authorize, name).map_or(0, |value| value.len());
        assert!(length >= 22, "{name} in {authorize}");
    }
    let callback = choose(&browser, &authorize, "consumer-1").await?;
    let landed = browser.open(&callback).await?;
    assert_eq!(landed.status(), 303, "{landed:?}");
    assert_eq!(location(&landed).as_deref(), Some("/graphiql?a=b"));
    assert_eq!(landed.headers()["cache-control"], "no-store");

    // What the browser has: a cookie that only servers see, of which nothing can be learned, and no login.
    let set = browser
        .set_cookies
        .lock()
        .map_err(|_| anyhow::anyhow!("poisoned"))?
        .clone();
    let session = set
        .iter()
        .find(|line| line.starts_with("__Host-ftgo="))
        .context("no session cookie")?;
    for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(session.contains(attribute), "{session}");
    }
    let login = set
        .iter()
        .find(|line| line.starts_with("__Host-ftgo-login-") && line.contains("Max-Age=600"))
        .context("no login cookie")?;
    for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(login.contains(attribute), "{login}");
    }
    let names = browser.cookies(HOST);
    assert_eq!(names, [COOKIE, "ftgo-identity-session"], "{names:?}");
    let value = browser.cookie(HOST, COOKIE).context("no session")?;
    assert_eq!(value.len(), 43, "{value}");

    let me: Value = browser
        .send(browser.script(Method::GET, &user)?)
        .await?
        .json()
        .await?;
    assert_eq!(me["sub"], "consumer-1");
    assert_eq!(me["roles"], json!(["consumer"]));
    assert_eq!(me["claims"]["name"], "Consumer One");
    assert_eq!(me["claims"]["email"], "consumer-1@ftgo.example");
    assert!(!me.to_string().contains("token"), "{me}");

    // GraphQL and forwarded routes know the person; the cookie stays here.
    let query = json!({"query": "{ me { id roles consumer { firstName } } }"});
    let request = browser.script(Method::POST, &system.web_url("/graphql"))?;
    let answer: Value = browser.send(request.json(&query)).await?.json().await?;
    assert_eq!(answer["data"]["me"]["id"], "consumer-1", "{answer}");
    let token = system.token("consumer-1").await?;
    let order = system.approved_order(&token).await?;
    let url = system.web_url(&format!("/api/orders/{order}"));
    let found = browser.send(browser.script(Method::GET, &url)?).await?;
    assert_eq!(found.status(), 200, "{found:?}");
    assert_eq!(found.headers()["cache-control"], "private", "{found:?}");
    let other = Browser::new()?;
    sign_in(&system, &other, "consumer-2").await?;
    let hidden = other.send(other.script(Method::GET, &url)?).await?;
    assert_eq!(hidden.status(), 404, "{hidden:?}");
    let staff = Browser::new()?;
    sign_in(&system, &staff, "staff-1").await?;
    let refused = staff.send(staff.script(Method::GET, &url)?).await?;
    assert_eq!(refused.status(), 403, "{refused:?}");

    // Signing out needs a page of ours, ends the session, and says where the provider ends its own.
    let logout = system.web_url("/bff/logout");
    let bare = browser
        .send(browser.request(Method::POST, &logout)?)
        .await?;
    assert_eq!(bare.status(), 403, "{bare:?}");
    let out = browser.send(browser.script(Method::POST, &logout)?).await?;
    assert_eq!(out.status(), 200, "{out:?}");
    let out: Value = out.json().await?;
    let end = out["logoutUrl"].as_str().context("no logoutUrl")?;
    assert!(end.starts_with(&format!(
        "http://{}/end-session?",
        system.address(Service::Identity)?
    )));
    let back = parameter(end, "post_logout_redirect_uri");
    assert_eq!(back.as_deref(), Some(system.web_url("/").as_str()));
    assert_eq!(browser.cookie(HOST, COOKIE), None);
    // Also for whoever has kept the cookie.
    browser.put_cookie(HOST, COOKIE, &value);
    assert_eq!(
        browser
            .send(browser.script(Method::GET, &user)?)
            .await?
            .status(),
        401
    );
    assert_eq!(
        browser
            .send(browser.script(Method::GET, &url)?)
            .await?
            .status(),
        401
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_command_with_the_cookie_comes_from_our_own_pages() -> Result<()> {
    let system = System::start().await?;
    let browser = Browser::new()?;
    sign_in(&system, &browser, "consumer-1").await?;
    let token = system.token("consumer-1").await?;
    let order = system.approved_order(&token).await?;
    let url = system.web_url(&format!("/api/orders/{order}/cancel"));
    let send = async |fields: &[(&str, &str)]| -> Result<u16> {
        let mut request = browser.request(Method::POST, &url)?;
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Ok(browser.send(request).await?.status().as_u16())
    };
    let own = system.web_url("");
    for fields in [
        &[][..],
        &[("x-csrf", "1")],
        &[("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "cross-site"), ("x-csrf", "1")],
        &[("sec-fetch-site", "same-site"), ("x-csrf", "1")],
        &[("sec-fetch-site", "none"), ("x-csrf", "1")],
        &[("origin", "http://127.0.0.1:1"), ("x-csrf", "1")],
        &[("origin", "null"), ("x-csrf", "1")],
    ] {
        assert_eq!(send(fields).await?, 403, "{fields:?}");
    }
    // With credentials of its own the cookie is not looked at: consumer-2 has no such order.
    let other = format!("Bearer {}", system.token("consumer-2").await?);
    assert_eq!(send(&[("authorization", &other)]).await?, 404);
    assert_eq!(send(&[("authorization", "Bearer nonsense")]).await?, 401);
    assert_eq!(send(&[("origin", &own), ("x-csrf", "1")]).await?, 202);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_in_several_tabs_end_each_where_it_began() -> Result<()> {
    let system = System::start().await?;
    let browser = Browser::new()?;
    let mut tabs = Vec::new();
    for to in ["/one", "/two", "/three"] {
        let login = browser
            .open(&system.web_url(&format!("/bff/login?returnUrl={to}")))
            .await?;
        tabs.push((to, location(&login).context("no location")?));
    }
    let mut sessions = Vec::new();
    for (to, authorize) in tabs.iter().rev() {
        let callback = choose(&browser, authorize, "consumer-1").await?;
        let landed = browser.open(&callback).await?;
        assert_eq!(location(&landed).as_deref(), Some(*to), "{landed:?}");
        sessions.push(browser.cookie(HOST, COOKIE).context("no session")?);
        // A callback is good once: nobody can be signed in by it again.
        let again = browser.open(&callback).await?;
        assert_eq!(again.status(), 400);
        let problem: Value = again.json().await?;
        assert_eq!(problem["type"], "/problems/sign-in-failed");
    }
    // Every sign-in makes another id, and the ones before are of no use.
    sessions.dedup();
    assert_eq!(sessions.len(), 3);
    let user = system.web_url("/bff/user");
    let mut statuses = Vec::new();
    for session in &sessions {
        let one = Browser::new()?;
        one.put_cookie(HOST, COOKIE, session);
        statuses.push(
            one.send(one.script(Method::GET, &user)?)
                .await?
                .status()
                .as_u16(),
        );
    }
    assert_eq!(statuses, [401, 401, 200]);

    // Logins that nobody finishes do not pile up.
    for _ in 0..12 {
        browser.open(&system.web_url("/bff/login")).await?;
    }
    let logins = browser.cookies(HOST);
    let logins = logins
        .iter()
        .filter(|name| name.starts_with("__Host-ftgo-login-"));
    assert!(logins.count() <= 8);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_can_lock_out_whoever_has_signed_in() -> Result<()> {
    let system = System::start().await?;
    let browser = Browser::new()?;
    sign_in(&system, &browser, "consumer-1").await?;
    let user = system.web_url("/bff/user");
    let ask = async || -> Result<u16> {
        let request = browser.script(Method::GET, &user)?;
        Ok(browser.send(request).await?.status().as_u16())
    };
    assert_eq!(ask().await?, 200);
    let issuer = format!("http://{}", system.address(Service::Identity)?);
    let revoked = system
        .http
        .post_raw(
            &format!("http://{}/revocations", system.web.admin_address()),
            &json!({"issuer": issuer, "sub": "consumer-1"}),
        )
        .await?;
    assert_eq!(revoked.status(), 204);
    assert_eq!(ask().await?, 401);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_at_the_provider_ends_every_session_that_began_there() -> Result<()> {
    let system = System::start().await?;
    let (first, second) = (Browser::new()?, Browser::new()?);
    sign_in(&system, &first, "consumer-1").await?;
    // The same person at the same provider's session has signed in once more, without being asked.
    let signed_in = "ftgo-identity-session";
    let at_provider = first.cookie(HOST, signed_in).context("not signed in")?;
    second.put_cookie(HOST, signed_in, &at_provider);
    let login = second.open(&system.web_url("/bff/login")).await?;
    let authorize = location(&login).context("no location")?;
    let silent = second.open(&format!("{authorize}&prompt=none")).await?;
    let callback = location(&silent).context("no location")?;
    assert_eq!(second.open(&callback).await?.status(), 303);
    // And elsewhere: the same person, and somebody else.
    let (elsewhere, other) = (Browser::new()?, Browser::new()?);
    sign_in(&system, &elsewhere, "consumer-1").await?;
    sign_in(&system, &other, "consumer-2").await?;
    let users = async || -> Result<Vec<u16>> {
        let mut statuses = Vec::new();
        for browser in [&first, &second, &elsewhere, &other] {
            let request = browser.script(Method::GET, &system.web_url("/bff/user"))?;
            statuses.push(browser.send(request).await?.status().as_u16());
        }
        Ok(statuses)
    };
    assert_eq!(users().await?, [200, 200, 200, 200]);

    // One of them signs out, here and at the provider.
    let request = first.script(Method::POST, &system.web_url("/bff/logout"))?;
    let out: Value = first.send(request).await?.json().await?;
    let end = Url::parse(out["logoutUrl"].as_str().context("no logoutUrl")?)?;
    let form: Vec<(String, String)> = end.query_pairs().into_owned().collect();
    let mut page = end.clone();
    page.set_query(None);
    let ended = first.submit(page.as_str(), &form).await?;
    assert_eq!(ended.status(), 303, "{ended:?}");
    eventually("the other one has ended", async || {
        Ok((users().await? == [401, 401, 200, 200]).then_some(()))
    })
    .await?;

    // An operator ends what is left of the person.
    let end = format!(
        "http://{}/dev/sessions/end?sub=consumer-1",
        system.address(Service::Identity)?
    );
    let ended = system.http.post_raw(&end, &json!({})).await?;
    assert_eq!(ended.status(), 200);
    eventually("all of the person's have ended", async || {
        Ok((users().await? == [401, 401, 401, 200]).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_url_cannot_lead_off_the_site() -> Result<()> {
    let system = System::start().await?;
    let browser = Browser::new()?;
    for to in [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/%2Fevil.example",
        "/%5Cevil.example",
        "/\t/evil.example",
        "/\r\nx: y",
        "/bff/login",
        "",
    ] {
        let to = gateway_core::encode::query_value(to);
        let url = system.web_url(&format!("/bff/login?returnUrl={to}"));
        let refused = browser.open(&url).await?;
        assert_eq!(refused.status(), 400, "{to}");
    }
    let twice = system.web_url("/bff/login?returnUrl=/&returnUrl=//evil.example");
    assert_eq!(browser.open(&twice).await?.status(), 400);
    assert!(browser.cookies(HOST).is_empty());
    Ok(())
}
