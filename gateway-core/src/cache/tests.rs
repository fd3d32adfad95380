//! The cache in front of a service that is a closure, on a clock that only the test moves.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod collapsing;
mod replicas;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::body::{Body, Bytes};
use futures_util::{StreamExt, stream};
use http::header::{ACCEPT, CACHE_CONTROL, ETAG, VARY};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use super::{DependsOn, Forward, Moment, Question, ResponseCache, Tags};
use crate::auth::{ApiKeyPrincipal, Principal};
use crate::config::{CacheConfig, CacheRule, RouteCache, StaleWindows};
use crate::deadline::Deadline;
use crate::error::{Error, GatewayError};
use crate::metrics::Metrics;

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];

struct Fixture {
    cache: ResponseCache,
    tags: Arc<Tags>,
    /// By the wall clock, and since the start by the other one.
    seconds: Arc<[AtomicU64; 2]>,
}

/// What a client got, and what the service was asked.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
    asked: Option<HeaderMap>,
}

impl Answer {
    fn cache(&self) -> &str {
        let mut values = self.headers.get_all("cache-status").iter();
        let last = values
            .next_back()
            .map_or("", |value| value.to_str().unwrap());
        last.strip_prefix("gateway; ").unwrap_or(last)
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn asked(&self, name: &str) -> Option<&str> {
        let asked = self.asked.as_ref().expect("the service was not asked");
        asked.get(name).map(|value| value.to_str().unwrap())
    }
}

#[derive(Clone)]
struct Asks<'a> {
    rule: RouteCache,
    method: &'a str,
    uri: &'a str,
    fields: &'a [(&'a str, &'a str)],
    identity: Option<&'a str>,
    /// What the route says.
    stale: StaleWindows,
    tags: &'a [&'a str],
    time: Duration,
}

const ASKS: Asks<'static> = Asks {
    rule: RouteCache::Shared,
    method: "GET",
    uri: "http://10.0.0.7/widgets/1",
    fields: &[],
    identity: None,
    stale: StaleWindows {
        while_revalidate: Duration::ZERO,
        if_error: Duration::ZERO,
    },
    tags: &["widget:1"],
    time: Duration::from_secs(3),
};

