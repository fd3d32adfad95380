//! Requests for the same at the same time, and answers that are used while they are asked for again, before a service that
//! answers when the test lets it. The rules one request at a time are in `tests.rs` and `wire_tests/caching.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::{ASKS, Asks, FRESH, Fixture, Tags, answer, eventually};
use crate::cache::Forward;
use crate::config::{RouteCache, StaleWindows};
use crate::error::Error;
use crate::upstream::{UpstreamError, UpstreamErrorKind};

type Answers = dyn Fn(usize, &HeaderMap) -> Result<Response<Body>, UpstreamErrorKind> + Send + Sync;

/// A service that counts what it is asked, and has a permit for every answer that it may give.
pub(super) struct Held {
    pub(super) permits: Semaphore,
    asked: AtomicUsize,
    given_up: AtomicUsize,
    /// By the number of the question.
    answers: Box<Answers>,
    /// How long the client of the one who asks waits.
    time: Duration,
}

struct Cancelled<'a>(Option<&'a AtomicUsize>);

impl Drop for Cancelled<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Forward for Held {
    async fn forward(&self, request: Request<Body>, _: bool) -> Result<Response<Body>, Error> {
        let until = Instant::now() + self.time;
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut cancelled = Cancelled(Some(&self.given_up));
        let permit = tokio::select! {
            permit = self.permits.acquire() => permit,
            () = sleep_until(until) => {
                cancelled.0 = None;
                return Err(UpstreamError::new("widgets", UpstreamErrorKind::Timeout).into());
            }
        };
        cancelled.0 = None;
        permit.unwrap().forget();
        let answered = (self.answers)(number, request.headers());
        Ok(answered.map_err(|kind| UpstreamError::new("widgets", kind))?)
    }
}

pub(super) fn held(
    answers: impl Fn(usize, &HeaderMap) -> Response<Body> + Send + Sync + 'static,
) -> Arc<Held> {
    held_or_failing(move |number, headers| Ok(answers(number, headers)))
}

fn held_or_failing(
    answers: impl Fn(usize, &HeaderMap) -> Result<Response<Body>, UpstreamErrorKind>
    + Send
    + Sync
    + 'static,
) -> Arc<Held> {
    Arc::new(Held {
        permits: Semaphore::new(0),
        asked: AtomicUsize::default(),
        given_up: AtomicUsize::default(),
        answers: Box::new(answers),
        time: Duration::from_secs(3),
    })
}

impl Held {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(super) async fn is_asked(&self, times: usize) {
        eventually(|| self.asked() == times).await;
    }
}

/// What the cache said, the status, and the body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Got {
    cache: String,
    status: u16,
    pub(super) body: String,
}

async fn read(response: Response<Body>) -> Got {
    let said = response
        .headers()
        .get_all("cache-status")
        .iter()
        .next_back();
    let cache = said.map_or("", |value| value.to_str().unwrap());
    Got {
        cache: cache.trim_start_matches("gateway; ").to_owned(),
        status: response.status().as_u16(),
        body: String::from_utf8(
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .to_vec(),
        )
        .unwrap(),
    }
}

pub(super) fn start(
    fixture: &Arc<Fixture>,
    service: &Arc<Held>,
    asks: Asks<'static>,
) -> JoinHandle<Result<Got, Error>> {
    let (fixture, service) = (Arc::clone(fixture), Arc::clone(service));
    tokio::spawn(async move { Ok(read(fixture.ask(&asks, &service).await?).await) })
}

/// So many at once; when all are waiting, the service may answer so many times.
async fn at_once(
    fixture: &Arc<Fixture>,
    service: &Arc<Held>,
    asks: Vec<Asks<'static>>,
    first: usize,
) -> Vec<Got> {
    let (everybody, before) = (asks.len(), service.asked());
    let started: Vec<_> = asks
        .into_iter()
        .map(|asks| start(fixture, service, asks))
        .collect();
    service.is_asked(first).await;
    // Everybody has asked, or waits for one who has.
    eventually(|| [fixture.seated(), service.asked() - before].contains(&everybody)).await;
    service.permits.add_permits(10_000);
    let ended = join_all(started).await;
    // The next ones wait again.
    service.permits.forget_permits(10_000);
    ended.into_iter().map(|got| got.unwrap().unwrap()).collect()
}

fn count(all: &[Got], cache: &str) -> usize {
    all.iter().filter(|got| got.cache == cache).count()
}

/// With time for a thousand of them.
const PATIENT: Asks<'static> = Asks {
    time: Duration::from_secs(60),
    ..ASKS
};

