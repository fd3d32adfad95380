//! A key's life: duplicates at once, clients and processes that go away, refusals and failures. No service is called here.
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
use crate::idempotency::{IdempotencyKey, TABLES};
use crate::store::Store;

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
        let service = Arc::clone(&self.service);
        let key = IdempotencyKey::parse(key).unwrap();
        let context = RequestContext::for_tests(Duration::from_secs(3));
        self.idempotency
            .once(&context, &key, SCOPE, &payload, move |derived| async move {
                service.calls.fetch_add(1, Ordering::SeqCst);
                service.keys.lock().unwrap().push(derived);
                work(service).await
            })
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
    let world = open(None);
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
            let (result, index, _) = futures_util::future::select_all(attempts.iter_mut()).await;
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
}

#[tokio::test]
async fn another_payload_is_refused_also_while_the_first_is_at_work() {
    let world = open(None);
    let _ = world.make("one", "widget").await.unwrap();
    let reused = world.make("one", "gadget").await;
    assert!(matches!(
        reused,
        Err(Error::Client(ClientError::IdempotencyKeyReused))
    ));
    let _ = world.make("two", "gadget").await.unwrap();
    assert_eq!(world.calls(), 2);
}

#[tokio::test]
async fn it_is_done_to_its_end_when_the_client_goes_away() {
    let world = open(None);
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
    let stuck = tokio::time::timeout(Duration::from_millis(300), cut).await;
    assert!(stuck.is_err());
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
async fn a_refusal_is_given_again_and_a_failure_is_not() {
    let world = open(None);
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