fn answer(status: u16, fields: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

/// A service that has one answer.
struct Service {
    answer: Mutex<Option<Response<Body>>>,
    asked: Mutex<Option<HeaderMap>>,
}

impl Forward for Service {
    async fn forward(&self, request: Request<Body>, _: bool) -> Result<Response<Body>, Error> {
        *self.asked.lock().unwrap() = Some(request.headers().clone());
        Ok(self.answer.lock().unwrap().take().expect("one question"))
    }
}

fn principal(identity: Option<&str>) -> Principal {
    identity.map_or(Principal::Anonymous, |identity| {
        Principal::ApiKey(Arc::new(ApiKeyPrincipal {
            key_id: "k".to_owned(),
            owner: identity.to_owned(),
            scopes: Vec::new(),
            attributes: std::collections::BTreeMap::new(),
        }))
    })
}

impl Fixture {
    fn new() -> Self {
        Self::of_size(1 << 20)
    }

    fn of_size(max_bytes: u64) -> Self {
        Self::beside(max_bytes, Arc::default())
    }

    fn beside(max_bytes: u64, tags: Arc<Tags>) -> Self {
        let seconds = Arc::new([AtomicU64::new(1_700_000_000), AtomicU64::new(0)]);
        let (clock, start) = (Arc::clone(&seconds), tokio::time::Instant::now());
        let config = CacheConfig {
            max_bytes,
            max_entry_bytes: 1000,
            parts_max_bytes: 0,
        };
        let now = move || {
            let [wall, passed] = clock
                .each_ref()
                .map(|clock| Duration::from_secs(clock.load(Ordering::SeqCst)));
            Moment {
                wall: SystemTime::UNIX_EPOCH + wall,
                at: start + passed,
            }
        };
        let metrics = Metrics::new(1).cache();
        Self {
            cache: ResponseCache::with_clock(&config, &tags, metrics, Arc::new(now)),
            tags,
            seconds,
        }
    }

    fn after(&self, seconds: u64) {
        for clock in &*self.seconds {
            clock.fetch_add(seconds, Ordering::SeqCst);
        }
    }

    /// The wall clock is set: backwards, or forwards.
    fn set_clock(&self, by: i64) {
        let by = by.cast_unsigned();
        self.seconds[0].fetch_add(by, Ordering::SeqCst);
    }

    async fn serve(&self, asks: &Asks<'_>, respond: impl FnOnce() -> Response<Body>) -> Answer {
        let service = Arc::new(Service {
            answer: Mutex::new(Some(respond())),
            asked: Mutex::default(),
        });
        let response = self.ask(asks, &service).await;
        let (parts, body) = response.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
            asked: service.asked.lock().unwrap().take(),
        }
    }

    async fn start(
        &self,
        asks: &Asks<'_>,
        answer: Response<Body>,
    ) -> Result<Response<Body>, Error> {
        let service = Arc::new(Service {
            answer: Mutex::new(Some(answer)),
            asked: Mutex::default(),
        });
        self.ask(asks, &service).await
    }

    async fn ask<W: Forward>(
        &self,
        asks: &Asks<'_>,
        service: &Arc<W>,
    ) -> Result<Response<Body>, Error> {
        let mut request = Request::builder().method(asks.method).uri(asks.uri);
        for (name, value) in asks.fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        self.ask_with(asks, request, service).await
    }

    async fn ask_with<W: Forward>(
        &self,
        asks: &Asks<'_>,
        request: Request<Body>,
        service: &Arc<W>,
    ) -> Result<Response<Body>, Error> {
        if !request.method().is_safe() {
            return self.cache.change(&["widgets"], request, &**service).await;
        }
        let depends_on = DependsOn {
            tags: asks.tags.iter().map(|tag| self.tags.slot(tag)).collect(),
            commands: self.tags.slot("commands"),
        };
        let principal = principal(asks.identity);
        let deadline = Deadline::after(asks.time);
        let question = Question {
            rule: CacheRule {
                share: asks.rule,
                stale: asks.stale,
            },
            upstream: "widgets",
            principal: &principal,
            authorized: request.headers().contains_key("authorization"),
            depends_on,
            deadline,
            deadline_with_spare: deadline.less(asks.time / 10),
        };
        self.cache.serve(&question, request, service).await
    }

    /// Fetches that can be waited for.
    fn under_way(&self) -> usize {
        self.cache.store.as_ref().unwrap().fills.len()
    }

    /// Those who wait for them, with those who have begun them.
    fn seated(&self) -> usize {
        self.cache.seated()
    }

    /// How many bytes of bodies may still be collected.
    fn room(&self) -> u64 {
        self.cache.store.as_ref().unwrap().collecting.left()
    }

    fn weight(&self) -> u64 {
        let store = self.cache.store.as_ref().unwrap();
        store.entries.run_pending_tasks();
        store.entries.weighted_size()
    }

    /// What the cache has; the service must not be asked.
    async fn hit(&self, asks: &Asks<'_>) -> Answer {
        let answer = self.serve(asks, || answer(500, &[], "asked")).await;
        assert!(answer.asked.is_none(), "{answer:?}");
        answer
    }

    /// Whether a second, equal request is answered without asking.
    async fn stores(&self, asks: &Asks<'_>, fields: &[(&str, &str)]) -> bool {
        self.serve(asks, || answer(200, fields, "stored?")).await;
        let second = self.serve(asks, || answer(200, &[], "asked")).await;
        second.asked.is_none()
    }
}

/// Waits for what other tasks bring about, with a bound on real time: a clock that is paused stands still meanwhile.
#[expect(
    clippy::disallowed_methods,
    reason = "a test that waits while the clock is paused"
)]
async fn eventually(mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(20), "it never came");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_fresh_answer_is_used_again_and_grows_older() {
    let fixture = Fixture::new();
    let miss = fixture.serve(&ASKS, || answer(200, FRESH, "one")).await;
    assert_eq!(
        (miss.cache(), miss.body.as_str()),
        ("fwd=uri-miss; stored", "one")
    );

    fixture.after(20);
    let hit = fixture.hit(&ASKS).await;
    assert_eq!((hit.cache(), hit.body.as_str()), ("hit; ttl=40", "one"));
    assert_eq!(hit.header("age"), "20");
    assert_eq!(hit.header("content-length"), "3");

    let head = Asks {
        method: "HEAD",
        ..ASKS
    };
    let head = fixture.hit(&head).await;
    assert_eq!(
        (head.header("content-length"), head.body.as_str()),
        ("3", "")
    );

    let other = Asks {
        uri: "http://10.0.0.7/widgets/1?x=1",
        ..ASKS
    };
    let other = fixture.serve(&other, || answer(200, FRESH, "other")).await;
    assert_eq!(other.cache(), "fwd=uri-miss; stored");
}

#[tokio::test]
async fn nothing_is_fresh_for_longer_because_a_clock_is_set_or_stands_still() {
    let fixture = Fixture::new();
    fixture.serve(&ASKS, || answer(200, FRESH, "one")).await;
    fixture.after(10);
    fixture.set_clock(-3600);
    let hit = fixture.hit(&ASKS).await;
    assert_eq!((hit.cache(), hit.header("age")), ("hit; ttl=50", "10"));
    fixture.after(50);
    let asked = fixture.serve(&ASKS, || answer(304, FRESH, "")).await;
    assert_eq!(asked.cache(), "fwd=stale; fwd-status=304; stored");
    // While a machine sleeps, its wall clock alone goes on.
    fixture.set_clock(20);
    assert_eq!(fixture.hit(&ASKS).await.cache(), "hit; ttl=40");
    fixture.set_clock(40);
    let asked = fixture.serve(&ASKS, || answer(200, FRESH, "two")).await;
    assert_eq!(asked.cache(), "fwd=stale; fwd-status=200; stored");
}

