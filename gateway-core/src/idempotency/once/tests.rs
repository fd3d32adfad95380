//! A key's life, recorded in the process's own store and in Redis: duplicates at once, clients and processes that go away,
//! refusals and failures. No service is called here.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::response::IntoResponse;
use futures_util::future::join_all;
use http::{HeaderValue, StatusCode};
use tempfile::TempDir;
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use super::{Idempotency, OnceAnswer};
use crate::RequestContext;
use crate::error::{ClientError, Error, Refusal};
use crate::idempotency::{IdempotencyKey, Payload, TABLES};
use crate::store::Store;
use crate::store::redis::test_server::TestRedis;

const SCOPE: &[&str] = &["acme", "POST", "/widgets"];

/// A service that makes widgets, once for each derived key as services do.
#[derive(Default)]
struct Service {
    calls: AtomicUsize,
    keys: std::sync::Mutex<Vec<HeaderValue>>,
}

struct World {
    idempotency: Idempotency,
    service: Arc<Service>,
    commands: TaskTracker,
}

fn open(path: Option<&Path>) -> World {
    let store = Store::new(path.map(Path::to_owned));
    store.open(&[TABLES]).unwrap();
    of_store(&store)
}

/// A case over each store that there is.
async fn in_each_store(case: impl AsyncFn(World)) {
    case(open(None)).await;
    let redis = TestRedis::start().await;
    case(replica(&redis).await).await;
}

async fn replica(redis: &TestRedis) -> World {
    of_store(&Store::beside(None, Some(redis.store().await)))
}

fn of_store(store: &Store) -> World {
    let commands = TaskTracker::new();
    World {
        idempotency: Idempotency::new(store, &commands),
        service: Arc::default(),
        commands,
    }
}

impl World {
    async fn attempt<F>(
        &self,
        key: &str,
        payload: &str,
        work: impl FnOnce(Arc<Service>) -> F + Send + 'static,
    ) -> Result<OnceAnswer<String>, Error>
    where
        F: Future<Output = Result<OnceAnswer<String>, Error>> + Send + 'static,
    {
        self.attempt_in(Duration::from_secs(3), key, payload, work)
            .await
    }

    /// By a request that has so much time.
    async fn attempt_in<F>(
        &self,
        time: Duration,
        key: &str,
        payload: &str,
        work: impl FnOnce(Arc<Service>) -> F + Send + 'static,
    ) -> Result<OnceAnswer<String>, Error>
    where
        F: Future<Output = Result<OnceAnswer<String>, Error>> + Send + 'static,
    {
        let service = Arc::clone(&self.service);
        let key = IdempotencyKey::parse(key).unwrap();
        let context = RequestContext::for_tests(time);
        self.idempotency
            .once(
                &context,
                &key,
                SCOPE,
                &Payload::of(&payload).unwrap(),
                move |derived| async move {
                    service.calls.fetch_add(1, Ordering::SeqCst);
                    service.keys.lock().unwrap().push(derived);
                    work(service).await
                },
            )
            .await
    }

    async fn make(&self, key: &str, payload: &str) -> Result<OnceAnswer<String>, Error> {
        self.attempt(key, payload, |_| async { made() }).await
    }

    fn calls(&self) -> usize {
        self.service.calls.load(Ordering::SeqCst)
    }
}

fn made() -> Result<OnceAnswer<String>, Error> {
    let location = Some("/widgets/1".to_owned());
    OnceAnswer::new(StatusCode::CREATED, location, &"a widget".to_owned())
}

fn is_in_use(result: &Result<OnceAnswer<String>, Error>) -> bool {
    matches!(result, Err(Error::Client(ClientError::IdempotencyKeyInUse)))
}

