//! Several replicas before one service, with a real Redis between them. Each has a clock of its own, which only the test moves;
//! Redis has its own, which goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redis::Commands;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::collapsing::{held, start};
use super::{ASKS, Answer, Asks, FRESH, Fixture, Tags, answer, eventually};
use crate::cache::second::SecondLevel;
use crate::config::{self, RouteCache};
use crate::metrics::Metrics;
use crate::store::redis::test_server::TestRedis;

/// More than an answer takes, whatever the machine is busy with; and more than a configuration may say.
const PATIENT: Duration = Duration::from_secs(10);
const POST: Asks<'static> = Asks {
    method: "POST",
    ..ASKS
};

struct Replica {
    fixture: Arc<Fixture>,
    second: Arc<SecondLevel>,
    _stop: DropGuard,
}

impl Replica {
    /// When it is connected.
    async fn start(redis: &TestRedis) -> Self {
        Self::with(redis, PATIENT, "").await
    }

    async fn with(redis: &TestRedis, timeout: Duration, more: &str) -> Self {
        let url = redis.url();
        let text =
            format!("[redis]\nurl = \"{url}\"\nreplicas = 2\nshare_responses = true\n{more}");
        let mut config = config::from_text(&[&text]).unwrap().redis.unwrap();
        config.timeout = timeout;
        let metrics = Metrics::new(1);
        let second = SecondLevel::of(Some(&config), "app", || metrics.second_level()).unwrap();
        let stop = CancellationToken::new();
        second.start(&Handle::current(), stop.clone());
        let tags = Arc::new(Tags::beside(Some(Arc::clone(&second))));
        let replica = Self {
            fixture: Arc::new(Fixture::beside(1 << 20, tags)),
            second,
            _stop: stop.drop_guard(),
        };
        replica.is_connected().await;
        replica
    }

    async fn is_connected(&self) {
        eventually(|| self.second.readiness().0).await;
    }

    /// Fills both levels, and waits until other replicas can see it.
    async fn fills(&self, asks: &Asks<'_>, fields: &[(&str, &str)], body: &'static str) {
        let metrics = self.second.metrics();
        let before = metrics.stored.value();
        let filled = self.asks(asks, fields, body).await;
        assert!(filled.asked.is_some(), "{filled:?}");
        eventually(|| metrics.stored.value() > before).await;
    }

    /// Asks, with this answer of the service's, should it be asked.
    async fn asks(&self, asks: &Asks<'_>, fields: &[(&str, &str)], body: &'static str) -> Answer {
        self.fixture.serve(asks, || answer(200, fields, body)).await
    }

    /// It has nothing, and learns nothing: the service fails.
    async fn misses(&self, asks: &Asks<'_>) {
        let missed = self.fixture.serve(asks, || answer(503, &[], "")).await;
        assert!(missed.asked.is_some(), "{missed:?}");
    }
}

async fn replicas<const N: usize>(redis: &TestRedis) -> [Replica; N] {
    let mut all = Vec::new();
    for _ in 0..N {
        all.push(Replica::start(redis).await);
    }
    all.try_into().ok().unwrap()
}

/// For servers that hang.
async fn impatient(redis: &TestRedis) -> [Replica; 2] {
    let short = Duration::from_millis(500);
    [
        Replica::with(redis, short, "").await,
        Replica::with(redis, short, "").await,
    ]
}

fn keys(redis: &TestRedis, pattern: &str) -> Vec<String> {
    redis.connection().keys(pattern).unwrap()
}

