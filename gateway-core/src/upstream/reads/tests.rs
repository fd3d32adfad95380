//! Reads against a service that answers when the test lets it: what is shared, stored, purged, and shown when it fails.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::Reads;
use crate::auth::{ApiKeyPrincipal, Principal};
use crate::cache::Lifetime;
use crate::config;
use crate::context::{RequestContext, Staleness};
use crate::error::UpstreamErrorKind;
use crate::metrics::Metrics;
use crate::upstream::tests::with_reads;
use crate::upstream::{Call, SharedUpstreams, UpstreamClient, UpstreamError};

const LONG: Duration = Duration::from_secs(20);

/// The service: counts what it is asked, and answers as the test says.
struct Service {
    /// A permit for every answer that it may give.
    answers: Semaphore,
    asked: AtomicUsize,
    /// Requests that were given up before they were answered.
    cancelled: AtomicUsize,
    failing: AtomicBool,
    garbage: AtomicBool,
}

struct Cancelled<'a>(Option<&'a AtomicUsize>);

impl Drop for Cancelled<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn answer(State(service): State<Arc<Service>>, request: Request) -> Response {
    let number = service.asked.fetch_add(1, Ordering::SeqCst) + 1;
    let mut cancelled = Cancelled(Some(&service.cancelled));
    service.answers.acquire().await.unwrap().forget();
    cancelled.0 = None;
    if service.failing.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match request.uri().path() {
        "/missing" => StatusCode::NOT_FOUND.into_response(),
        "/unstorable" => ([("cache-control", "no-store")], axum::Json(number)).into_response(),
        _ if service.garbage.load(Ordering::SeqCst) => {
            ([("content-type", "application/json")], "{").into_response()
        }
        _ => axum::Json(number).into_response(),
    }
}

/// A client of the service, and what all clients share.
struct World {
    service: Arc<Service>,
    reads: Reads,
    client: UpstreamClient,
}

impl World {
    /// A service that answers at once.
    async fn new() -> Self {
        let world = Self::held().await;
        world.service.answers.add_permits(1 << 20);
        world
    }

    /// A service that answers when it is let.
    async fn held() -> Self {
        Self::held_with("connect_timeout = \"15s\"\n").await
    }

    async fn held_with(more: &str) -> Self {
        crate::install_crypto();
        let service = Arc::new(Service {
            answers: Semaphore::new(0),
            asked: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
            garbage: AtomicBool::new(false),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&service));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let text = format!("[upstreams.widgets]\naddress = \"http://{address}\"\n{more}");
        let config = config::from_text(&[&text]).unwrap();
        let metrics = Metrics::new(1);
        let reads = Reads::new(1 << 20, &Arc::default(), &metrics);
        let shared = SharedUpstreams::new(&config.upstreams, 1, &metrics);
        let upstreams = with_reads(0, &shared, &reads);
        Self {
            service,
            reads,
            client: upstreams.client("widgets").unwrap(),
        }
    }

    fn asked(&self) -> usize {
        self.service.asked.load(Ordering::SeqCst)
    }

    /// Waits until the service has been asked so often.
    async fn is_asked(&self, times: usize) {
        eventually(|| self.asked() == times).await;
    }

    fn call(&self, context: RequestContext) -> Call {
        self.client
            .get(context, "/widgets/1")
            .cached(Lifetime::seconds(600))
            .tagged(["widget:1"])
    }

    fn start(&self, context: RequestContext) -> JoinHandle<Result<usize, UpstreamError>> {
        let call = self.call(context).json_answer();
        tokio::spawn(call)
    }

    async fn read(&self) -> usize {
        self.call(of("ann")).json_answer().await.unwrap()
    }
}

async fn eventually(mut condition: impl FnMut() -> bool) {
    let give_up = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < give_up, "did not come true");
        sleep(Duration::from_millis(2)).await;
    }
}