#[tokio::test]
async fn of_a_hundred_at_once_one_is_done() {
    in_each_store(async |world| {
        let gate = Arc::new(Semaphore::new(0));
        let attempts = (0..100).map(|_| {
            let gate = Arc::clone(&gate);
            world.attempt("one", "widget", |_| async move {
                drop(gate.acquire().await.unwrap());
                made()
            })
        });
        let mut attempts: Vec<_> = attempts.map(Box::pin).collect();
        let others = async {
            // All but the one that is at work are refused while it is.
            let mut refused = 0;
            while refused < 99 {
                let (result, index, _) =
                    futures_util::future::select_all(attempts.iter_mut()).await;
                assert!(is_in_use(&result), "{result:?}");
                drop(attempts.swap_remove(index));
                refused += 1;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), others)
            .await
            .unwrap();
        gate.add_permits(1);
        let first = attempts.pop().unwrap().await.unwrap();
        assert!(!first.replayed);
        assert_eq!(world.calls(), 1);
        let again = join_all((0..10).map(|_| world.make("one", "widget"))).await;
        assert!(again.iter().all(|answer| answer.as_ref().unwrap().replayed));
        assert_eq!(world.calls(), 1);
    })
    .await;
}

#[tokio::test]
async fn another_payload_is_refused_also_while_the_first_is_at_work() {
    in_each_store(async |world| {
        let _ = world.make("one", "widget").await.unwrap();
        let reused = world.make("one", "gadget").await;
        assert!(matches!(
            reused,
            Err(Error::Client(ClientError::IdempotencyKeyReused))
        ));
        let _ = world.make("two", "gadget").await.unwrap();
        assert_eq!(world.calls(), 2);
    })
    .await;
}

#[tokio::test]
async fn it_is_done_to_its_end_when_the_client_goes_away() {
    in_each_store(async |world| {
        let begun = Arc::new(Notify::new());
        let gate = Arc::new(Semaphore::new(0));
        let (says, waits) = (Arc::clone(&begun), Arc::clone(&gate));
        {
            let attempt = world.attempt("one", "widget", |_| async move {
                says.notify_one();
                drop(waits.acquire().await.unwrap());
                made()
            });
            tokio::select! {
                _ = attempt => panic!("it has not been let go on"),
                () = begun.notified() => {}
            }
        }
        gate.add_permits(1);
        world.commands.close();
        world.commands.wait().await;
        let again = world.make("one", "widget").await.unwrap();
        assert!(again.replayed);
        assert_eq!(world.calls(), 1);
    })
    .await;
}

#[tokio::test]
async fn answers_outlive_the_process_and_a_claim_whose_owner_is_gone_is_gone_on_with() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.db");
    let store = Store::new(Some(path.clone()));
    store.open(&[TABLES]).unwrap();
    let before = of_store(&store);
    let _ = before.make("done", "widget").await.unwrap();
    // The process dies between the call and its answer: nothing ends the claim.
    let cut = before.attempt("cut", "widget", |_| std::future::pending());
    assert!(given_up_at(&before, 2, cut).await);
    assert!(is_in_use(&before.make("cut", "widget").await));
    store.close();

    let after = open(Some(&path));
    assert!(after.make("done", "widget").await.unwrap().replayed);
    assert_eq!(after.calls(), 0);
    assert!(!after.make("cut", "widget").await.unwrap().replayed);
    assert_eq!(after.calls(), 1);
    let forwarded = |world: &World| world.service.keys.lock().unwrap().last().cloned();
    assert_eq!(
        forwarded(&before),
        forwarded(&after),
        "it is the same to the service"
    );
    assert!(after.make("cut", "widget").await.unwrap().replayed);
}

#[tokio::test]
async fn replicas_answer_for_one_another_and_go_on_with_what_one_has_left() {
    let redis = TestRedis::start().await;
    let (one, other) = (replica(&redis).await, replica(&redis).await);
    let _ = one.make("done", "widget").await.unwrap();
    assert!(other.make("done", "widget").await.unwrap().replayed);
    assert_eq!(other.calls(), 0);
    // It dies between the call and its answer: nothing ends the claim but its time.
    let cut = one.attempt_in(Duration::ZERO, "cut", "widget", |_| std::future::pending());
    assert!(given_up_at(&one, 2, cut).await);
    let answer = once_it_is_free(&other, "cut").await.unwrap();
    assert!(!answer.replayed);
    assert!(other.make("cut", "widget").await.unwrap().replayed);
    assert_eq!(other.calls(), 1);
    let forwarded = |world: &World| world.service.keys.lock().unwrap().last().cloned();
    assert_eq!(forwarded(&one), forwarded(&other));
}

