//! Two gateways before one service, with responses shared through Redis: who reads through one after a command through the other
//! sees what it did. What is shared at all is tested in `cache/tests/replicas.rs`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::Method;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::cache::SecondLevel;
use crate::context::RequestContext;
use crate::error::Error;
use crate::extract::PathParam;
use crate::gateway::{App, Gateway, RunningGateway};
use crate::route::Routes;
use crate::store::redis::test_server::TestRedis;
use crate::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use crate::{config, events};

const PATIENT: Duration = Duration::from_secs(3);

/// How often each thing was painted.
type Things = Arc<Mutex<HashMap<String, u64>>>;

/// `GET /things/{id}`, `POST /things/{id}` and `POST /painters/{id}`.
async fn serve(State(things): State<Things>, request: Request) -> Response {
    let path = request.uri().path();
    let id = path.rsplit('/').next().unwrap().to_owned();
    let mut things = things.lock().unwrap();
    let painted = things.entry(id).or_default();
    if request.method() == Method::POST {
        *painted += 1;
    }
    ([("cache-control", "max-age=60")], Json(json!(*painted))).into_response()
}

async fn repaint(
    context: RequestContext,
    State(client): State<UpstreamClient>,
    PathParam(id): PathParam<String>,
) -> Result<Json<Value>, Error> {
    let call = client.post(context, format!("/painters/{id}"), &json!({}));
    Ok(Json(
        call.tagged([format!("thing:{id}")]).json_answer().await?,
    ))
}

fn routes(upstreams: &Upstreams, _: &config::Config) -> Result<Routes, UnknownUpstream> {
    Ok(Routes::new()
        .post("repaint", "/repaint/{id}", repaint)
        .with_state(upstreams.client("things")?))
}

struct Replica {
    gateway: RunningGateway,
    http: reqwest::Client,
}

impl Replica {
    /// When it is connected.
    async fn start(text: &str) -> Self {
        let app = App {
            name: "things",
            routes,
            tags: events::no_tags,
            tables: &[],
            announce: None,
        };
        let mut config = config::from_text(&[text]).unwrap();
        // Longer than a configuration may say: nothing else here takes as long.
        config.redis.as_mut().unwrap().timeout = PATIENT;
        let replica = Self {
            gateway: Gateway::start(app, config).unwrap(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        let second = replica.second();
        until(|| second.readiness().0).await;
        replica
    }

    fn second(&self) -> Arc<SecondLevel> {
        let shared = self.gateway.shared();
        Arc::clone(shared.reads.tags.second_level().unwrap())
    }

    /// How often it was painted, and what the cache did.
    async fn painted(&self, id: u64) -> (u64, String) {
        let url = format!("http://{}/things/{id}", self.gateway.address());
        // By the name that clients know, which is that of all replicas.
        let answer = sent(self.http.get(url).header("host", "gateway.example")).await;
        let said = answer.headers()["cache-status"]
            .to_str()
            .unwrap()
            .to_owned();
        (answer.json().await.unwrap(), said)
    }

    async fn post(&self, path: &str) {
        let url = format!("http://{}{path}", self.gateway.address());
        sent(self.http.post(url)).await;
    }

    async fn purge(&self, tag: &str) -> StatusCode {
        let url = format!("http://{}/purge", self.gateway.admin_address());
        let purge = self.http.post(url).json(&json!({"tags": [tag]}));
        purge.send().await.unwrap().status()
    }

    /// So that the other one would find it.
    async fn fill(&self, id: u64) {
        let second = self.second();
        let stored = second.metrics().stored.value();
        self.painted(id).await;
        until(|| second.metrics().stored.value() > stored).await;
    }
}

async fn sent(request: RequestBuilder) -> reqwest::Response {
    request.send().await.unwrap().error_for_status().unwrap()
}

async fn until(mut condition: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < patience, "it never came");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn two(redis: &TestRedis) -> [Replica; 2] {
    crate::install_crypto();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = listener.local_addr().unwrap();
    let router = axum::Router::new()
        .fallback(serve)
        .with_state(Things::default());
    tokio::spawn(async { axum::serve(listener, router).await });
    let url = redis.url();
    let text = format!(
        r#"
        [server]
        address = "127.0.0.1:0"
        workers = 1
        lame_duck = "0ms"
        [admin]
        address = "127.0.0.1:0"
        [redis]
        url = "{url}"
        replicas = 2
        share_responses = true
        [upstreams.things]
        address = "http://{service}"
        [[routes]]
        name = "thing"
        path = "/things/{{id}}"
        methods = ["GET", "POST"]
        upstream = "things"
        access = "public"
        cache = "shared"
        tags = ["thing:{{id}}"]
        [[routes]]
        name = "painters"
        path = "/painters/{{id}}"
        methods = ["POST"]
        upstream = "things"
        access = "public"
        tags = ["thing:{{id}}"]
        [policies.repaint]
        access = "public"
        "#
    );
    [Replica::start(&text).await, Replica::start(&text).await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_elsewhere_after_a_command_sees_what_it_did() {
    let redis = TestRedis::start().await;
    let [a, b] = two(&redis).await;
    for id in 0..30 {
        a.fill(id).await;
        // By its URI, by its tag, and by that of a composed command.
        let path = ["things", "painters", "repaint"][id as usize % 3];
        a.post(&format!("/{path}/{id}")).await;
        assert_eq!(b.painted(id).await.0, 1, "{path}");
    }
    // It was there to be found.
    a.fill(100).await;
    let (painted, said) = b.painted(100).await;
    assert!(
        painted == 0 && said.ends_with("detail=second-level"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_waits_for_redis_once_and_no_longer() {
    let redis = TestRedis::start().await;
    let [a, _b] = two(&redis).await;
    redis.pause();
    for (path, waits) in [("things", true), ("repaint", false)] {
        let began = Instant::now();
        a.post(&format!("/{path}/1")).await;
        // As `redis.timeout` says; who comes after that does not.
        let waited = began.elapsed() >= PATIENT;
        assert_eq!(waited, waits, "{path}: {:?}", began.elapsed());
    }
    redis.resume();
    let second = a.second();
    until(|| second.readiness().0 && second.metrics().purges_waiting.value() == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_is_told_whether_all_replicas_know() {
    let mut redis = TestRedis::start().await;
    let [a, b] = two(&redis).await;
    a.fill(1).await;
    assert_eq!(a.purge("thing:1").await, StatusCode::NO_CONTENT);
    assert!(!b.painted(1).await.1.contains("second-level"));
    redis.kill();
    let second = a.second();
    until(|| !second.readiness().0).await;
    assert_eq!(a.purge("thing:1").await, StatusCode::ACCEPTED);
    assert_eq!(a.painted(1).await.0, 0);
    redis.start_again().await;
    until(|| second.metrics().purges_waiting.value() == 0.0).await;
    assert_eq!(a.purge("thing:1").await, StatusCode::NO_CONTENT);
}
