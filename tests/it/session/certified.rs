//! bff-web with `oidc-provider`, a certified OpenID provider on Node: signing in on its pages, refreshing, signing out, and
//! its word by the back channel. It is on `localhost`, another site than bff-web on `127.0.0.1`.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ftgo_tests::browser::{Browser, location, parameter};
use ftgo_tests::provider::{CLIENT, SECRET};
use ftgo_tests::system::eventually;
use ftgo_tests::web::{Echo, Web};
use reqwest::{Method, Url};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::answers::user;
use super::{COOKIE, HOST};

/// The provider's process. It ends with the test.
pub(crate) struct Certified {
    pub(crate) issuer: String,
    lines: Arc<Mutex<Vec<Value>>>,
    _child: Child,
    _stdin: Option<ChildStdin>,
}

impl Certified {
    async fn start(origin: &str) -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        ensure!(
            folder.join("node_modules").exists(),
            "the provider is not installed: `scripts/setup.sh test` does it"
        );
        let mut child = Command::new("node")
            .arg("provider.mjs")
            .current_dir(folder)
            .env("ORIGIN", origin)
            .env("NODE_ENV", "test")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("Node cannot be started")?;
        let output = child.stdout.take().context("no output")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        tokio::spawn(async move {
            let mut output = BufReader::new(output).lines();
            while let Ok(Some(line)) = output.next_line().await {
                if let Ok(line) = serde_json::from_str(&line) {
                    kept.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(line);
                }
            }
        });
        let mut certified = Self {
            issuer: String::new(),
            lines,
            _stdin: child.stdin.take(),
            _child: child,
        };
        let listening = eventually("the provider listens", async || {
            Ok(certified.events("listening").pop())
        });
        let listening = listening.await?;
        certified.issuer = listening["issuer"]
            .as_str()
            .context("no issuer")?
            .to_owned();
        Ok(certified)
    }

    fn events(&self, name: &str) -> Vec<Value> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .filter(|line| line["event"] == name)
            .cloned()
            .collect()
    }

    fn all(&self) -> Vec<Value> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn grants(&self, kind: &str) -> usize {
        let grants = self.events("grant");
        grants.iter().filter(|grant| grant["type"] == kind).count()
    }

    /// bff-web as its client.
    pub(crate) async fn web(echo: &Echo) -> Result<(Self, Web)> {
        let (listener, origin) = Web::reserve()?;
        let certified = Self::start(&origin).await?;
        let more = format!(
            "[[issuers]]\nissuer = \"{}\"\naudiences = [\"ftgo-web\"]\n\
             [session]\nclient_id = \"{CLIENT}\"\nclient_secret = '{SECRET}'\nrefresh_before = \"0s\"\n\
             scopes = [\"openid\", \"offline_access\", \"orders:read\"]\nparameters = {{ prompt = \"consent\" }}\n",
            certified.issuer
        );
        let web = Web::start_on(listener, echo.address, &more)?;
        web.is_ready().await?;
        Ok((certified, web))
    }

    /// The person's way through the provider's pages: a name, then consent. Where it ends, on our side.
    async fn sign_in(&self, browser: &Browser, web: &Web, name: &str, to: &str) -> Result<String> {
        let (mut at, mut page) = browser
            .visit(&web.url(&format!("/bff/login?returnUrl={to}")))
            .await?;
        for _ in 0..4 {
            ensure!(page.status() == 200, "{at}: {page:?}; {:?}", self.all());
            if at.as_str().starts_with(&web.origin) {
                return Ok(at.to_string());
            }
            let form = form(&page.text().await?, name)?;
            let sent = browser
                .submit(at.join(&form.action)?.as_str(), &form.fields)
                .await?;
            let next = location(&sent).with_context(|| format!("{sent:?}; {:?}", self.all()))?;
            // As a browser goes on by itself: to the provider, back to us, and to where the person wanted to go.
            let next = at.join(&next)?;
            (at, page) = browser.visit(next.as_str()).await?;
        }
        anyhow::bail!("pages without an end, at {at}: {:?}", self.all())
    }
}

struct Form {
    action: String,
    fields: Vec<(String, String)>,
}