#[tokio::test]
async fn a_stale_answer_is_made_sure_of() {
    let fixture = Fixture::new();
    let first = [
        ("cache-control", "max-age=60"),
        ("etag", "\"1\""),
        ("link", "</a>"),
        ("link", "</b>"),
        ("x-version", "old"),
    ];
    fixture.serve(&ASKS, || answer(200, &first, "one")).await;
    fixture.after(60);
    let asks = Asks {
        fields: &[("if-none-match", "\"client\"")],
        ..ASKS
    };
    // A 304 that leaves out the validator confirms it all the same.
    let confirmed = [("cache-control", "max-age=30"), ("x-version", "new")];
    let answered = fixture.serve(&asks, || answer(304, &confirmed, "")).await;
    assert_eq!(answered.asked("if-none-match"), Some("\"1\""));
    assert_eq!(
        (
            answered.status.as_u16(),
            answered.body.as_str(),
            answered.cache()
        ),
        (200, "one", "fwd=stale; fwd-status=304; stored")
    );
    assert_eq!(answered.header("etag"), "\"1\"");
    assert_eq!(answered.header("x-version"), "new");
    assert_eq!(answered.headers.get_all("link").iter().count(), 2);

    fixture.after(10);
    assert_eq!(fixture.hit(&ASKS).await.cache(), "hit; ttl=20");
    fixture.after(20);
    let changed = [("cache-control", "max-age=60"), ("etag", "\"2\"")];
    let answered = fixture.serve(&ASKS, || answer(200, &changed, "two")).await;
    assert_eq!(answered.cache(), "fwd=stale; fwd-status=200; stored");
    assert_eq!(fixture.hit(&ASKS).await.body, "two");
}

#[tokio::test]
async fn a_failure_takes_no_place_in_the_cache() {
    let fixture = Fixture::new();
    fixture.serve(&ASKS, || answer(200, FRESH, "one")).await;
    let reload = Asks {
        fields: &[("cache-control", "no-cache")],
        ..ASKS
    };
    let failed = fixture.serve(&reload, || answer(503, &[], "down")).await;
    assert_eq!(failed.cache(), "fwd=request; fwd-status=503");
    assert_eq!(fixture.hit(&ASKS).await.body, "one");
    // Whereas an answer that must not be stored ends what was.
    let secret = [("cache-control", "no-store")];
    fixture.serve(&reload, || answer(200, &secret, "new")).await;
    let after = fixture.serve(&ASKS, || answer(200, FRESH, "three")).await;
    assert_eq!(after.cache(), "fwd=uri-miss; stored");
}

#[tokio::test]
async fn only_what_may_be_stored_is() {
    let private = Asks {
        rule: RouteCache::Private,
        identity: Some("token:a"),
        ..ASKS
    };
    let authorized = Asks {
        fields: &[("authorization", "Bearer x")],
        ..ASKS
    };
    let max_age = ("cache-control", "max-age=60");
    for (what, asks, fields, expected) in [
        ("fresh for a while", &ASKS, &[max_age][..], true),
        ("nothing said", &ASKS, &[], false),
        (
            "no freshness to guess from a date",
            &ASKS,
            &[("last-modified", "Mon, 01 Jan 2001 00:00:00 GMT")],
            false,
        ),
        (
            "no-store",
            &ASKS,
            &[("cache-control", "no-store, max-age=60")],
            false,
        ),
        (
            "private in a shared cache",
            &ASKS,
            &[("cache-control", "private, max-age=60")],
            false,
        ),
        (
            "private for its principal",
            &private,
            &[("cache-control", "private, max-age=60")],
            true,
        ),
        (
            "s-maxage",
            &ASKS,
            &[("cache-control", "max-age=0, s-maxage=60")],
            true,
        ),
        ("a cookie", &ASKS, &[max_age, ("set-cookie", "a=b")], false),
        (
            "a cookie, said to be public",
            &ASKS,
            &[
                ("cache-control", "public, max-age=60"),
                ("set-cookie", "a=b"),
            ],
            false,
        ),
        ("Vary: *", &ASKS, &[max_age, ("vary", "*")], false),
        ("authorized", &authorized, &[max_age], false),
        (
            "authorized, and public",
            &authorized,
            &[("cache-control", "public, max-age=60")],
            true,
        ),
    ] {
        let fixture = Fixture::new();
        assert_eq!(fixture.stores(asks, fields).await, expected, "{what}");
    }
    for status in [201, 206, 302, 304, 401, 500, 503] {
        let fixture = Fixture::new();
        fixture
            .serve(&ASKS, || answer(status, &[("etag", "\"1\"")], ""))
            .await;
        let second = fixture.serve(&ASKS, || answer(200, &[], "asked")).await;
        assert_eq!(second.asked("if-none-match"), None, "{status}");
    }
    for uncached in ["range", "if-range", "if-match", "if-unmodified-since"] {
        let fixture = Fixture::new();
        let fields = [(uncached, "x")];
        let asks = Asks {
            fields: &fields,
            ..ASKS
        };
        assert!(!fixture.stores(&asks, &[max_age]).await, "{uncached}");
        let bypassed = fixture.serve(&asks, || answer(200, &[], "")).await;
        assert_eq!(bypassed.cache(), "fwd=bypass", "{uncached}");
    }
}