fn principal(owner: &str) -> Principal {
    Principal::ApiKey(Arc::new(ApiKeyPrincipal {
        key_id: "k".to_owned(),
        owner: owner.to_owned(),
        scopes: Vec::new(),
        attributes: BTreeMap::new(),
    }))
}

fn of(owner: &str) -> RequestContext {
    RequestContext::for_tests_as(principal(owner), LONG)
}

#[tokio::test]
async fn a_thousand_identical_reads_are_one_call() {
    let world = World::held().await;
    let waiting: Vec<_> = (0..1000).map(|_| world.start(of("ann"))).collect();
    world.is_asked(1).await;
    world.service.answers.add_permits(1000);
    for answer in join_all(waiting).await {
        assert_eq!(answer.unwrap().unwrap(), 1);
    }
    assert_eq!(world.asked(), 1);
    assert_eq!(world.reads.flights.len(), 0);
}

#[tokio::test]
async fn a_thousand_callers_are_a_thousand_calls() {
    let world = World::held().await;
    let waiting: Vec<_> = (0..1000)
        .map(|number| world.start(of(&format!("caller-{number}"))))
        .collect();
    world.is_asked(1000).await;
    world.service.answers.add_permits(1000);
    let mut answers: Vec<usize> = join_all(waiting)
        .await
        .into_iter()
        .map(|answer| answer.unwrap().unwrap())
        .collect();
    answers.sort_unstable();
    assert_eq!(answers, (1..=1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn callers_share_what_is_for_everybody_only() {
    let world = World::new().await;
    for (owner, expected) in [("ann", 1), ("bob", 2), ("ann", 1)] {
        let answer: usize = world.call(of(owner)).json_answer().await.unwrap();
        assert_eq!(answer, expected, "{owner}");
    }
    for owner in ["ann", "bob"] {
        let context = of(owner).for_everybody();
        let answer: usize = world.call(context).json_answer().await.unwrap();
        assert_eq!(answer, 3, "{owner}");
    }
}

#[tokio::test]
async fn what_was_asked_before_a_purge_is_neither_stored_nor_joined() {
    let world = World::held().await;
    let before = world.start(of("ann"));
    world.is_asked(1).await;
    // The event passes while the service still has the answer.
    world.reads.tags.purge("widget:1");
    let after = world.start(of("ann"));
    world.is_asked(2).await;
    world.service.answers.add_permits(1);
    assert_eq!(before.await.unwrap().unwrap(), 1);
    assert_eq!(world.reads.parts.len(), 0);
    world.service.answers.add_permits(10);
    assert_eq!(after.await.unwrap().unwrap(), 2);
    assert_eq!(world.read().await, 2);
    world.reads.tags.purge("widget:2");
    assert_eq!(world.read().await, 2);
    world.reads.tags.purge("widget:1");
    assert_eq!(world.read().await, 3);
    world.reads.tags.expire_all();
    assert_eq!(world.read().await, 4);
}

#[tokio::test]
async fn what_is_not_stored_is_not_joined_after_a_purge_either() {
    let world = World::held().await;
    let start = || {
        let call = world.client.get(of("ann"), "/widgets/1");
        tokio::spawn(call.tagged(["widget:1"]).json_answer::<usize>())
    };
    let before = start();
    world.is_asked(1).await;
    world.reads.tags.purge("widget:1");
    let after = start();
    world.is_asked(2).await;
    world.service.answers.add_permits(2);
    let (before, after) = (before.await.unwrap(), after.await.unwrap());
    assert_eq!((before.unwrap(), after.unwrap()), (1, 2));
}

#[tokio::test]
async fn what_a_reader_says_of_its_answer_counts_whoever_stored_it() {
    let world = World::new().await;
    let read = async |seconds, tags: &[&str]| {
        let lifetime = Lifetime::seconds(seconds);
        let call = world.client.get(of("ann"), "/widgets/1").cached(lifetime);
        call.tagged(tags).json_answer::<usize>().await.unwrap()
    };
    assert_eq!(read(600, &[]).await, 1);
    // It depends on more.
    world.reads.tags.purge("widget:1");
    assert_eq!(read(600, &[]).await, 1);
    assert_eq!(read(600, &["widget:1"]).await, 2);
    // It wants it newer.
    assert_eq!(read(600, &[]).await, 2);
    assert_eq!(read(0, &[]).await, 3);
}

#[tokio::test]
async fn a_command_purges_before_it_answers_and_ends_joining() {
    let world = World::held().await;
    let before = world.start(of("ann"));
    world.is_asked(1).await;
    let command = world
        .client
        .post(of("bob"), "/widgets/1/paint", &json!({}))
        .tagged(["widget:1"]);
    let command = tokio::spawn(command.json_answer::<usize>());
    world.is_asked(2).await;
    world.service.answers.add_permits(2);
    command.await.unwrap().unwrap();
    before.await.unwrap().unwrap();
    world.service.answers.add_permits(10);
    assert_eq!(world.read().await, 3);

    // A read of something else at the same upstream, under way while the command ended, may have missed what it did.
    world.service.answers.forget_permits(100);
    let other = |world: &World| {
        tokio::spawn(
            world
                .client
                .get(of("ann"), "/widgets/2")
                .json_answer::<usize>(),
        )
    };
    let first = other(&world);
    world.is_asked(4).await;
    let command = world.client.post(of("ann"), "/widgets/2/paint", &json!({}));
    let command = tokio::spawn(command.json_answer::<usize>());
    world.is_asked(5).await;
    let second = other(&world);
    sleep(Duration::from_millis(20)).await;
    assert_eq!(world.asked(), 5);
    world
        .reads
        .command_ended([world.reads.commands_to("widgets")], &[])
        .await;
    let third = other(&world);
    world.is_asked(6).await;
    world.service.answers.add_permits(10);
    command.await.unwrap().unwrap();
    assert_eq!(first.await.unwrap().unwrap(), 4);
    assert_eq!(second.await.unwrap().unwrap(), 4);
    assert_eq!(third.await.unwrap().unwrap(), 6);
}

#[tokio::test]
async fn stale_data_stands_in_only_where_the_client_is_told() {
    let world = World::new().await;
    assert_eq!(world.read().await, 1);
    world.service.failing.store(true, Ordering::SeqCst);
    assert_eq!(world.read().await, 1, "still fresh");
    world.reads.tags.expire_all();
    let silent = world.call(of("ann")).json_answer::<usize>().await;
    assert_eq!(silent.unwrap_err().reason(), "upstream_error");
    let staleness = Arc::<Staleness>::default();
    let context = of("ann").noting(&staleness);
    let stale: usize = world.call(context.clone()).json_answer().await.unwrap();
    assert_eq!(stale, 1);
    assert_eq!(staleness.get(), Some((0, "upstream_error")));
    // What is known to have changed is not shown.
    world.reads.tags.purge("widget:1");
    let gone = world.call(context).json_answer::<usize>().await;
    assert_eq!(gone.unwrap_err().reason(), "upstream_error");
}

#[tokio::test]
async fn stale_data_stands_in_for_a_service_that_hangs_while_there_is_time() {
    let world = World::held().await;
    world.service.answers.add_permits(1);
    assert_eq!(world.read().await, 1);
    world.reads.tags.expire_all();
    let staleness = Arc::<Staleness>::default();
    let context = RequestContext::for_tests_as(principal("ann"), Duration::from_secs(3));
    let call = world.call(context.noting(&staleness));
    assert_eq!(call.json_answer::<usize>().await.unwrap(), 1);
    assert_eq!(staleness.get().unwrap().1, "timeout");
    // For what waits for it, and for the answer.
    assert!(!context.deadline().has_passed());
}

#[tokio::test]
async fn failures_garbage_and_what_a_service_forbids_are_not_stored() {
    let world = World::new().await;
    let get = |path: &'static str| {
        world
            .client
            .get(of("ann"), path)
            .cached(Lifetime::seconds(600))
            .json_answer::<Value>()
    };
    assert!(get("/missing").await.unwrap_err().is_not_found());
    get("/unstorable").await.unwrap();
    world.service.garbage.store(true, Ordering::SeqCst);
    assert_eq!(
        get("/widgets/1").await.unwrap_err().reason(),
        "invalid_response"
    );
    world.service.failing.store(true, Ordering::SeqCst);
    assert_eq!(
        get("/widgets/1").await.unwrap_err().reason(),
        "upstream_error"
    );
    assert_eq!(world.reads.parts.len(), 0);
}

#[tokio::test]
async fn a_call_ends_with_its_last_waiter() {
    let world = World::held().await;
    let first = world.start(of("ann"));
    world.is_asked(1).await;
    let second = world.start(of("ann"));
    let third = world.start(of("ann"));
    sleep(Duration::from_millis(20)).await;
    // Whoever began it may go.
    first.abort();
    second.abort();
    sleep(Duration::from_millis(20)).await;
    assert_eq!(world.service.cancelled.load(Ordering::SeqCst), 0);
    third.abort();
    eventually(|| world.service.cancelled.load(Ordering::SeqCst) == 1).await;
    eventually(|| world.reads.flights.len() == 0).await;
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn a_waiter_has_its_own_deadline_whoever_began_the_call() {
    let world = World::held().await;
    let short = || RequestContext::for_tests_as(principal("ann"), Duration::from_millis(200));
    // The longer one began: the shorter one gives up alone.
    let long = world.start(of("ann"));
    world.is_asked(1).await;
    let late = world.start(short()).await.unwrap().unwrap_err();
    assert_eq!(late.kind, UpstreamErrorKind::Timeout);
    world.service.answers.add_permits(1);
    assert_eq!(long.await.unwrap().unwrap(), 1);
    world.reads.tags.purge("widget:1");

    // The shorter one began: the longer one asks again when that has come to nothing.
    let began = world.start(short());
    world.is_asked(2).await;
    let long = world.start(of("ann"));
    let late = began.await.unwrap().unwrap_err();
    assert_eq!(late.kind, UpstreamErrorKind::Timeout);
    world.is_asked(3).await;
    world.service.answers.add_permits(10);
    assert_eq!(long.await.unwrap().unwrap(), 3);
}

/// A time that is set for attempts is the same for all of them: what has just hung is not repeated for each who waited.
#[tokio::test]
async fn an_attempt_that_was_given_up_is_given_up_for_all_who_wait() {
    let more =
        "connect_timeout = \"1s\"\ntimeout = \"1s\"\n[upstreams.widgets.retry]\nretries = 0\n";
    let world = World::held_with(more).await;
    let first = world.start(of("ann"));
    world.is_asked(1).await;
    let others: Vec<_> = (0..20).map(|_| world.start(of("ann"))).collect();
    let first = first.await.unwrap().unwrap_err();
    assert_eq!(first.kind, UpstreamErrorKind::Timeout);
    for other in join_all(others).await {
        assert_eq!(other.unwrap().unwrap_err().kind, UpstreamErrorKind::Timeout);
    }
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn the_client_may_keep_what_is_everybodys_for_what_is_left() {
    let world = World::new().await;
    let lifetime = |context: &RequestContext| context.lifetime().as_secs();
    // What is the caller's own is asked for in the first round, and stored in the second.
    for _ in 0..2 {
        let everybody = of("ann");
        let call = world.call(everybody.for_everybody());
        call.json_answer::<usize>().await.unwrap();
        assert!((598..600).contains(&lifetime(&everybody)), "{everybody:?}");
        // With one part that is the caller's own the whole is.
        world
            .call(everybody.clone())
            .json_answer::<usize>()
            .await
            .unwrap();
        assert_eq!(lifetime(&everybody), 0);
    }
}
