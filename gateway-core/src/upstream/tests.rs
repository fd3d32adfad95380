//! What services see of the column, over real sockets: they count.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod breaker;
mod connections;
mod discovery;
mod retries;
mod service;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::status::UpstreamStatus;
use super::{Reads, SharedUpstreams, UpstreamClient, UpstreamError, UpstreamResponse, Upstreams};
use crate::auth::{ApiKeyPrincipal, Principal};
use crate::config;
use crate::context::RequestContext;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::store::Store;
use service::Service;

const TIME: Duration = Duration::from_secs(10);

/// One worker's clients, made from a configuration.
struct World {
    shared: SharedUpstreams,
    upstreams: Upstreams,
}

/// The context of a caller like no other: identical reads of one caller would be one call.
fn a_caller(budget: Duration) -> RequestContext {
    static CALLERS: AtomicUsize = AtomicUsize::new(0);
    let number = CALLERS.fetch_add(1, Ordering::Relaxed);
    let principal = Principal::ApiKey(Arc::new(ApiKeyPrincipal {
        key_id: "k".to_owned(),
        owner: format!("caller-{number}"),
        scopes: Vec::new(),
        attributes: BTreeMap::new(),
    }));
    RequestContext::for_tests_as(principal, budget)
}

/// A worker's upstreams; nothing is stored.
fn of_worker(worker: usize, shared: &SharedUpstreams, metrics: &Metrics) -> Upstreams {
    with_reads(worker, shared, &Reads::new(0, &Arc::default(), metrics))
}

/// A worker's upstreams.
pub(super) fn with_reads(worker: usize, shared: &SharedUpstreams, reads: &Reads) -> Upstreams {
    let (commands, events) = (TaskTracker::new(), Events::new(&reads.tags));
    let store = Store::new(None);
    Upstreams::new(shared, worker, &commands, None, reads, &events, &store)
}

impl World {
    fn new(text: &str) -> Self {
        let config = config::from_text(&[text]).unwrap();
        let metrics = Metrics::new(1);
        let shared = SharedUpstreams::new(&config.upstreams, 1, &metrics);
        let upstreams = of_worker(0, &shared, &metrics);
        Self { shared, upstreams }
    }

    /// One upstream `widgets` at these services.
    fn of(services: &[&Service], settings: &str) -> Self {
        let addresses: Vec<String> = services.iter().map(|s| s.quoted_url()).collect();
        Self::new(&format!(
            "[upstreams.widgets]\naddresses = [{}]\n{settings}",
            addresses.join(", ")
        ))
    }

    fn client(&self) -> UpstreamClient {
        self.upstreams.client("widgets").unwrap()
    }

    async fn get(&self, path: &str) -> Result<UpstreamResponse, UpstreamError> {
        self.get_within(path, TIME).await
    }

    async fn get_within(
        &self,
        path: &str,
        time: Duration,
    ) -> Result<UpstreamResponse, UpstreamError> {
        let context = a_caller(time);
        self.client().get(context, path).send().await
    }

    async fn post(&self, path: &str) -> Result<UpstreamResponse, UpstreamError> {
        let context = a_caller(TIME);
        self.client().post(context, path, &"body").send().await
    }

    fn status(&self) -> UpstreamStatus {
        self.shared.status().into_iter().next().unwrap()
    }
}

fn reason<T: std::fmt::Debug>(result: Result<T, UpstreamError>) -> &'static str {
    result.unwrap_err().reason()
}