#[tokio::test]
async fn a_thousand_identical_misses_are_one_call() {
    let fixture = Arc::new(Fixture::new());
    let service = held(|_, _| answer(200, FRESH, "one"));
    let all = at_once(&fixture, &service, vec![PATIENT; 1000], 1).await;
    assert_eq!(service.asked(), 1);
    assert_eq!(count(&all, "fwd=uri-miss; stored"), 1);
    assert_eq!(count(&all, "fwd=uri-miss; collapsed"), 999);
    assert!(all.iter().all(|got| got.body == "one" && got.status == 200));
    assert_eq!(fixture.under_way(), 0);
}

#[tokio::test]
async fn a_thousand_callers_are_a_thousand_calls() {
    let fixture = Arc::new(Fixture::new());
    let service = held(|number, _| answer(200, FRESH, number.to_string()));
    let asks: Vec<Asks<'static>> = (0..1000)
        .map(|number| Asks {
            rule: RouteCache::Private,
            identity: Some(Box::leak(format!("caller-{number}").into_boxed_str())),
            ..PATIENT
        })
        .collect();
    let all = at_once(&fixture, &service, asks, 1000).await;
    assert_eq!(service.asked(), 1000);
    assert_eq!(count(&all, "fwd=uri-miss; stored"), 1000);
    let mut bodies: Vec<&str> = all.iter().map(|got| got.body.as_str()).collect();
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies.len(), 1000);
}

#[tokio::test]
async fn what_is_not_for_others_is_asked_for_by_each_and_remembered_as_such() {
    for fields in [
        &[("cache-control", "private, max-age=60")][..],
        &[("cache-control", "no-store")],
        &[("cache-control", "no-cache"), ("etag", "\"1\"")],
        &[("cache-control", "max-age=60"), ("vary", "*")],
        &[("cache-control", "max-age=60"), ("content-length", "9999")],
    ] {
        let fixture = Arc::new(Fixture::new());
        let service = held(move |number, _| answer(200, fields, number.to_string()));
        let all = at_once(&fixture, &service, vec![ASKS; 20], 1).await;
        assert_eq!(service.asked(), 20, "{fields:?}");
        let in_vain = all
            .iter()
            .filter(|got| got.cache.ends_with("; collapsed=?0"));
        assert_eq!(in_vain.count(), 19, "{fields:?}");
        let mut bodies: Vec<&str> = all.iter().map(|got| got.body.as_str()).collect();
        bodies.sort_unstable();
        bodies.dedup();
        assert_eq!(bodies.len(), 20, "{fields:?}");

        // The next ones do not wait for one another.
        let again = at_once(&fixture, &held_like(&service), vec![ASKS; 20], 20).await;
        assert!(again.iter().all(|got| !got.cache.contains("collapsed")));
        // Until it is forgotten, whatever the wall clock says.
        fixture.after(11);
        fixture.set_clock(-3600);
        at_once(&fixture, &held_like(&service), vec![ASKS; 20], 1).await;
    }
}

#[tokio::test]
async fn what_lies_with_who_asked_concerns_nobody_else() {
    let says = |fields: &'static [(&'static str, &'static str)]| Asks { fields, ..ASKS };
    let no_store = says(&[("cache-control", "no-store")]);
    let has_it = says(&[("if-none-match", "\"1\"")]);
    let known = says(&[("authorization", "Bearer x")]);
    for (one, status) in [(no_store, 200), (has_it, 304), (known.clone(), 200)] {
        let fixture = Arc::new(Fixture::new());
        fixture.serve(&one, || answer(status, FRESH, "")).await;
        let service = held(|_, _| answer(200, FRESH, "one"));
        let all = at_once(&fixture, &service, vec![ASKS; 20], 1).await;
        assert_eq!(service.asked(), 1, "{:?}", one.fields);
        assert_eq!(count(&all, "fwd=uri-miss; collapsed"), 19);
    }

    // Who waits for somebody whose answer is not for others waits for the next one who asks.
    let fixture = Arc::new(Fixture::new());
    let service = held(|_, _| answer(200, FRESH, "one"));
    let first = start(&fixture, &service, known.clone());
    service.is_asked(1).await;
    let others: Vec<_> = (0..20).map(|_| start(&fixture, &service, ASKS)).collect();
    eventually(|| fixture.seated() == 21).await;
    service.permits.add_permits(1);
    first.await.unwrap().unwrap();
    eventually(|| fixture.seated() == 20).await;
    service.permits.add_permits(1);
    for other in join_all(others).await {
        assert_eq!(other.unwrap().unwrap().status, 200);
    }
    assert_eq!(service.asked(), 2);

    // Whereas those who are like them do not wait for one another, until such an answer is stored.
    let fixture = Arc::new(Fixture::new());
    fixture.serve(&known, || answer(200, FRESH, "")).await;
    let service = held(|_, _| answer(200, FRESH, "one"));
    at_once(&fixture, &service, vec![known.clone(); 20], 20).await;
    let public = [("cache-control", "public, max-age=60")];
    fixture.serve(&known, || answer(200, &public, "")).await;
    fixture.after(61);
    let service = held(move |_, _| answer(200, &public, "one"));
    at_once(&fixture, &service, vec![known; 20], 1).await;
    assert_eq!(service.asked(), 1);
}