#[tokio::test]
async fn what_one_replica_was_answered_serves_the_others() {
    let redis = TestRedis::start().await;
    let [a, b] = replicas(&redis).await;
    let fields = &[
        ("cache-control", "max-age=60, stale-if-error=30"),
        ("etag", "\"1\""),
        ("x-odd", "\u{e4}"),
        ("x-twice", "one"),
        ("x-twice", "two"),
    ];
    a.fills(&ASKS, fields, "one").await;
    let found = b.fixture.hit(&ASKS).await;
    assert_eq!(found.body, "one");
    assert!(
        found.cache().ends_with("; detail=second-level"),
        "{found:?}"
    );
    assert!(found.cache().starts_with("hit; ttl="), "{found:?}");
    let of_a = a.fixture.hit(&ASKS).await;
    for name in ["etag", "cache-control", "content-length", "date"] {
        assert_eq!(found.header(name), of_a.header(name), "{name}");
    }
    assert_eq!(found.headers["x-odd"], of_a.headers["x-odd"]);
    let twice: Vec<_> = found.headers.get_all("x-twice").iter().collect();
    assert_eq!(twice, ["one", "two"]);
    // From then on it is in its own level.
    let again = b.fixture.hit(&ASKS).await;
    assert!(!again.cache().contains("detail"), "{again:?}");
    assert_eq!(b.second.metrics().hit.value(), 1);
    // With all that goes with being stored: conditions, HEAD, standing in.
    let asks = Asks {
        fields: &[("if-none-match", "\"1\"")],
        ..ASKS
    };
    let [c] = replicas(&redis).await;
    assert_eq!(c.fixture.hit(&asks).await.status, 304);
    let () = redis::cmd("FLUSHALL")
        .query(&mut redis.connection())
        .unwrap();
    b.fixture.after(70);
    let failed = b.fixture.serve(&ASKS, || answer(500, &[], "")).await;
    assert!(failed.cache().contains("stale-if-error"), "{failed:?}");
}

#[tokio::test]
async fn a_purge_at_one_replica_is_seen_by_all() {
    let redis = TestRedis::start().await;
    let [a, b, c, d, e] = replicas(&redis).await;
    a.fills(&ASKS, FRESH, "one").await;
    a.fixture.tags.purge("widget:1");
    assert!(a.fixture.tags.told().await);
    b.misses(&ASKS).await;
    // A command, by its URI alone; it is done before its answer is there.
    a.fills(&ASKS, FRESH, "three").await;
    a.asks(&POST, &[], "done").await;
    assert!(a.fixture.tags.told().await);
    c.misses(&ASKS).await;
    // Changes that went unheard.
    a.fills(&ASKS, FRESH, "five").await;
    a.fixture.tags.expire_all();
    assert!(a.fixture.tags.told().await);
    d.misses(&ASKS).await;
    // And what nobody purged is there.
    a.fills(&ASKS, FRESH, "seven").await;
    a.fixture.tags.purge("widget:2");
    assert!(a.fixture.tags.told().await);
    assert_eq!(e.fixture.hit(&ASKS).await.body, "seven");
}

#[tokio::test]
async fn what_was_asked_for_before_a_purge_elsewhere_is_not_used_after_it() {
    let redis = TestRedis::start().await;
    let [a, b, c] = replicas(&redis).await;
    let service = held(|_, _| answer(200, FRESH, "old"));
    let asked = start(&b.fixture, &service, ASKS);
    service.is_asked(1).await;
    a.fixture.tags.purge("widget:1");
    assert!(a.fixture.tags.told().await);
    service.permits.add_permits(1);
    assert_eq!(asked.await.unwrap().unwrap().body, "old");
    // It was stored all the same, and does not count.
    eventually(|| b.second.metrics().stored.value() == 1).await;
    assert_eq!(keys(&redis, "app:cache:e:*").len(), 1);
    c.misses(&ASKS).await;
}

#[tokio::test]
async fn an_answer_that_was_asked_for_earlier_takes_nothings_place() {
    let redis = TestRedis::start().await;
    let [a, b, c] = replicas(&redis).await;
    let service = held(|_, _| answer(200, FRESH, "old"));
    let asked = start(&b.fixture, &service, ASKS);
    service.is_asked(1).await;
    a.fills(&ASKS, FRESH, "new").await;
    service.permits.add_permits(1);
    assert_eq!(asked.await.unwrap().unwrap().body, "old");
    eventually(|| b.second.metrics().outrun.value() == 1).await;
    assert_eq!(c.fixture.hit(&ASKS).await.body, "new");
}

#[tokio::test]
async fn nor_does_one_that_varies_where_the_later_one_does_not_or_the_other_way_round() {
    const VARIES: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("vary", "accept")];
    for (earlier, later) in [(VARIES, FRESH), (FRESH, VARIES)] {
        let redis = TestRedis::start().await;
        let [a, b, c] = replicas(&redis).await;
        let service = held(move |_, _| answer(200, earlier, "old"));
        let asked = start(&b.fixture, &service, ASKS);
        service.is_asked(1).await;
        a.fills(&ASKS, later, "new").await;
        service.permits.add_permits(1);
        assert_eq!(asked.await.unwrap().unwrap().body, "old");
        eventually(|| b.second.metrics().outrun.value() == 1).await;
        assert_eq!(c.fixture.hit(&ASKS).await.body, "new");
    }
}