#[tokio::test]
async fn nobody_gets_what_is_anothers() {
    let fixture = Fixture::new();
    let of = |identity: Option<&'static str>| Asks {
        rule: RouteCache::Private,
        identity,
        ..ASKS
    };
    for (identity, body) in [
        (Some("token:a"), "for a"),
        (Some("token:b"), "for b"),
        (Some("api_key:a"), "for the key of a"),
        (None, "for nobody"),
    ] {
        let first = fixture
            .serve(&of(identity), || answer(200, FRESH, body))
            .await;
        assert_eq!(first.cache(), "fwd=uri-miss; stored", "{identity:?}");
    }
    let shared = fixture.serve(&ASKS, || answer(200, FRESH, "for all")).await;
    assert_eq!(shared.cache(), "fwd=uri-miss; stored");
    assert_eq!(fixture.hit(&of(Some("token:a"))).await.body, "for a");
    assert_eq!(fixture.hit(&of(Some("token:b"))).await.body, "for b");
    assert_eq!(
        fixture.hit(&of(Some("api_key:a"))).await.body,
        "for the key of a"
    );
    assert_eq!(fixture.hit(&of(None)).await.body, "for nobody");
    // Who asks under another name could get links to it.
    let elsewhere = Asks {
        fields: &[("x-forwarded-host", "evil.example")],
        ..ASKS
    };
    let elsewhere = fixture
        .serve(&elsewhere, || answer(200, FRESH, "evil"))
        .await;
    assert_eq!(elsewhere.cache(), "fwd=uri-miss; stored");
    assert_eq!(fixture.hit(&ASKS).await.body, "for all");
}

#[tokio::test]
async fn answers_that_vary_are_kept_side_by_side() {
    let fixture = Fixture::new();
    let vary = [
        ("cache-control", "max-age=60"),
        ("vary", "Accept-Language, accept"),
    ];
    let speaks = |fields: &'static [(&'static str, &'static str)]| Asks { fields, ..ASKS };
    let german = speaks(&[("accept-language", "de")]);
    let english = speaks(&[("accept-language", "en")]);
    let both = speaks(&[("accept-language", "de"), ("accept-language", "en")]);
    for (asks, body, status) in [
        (&german, "hallo", "fwd=uri-miss; stored"),
        (&english, "hello", "fwd=vary-miss; stored"),
        (&both, "hallo, hello", "fwd=vary-miss; stored"),
    ] {
        let miss = fixture.serve(asks, || answer(200, &vary, body)).await;
        assert_eq!(miss.cache(), status);
    }
    assert_eq!(fixture.hit(&german).await.body, "hallo");
    assert_eq!(fixture.hit(&english).await.body, "hello");
    assert_eq!(fixture.hit(&both).await.body, "hallo, hello");
    let none = fixture.serve(&ASKS, || answer(200, &vary, "")).await;
    assert_eq!(none.cache(), "fwd=vary-miss; stored");
}