/// The same service, which has not been asked yet and answers what is stored.
fn held_like(_: &Arc<Held>) -> Arc<Held> {
    held(|_, _| answer(200, &[("cache-control", "no-store")], ""))
}

#[tokio::test]
async fn who_asks_for_another_variant_waits_for_that() {
    let vary = [("cache-control", "max-age=60"), ("vary", "accept-language")];
    let fixture = Arc::new(Fixture::new());
    let service = held(move |_, asked| {
        let language = asked["accept-language"].to_str().unwrap().to_owned();
        answer(200, &vary, language)
    });
    let speaks = |fields: &'static [(&'static str, &'static str)]| Asks { fields, ..ASKS };
    let (german, english) = (
        speaks(&[("accept-language", "de")]),
        speaks(&[("accept-language", "en")]),
    );
    let asks = [german, english].into_iter().cycle().take(100).collect();
    let all = at_once(&fixture, &service, asks, 1).await;
    // One of each, although nobody knew that there are two.
    assert_eq!(service.asked(), 2);
    assert_eq!(all.iter().filter(|got| got.body == "de").count(), 50);
    assert_eq!(all.iter().filter(|got| got.body == "en").count(), 50);
}

#[tokio::test]
async fn a_failure_is_everybodys() {
    let fixture = Arc::new(Fixture::new());
    let service = held(|_, _| answer(503, &[("retry-after", "7")], "secret"));
    let all = at_once(&fixture, &service, vec![ASKS; 100], 1).await;
    assert_eq!(service.asked(), 1);
    assert!(all.iter().all(|got| got.status == 503));
    let shared = all.iter().filter(|got| got.cache.ends_with("; collapsed"));
    assert!(shared.inspect(|got| assert_eq!(got.body, "")).count() == 99);

    let service = held_or_failing(|_, _| Err(UpstreamErrorKind::Unreachable));
    let started: Vec<_> = (0..100).map(|_| start(&fixture, &service, ASKS)).collect();
    eventually(|| fixture.seated() == 100).await;
    service.permits.add_permits(1);
    for ended in join_all(started).await {
        let Err(Error::Upstream(error)) = ended.unwrap() else {
            panic!("no failure");
        };
        assert_eq!(error.kind, UpstreamErrorKind::Unreachable);
    }
    assert_eq!(service.asked(), 1);
}

#[tokio::test]
async fn the_client_of_the_one_who_asks_may_go() {
    let fixture = Arc::new(Fixture::new());
    let service = held(|_, _| answer(200, FRESH, "one"));
    let leader = start(&fixture, &service, ASKS);
    service.is_asked(1).await;
    let waiters: Vec<_> = (0..10).map(|_| start(&fixture, &service, ASKS)).collect();
    eventually(|| fixture.seated() == 11).await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    service.permits.add_permits(1);
    for got in join_all(waiters).await {
        assert_eq!(got.unwrap().unwrap().body, "one");
    }
    assert_eq!(
        (service.asked(), service.given_up.load(Ordering::SeqCst)),
        (1, 0)
    );
}