/// The first form of one of the provider's pages, filled in.
fn form(html: &str, name: &str) -> Result<Form> {
    let form = html.split("<form").nth(1).context("no form")?;
    let form = form.split("</form>").next().unwrap_or_default();
    let attribute = |text: &str, name: &str| {
        let value = text.split(&format!("{name}=\"")).nth(1)?;
        Some(value.split('"').next()?.to_owned())
    };
    let mut fields = Vec::new();
    for input in form.split("<input").skip(1) {
        let input = input.split('>').next().unwrap_or_default();
        let field = attribute(input, "name").context("a field without a name")?;
        let value = match field.as_str() {
            "login" => name.to_owned(),
            "password" => "anything".to_owned(),
            _ => attribute(input, "value").unwrap_or_default(),
        };
        fields.push((field, value));
    }
    Ok(Form {
        action: attribute(form, "action").context("no action")?,
        fields,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_refreshing_and_signing_out_with_a_certified_provider() -> Result<()> {
    let echo = Echo::start().await?;
    let (certified, web) = Certified::web(&echo).await?;
    let browser = Arc::new(Browser::new()?);
    let landed = certified
        .sign_in(&browser, &web, "ann", "/api/orders/7")
        .await?;
    assert_eq!(landed, web.url("/api/orders/7"), "{:?}", certified.all());
    assert_eq!(certified.grants("authorization_code"), 1);
    let me: Value = browser
        .send(browser.script(Method::GET, &web.url("/bff/user"))?)
        .await?
        .json()
        .await?;
    assert_eq!(me["sub"], "ann", "{me}");
    assert_eq!(me["roles"][0], "consumer");
    assert_eq!(me["claims"]["name"], "Somebody called ann");
    // The provider's cookies are the provider's, and ours are ours.
    assert!(browser.cookie(HOST, COOKIE).is_some());
    assert!(
        browser
            .cookies("localhost")
            .iter()
            .all(|name| name != COOKIE)
    );

    // The access token lives for three seconds.
    tokio::time::sleep(Duration::from_millis(4100)).await;
    let before = certified.grants("refresh_token");
    let asks: Vec<_> = (0..20)
        .map(|_| {
            let (browser, url) = (Arc::clone(&browser), web.url("/api/orders/7"));
            tokio::spawn(async move {
                let request = browser.script(Method::GET, &url)?;
                anyhow::Ok(browser.send(request).await?.status().as_u16())
            })
        })
        .collect();
    for ask in asks {
        assert_eq!(ask.await??, 200);
    }
    // What it logs comes through a pipe.
    eventually("the provider has logged it", async || {
        Ok((certified.grants("refresh_token") > before).then_some(()))
    })
    .await?;
    assert_eq!(
        certified.grants("refresh_token"),
        before + 1,
        "{:?}",
        certified.all()
    );

    // Signing out: here first, with the tokens; then on the provider's page.
    let kept = browser.cookie(HOST, COOKIE).context("no session")?;
    let out = browser
        .send(browser.script(Method::POST, &web.url("/bff/logout"))?)
        .await?;
    assert_eq!(out.status(), 200);
    let out: Value = out.json().await?;
    browser.put_cookie(HOST, COOKIE, &kept);
    assert_eq!(user(&browser, &web).await?, 401);
    browser.drop_cookie(HOST, COOKIE);
    eventually("the tokens are revoked", async || {
        Ok((!certified.events("grant revoked").is_empty()).then_some(()))
    })
    .await?;
    let end = out["logoutUrl"].as_str().context("no logoutUrl")?;
    assert_eq!(parameter(end, "id_token_hint"), None);
    let page = browser.open(end).await?.text().await?;
    let mut form = form(&page, "")?;
    form.fields.push(("logout".to_owned(), "yes".to_owned()));
    let action = Url::parse(end)?.join(&form.action)?;
    let back = browser.submit(action.as_str(), &form.fields).await?;
    assert_eq!(
        location(&back).as_deref(),
        Some(web.url("/").as_str()),
        "{back:?}"
    );
    assert!(
        certified.events("error").is_empty(),
        "{:?}",
        certified.all()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certified_provider_ends_sessions_by_the_back_channel() -> Result<()> {
    let echo = Echo::start().await?;
    let (certified, web) = Certified::web(&echo).await?;
    let (ann, bob) = (Browser::new()?, Browser::new()?);
    certified
        .sign_in(&ann, &web, "ann", "/api/orders/1")
        .await?;
    certified
        .sign_in(&bob, &web, "bob", "/api/orders/1")
        .await?;
    assert_eq!(user(&ann, &web).await?, 200);

    // Ann signs out at the provider, as from another application.
    let url = format!("{}/session/end?client_id={CLIENT}", certified.issuer);
    let page = ann.open(&url).await?.text().await?;
    let mut form = form(&page, "")?;
    form.fields.push(("logout".to_owned(), "yes".to_owned()));
    let action = Url::parse(&url)?.join(&form.action)?;
    ann.submit(action.as_str(), &form.fields).await?;
    eventually("the provider has told us", async || {
        let told = certified.events("backchannel");
        let refused = certified.events("backchannel refused");
        ensure!(refused.is_empty(), "{refused:?}");
        Ok((!told.is_empty()).then_some(()))
    })
    .await?;
    assert_eq!(user(&ann, &web).await?, 401);
    assert_eq!(user(&bob, &web).await?, 200);
    Ok(())
}