#[tokio::test]
async fn a_client_that_has_it_already_gets_304() {
    let fixture = Fixture::new();
    let fields = [
        ("cache-control", "max-age=60"),
        ("etag", "W/\"1\""),
        ("last-modified", "Mon, 01 Jan 2001 00:00:00 GMT"),
        ("content-type", "text/plain"),
    ];
    fixture.serve(&ASKS, || answer(200, &fields, "one")).await;
    for (name, value, expected) in [
        ("if-none-match", "W/\"1\"", 304),
        ("if-none-match", "\"0\", \"1\"", 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"2\"", 200),
        ("if-modified-since", "Mon, 01 Jan 2001 00:00:00 GMT", 304),
        ("if-modified-since", "Tue, 02 Jan 2001 00:00:00 GMT", 304),
        ("if-modified-since", "Sun, 31 Dec 2000 00:00:00 GMT", 200),
        ("if-modified-since", "yesterday", 200),
    ] {
        let conditions = [(name, value)];
        let asks = Asks {
            fields: &conditions,
            ..ASKS
        };
        let answer = fixture.hit(&asks).await;
        assert_eq!(answer.status.as_u16(), expected, "{name}: {value}");
        if expected == 304 {
            assert_eq!(answer.body, "");
            assert_eq!(answer.header("etag"), "W/\"1\"");
            assert_eq!(answer.header("age"), "0");
            assert_eq!(answer.header("content-type"), "");
            assert_eq!(answer.header("content-length"), "");
        }
    }
    // On a miss the condition is the service's to judge.
    let fixture = Fixture::new();
    let conditions = [("if-none-match", "\"1\"")];
    let asks = Asks {
        fields: &conditions,
        ..ASKS
    };
    let passed_on = fixture.serve(&asks, || answer(304, FRESH, "")).await;
    assert_eq!(passed_on.status, StatusCode::NOT_MODIFIED);
    assert_eq!(passed_on.asked("if-none-match"), Some("\"1\""));
    assert_eq!(passed_on.cache(), "fwd=uri-miss");
}

#[tokio::test]
async fn what_a_client_says_about_caching_holds() {
    let fixture = Fixture::new();
    let says = |fields: &'static [(&'static str, &'static str)]| Asks { fields, ..ASKS };
    let only = says(&[("cache-control", "only-if-cached")]);
    let refused = fixture.start(&only, answer(200, FRESH, "asked")).await;
    assert!(matches!(
        refused,
        Err(Error::Gateway(GatewayError::NotCached))
    ));
    let no_store = says(&[("cache-control", "no-store")]);
    assert!(!fixture.stores(&no_store, FRESH).await);

    fixture.serve(&ASKS, || answer(200, FRESH, "one")).await;
    fixture.after(20);
    assert_eq!(fixture.hit(&only).await.body, "one");
    for fields in [
        &[("cache-control", "no-cache")][..],
        &[("pragma", "no-cache")],
        &[("cache-control", "max-age=10")],
        &[("cache-control", "min-fresh=50")],
    ] {
        let asks = Asks { fields, ..ASKS };
        let answer = fixture.serve(&asks, || answer(503, &[], "asked")).await;
        assert_eq!(answer.asked("if-none-match"), Some("\"1\""), "{fields:?}");
        assert_eq!(answer.cache(), "fwd=request; fwd-status=503", "{fields:?}");
    }
    let enough = says(&[("cache-control", "max-age=30, min-fresh=10")]);
    assert_eq!(fixture.hit(&enough).await.body, "one");
}

#[tokio::test]
async fn a_change_makes_what_was_stored_invalid_for_everybody() {
    let path = |path: &'static str| Asks { uri: path, ..ASKS };
    let of_a = Asks {
        rule: RouteCache::Private,
        identity: Some("token:a"),
        ..ASKS
    };
    let created = path("http://10.0.0.7/widgets/2");
    for (what, change, status, fields, changes) in [
        ("PUT", "PUT", 204, &[][..], true),
        ("DELETE", "DELETE", 200, &[], true),
        ("a lost answer", "POST", 500, &[], true),
        ("a refusal", "PUT", 409, &[], false),
    ] {
        let fixture = Fixture::new();
        fixture.serve(&ASKS, || answer(200, FRESH, "one")).await;
        fixture
            .serve(&of_a, || answer(200, FRESH, "one of a"))
            .await;
        let change = Asks {
            method: change,
            ..ASKS
        };
        fixture.serve(&change, || answer(status, fields, "")).await;
        for asks in [&ASKS, &of_a] {
            let after = fixture.serve(asks, || answer(200, FRESH, "two")).await;
            assert_eq!(after.asked.is_some(), changes, "{what}");
        }
    }
    for (location, changes) in [
        ("/widgets/2", true),
        ("http://10.0.0.7/widgets/2", true),
        ("http://10.0.0.8/widgets/2", false),
        ("/widgets/3", false),
    ] {
        let fixture = Fixture::new();
        fixture.serve(&created, || answer(200, FRESH, "")).await;
        let post = Asks {
            method: "POST",
            uri: "http://10.0.0.7/widgets",
            ..ASKS
        };
        let fields = [("location", location)];
        fixture.serve(&post, || answer(201, &fields, "")).await;
        let after = fixture.serve(&created, || answer(200, FRESH, "")).await;
        assert_eq!(after.asked.is_some(), changes, "{location}");
    }
}

