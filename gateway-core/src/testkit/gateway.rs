//! A gateway of a test's own, in front of services of a test's own.

use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::answer::Answer;
use super::service::{FaultAt, Running, Seen, Service, World};
use crate::auth::api_key::{self, Environment};
use crate::config;
use crate::{App, Gateway, RunningGateway};

/// Everything that the tests of a BFF have in common.
#[derive(Clone, Copy)]
pub struct Setup {
    pub app: App,
    /// The shipped configuration, and what tests lay over it. Addresses and keys are the kit's.
    pub config: &'static [&'static str],
    pub services: &'static [Service],
    /// What API keys begin with.
    pub key_prefix: &'static str,
    /// The callers that tests use; the first one is who calls when nobody else is named.
    pub keys: &'static [Key],
    /// What services answer when a test says nothing else.
    pub usual: fn(&Seen) -> Answer,
}

/// A caller with an API key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub owner: &'static str,
    pub scopes: &'static [&'static str],
    pub attributes: &'static [(&'static str, &'static str)],
}

/// A gateway at work in front of services at work; all of it ends with this.
pub struct TestGateway {
    gateway: RunningGateway,
    _services: Vec<Running>,
    http: reqwest::Client,
    secrets: Vec<String>,
    world: Arc<World>,
}

impl TestGateway {
    /// With services that answer with `answers`, and as usual where that has nothing to say.
    pub async fn start(
        setup: &Setup,
        answers: impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let usual = setup.usual;
        let answers = move |seen: &Seen| answers(seen).unwrap_or_else(|| usual(seen));
        Self::with(setup, Arc::new(answers), None).await
    }

    /// With services that answer as usual, but for one call.
    pub(super) async fn with_fault(setup: &Setup, fault: Option<FaultAt>) -> Self {
        Self::with(setup, Arc::new(setup.usual), fault).await
    }

    async fn with(setup: &Setup, answers: super::service::Answers, fault: Option<FaultAt>) -> Self {
        crate::install_crypto();
        let world = Arc::new(World {
            answers,
            fault,
            seen: Mutex::default(),
            under_way: AtomicUsize::new(0),
        });
        let mut overlay = String::from(
            "[server]\naddress = \"127.0.0.1:0\"\nworkers = 1\nlame_duck = \"0ms\"\n\
             [admin]\naddress = \"127.0.0.1:0\"\n\
             [cache]\nparts_max_bytes = \"0B\"\n",
        );
        let mut services = Vec::new();
        for service in setup.services {
            let running = Running::start(*service, &world).await;
            let (name, address) = (service.name(), running.address);
            // Writing to a string does not fail.
            let _ = write!(
                overlay,
                "[upstreams.{name}]\naddress = \"http://{address}\"\nmax_response = \"64KiB\"\n"
            );
            services.push(running);
        }
        let secrets = add_keys(setup, &mut overlay);
        let mut texts = setup.config.to_vec();
        texts.push(&overlay);
        let mut config = config::from_text(&texts).unwrap();
        // Services see what requests make of them alone: nothing is stored, and nobody listens for events.
        config.events = None;
        // Nor does anything outlive a test.
        config.store.path = None;
        let gateway = Gateway::start(setup.app, config).unwrap();
        Self {
            gateway,
            _services: services,
            http: reqwest::Client::new(),
            secrets,
            world,
        }
    }

    /// A request of the first caller.
    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.request(Method::GET, path, 0)
    }

    /// A request of the first caller with `body` as JSON.
    pub fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.request(Method::POST, path, 0).json(body)
    }

    /// A request of one of the callers, by its place in [`Setup::keys`].
    pub fn request(&self, method: Method, path: &str, caller: usize) -> reqwest::RequestBuilder {
        self.anonymous(method, path)
            .bearer_auth(&self.secrets[caller])
    }

    /// A request of nobody.
    pub fn anonymous(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.gateway.address());
        self.http.request(method, url)
    }

    pub fn gateway(&self) -> &RunningGateway {
        &self.gateway
    }

    /// What services were asked so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.world.seen.lock().unwrap().clone()
    }

    /// Methods, paths and queries of what services were asked, sorted: calls at the same time have no order.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        let mut calls: Vec<_> = self.seen().iter().map(Seen::whole_call).collect();
        calls.sort();
        calls
    }

    /// How many requests services are working on: what has arrived and was neither answered nor given up.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.world.under_way.load(Ordering::SeqCst)
    }
}

fn add_keys(setup: &Setup, overlay: &mut String) -> Vec<String> {
    let mut secrets = Vec::new();
    if setup.keys.is_empty() {
        return secrets;
    }
    let _ = writeln!(overlay, "[api_keys]\nprefix = \"{}\"", setup.key_prefix);
    for (index, key) in setup.keys.iter().enumerate() {
        let made = api_key::generate(setup.key_prefix, Environment::Test).unwrap();
        let attributes: Vec<_> = key
            .attributes
            .iter()
            .map(|(name, value)| format!("{name} = {value:?}"))
            .collect();
        let _ = writeln!(
            overlay,
            "[[api_keys.keys]]\nid = \"test-{index}\"\nowner = {:?}\nhash = \"sha256:{}\"\nscopes = {:?}\n\
             attributes = {{ {} }}",
            key.owner,
            made.hash_hex,
            key.scopes,
            attributes.join(", ")
        );
        secrets.push(made.secret);
    }
    secrets
}

/// Waits until `condition` holds, with a bound.
///
/// # Panics
/// When it does not hold within ten seconds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("within ten seconds there was no moment in which {what}");
}