#[tokio::test]
async fn a_redis_that_forgets_makes_nothing_usable_that_was_not() {
    let redis = TestRedis::start().await;
    let [a, b, c] = replicas(&redis).await;
    // Each generation by itself, as eviction takes them.
    for key in ["all", "tagged", "u[0-9]*", "t[0-9]*"] {
        a.fixture.tags.purge("widget:1");
        assert!(a.fixture.tags.told().await);
        a.fills(&ASKS, FRESH, "one").await;
        let found = keys(&redis, &format!("app:cache:g:{key}"));
        assert_eq!(found.len(), 1, "{key}");
        redis.connection().del::<_, ()>(found).unwrap();
        b.misses(&ASKS).await;
        // Also when who looked has made it anew.
        let [d] = replicas(&redis).await;
        d.misses(&ASKS).await;
    }
    let () = redis::cmd("FLUSHALL")
        .query(&mut redis.connection())
        .unwrap();
    c.misses(&ASKS).await;
}

#[tokio::test]
async fn ages_are_true_whatever_the_clocks_of_replicas_say() {
    let redis = TestRedis::start().await;
    let [a, ahead, behind] = replicas(&redis).await;
    ahead.fixture.after(3600);
    a.fixture.after(1800);
    let fields = &[("cache-control", "max-age=600"), ("age", "100")];
    let began = Instant::now();
    a.fills(&ASKS, fields, "one").await;
    for replica in [&ahead, &behind] {
        let found = replica.fixture.hit(&ASKS).await;
        let age: u64 = found.header("age").parse().unwrap();
        // No clock of a replica has moved since; Redis' has, by as much as the test took.
        let passed = began.elapsed().as_secs();
        assert!((100..=101 + passed).contains(&age), "{found:?}");
        let ttl = found.cache().trim_start_matches("hit; ttl=");
        let ttl: u64 = ttl.split(';').next().unwrap().parse().unwrap();
        assert!((498 - passed..=500).contains(&ttl), "{found:?}");
    }
}

#[tokio::test]
async fn answers_that_differ_by_fields_are_found_by_them() {
    let redis = TestRedis::start().await;
    let [a, b] = replicas(&redis).await;
    let fields = &[
        ("cache-control", "max-age=60"),
        ("vary", "accept, x-flavour"),
    ];
    let asks = |fields| Asks { fields, ..ASKS };
    let sweet = asks(&[("x-flavour", "sweet")]);
    a.fills(&sweet, fields, "sweet").await;
    a.fills(&asks(&[]), fields, "plain").await;
    assert_eq!(b.fixture.hit(&asks(&[])).await.body, "plain");
    assert_eq!(b.fixture.hit(&sweet).await.body, "sweet");
    b.misses(&asks(&[("x-flavour", "sour")])).await;
    b.misses(&asks(&[("x-flavour", "sweet"), ("x-flavour", "sour")]))
        .await;
}

#[tokio::test]
async fn an_answer_that_is_not_to_be_stored_ends_the_one_for_its_fields() {
    let redis = TestRedis::start().await;
    let [a] = replicas(&redis).await;
    let sweet = Asks {
        fields: &[("x-flavour", "sweet")],
        ..ASKS
    };
    let stored = &[("cache-control", "max-age=60"), ("vary", "x-flavour")];
    a.fills(&sweet, stored, "sweet").await;
    let again = Asks {
        fields: &[("x-flavour", "sweet"), ("cache-control", "no-cache")],
        ..ASKS
    };
    // Neither it nor the list of fields, which the next answer for other fields would write anew.
    assert_eq!(keys(&redis, "*:cache:e:*").len(), 2);
    a.asks(&again, &[("cache-control", "no-store")], "new")
        .await;
    eventually(|| keys(&redis, "*:cache:e:*").is_empty()).await;
}

#[tokio::test]
async fn what_is_one_callers_own_never_leaves_the_process() {
    let redis = TestRedis::start().await;
    let [a, b] = replicas(&redis).await;
    let own = Asks {
        rule: RouteCache::Private,
        identity: Some("ann"),
        ..ASKS
    };
    a.asks(&own, &[("cache-control", "public, max-age=60")], "hers")
        .await;
    b.misses(&own).await;
    // Neither does what is not to be stored, nor what was asked for so.
    let cases: [(&[_], _); 4] = [
        (&[], "no-store"),
        (&[], "private, max-age=60"),
        (&[("cache-control", "no-store")], "max-age=60"),
        (&[("authorization", "x")], "max-age=60"),
    ];
    for (number, (fields, answered)) in cases.into_iter().enumerate() {
        let uri = &format!("http://10.0.0.7/widgets/case-{number}");
        let asks = Asks {
            uri,
            fields,
            ..ASKS
        };
        a.asks(&asks, &[("cache-control", answered)], "x").await;
    }
    // Until something is written that is: what was before it would have been, too.
    let other = Asks {
        uri: "http://10.0.0.7/widgets/2",
        ..ASKS
    };
    a.fills(&other, FRESH, "for all").await;
    assert_eq!(keys(&redis, "app:cache:e:*").len(), 1);
}

