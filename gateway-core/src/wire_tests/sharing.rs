//! Nobody ever receives what is another's: thousands of random requests of random callers, at once and over real sockets,
//! through a gateway with several workers that stores and shares whatever it can. The service answers with what it was
//! sent, so that every answer says for whom it was made.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::auth::api_key::{self, Environment};
use crate::cache::Lifetime;
use crate::context::RequestContext;
use crate::error::Error;
use crate::extract::{JsonBody, PathParam};
use crate::gateway::{App, Gateway, RunningGateway};
use crate::route::Routes;
use crate::store::redis::test_server::TestRedis;
use crate::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use crate::{config, events};

const CASES: usize = 10_000;
const CLIENTS: usize = 48;
const CALLERS: usize = 6;
const FLAVOUR: HeaderName = HeaderName::from_static("x-flavour");

/// How many answers were not made for their requests, by route and what differs.
type Wrong = BTreeMap<(&'static str, &'static str), usize>;

struct World {
    /// Replicas, before the same service.
    gateways: Vec<RunningGateway>,
    keys: Vec<String>,
    /// How often the service was asked.
    asked: Arc<AtomicUsize>,
}

/// Answers with what it was sent, a little later: identical requests meet.
async fn echo(State(asked): State<Arc<AtomicUsize>>, request: Request) -> Response {
    asked.fetch_add(1, Ordering::Relaxed);
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let caller = parts.headers.get("x-internal-token").map(|token| {
        let claims = token.to_str().unwrap().split('.').nth(1).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
        serde_json::from_slice::<Value>(&claims).unwrap()["sub"].clone()
    });
    let flavour = parts.headers.get(FLAVOUR);
    tokio::time::sleep(Duration::from_micros(fastrand::u64(..3000))).await;
    let answer = json!({
        "caller": caller,
        "path": parts.uri.path(),
        "flavour": flavour.map(|value| value.to_str().unwrap()),
        "body": String::from_utf8_lossy(&body),
    });
    // That what was asked for with credentials is for everybody has to be said; where it is not, nothing may hang on it.
    let lifetime = "public, max-age=1";
    let headers = [("cache-control", lifetime), ("vary", "x-flavour")];
    (headers, Json(answer)).into_response()
}

#[derive(Clone)]
struct Clients {
    widgets: UpstreamClient,
}

impl Clients {
    async fn read(
        &self,
        context: RequestContext,
        path: String,
        headers: &HeaderMap,
        stored: bool,
    ) -> Result<Json<Value>, Error> {
        let mut call = self.widgets.get(context, &path);
        if let Some(flavour) = headers.get(FLAVOUR) {
            call = call.header(FLAVOUR, flavour.clone());
        }
        if stored {
            call = call.cached(Lifetime::seconds(1)).tagged([path]);
        }
        Ok(Json(call.json_answer().await?))
    }
}