#[tokio::test]
async fn an_answer_that_a_change_overtook_is_not_kept() {
    let fixture = Fixture::new();
    let (before, let_go) = held("before");
    let slow = fixture
        .start(&ASKS, answer(200, FRESH, before))
        .await
        .unwrap();
    let put = Asks {
        method: "PUT",
        ..ASKS
    };
    fixture.serve(&put, || answer(204, &[], "")).await;
    // Who asks after the change does not wait for what was asked before it.
    let after = fixture.serve(&ASKS, || answer(200, FRESH, "after")).await;
    assert_eq!(after.body, "after");
    assert_eq!(after.cache(), "fwd=uri-miss; stored");
    drop(let_go);
    slow.into_body().collect().await.unwrap();
    assert_eq!(fixture.hit(&ASKS).await.body, "after");

    // The same when nobody has asked meanwhile, and for what a tag names.
    for purge in [false, true] {
        let fixture = Fixture::new();
        let (before, let_go) = held("before");
        let slow = fixture
            .start(&ASKS, answer(200, FRESH, before))
            .await
            .unwrap();
        if purge {
            fixture.tags.purge("widget:1");
        } else {
            fixture.serve(&put, || answer(204, &[], "")).await;
        }
        drop(let_go);
        slow.into_body().collect().await.unwrap();
        let after = fixture.serve(&ASKS, || answer(200, FRESH, "after")).await;
        assert_eq!(after.cache(), "fwd=uri-miss; stored");
        assert_eq!(fixture.hit(&ASKS).await.body, "after");
    }
}

#[tokio::test]
async fn the_tags_of_who_asks_count_beside_those_of_who_stored_it() {
    let fixture = Fixture::new();
    let none = Asks { tags: &[], ..ASKS };
    fixture.serve(&none, || answer(200, FRESH, "before")).await;
    assert_eq!(fixture.hit(&ASKS).await.body, "before");
    fixture.tags.purge("widget:1");
    assert_eq!(fixture.hit(&none).await.body, "before");
    let after = fixture.serve(&ASKS, || answer(200, FRESH, "after")).await;
    assert_eq!(
        (after.cache(), &*after.body),
        ("fwd=uri-miss; stored", "after")
    );
    // Nor is it certain to them that nothing has changed.
    let fixture = Fixture::new();
    fixture.serve(&none, || answer(200, FRESH, "before")).await;
    fixture.tags.expire_all();
    assert_eq!(fixture.hit(&none).await.body, "before");
    let sure = fixture.serve(&ASKS, || answer(304, FRESH, "")).await;
    assert_eq!(sure.cache(), "fwd=stale; fwd-status=304; stored");
}

#[tokio::test]
async fn an_older_answer_never_takes_the_place_of_a_newer_one() {
    let reload = Asks {
        fields: &[("cache-control", "no-cache")],
        ..ASKS
    };
    for (what, purge) in [("a reload", false), ("a purge", true)] {
        let fixture = Fixture::new();
        let (before, let_go) = held("before");
        let slow = fixture
            .start(&ASKS, answer(200, FRESH, before))
            .await
            .unwrap();
        let asks = if purge { &ASKS } else { &reload };
        if purge {
            fixture.tags.purge("widget:1");
        }
        let after = fixture.serve(asks, || answer(200, FRESH, "after")).await;
        assert_eq!(after.body, "after", "{what}");
        drop(let_go);
        slow.into_body().collect().await.unwrap();
        assert_eq!(fixture.hit(&ASKS).await.body, "after", "{what}");
    }
    // Nor of another variant that the same request selects.
    let fixture = Fixture::new();
    let vary = [("cache-control", "max-age=60"), ("vary", "accept")];
    let (before, let_go) = held("before");
    let slow = fixture.start(&ASKS, answer(200, &vary, before)).await;
    fixture.serve(&reload, || answer(200, FRESH, "after")).await;
    drop(let_go);
    slow.unwrap().into_body().collect().await.unwrap();
    assert_eq!(fixture.hit(&ASKS).await.body, "after");
}

#[tokio::test]
async fn what_is_stored_outlives_an_answer_that_only_its_asker_makes_unfit() {
    let known = [("authorization", "Bearer x")];
    let no_store = [("cache-control", "no-store")];
    for fields in [&known, &no_store] {
        let fixture = Fixture::new();
        fixture.serve(&ASKS, || answer(200, FRESH, "one")).await;
        fixture.after(60);
        let asks = Asks { fields, ..ASKS };
        let confirmed = fixture.serve(&asks, || answer(304, FRESH, "")).await;
        assert_eq!(confirmed.body, "one");
        assert_eq!(confirmed.cache(), "fwd=stale; fwd-status=304");
        // It is still there to be made sure of.
        let next = fixture.serve(&ASKS, || answer(304, FRESH, "")).await;
        assert_eq!(next.asked("if-none-match"), Some("\"1\""), "{fields:?}");
        assert_eq!(next.cache(), "fwd=stale; fwd-status=304; stored");
    }
    // What the answer itself says ends it.
    let fixture = Fixture::new();
    fixture.serve(&ASKS, || answer(200, FRESH, "one")).await;
    fixture.after(60);
    let secret = [("cache-control", "no-store")];
    fixture.serve(&ASKS, || answer(304, &secret, "")).await;
    let next = fixture.serve(&ASKS, || answer(200, FRESH, "two")).await;
    assert_eq!(next.asked("if-none-match"), None);
}