#[tokio::test]
async fn routes_and_services_are_told_apart() {
    let redis = TestRedis::start().await;
    let [a, b] = replicas(&redis).await;
    a.fills(&ASKS, FRESH, "one").await;
    for other in [
        Asks {
            rule: RouteCache::Private,
            ..ASKS
        },
        Asks {
            uri: "http://10.0.0.8/widgets/1",
            ..ASKS
        },
        Asks {
            uri: "http://10.0.0.7/widgets/1?",
            ..ASKS
        },
        Asks {
            fields: &[("x-forwarded-host", "")],
            ..ASKS
        },
        Asks {
            fields: &[("x-forwarded-proto", "https")],
            ..ASKS
        },
    ] {
        b.misses(&other).await;
    }
    assert_eq!(b.fixture.hit(&ASKS).await.body, "one");
}

#[tokio::test]
async fn a_client_that_wants_it_new_makes_it_new_for_all() {
    let redis = TestRedis::start().await;
    let [a, b, c, d] = replicas(&redis).await;
    a.fills(&ASKS, FRESH, "one").await;
    let again = Asks {
        fields: &[("cache-control", "no-cache")],
        ..ASKS
    };
    b.fills(&again, FRESH, "two").await;
    assert_eq!(c.fixture.hit(&ASKS).await.body, "two");
    // And an answer that nobody may keep ends what was kept.
    b.asks(&again, &[("cache-control", "no-store")], "three")
        .await;
    eventually(|| keys(&redis, "app:cache:e:*").is_empty()).await;
    d.misses(&ASKS).await;
}

#[tokio::test]
async fn what_somebody_else_wrote_there_is_nothing() {
    let redis = TestRedis::start().await;
    let [a, b, c] = replicas(&redis).await;
    a.fills(&ASKS, FRESH, "one").await;
    let [key] = <[String; 1]>::try_from(keys(&redis, "app:cache:e:*")).unwrap();
    let mut connection = redis.connection();
    let whole: Vec<u8> = connection.get(&key).unwrap();
    for length in 0..whole.len() - "one".len() {
        let () = connection.set(&key, &whole[..length]).unwrap();
        if length % 29 == 0 {
            b.misses(&ASKS).await;
        }
    }
    // Nor is an entry of another name, should digests ever be the same.
    let other = Asks {
        uri: "http://10.0.0.7/widgets/2",
        ..ASKS
    };
    a.fills(&other, FRESH, "other").await;
    let found = keys(&redis, "app:cache:e:*");
    let of_other = found.iter().find(|found| **found != key).unwrap();
    let () = connection.rename(of_other, &key).unwrap();
    c.misses(&ASKS).await;
}

#[tokio::test]
async fn an_entry_has_an_end_of_its_own() {
    let redis = TestRedis::start().await;
    let a = Replica::with(&redis, PATIENT, "max_response_age = \"50s\"").await;
    a.fills(&ASKS, FRESH, "one").await;
    let [key] = <[String; 1]>::try_from(keys(&redis, "app:cache:e:*")).unwrap();
    let life: i64 = redis.connection().pttl(&key).unwrap();
    assert!((1..=50_000).contains(&life), "{life}");
    // Also when Redis was told of it late: it says itself when it was asked for.
    let () = redis.connection().persist(&key).unwrap();
    let impatient = Replica::with(&redis, PATIENT, "max_response_age = \"1ms\"").await;
    impatient.misses(&ASKS).await;
}