async fn stored(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Error> {
    let path = format!("/stored/{id}");
    clients.read(context, path, &headers, true).await
}

async fn everybody(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Error> {
    let path = format!("/everybody/{id}");
    clients
        .read(context.for_everybody(), path, &headers, true)
        .await
}

async fn joined(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Error> {
    let path = format!("/joined/{id}");
    clients.read(context, path, &headers, false).await
}

async fn change(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Json<Value>, Error> {
    let path = format!("/stored/{id}");
    let call = clients.widgets.post(context, &path, &body).tagged([path]);
    Ok(Json(call.json_answer().await?))
}

fn routes(upstreams: &Upstreams, _: &config::Config) -> Result<Routes, UnknownUpstream> {
    let clients = Clients {
        widgets: upstreams.client("widgets")?,
    };
    Ok(Routes::new()
        .get("stored", "/stored/{id}", stored)
        .get("everybody", "/everybody/{id}", everybody)
        .get("joined", "/joined/{id}", joined)
        .post("change", "/stored/{id}", change)
        .with_state(clients))
}

fn signing_key() -> String {
    let pair = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der.as_ref())
    )
}

impl World {
    async fn start() -> Self {
        Self::of_replicas(1, "").await
    }

    /// With more in the configuration of each.
    async fn of_replicas(count: usize, more: &str) -> Self {
        crate::install_crypto();
        let asked = Arc::<AtomicUsize>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = axum::Router::new()
            .fallback(echo)
            .with_state(Arc::clone(&asked));
        tokio::spawn(async { axum::serve(listener, service).await });

        let mut text = format!(
            r#"
            [server]
            address = "127.0.0.1:0"
            workers = 3
            lame_duck = "0ms"
            [admin]
            address = "127.0.0.1:0"
            [internal_token]
            key = '''{}'''
            [upstreams.widgets]
            address = "http://{address}"
            [[routes]]
            name = "passed"
            path = "/passed/{{id}}"
            upstream = "widgets"
            access = "authenticated"
            cache = "private"
            [[routes]]
            name = "passed-to-everybody"
            path = "/passed-to-everybody/{{id}}"
            upstream = "widgets"
            access = "authenticated"
            cache = "shared"
            [api_keys]
            prefix = "acme"
            "#,
            signing_key()
        );
        for route in ["stored", "everybody", "joined", "change"] {
            write!(text, "[policies.{route}]\naccess = \"authenticated\"\n").unwrap();
        }
        let mut keys = Vec::new();
        for number in 0..CALLERS {
            let key = api_key::generate("acme", Environment::Test).unwrap();
            write!(
                text,
                "[[api_keys.keys]]\nid = \"k{number}\"\nowner = \"caller-{number}\"\nhash = \"sha256:{}\"\n",
                key.hash_hex
            )
            .unwrap();
            keys.push(key.secret);
        }
        text.push_str(more);
        let app = App {
            name: "widgets",
            routes,
            tags: events::no_tags,
            tables: &[],
            announce: None,
        };
        let start = |_| Gateway::start(app, config::from_text(&[&text]).unwrap()).unwrap();
        Self {
            gateways: (0..count).map(start).collect(),
            keys,
            asked,
        }
    }

    /// Sends so many random requests, and gives those whose answer was not made for them, by what differs.
    async fn run(&self, cases: usize, seed: u64) -> Wrong {
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let client = Client {
                bases: self
                    .gateways
                    .iter()
                    .map(|gateway| format!("http://{}", gateway.address()))
                    .collect(),
                keys: self.keys.clone(),
                random: fastrand::Rng::with_seed(seed + number as u64),
                // A connection of its own: on whichever worker.
                http: reqwest::Client::builder().no_proxy().build().unwrap(),
            };
            clients.spawn(client.run(cases / CLIENTS + 1));
        }
        let mut wrong = Wrong::new();
        while let Some(found) = clients.join_next().await {
            for (what, count) in found.unwrap() {
                *wrong.entry(what).or_default() += count;
            }
        }
        wrong
    }
}

struct Client {
    bases: Vec<String>,
    keys: Vec<String>,
    random: fastrand::Rng,
    http: reqwest::Client,
}

impl Client {
    async fn run(mut self, cases: usize) -> Wrong {
        let mut wrong = BTreeMap::new();
        for _ in 0..cases {
            if let Some(what) = self.case().await {
                *wrong.entry(what).or_default() += 1;
            }
        }
        wrong
    }

    /// One request; what of its answer was not made for it.
    async fn case(&mut self) -> Option<(&'static str, &'static str)> {
        let random = &mut self.random;
        let base = &self.bases[random.usize(..self.bases.len())];
        let caller = random.usize(..self.keys.len());
        let route = [
            "stored",
            "joined",
            "everybody",
            "passed",
            "passed-to-everybody",
        ][random.usize(..5)];
        let path = format!("/{route}/{}", random.u8(..3));
        let flavour = [None, Some("sweet"), Some("sour")][random.usize(..3)];
        let changes = route == "stored" && random.u8(..8) == 0;
        let body = changes.then(|| json!({"paint": random.u32(..)}));
        let method = if changes { Method::POST } else { Method::GET };
        let mut request = self
            .http
            .request(method, format!("{base}{path}"))
            .header("x-api-key", &self.keys[caller])
            // Replicas have one name.
            .header("host", "gateway.example");
        if let Some(flavour) = flavour {
            request = request.header(FLAVOUR, HeaderValue::from_static(flavour));
        }
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let answer: Value = answer.json().await.unwrap();

        let shared = route.ends_with("everybody");
        let caller = (!shared).then(|| format!("caller-{caller}"));
        let flavour = flavour.filter(|_| !changes);
        let body = body.map_or_else(String::new, |body| body.to_string());
        [
            ("caller", json!(caller)),
            ("path", json!(path)),
            ("flavour", json!(flavour)),
            ("body", json!(body)),
        ]
        .into_iter()
        .find_map(|(what, expected)| (answer[what] != expected).then_some((route, what)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_receives_what_is_anothers() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let world = World::start().await;
    let wrong = world.run(CASES, seed).await;
    assert_eq!(wrong, BTreeMap::new(), "seed {seed}");
    // And it was not for want of sharing.
    let asked = world.asked.load(Ordering::Relaxed);
    assert!(asked < CASES / 2, "the service was asked {asked} times");
}

/// The negative control: with keys that do not say who is calling, the same test finds that it matters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_caller_in_the_key_the_test_would_notice() {
    let world = World::start().await;
    world.gateways[0].shared().reads.forget_identity();
    let composed = world.run(CASES / 10, 7).await;
    world.gateways[0].shared().cache.forget_identity();
    let all = world.run(CASES / 10, 7).await;
    // On composed routes, and then on passthrough routes, too.
    for (wrong, route, expected) in [
        (&composed, "stored", true),
        (&composed, "passed", false),
        (&all, "passed", true),
        (&all, "everybody", false),
        (&all, "passed-to-everybody", false),
    ] {
        let found = wrong.get(&(route, "caller")).copied().unwrap_or_default();
        assert_eq!(found > 3, expected, "{route}: {wrong:?}");
    }
}

/// Replicas that share responses through Redis.
async fn two_replicas(redis: &TestRedis) -> World {
    let url = redis.url();
    let more = format!(
        "[redis]\nurl = \"{url}\"\nreplicas = 2\ntimeout = \"1s\"\nshare_responses = true\n"
    );
    let world = World::of_replicas(2, &more).await;
    for gateway in &world.gateways {
        let second = gateway.shared().reads.tags.second_level().cloned().unwrap();
        let patience = Instant::now() + Duration::from_secs(20);
        while !second.readiness().0 {
            assert!(Instant::now() < patience, "{:?}", second.readiness());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_receives_what_is_anothers_through_another_replica() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let redis = TestRedis::start().await;
    let world = two_replicas(&redis).await;
    let wrong = world.run(CASES / 3, seed).await;
    assert_eq!(wrong, BTreeMap::new(), "seed {seed}");
    // And it was not for want of sharing.
    for gateway in &world.gateways {
        let second = gateway.shared().reads.tags.second_level().cloned().unwrap();
        assert!(second.metrics().hit.value() > 0);
    }
}

/// The negative control: when what was answered to one caller goes there, too, the same test finds that it matters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_replicas_shared_what_is_somebodys_the_test_would_notice() {
    let redis = TestRedis::start().await;
    let world = two_replicas(&redis).await;
    for gateway in &world.gateways {
        let tags = &gateway.shared().reads.tags;
        tags.second_level().unwrap().be_careless();
    }
    let wrong = world.run(CASES / 10, 7).await;
    for (route, expected) in [
        ("passed", true),
        ("passed-to-everybody", false),
        ("stored", false),
    ] {
        let found = wrong.get(&(route, "caller")).copied().unwrap_or_default();
        assert_eq!(found > 3, expected, "{route}: {wrong:?}");
    }
}
