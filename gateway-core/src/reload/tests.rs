//! Reloads of a gateway at work, over real sockets and with real files: nobody notices one, and a bad file changes nothing.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod carried;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use http::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::auth::api_key::{self, Environment, NewApiKey};
use crate::config;
use crate::gateway::{App, Gateway, RunningGateway};
use crate::route::Routes;

const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway with a file of its own, and a service behind it that answers `/wait` when it is told to.
struct World {
    folder: TempDir,
    service: String,
    waiting: Arc<AtomicUsize>,
    done: Arc<AtomicUsize>,
    release: Arc<Semaphore>,
    gateway: RunningGateway,
    http: reqwest::Client,
}

fn app() -> App {
    App {
        name: "reloaded",
        routes: |_, _| Ok(Routes::new().with_state(())),
        tags: crate::events::no_tags,
        tables: &[],
        announce: None,
    }
}

fn route(name: &str, more: &str) -> String {
    format!(
        "[[routes]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"service\"\naccess = \"public\"\n{more}\n"
    )
}

impl World {
    async fn start(text: &str) -> Self {
        Self::start_at(text, |folder| folder.join("gateway.toml")).await
    }

    /// `place` says where the file is in the folder.
    async fn start_at(text: &str, place: impl Fn(&Path) -> PathBuf) -> Self {
        crate::telemetry::install_crypto();
        let waiting = Arc::new(AtomicUsize::new(0));
        let done = Arc::new(AtomicUsize::new(0));
        let release = Arc::new(Semaphore::new(0));
        let wait = {
            let (waiting, done, release) = (waiting.clone(), done.clone(), release.clone());
            move || async move {
                waiting.fetch_add(1, Ordering::SeqCst);
                release.acquire().await.unwrap().forget();
                done.fetch_add(1, Ordering::SeqCst);
                "waited"
            }
        };
        let router = axum::Router::new()
            .route("/wait", axum::routing::any(wait))
            .route("/events", axum::routing::get(events))
            .fallback(|| async {
                sleep(Duration::from_millis(5)).await;
                "here"
            });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });

        let folder = tempfile::tempdir().unwrap();
        let file = place(folder.path());
        fs::write(&file, whole(&service, text)).unwrap();
        let config = config::from_files(&[file]).unwrap();
        Self {
            gateway: Gateway::start(app(), config).unwrap(),
            folder,
            service,
            waiting,
            done,
            release,
            http: reqwest::Client::new(),
        }
    }

    /// Puts another file in the place of the one that is there, as an editor does.
    fn write(&self, text: &str) {
        let new = self.folder.path().join("gateway.toml.new");
        fs::write(&new, whole(&self.service, text)).unwrap();
        fs::rename(new, self.folder.path().join("gateway.toml")).unwrap();
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.address())
    }

    async fn get(&self, path: &str) -> StatusCode {
        let answer = self.http.get(self.url(path)).send().await.unwrap();
        answer.status()
    }

    async fn admin(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.gateway.admin_address());
        self.http
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    async fn report(&self) -> Value {
        serde_json::from_str(&self.admin("/config").await).unwrap()
    }

    /// Waits for a report that `fits`.
    async fn reports(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = timeout(PATIENCE, async {
            loop {
                last = self.report().await;
                if fits(&last) {
                    return;
                }
                sleep(Duration::from_millis(10)).await;
            }
        });
        let found = found.await.is_ok();
        assert!(found, "{what}: {last}");
        last
    }

    async fn waits(&self, number: usize) {
        let there = timeout(PATIENCE, async {
            while self.waiting.load(Ordering::SeqCst) < number {
                sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(there.await.is_ok(), "the service was not asked");
    }
}

/// One event, and silence.
async fn events() -> impl axum::response::IntoResponse {
    let first = stream::once(async { Ok::<_, std::io::Error>("data: 1\n\n") });
    let body = axum::body::Body::from_stream(first.chain(stream::pending()));
    ([("content-type", "text/event-stream")], body)
}

fn whole(service: &str, text: &str) -> String {
    let server = if text.contains("[server]") {
        ""
    } else {
        "[server]\naddress = \"127.0.0.1:0\"\nworkers = 2\nlame_duck = \"0ms\"\n"
    };
    format!(
        "{server}[admin]\naddress = \"127.0.0.1:0\"\n[upstreams.service]\naddress = \"{service}\"\n{text}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_of_the_app_is_given_up_and_taken_back_without_a_restart() {
    let world = World::start(&route("always", "")).await;
    let becomes = async |status: StatusCode| {
        let became = timeout(PATIENCE, async {
            let ask = || {
                world
                    .http
                    .get(world.url("/always"))
                    .header("app-version", "1.9")
            };
            while ask().send().await.unwrap().status() != status {
                sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(became.await.is_ok(), "it did not become {status}");
    };
    becomes(StatusCode::OK).await;
    let gate = "[app_version]\nminimum = \"2\"\nstore_url = \"https://store.example/app\"\n";
    world.write(&format!("{}{gate}", route("always", "")));
    world.gateway.reload();
    becomes(StatusCode::FORBIDDEN).await;
    // A gate that does not say where to go is no configuration: the one before stays.
    let wall = "[app_version]\nminimum = \"3\"\nrecommended = \"2.x\"\n";
    let text = whole(&world.service, &format!("{}{wall}", route("always", "")));
    let faults = config::from_text(&[&text]).unwrap_err().to_string();
    for key in ["app_version.recommended", "app_version.store_url"] {
        assert!(faults.contains(key), "{faults}");
    }
    world.write(&route("always", ""));
    world.gateway.reload();
    becomes(StatusCode::OK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_run_through_ten_reloads() {
    let world = Arc::new(World::start(&route("always", "")).await);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (world, stop) = (Arc::clone(&world), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut good, mut bad) = (0, Vec::new());
                let mut http = reqwest::Client::new();
                while !stop.load(Ordering::SeqCst) {
                    if good % 10 == 9 {
                        // On a new connection.
                        http = reqwest::Client::new();
                    }
                    let answer = http.get(world.url("/always")).send().await;
                    match answer {
                        Ok(answer) if answer.status() == StatusCode::OK => {
                            match answer.text().await.as_deref() {
                                Ok("here") => good += 1,
                                other => bad.push(format!("{other:?}")),
                            }
                        }
                        other => bad.push(format!("{other:?}")),
                    }
                }
                (good, bad)
            })
        })
        .collect();
    for reload in 1..=10 {
        let before = world.report().await["generation"].as_u64().unwrap();
        let more = route(&format!("added-{reload}"), "");
        world.write(&format!("{}{more}", route("always", "")));
        world.gateway.reload();
        world
            .reports("the next generation", |report| {
                report["generation"].as_u64().unwrap() > before
                    && report["configuration"]["routes"][1]["name"] == format!("added-{reload}")
            })
            .await;
        assert_eq!(world.get(&format!("/added-{reload}")).await, StatusCode::OK);
    }
    stop.store(true, Ordering::SeqCst);
    let mut good = 0;
    for client in clients {
        let (answered, bad) = client.await.unwrap();
        assert!(bad.is_empty(), "{bad:?}");
        good += answered;
    }
    assert!(good > 100, "only {good} requests ran");
    let metrics = world.admin("/metrics").await;
    assert!(!metrics.contains("outcome=\"failure\"} 1"), "{metrics}");
    assert!(metrics.contains("gateway_config_last_reload_success 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_changes_nothing_and_is_told_whole() {
    let world = World::start(&route("always", "")).await;
    let bad = format!(
        "{}[rate_limits.x]\nrate = \"often\"\n[cache]\nmax_bites = 1\n",
        route("new", "limits = [\"y\"]")
    );
    world.write(&bad);
    world.gateway.reload();
    let report = world
        .reports("a refusal", |report| {
            report["lastReload"]["outcome"] == "failure"
        })
        .await;
    let faults: Vec<&str> = report["lastReload"]["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["path"].as_str().unwrap())
        .collect();
    for path in [
        "rate_limits.x.rate",
        "cache.max_bites",
        "routes[0].limits[0]",
    ] {
        assert!(faults.contains(&path), "{path}: {faults:?}");
    }
    assert_eq!(report["generation"], 1);
    assert_eq!(report["configuration"]["routes"][0]["name"], "always");
    assert_eq!(world.get("/always").await, StatusCode::OK);
    assert_eq!(world.get("/new").await, StatusCode::NOT_FOUND);
    let metrics = world.admin("/metrics").await;
    for line in [
        "gateway_config_reloads_total{outcome=\"failure\"} 1",
        "gateway_config_reloads_total{outcome=\"success\"} 0",
        "gateway_config_last_reload_success 0",
        "gateway_config_generation 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }

    // Repaired, and nobody sends a signal.
    world.write(&route("new", ""));
    world
        .reports("the repaired file", |report| {
            report["lastReload"]["outcome"] == "success"
                && report["lastReload"]["trigger"] == "file_change"
                && report["generation"] == 2
        })
        .await;
    assert_eq!(world.get("/new").await, StatusCode::OK);
    assert_eq!(world.get("/always").await, StatusCode::NOT_FOUND);
    assert!(
        world
            .admin("/metrics")
            .await
            .contains("gateway_config_last_reload_success 1")
    );
}

/// A mounted ConfigMap: `gateway.toml` → `..data/gateway.toml`, and `..data` → a folder for each version.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_points_elsewhere_is_a_change() {
    let world = World::start_at(&route("one", ""), |folder| {
        fs::create_dir(folder.join("..v1")).unwrap();
        symlink("..v1", folder.join("..data")).unwrap();
        fs::write(folder.join("..v1/gateway.toml"), "").unwrap();
        symlink("..data/gateway.toml", folder.join("gateway.toml")).unwrap();
        folder.join("gateway.toml")
    })
    .await;
    assert_eq!(world.get("/one").await, StatusCode::OK);
    for (version, name) in [("..v2", "two"), ("..v3", "three")] {
        let folder = world.folder.path();
        fs::create_dir(folder.join(version)).unwrap();
        let text = whole(&world.service, &route(name, ""));
        fs::write(folder.join(version).join("gateway.toml"), text).unwrap();
        symlink(version, folder.join("..new")).unwrap();
        fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
        world
            .reports(name, |report| {
                report["configuration"]["routes"][0]["name"] == name
            })
            .await;
        assert_eq!(world.get(&format!("/{name}")).await, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_key_is_refused_from_then_on() {
    let [kept, removed] = [(); 2].map(|()| api_key::generate("acme", Environment::Live).unwrap());
    let text = |keys: &[(&str, &NewApiKey)]| {
        let mut text = "[api_keys]\nprefix = \"acme\"\n".to_owned();
        for (id, key) in keys {
            text.push_str(&format!(
                "[[api_keys.keys]]\nid = \"{id}\"\nowner = \"partner\"\nhash = \"sha256:{}\"\n",
                key.hash_hex
            ));
        }
        let closed = route("closed", "").replace("\"public\"", "\"authenticated\"");
        format!("{text}{closed}")
    };
    let world = World::start(&text(&[("kept", &kept), ("removed", &removed)])).await;
    let status = async |key: &NewApiKey| {
        let request = world.http.get(world.url("/closed"));
        let answer = request.bearer_auth(&key.secret).send().await.unwrap();
        answer.status()
    };
    assert_eq!(status(&kept).await, StatusCode::OK);
    assert_eq!(status(&removed).await, StatusCode::OK);
    let shown = world.admin("/config").await;
    assert!(shown.contains("\"removed\""), "{shown}");
    assert!(!shown.contains(&removed.hash_hex), "{shown}");

    world.write(&text(&[("kept", &kept)]));
    world.gateway.reload();
    world
        .reports("the reload", |report| report["generation"] == 2)
        .await;
    assert_eq!(status(&kept).await, StatusCode::OK);
    assert_eq!(status(&removed).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_ends_on_the_edge_that_it_began_with() {
    let world = World::start(&route("wait", "deadline = \"15s\"")).await;
    let running = tokio::spawn(world.http.get(world.url("/wait")).send());
    world.waits(1).await;
    world.write(&route("other", ""));
    world.gateway.reload();
    world
        .reports("the reload", |report| report["generation"] == 2)
        .await;
    assert_eq!(world.get("/wait").await, StatusCode::NOT_FOUND);
    world.release.add_permits(1);
    let answer = running.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.text().await.unwrap(), "waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_commands_of_former_edges() {
    let post = "methods = [\"POST\"]\ndeadline = \"15s\"";
    let world = World::start(&route("wait", post)).await;
    let request = world.http.post(world.url("/wait"));
    // A client that goes away: its command goes on.
    let sent = tokio::spawn(request.send());
    world.waits(1).await;
    sent.abort();
    world.write(&route("other", ""));
    world.gateway.reload();
    world
        .reports("the reload", |report| report["generation"] == 2)
        .await;
    let World {
        gateway,
        release,
        done,
        ..
    } = world;
    let drain = tokio::spawn(gateway.drain());
    // The drain has nothing else to wait for.
    sleep(Duration::from_millis(100)).await;
    assert!(!drain.is_finished());
    release.add_permits(1);
    timeout(PATIENCE, drain).await.unwrap().unwrap();
    assert_eq!(done.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_stay_and_the_report_says_what_needs_a_restart() {
    let world = World::start(&route("always", "")).await;
    let text = format!(
        "[server]\naddress = \"127.0.0.1:1\"\nworkers = 3\nlame_duck = \"0ms\"\nmax_body = \"1KiB\"\n{}{}",
        route("always", ""),
        route("new", "")
    );
    world.write(&text);
    world.gateway.reload();
    let report = world
        .reports("the reload", |report| report["generation"] == 2)
        .await;
    let keys: Vec<&str> = report["needsRestart"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["server.address", "server.workers"]);
    assert_eq!(report["needsRestart"][0]["configured"], "127.0.0.1:1");
    assert_eq!(report["configuration"]["server"]["workers"], 2);
    assert_eq!(report["configuration"]["server"]["max_body"], "1KiB");
    assert_eq!(report["configuration"]["deadline"]["default"], "3s");
    assert_eq!(world.get("/new").await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_stays_the_same_is_not_granted_anew() {
    let limit = |burst: u32| {
        format!(
            "[rate_limits.total]\nkey = \"route\"\nrate = \"1/h\"\nburst = {burst}\n{}",
            route("always", "limits = [\"total\"]")
        )
    };
    let world = World::start(&limit(2)).await;
    assert_eq!(world.get("/always").await, StatusCode::OK);
    // Another route in front: the bucket is the route's by its name, not by its place.
    world.write(&limit(2).replace("[[routes]]", &format!("{}[[routes]]", route("first", ""))));
    world.gateway.reload();
    world
        .reports("the reload", |report| report["generation"] == 2)
        .await;
    assert_eq!(world.get("/always").await, StatusCode::OK);
    assert_eq!(world.get("/always").await, StatusCode::TOO_MANY_REQUESTS);
    // A limit that was raised counts from the start.
    world.write(&limit(3));
    world.gateway.reload();
    world
        .reports("the reload", |report| report["generation"] == 3)
        .await;
    assert_eq!(world.get("/always").await, StatusCode::OK);
}