/// Leaves an attempt where it is when the service has been called so often; whether it was still there.
async fn given_up_at<T>(world: &World, calls: usize, attempt: impl Future<Output = T>) -> bool {
    let called = async {
        while world.calls() < calls {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = attempt => false,
        () = called => true,
    }
}

/// The first answer that is not that somebody else is at it.
async fn once_it_is_free(world: &World, key: &str) -> Result<OnceAnswer<String>, Error> {
    let free = async {
        loop {
            let answer = world.make(key, "widget").await;
            if !is_in_use(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), free)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_attempt_that_outlasts_its_claim_does_not_end_the_next_ones() {
    in_each_store(async |world| {
        let gate = |permits| Arc::new(Semaphore::new(permits));
        let (first_goes_on, second_goes_on) = (gate(0), gate(0));
        let (second_begins, late) = (Arc::new(Notify::new()), "late".to_owned());
        let waits = Arc::clone(&first_goes_on);
        let first = world.attempt_in(Duration::ZERO, "one", "widget", |_| async move {
            drop(waits.acquire().await.unwrap());
            OnceAnswer::new(StatusCode::CREATED, None, &late)
        });
        let second = async {
            // Once the first one's claim is over.
            loop {
                let (says, waits) = (Arc::clone(&second_begins), Arc::clone(&second_goes_on));
                let answer = world.attempt("one", "widget", |_| async move {
                    says.notify_one();
                    drop(waits.acquire().await.unwrap());
                    made()
                });
                let answer = answer.await;
                if !is_in_use(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let after = async {
            second_begins.notified().await;
            first_goes_on.add_permits(1);
        };
        let mut second = Box::pin(second);
        tokio::select! {
            // The first one's claim has to be there before the second asks.
            biased;
            (first, ()) = async { tokio::join!(first, after) } => assert!(!first.unwrap().replayed),
            _ = &mut second => panic!("it has not been let go on"),
        }
        assert!(is_in_use(&world.make("one", "widget").await));
        second_goes_on.add_permits(1);
        assert!(!second.await.unwrap().replayed);
        let kept = world.make("one", "widget").await.unwrap();
        assert!(kept.replayed && kept.outcome == made().unwrap().outcome);
        assert_eq!(world.calls(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_refusal_is_given_again_and_a_failure_is_not() {
    in_each_store(async |world| {
        let refusal = |status| {
            Error::from(ClientError::Refused(Refusal {
                status,
                slug: Some("no-such-part".to_owned()),
                detail: None,
                errors: Vec::new(),
            }))
        };
        let refused = world
            .attempt("one", "widget", move |_| async move {
                Err(refusal(StatusCode::NOT_FOUND))
            })
            .await;
        assert!(refused.is_err());
        let again = world.make("one", "widget").await.unwrap().into_response();
        assert_eq!(again.status(), StatusCode::NOT_FOUND);
        for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::FORBIDDEN] {
            let busy = world
                .attempt(
                    "two",
                    "widget",
                    move |_| async move { Err(refusal(status)) },
                )
                .await;
            assert!(busy.is_err());
        }
        assert!(!world.make("two", "widget").await.unwrap().replayed);
    })
    .await;
}

#[tokio::test]
async fn without_a_store_it_is_done_all_the_same() {
    let store = Store::new(None);
    // It has no tables.
    store.open(&[]).unwrap();
    let world = of_store(&store);
    for _ in 0..2 {
        assert!(!world.make("one", "widget").await.unwrap().replayed);
    }
    let keys = world.service.keys.lock().unwrap();
    assert_eq!(keys[0], keys[1], "the service tells them apart");
}