/// A body that is there when the sender has been dropped.
fn held(text: &'static str) -> (Body, oneshot::Sender<()>) {
    let (sender, receiver) = oneshot::channel();
    let body = stream::once(async move {
        let _ = receiver.await;
        Ok::<_, std::io::Error>(Bytes::from(text))
    });
    (Body::from_stream(body), sender)
}

fn streamed(chunks: Vec<Result<&'static str, std::io::Error>>) -> Body {
    Body::from_stream(stream::iter(
        chunks.into_iter().map(|chunk| chunk.map(Bytes::from)),
    ))
}

#[tokio::test]
async fn only_complete_bodies_within_the_bound_are_kept() {
    // In pieces, without a length.
    let fixture = Fixture::new();
    let body = streamed(vec![Ok("on"), Ok(""), Ok("e")]);
    fixture.serve(&ASKS, || answer(200, FRESH, body)).await;
    assert_eq!(fixture.hit(&ASKS).await.body, "one");

    // Empty.
    let fixture = Fixture::new();
    fixture
        .serve(&ASKS, || answer(200, FRESH, Body::empty()))
        .await;
    assert_eq!(fixture.hit(&ASKS).await.body, "");

    // The whole of what was declared, although nobody polls for the end.
    let fixture = Fixture::new();
    let declared = [("cache-control", "max-age=60"), ("content-length", "3")];
    let body = streamed(vec![Ok("one")]);
    let response = fixture
        .start(&ASKS, answer(200, &declared, body))
        .await
        .unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(fixture.hit(&ASKS).await.body, "one");

    let large = "x".repeat(1001);
    let large_declared = [("cache-control", "max-age=60"), ("content-length", "1001")];
    for (what, fields, chunks) in [
        (
            "broken off",
            FRESH,
            vec![Ok("on"), Err(std::io::Error::other("gone"))],
        ),
        ("shorter than declared", &declared[..], vec![Ok("on")]),
        ("too large", FRESH, vec![]),
        ("declared too large", &large_declared[..], vec![]),
    ] {
        let fixture = Fixture::new();
        let body = if what.contains("too large") {
            Body::from_stream(stream::iter([Ok::<_, std::io::Error>(large.clone())]))
        } else {
            streamed(chunks)
        };
        let response = fixture
            .start(&ASKS, answer(200, fields, body))
            .await
            .unwrap();
        // However it ends for the client.
        let _ = response.into_body().collect().await;
        let after = fixture.serve(&ASKS, || answer(200, &[], "asked")).await;
        assert!(after.asked.is_some(), "{what}");
    }

    // The client went away.
    let fixture = Fixture::new();
    let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from("on"))]);
    let body = Body::from_stream(body.chain(stream::pending()));
    let response = fixture
        .start(&ASKS, answer(200, FRESH, body))
        .await
        .unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    eventually(|| fixture.under_way() == 0).await;
    let after = fixture.serve(&ASKS, || answer(200, &[], "asked")).await;
    assert!(after.asked.is_some());
}

#[tokio::test]
async fn memory_is_bounded() {
    let fixture = Fixture::new();
    let uris: Vec<String> = (0..5000)
        .map(|id| format!("http://10.0.0.7/widgets/{id}"))
        .collect();
    for uri in &uris {
        let asks = Asks { uri, ..ASKS };
        let body = "x".repeat(900);
        fixture.serve(&asks, || answer(200, FRESH, body)).await;
    }
    let store = fixture.cache.store.as_ref().unwrap();
    store.entries.run_pending_tasks();
    assert!(store.entries.weighted_size() <= 1 << 20);
    assert!(store.entries.entry_count() > 100);
}

/// A buffer as a connection reads into, most of which is something else.
struct Buffer {
    bytes: Vec<u8>,
    held: Arc<AtomicU64>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::SeqCst);
    }
}

/// These bytes as a slice of a large buffer.
pub(super) fn slice_of_buffer(text: &str, held: &Arc<AtomicU64>) -> Bytes {
    held.fetch_add(1, Ordering::SeqCst);
    let mut bytes = vec![0; 1 << 16];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    let held = Arc::clone(held);
    Bytes::from_owner(Buffer { bytes, held }).slice(..text.len())
}

