//! bff-web with sessions, in front of one service that says what it was sent; and the whole system's sign-in page, as a
//! person uses it. What is asked of them is with the tests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use axum::extract::{Request, State};
use axum::{Json, Router};
use gateway_core::{Gateway, Inherited, RunningGateway, config};
use reqwest::{Response, Url};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::bff::Bff;
use crate::browser::{Browser, location};
use crate::provider::{CLIENT, Provider, SECRET};
use crate::system::eventually;

/// A service that answers with the fields that it was sent.
pub struct Echo {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Echo {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let router = Router::new().fallback(echo).with_state(Arc::clone(&seen));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, seen })
    }

    /// The fields of every request so far.
    pub fn seen(&self) -> Vec<Value> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn echo(State(seen): State<Arc<Mutex<Vec<Value>>>>, request: Request) -> Json<Value> {
    let mut fields = json!({});
    for (name, value) in request.headers() {
        fields[name.as_str()] = String::from_utf8_lossy(value.as_bytes())
            .into_owned()
            .into();
    }
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(fields.clone());
    Json(fields)
}

/// bff-web on a port that is known before it starts, so that providers can be told of it.
pub struct Web {
    pub gateway: RunningGateway,
    /// `http://127.0.0.1:…`
    pub origin: String,
}

impl Web {
    /// A free port, and the origin at it.
    pub fn reserve() -> Result<(std::net::TcpListener, String)> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let origin = format!("http://{}", listener.local_addr()?);
        Ok((listener, origin))
    }

    /// The shipped configuration, every service at `echo`, with `more` over it.
    pub fn start_on(listener: std::net::TcpListener, echo: SocketAddr, more: &str) -> Result<Self> {
        gateway_core::install_crypto();
        let origin = format!("http://{}", listener.local_addr()?);
        let mut overlay = format!(
            "[server]\nworkers = 2\nlame_duck = \"0ms\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
             [session]\nclient_secret = '{SECRET}'\npublic_url = \"{origin}\"\n\
             [internal_token]\nkey = '''\n{}'''\n",
            crate::bff::gateway_key().private_pem()
        );
        let shipped = config::from_text(&[Bff::Web.shipped()])?;
        for upstream in shipped.upstreams.keys() {
            overlay.push_str(&format!(
                "[upstreams.{upstream}]\naddress = \"http://{echo}\"\n"
            ));
        }
        let mut config = config::from_text(&[Bff::Web.shipped(), &overlay, more])?;
        // Nobody has a feed here.
        config.events = None;
        let inherited = Inherited {
            public: Some(listener),
            admin: None,
        };
        Ok(Self {
            gateway: Gateway::new(Bff::Web.app(), config)?.run_on(inherited)?,
            origin,
        })
    }

    /// In front of a provider of the test's own; `more` begins in `[session]`.
    pub async fn with(provider: &Provider, echo: &Echo, more: &str) -> Result<Self> {
        let (listener, _) = Self::reserve()?;
        let web = Self::start_on(listener, echo.address, &format!("{}{more}", of(provider)))?;
        web.is_ready().await?;
        Ok(web)
    }

    pub async fn is_ready(&self) -> Result<()> {
        let url = format!("http://{}/ready", self.gateway.admin_address());
        let http = reqwest::Client::new();
        eventually("the gateway is ready", async || {
            Ok((http.get(&url).send().await?.status() == 200).then_some(()))
        })
        .await
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// The value of a metric.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let url = format!("http://{}/metrics", self.gateway.admin_address());
        let text = reqwest::get(&url).await?.text().await?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .with_context(|| format!("no {name}"))?;
        Ok(value.parse()?)
    }
}

/// The tables for a provider of the test's own; what follows is in `[session]`.
pub fn of(provider: &Provider) -> String {
    format!(
        "[[issuers]]\nissuer = \"{}\"\naudiences = [\"ftgo-web\"]\nsubject_prefix = \"x-\"\n\
         [session]\nclient_id = \"{CLIENT}\"\n",
        provider.url
    )
}

/// Begins a login; the address at the provider that the browser is sent to.
pub async fn begin(browser: &Browser, web: &Web, return_url: &str) -> Result<String> {
    let url = web.url(&format!(
        "/bff/login?returnUrl={}",
        gateway_core::encode::query_value(return_url)
    ));
    let response = browser.open(&url).await?;
    ensure!(response.status() == 303, "{response:?}");
    location(&response).context("no location")
}

/// Chooses `subject` on the sign-in page of FTGO's identity provider at `authorize`; where that sends the browser.
pub async fn choose(browser: &Browser, authorize: &str, subject: &str) -> Result<String> {
    let url = Url::parse(authorize)?;
    let mut form: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    form.push(("sub".to_owned(), subject.to_owned()));
    let mut at = url;
    at.set_query(None);
    let response = browser.submit(at.as_str(), &form).await?;
    ensure!(response.status() == 303, "{response:?}");
    location(&response).context("no location")
}

/// The whole way, with FTGO's identity provider; the answer to the callback.
pub async fn sign_in(browser: &Browser, web: &Web, subject: &str, to: &str) -> Result<Response> {
    let authorize = begin(browser, web, to).await?;
    let callback = choose(browser, &authorize, subject).await?;
    browser.open(&callback).await
}