#[tokio::test]
async fn a_fetch_ends_with_the_last_one_who_waits() {
    let fixture = Arc::new(Fixture::new());
    let service = held(|_, _| answer(200, FRESH, "one"));
    let waiting: Vec<_> = (0..10).map(|_| start(&fixture, &service, ASKS)).collect();
    service.is_asked(1).await;
    eventually(|| fixture.seated() == 10).await;
    for one in waiting {
        one.abort();
    }
    eventually(|| service.given_up.load(Ordering::SeqCst) == 1).await;
    assert_eq!(fixture.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn everybody_waits_for_as_long_as_they_have_time() {
    let fixture = Arc::new(Fixture::new());
    let service = held(|number, _| answer(200, FRESH, number.to_string()));
    let began = Instant::now();
    let leader = start(&fixture, &service, ASKS);
    service.is_asked(1).await;
    let hasty = Asks {
        time: Duration::from_millis(100),
        ..ASKS
    };
    let hasty = start(&fixture, &service, hasty).await.unwrap();
    let Err(Error::Upstream(error)) = hasty else {
        panic!("{hasty:?}");
    };
    assert_eq!(error.kind, UpstreamErrorKind::Timeout);
    assert!(began.elapsed() < Duration::from_millis(200));

    // And who has more time than the one who asked asks again.
    let patient = Asks {
        time: Duration::from_secs(10),
        ..ASKS
    };
    let patient = start(&fixture, &service, patient);
    let leader = leader.await.unwrap();
    assert!(matches!(leader, Err(Error::Upstream(_))), "{leader:?}");
    service.is_asked(2).await;
    service.permits.add_permits(1);
    let got = patient.await.unwrap().unwrap();
    assert_eq!((got.body.as_str(), got.status), ("2", 200));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_an_answer_that_drips() {
    let fixture = Arc::new(Fixture::new());
    let service = held(|number, _| {
        let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from(number.to_string()))]);
        match number {
            1 => answer(
                200,
                FRESH,
                Body::from_stream(first.chain(stream::pending())),
            ),
            _ => answer(200, FRESH, Body::from_stream(first)),
        }
    });
    service.permits.add_permits(10);
    let leader = fixture.ask(&ASKS, &service).await.unwrap();
    let mut body = leader.into_body();
    // The one who asked gets what is there.
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "1");
    let began = Instant::now();
    let got = start(&fixture, &service, ASKS).await.unwrap().unwrap();
    assert_eq!(got.body, "2");
    assert!(began.elapsed() <= Duration::from_secs(1));
}

#[tokio::test]
async fn nobody_waits_for_what_was_asked_before_a_change() {
    let fixture = Arc::new(Fixture::new());
    let service = held(|number, _| answer(200, FRESH, number.to_string()));
    let changes: [&dyn Fn(); 3] = [
        &|| fixture.tags.purge("widget:1"),
        &|| fixture.tags.purge("commands"),
        &|| fixture.tags.expire_all(),
    ];
    for (at, change) in changes.iter().enumerate() {
        let before = start(&fixture, &service, ASKS);
        service.is_asked(2 * at + 1).await;
        change();
        let after = start(&fixture, &service, ASKS);
        service.is_asked(2 * at + 2).await;
        service.permits.add_permits(2);
        let (before, after) = (before.await.unwrap(), after.await.unwrap());
        assert_ne!(before.unwrap().body, after.unwrap().body);
        // For the next one.
        fixture.tags.purge("widget:1");
    }
}

const STALE: Asks<'static> = Asks {
    stale: StaleWindows {
        while_revalidate: Duration::from_secs(30),
        if_error: Duration::from_secs(60),
    },
    ..ASKS
};

#[tokio::test]
async fn what_is_stale_is_used_while_it_is_asked_for_once() {
    let fixture = Arc::new(Fixture::new());
    let service = held(|number, _| {
        let etag = format!("\"{number}\"");
        answer(
            200,
            &[("cache-control", "max-age=60"), ("etag", etag.as_str())],
            number.to_string(),
        )
    });
    service.permits.add_permits(1);
    start(&fixture, &service, STALE).await.unwrap().unwrap();
    fixture.after(70);
    for _ in 0..100 {
        let got = start(&fixture, &service, STALE).await.unwrap().unwrap();
        assert_eq!(got.cache, "hit; ttl=-10; detail=stale-while-revalidate");
        assert_eq!(got.body, "1");
    }
    service.is_asked(2).await;
    service.permits.add_permits(1);
    eventually(|| fixture.under_way() == 0).await;
    let got = start(&fixture, &service, STALE).await.unwrap().unwrap();
    assert_eq!(
        (got.cache.as_str(), got.body.as_str()),
        ("hit; ttl=60", "2")
    );

    // What the service says goes before the route; and what a purge has ended is not used at all.
    fixture.after(100);
    let waits = start(&fixture, &service, STALE);
    service.is_asked(3).await;
    service.permits.add_permits(1);
    assert_eq!(
        waits.await.unwrap().unwrap().cache,
        "fwd=stale; fwd-status=200; stored"
    );
    fixture.after(70);
    fixture.tags.purge("widget:1");
    let waits = start(&fixture, &service, STALE);
    service.is_asked(4).await;
    service.permits.add_permits(1);
    assert_eq!(waits.await.unwrap().unwrap().cache, "fwd=uri-miss; stored");
    // Nor what may have changed unheard, unless the service fails.
    fixture.tags.expire_all();
    let waits = start(&fixture, &service, STALE);
    service.is_asked(5).await;
    service.permits.add_permits(1);
    assert_eq!(
        waits.await.unwrap().unwrap().cache,
        "fwd=stale; fwd-status=200; stored"
    );
}