/// It answers nobody, and keeps its connections.
#[tokio::test]
async fn a_redis_that_hangs_holds_up_nobody_for_longer_than_once() {
    let redis = TestRedis::start().await;
    let [a, b] = impatient(&redis).await;
    a.fills(&ASKS, FRESH, "old").await;
    redis.pause();
    // One waits once, and from then on nobody does.
    b.misses(&ASKS).await;
    let metrics = b.second.metrics();
    for _ in 0..20 {
        b.misses(&ASKS).await;
    }
    assert_eq!((metrics.failed.value(), metrics.away.value()), (1, 20));
    assert!(!b.second.readiness().0);
    // So with purges.
    let began = Instant::now();
    for _ in 0..200 {
        a.fixture.tags.purge("widget:1");
        assert!(!a.fixture.tags.told().await);
    }
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    // Answers go on, from its own level, too.
    a.asks(&ASKS, FRESH, "new").await;
    assert_eq!(a.fixture.hit(&ASKS).await.body, "new");
    redis.resume();
    // What could not be told is told, and only then it is asked for that again.
    let metrics = a.second.metrics();
    eventually(|| metrics.purges_waiting.value() == 0.0).await;
    let [c] = replicas(&redis).await;
    c.misses(&ASKS).await;
    // And it is used again.
    a.is_connected().await;
    b.is_connected().await;
    a.fixture.tags.purge("widget:1");
    eventually(|| metrics.purges_waiting.value() == 0.0).await;
    a.fills(&ASKS, FRESH, "newest").await;
    assert_eq!(b.fixture.hit(&ASKS).await.body, "newest");
}

#[tokio::test]
async fn what_redis_refuses_to_forget_is_not_read() {
    let redis = TestRedis::start().await;
    let [a] = replicas(&redis).await;
    let rights = |rule: &str| {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg("default").arg(rule);
        let () = command.query(&mut redis.connection()).unwrap();
    };
    a.fills(&ASKS, FRESH, "old").await;
    rights("-del");
    a.fixture.tags.purge("widget:1");
    // It is connected again and again, and each time refused.
    let metrics = a.second.metrics();
    let began = Instant::now();
    while metrics.barred.value() < 5 {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "it is never barred"
        );
        a.is_connected().await;
        a.misses(&ASKS).await;
    }
    // The others know nothing of it, which is the limit, and shows that it was there to be found.
    let [b] = replicas(&redis).await;
    assert_eq!(b.fixture.hit(&ASKS).await.body, "old");
    rights("+del");
    eventually(|| metrics.purges_waiting.value() == 0.0).await;
    let [c] = replicas(&redis).await;
    c.misses(&ASKS).await;
}

#[tokio::test]
async fn what_was_purged_while_redis_was_away_is_not_found_by_who_missed_it_too() {
    let redis = TestRedis::start().await;
    let [a, b] = impatient(&redis).await;
    a.fills(&ASKS, FRESH, "old").await;
    redis.pause();
    a.fixture.tags.purge("widget:1");
    // It dies before it could say so.
    drop(a);
    eventually(|| !b.second.readiness().0).await;
    redis.resume();
    b.is_connected().await;
    b.misses(&ASKS).await;
    // What is asked for since then counts.
    let other = Asks {
        uri: "http://10.0.0.7/widgets/2",
        ..ASKS
    };
    b.fills(&other, FRESH, "new").await;
    // The control, and the limit: it is still there for somebody who did not miss it.
    let [c] = replicas(&redis).await;
    assert_eq!(c.fixture.hit(&ASKS).await.body, "old");
    assert_eq!(c.fixture.hit(&other).await.body, "new");
}

#[tokio::test]
async fn what_redis_has_written_down_before_a_purge_does_not_come_back() {
    let mut redis = TestRedis::start().await;
    let [a, b] = replicas(&redis).await;
    a.fills(&ASKS, FRESH, "old").await;
    let () = redis::cmd("SAVE").query(&mut redis.connection()).unwrap();
    let saved = everything(&redis);
    a.fixture.tags.purge("widget:1");
    assert!(a.fixture.tags.told().await);
    redis.kill();
    // Answers go on.
    b.misses(&ASKS).await;
    a.asks(&ASKS, FRESH, "new").await;
    assert_eq!(a.fixture.hit(&ASKS).await.body, "new");
    drop((a, b));
    redis.start_again().await;
    assert_eq!(everything(&redis), saved);
    let [c] = replicas(&redis).await;
    c.misses(&ASKS).await;
}

/// All keys with their values.
fn everything(redis: &TestRedis) -> BTreeMap<String, Vec<u8>> {
    let mut connection = redis.connection();
    let keys = keys(redis, "*").into_iter();
    keys.map(|key| {
        let value = connection.get(&key).unwrap();
        (key, value)
    })
    .collect()
}