/// Waits for what has to become true soon.
async fn until(mut holds: impl FnMut() -> bool) {
    tokio::time::timeout(TIME, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_service_that_hangs_takes_no_more_than_its_limit() {
    let (hanging, well) = (Service::start().await, Service::start().await);
    let world = World::new(&format!(
        "[upstreams.hanging]\naddress = {}\nmax_in_flight = 5\n[upstreams.widgets]\naddress = {}\n",
        hanging.quoted_url(),
        well.quoted_url()
    ));
    let client = world.upstreams.client("hanging").unwrap();
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let context = a_caller(TIME);
            tokio::spawn(client.get(context, "/hang").send())
        })
        .collect();
    until(|| hanging.seen("/hang") == 5).await;
    let began = tokio::time::Instant::now();
    for _ in 0..20 {
        let context = a_caller(TIME);
        assert_eq!(
            reason(client.get(context, "/hang").send().await),
            "overloaded"
        );
        assert_eq!(world.get("/ok").await.unwrap().status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(3), "nothing waited");
    assert_eq!(hanging.seen("/hang"), 5);
    // A call that is given up frees its place.
    for call in &calls {
        call.abort();
    }
    let status = || world.shared.status().into_iter().next().unwrap();
    until(|| status().in_flight == 0).await;
    let context = a_caller(TIME);
    assert!(client.get(context, "/ok").send().await.is_ok());
}

#[tokio::test]
async fn the_faster_endpoint_gets_the_calls() {
    let (fast, slow) = (Service::start().await, Service::start().await);
    // Slower than a busy machine makes the other one seem, which is remembered.
    slow.is_slow(Duration::from_millis(400));
    let world = World::of(&[&fast, &slow], "");
    for _ in 0..200 {
        world.get("/ok").await.unwrap();
    }
    let (fast, slow) = (fast.seen("/ok"), slow.seen("/ok"));
    assert!(slow < 20, "{fast} to the fast one, {slow} to the slow one");
}

#[tokio::test]
async fn one_dead_endpoint_of_three_fails_nothing() {
    let (a, b) = (Service::start().await, Service::start().await);
    let dead = Service::dead().await;
    let world = World::of(&[&a, &dead, &b], "");
    for _ in 0..60 {
        world.get("/ok").await.unwrap();
        // Nothing of it was sent to the dead one.
        world.post("/ok").await.unwrap();
    }
    assert_eq!(a.seen("/ok") + b.seen("/ok"), 120);
    // What fails fast does not look fast to the balancer.
    let status = world.status();
    assert_eq!(status.breaker.state, "closed");
    assert!(status.breaker.failures < 20, "{:?}", status.breaker);
}

#[tokio::test]
async fn endpoints_that_fail_fast_do_not_look_fast() {
    let (well, ill, worse) = (
        Service::start().await,
        Service::start().await,
        Service::start().await,
    );
    well.is_slow(Duration::from_millis(20));
    for service in [&ill, &worse] {
        service.fails(true);
    }
    let world = World::of(
        &[&ill, &well, &worse],
        "[upstreams.widgets.ejection]\nfailures = 1000\n[upstreams.widgets.breaker]\nenabled = false\n",
    );
    for _ in 0..60 {
        let _ = world.get("/maybe").await;
    }
    let failed = ill.seen("/maybe") + worse.seen("/maybe");
    // One of three pairs is of two that fail.
    assert!(failed < 40, "{failed} of 60 to those that fail");
}

#[tokio::test]
async fn a_limit_that_finds_itself_goes_down_when_the_service_has_too_much_to_do() {
    let service = Service::start().await;
    let world = World::of(
        &[&service],
        "max_in_flight = 200\nmin_in_flight = 4\n[upstreams.widgets.breaker]\nenabled = false\n",
    );
    for path in ["/ok", "/busy"] {
        let before = world.status().max_in_flight;
        for round in 0..200 {
            // How long answers take on a busy machine says little of the service.
            if round >= 20 && world.status().max_in_flight > before {
                break;
            }
            if round >= 20 && path == "/busy" {
                break;
            }
            // All at once, so that the limit is used.
            let calls = (0..before / 2 + 1).map(|_| world.post(path));
            futures_util::future::join_all(calls).await;
        }
        let after = world.status().max_in_flight;
        assert_eq!(
            path == "/ok",
            after > before,
            "{path}: {before}, then {after}"
        );
    }
}

#[tokio::test]
async fn an_endpoint_that_fails_is_left_out_and_comes_back() {
    let (well, ill) = (Service::start().await, Service::start().await);
    ill.fails(true);
    // The other one is slower, so that there is a reason to go on with it.
    well.is_slow(Duration::from_millis(60));
    let world = World::of(
        &[&well, &ill],
        "[upstreams.widgets.ejection]\nfailures = 3\nbase = \"1500ms\"\n[upstreams.widgets.breaker]\nenabled = false\n",
    );
    let out = || world.status().endpoints[1].state == "ejected";
    for _ in 0..500 {
        if out() {
            break;
        }
        let _ = world.get("/maybe").await;
    }
    assert!(out());
    well.is_slow(Duration::ZERO);
    let seen = ill.seen("/maybe");
    for _ in 0..20 {
        world.get("/maybe").await.unwrap();
    }
    assert_eq!(ill.seen("/maybe"), seen);
    ill.fails(false);
    until(|| !out()).await;
    // Its load is remembered for a while: what was there before has to be slower.
    well.is_slow(Duration::from_millis(30));
    for _ in 0..200 {
        world.get("/maybe").await.unwrap();
        if ill.seen("/maybe") > seen {
            return;
        }
    }
    panic!("it never came back");
}

#[tokio::test]
async fn what_is_configured_as_before_goes_on_after_a_reload() {
    let service = Service::start().await;
    let text = |limit: usize| {
        format!(
            "[upstreams.widgets]\naddress = {}\n[upstreams.gadgets]\naddress = {0}\nmax_in_flight = {limit}\n",
            service.quoted_url()
        )
    };
    let metrics = Metrics::new(1);
    let config = |limit| config::from_text(&[&text(limit)]).unwrap().upstreams;
    let before = SharedUpstreams::new(&config(7), 1, &metrics);
    let upstreams = of_worker(0, &before, &metrics);
    for name in ["widgets", "gadgets"] {
        let client = upstreams.client(name).unwrap();
        let context = a_caller(TIME);
        client.get(context, "/ok").send().await.unwrap();
    }
    let after = SharedUpstreams::after(&before, &config(8), 1, &metrics);
    drop((before, upstreams));
    let idle: Vec<usize> = after
        .status()
        .iter()
        .map(|upstream| upstream.endpoints[0].idle_connections)
        .collect();
    assert_eq!(idle, [0, 1], "only that of widgets was kept");
}