#[tokio::test(start_paused = true)]
async fn something_stale_stands_in_for_a_service_that_fails() {
    let fixture = Arc::new(Fixture::new());
    let service = held_or_failing(|number, _| match number {
        1 => Ok(answer(200, FRESH, "one")),
        2 => Ok(answer(500, &[], "secret")),
        3 => Err(UpstreamErrorKind::Unreachable),
        4 => Err(UpstreamErrorKind::Reset),
        _ => Ok(answer(404, &[], "none")),
    });
    service.permits.add_permits(1);
    start(&fixture, &service, STALE).await.unwrap().unwrap();
    fixture.after(100);
    let all = at_once(&fixture, &service, vec![STALE; 20], 2).await;
    assert_eq!(
        count(
            &all,
            "fwd=stale; fwd-status=500; ttl=-40; detail=stale-if-error"
        ),
        20
    );
    assert!(all.iter().all(|got| got.body == "one"));
    let all = at_once(&fixture, &service, vec![STALE; 20], 3).await;
    assert_eq!(count(&all, "fwd=stale; ttl=-40; detail=stale-if-error"), 20);
    // Unheard changes do not matter to who has nothing better.
    fixture.tags.expire_all();
    let all = at_once(&fixture, &service, vec![STALE; 1], 4).await;
    assert_eq!(count(&all, "fwd=stale; ttl=-40; detail=stale-if-error"), 1);
    // A refusal counts.
    service.permits.add_permits(1);
    let got = start(&fixture, &service, STALE).await.unwrap().unwrap();
    assert_eq!(got.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_leaves_time_for_what_is_stale() {
    let fixture = Arc::new(Fixture::new());
    let service = held(|_, _| answer(200, FRESH, "one"));
    service.permits.add_permits(1);
    start(&fixture, &service, STALE).await.unwrap().unwrap();
    fixture.after(100);
    let hanging = Arc::new(Held {
        permits: Semaphore::new(0),
        asked: AtomicUsize::default(),
        given_up: AtomicUsize::default(),
        answers: Box::new(|_, _| Err(UpstreamErrorKind::Reset)),
        time: Duration::from_secs(30),
    });
    let leader = start(&fixture, &hanging, STALE);
    hanging.is_asked(1).await;
    let began = Instant::now();
    let got = start(&fixture, &hanging, STALE).await.unwrap().unwrap();
    assert_eq!(got.body, "one");
    assert!(began.elapsed() < STALE.time);
    leader.abort();
}

#[tokio::test]
async fn what_is_asked_for_in_the_background_is_not_asked_with_a_clients_condition() {
    let fixture = Arc::new(Fixture::new());
    let service = held(|number, asked| {
        let fields = [("cache-control", "max-age=60")];
        match asked.get("if-none-match") {
            Some(_) => answer(304, &[], ""),
            None => answer(200, &fields, number.to_string()),
        }
    });
    service.permits.add_permits(2);
    start(&fixture, &service, STALE).await.unwrap().unwrap();
    fixture.after(70);
    let has_another = Asks {
        fields: &[("if-none-match", "\"old\"")],
        ..STALE
    };
    let got = start(&fixture, &service, has_another).await;
    assert_eq!(got.unwrap().unwrap().body, "1");
    service.is_asked(2).await;
    eventually(|| fixture.under_way() == 0).await;
    assert_eq!(fixture.hit(&STALE).await.body, "2");
}

#[tokio::test]
async fn a_change_that_began_before_another_cache_took_over_ends_what_that_has() {
    // Also when the one before stored nothing.
    for size in [1 << 20, 0] {
        let tags = Arc::<Tags>::default();
        let one = Arc::new(Fixture::beside(size, Arc::clone(&tags)));
        let next = Fixture::beside(1 << 20, tags);
        let service = held(|_, _| answer(204, &[], ""));
        let put = Asks {
            method: "PUT",
            ..ASKS
        };
        let change = start(&one, &service, put);
        eventually(|| service.asked() == 1).await;
        next.serve(&ASKS, || answer(200, FRESH, "before")).await;
        assert_eq!(next.hit(&ASKS).await.body, "before");
        service.permits.add_permits(1);
        change.await.unwrap().unwrap();
        let after = next.serve(&ASKS, || answer(200, FRESH, "after")).await;
        assert_eq!(after.body, "after", "{size}");
    }
}