#[tokio::test]
async fn what_is_stored_holds_no_buffer_of_a_connection() {
    let fixture = Fixture::new();
    let held = Arc::<AtomicU64>::default();
    let slice = |text: &str| slice_of_buffer(text, &held);
    let value = |text: &str| HeaderValue::from_maybe_shared(slice(text)).unwrap();
    let ask = async |status: u16, accept: &str| {
        let mut response = answer(status, &[], Body::from(slice("one")));
        for (name, text) in [
            (CACHE_CONTROL, "max-age=60"),
            (ETAG, "\"1\""),
            (VARY, "accept"),
        ] {
            response.headers_mut().insert(name, value(text));
        }
        let service = Arc::new(Service {
            answer: Mutex::new(Some(response)),
            asked: Mutex::default(),
        });
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_maybe_shared(slice("http://10.0.0.7/widgets/1")).unwrap();
        let fields = request.headers_mut();
        fields.insert(ACCEPT, value(accept));
        fields.insert("x-forwarded-host", value("gateway.example"));
        let response = fixture.ask_with(&ASKS, request, &service).await.unwrap();
        response.into_body().collect().await.unwrap();
    };
    ask(200, "text/plain").await;
    ask(200, "text/html").await;
    // Confirmed by fields that came later.
    fixture.after(60);
    ask(304, "text/plain").await;
    eventually(|| held.load(Ordering::SeqCst) == 0).await;
    let store = fixture.cache.store.as_ref().unwrap();
    store.entries.run_pending_tasks();
    assert_eq!(store.entries.entry_count(), 1);
}

#[tokio::test]
async fn an_entry_weighs_what_found_it() {
    let weight = async |fields: &[(&str, &str)]| {
        let fixture = Fixture::new();
        let vary = [("cache-control", "max-age=60"), ("vary", "accept")];
        let asks = Asks { fields, ..ASKS };
        fixture.serve(&asks, || answer(200, &vary, "one")).await;
        fixture.weight()
    };
    let long = "x".repeat(5000);
    let bare = weight(&[]).await;
    for name in ["accept", "x-forwarded-host"] {
        assert!(weight(&[(name, &long)]).await >= bare + 5000, "{name}");
    }
    let weight = async |identity: &str| {
        let fixture = Fixture::new();
        let asks = Asks {
            rule: RouteCache::Private,
            identity: Some(identity),
            ..ASKS
        };
        fixture.serve(&asks, || answer(200, FRESH, "one")).await;
        fixture.weight()
    };
    assert!(weight(&long).await >= weight("ann").await + 4997);
}

#[tokio::test]
async fn bodies_on_their_way_are_bounded_together() {
    const SIZE: u64 = 10_000;
    const PIECE: usize = 600;
    let fixture = Fixture::of_size(SIZE);
    let piece = Bytes::from(vec![b'x'; PIECE]);
    let mut slow = Vec::new();
    let mut let_go = Vec::new();
    for id in 0..30 {
        let (rest, go) = held("rest");
        let first = stream::iter([Ok(piece.clone())]);
        let body = Body::from_stream(first.chain(rest.into_data_stream()));
        let uri = format!("http://10.0.0.7/widgets/{id}");
        let asks = Asks { uri: &uri, ..ASKS };
        slow.push(fixture.start(&asks, answer(200, FRESH, body)).await);
        let_go.push(go);
    }
    // As many as there is room for, although their clients have not taken a byte yet.
    eventually(|| fixture.room() < PIECE as u64).await;
    assert_eq!(fixture.room(), SIZE % PIECE as u64);
    drop(let_go);
    // Everybody gets the whole of it all the same.
    for response in slow {
        let body = response.unwrap().into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes().len(), PIECE + 4);
    }
    // And there is room again.
    eventually(|| fixture.room() == SIZE).await;
    let next = Asks {
        uri: "http://10.0.0.7/widgets/next",
        ..ASKS
    };
    fixture.serve(&next, || answer(200, FRESH, "next")).await;
    assert_eq!(fixture.hit(&next).await.body, "next");
    // Also after clients that have gone.
    let (rest, _go) = held("rest");
    let body = Body::from_stream(stream::iter([Ok(piece)]).chain(rest.into_data_stream()));
    let other = Asks {
        uri: "http://10.0.0.7/widgets/gone",
        ..ASKS
    };
    let gone = fixture.start(&other, answer(200, FRESH, body)).await;
    assert_eq!(fixture.room(), SIZE - PIECE as u64);
    drop(gone);
    eventually(|| fixture.room() == SIZE).await;
}

#[tokio::test]
async fn a_cache_of_no_size_is_none() {
    let tags = Arc::<Tags>::default();
    let config = CacheConfig {
        max_bytes: 0,
        max_entry_bytes: 1000,
        parts_max_bytes: 0,
    };
    let fixture = Fixture {
        cache: ResponseCache::new(&config, &tags, Metrics::new(1).cache()),
        tags,
        seconds: Arc::default(),
    };
    for _ in 0..2 {
        let answered = fixture.serve(&ASKS, || answer(200, FRESH, "asked")).await;
        assert!(answered.asked.is_some());
        assert_eq!(answered.header("cache-status"), "");
    }
}
