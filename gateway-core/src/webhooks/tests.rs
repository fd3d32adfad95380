//! When something is sent again, with which secrets, to which addresses, and what is forgotten. What partners see of it over the
//! public API is with the system tests.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::dispatch::pause;
use super::records::{self, Message};
use super::send::{Outcome, Sender};
use super::{
    Announcement, Audience, Delivery, DeliveryState, NewEndpoint, Noted, TABLES, WebhookError,
    Webhooks, now,
};
use crate::config::{PartnerConfig, Partners, WebhooksConfig};
use crate::events::ChangeEvent;
use crate::store::{Store, Tables};

const LONG: Duration = Duration::from_secs(20);
const HOUR: i64 = 3_600_000;

fn config() -> WebhooksConfig {
    WebhooksConfig {
        allow_loopback: true,
        ..WebhooksConfig::default()
    }
}

fn announce(event: &ChangeEvent) -> Option<Announcement> {
    let owner = event.kind.strip_prefix("of:");
    Some(Announcement {
        kind: "widget.painted",
        subject: event.subject.clone()?,
        audience: owner.map(|owner| Audience {
            attribute: "team",
            value: owner.to_owned(),
        }),
        at: "2030-01-01T00:00:00Z".to_owned(),
        data: serde_json::json!({}),
    })
}

/// Partners of these names, all of the red team.
fn partners(names: &[&str]) -> Partners {
    let partner = |name: &&str| {
        let red = PartnerConfig {
            plan: "large".to_owned(),
            attributes: [("team".to_owned(), "red".to_owned())].into(),
        };
        ((*name).to_owned(), red)
    };
    Arc::new(names.iter().map(partner).collect())
}

struct World {
    store: Store,
    webhooks: Webhooks,
    /// The endpoint of the partner `acme`.
    id: String,
}

impl World {
    async fn new(config: &WebhooksConfig, url: &str) -> Self {
        crate::install_crypto();
        let store = Store::new(None);
        store.open(&[TABLES]).unwrap();
        let webhooks = Webhooks::new(&store, config, Some(announce));
        webhooks.bind(&partners(&["acme"]));
        let new = NewEndpoint {
            url: url.to_owned(),
            kinds: Vec::new(),
            ordered: false,
        };
        let (endpoint, _secret) = webhooks.create("acme", new).await.unwrap();
        Self {
            store,
            webhooks,
            id: endpoint.id,
        }
    }

    async fn test(&self) -> Result<String, WebhookError> {
        let at = "2030-01-01T00:00:00Z";
        self.webhooks
            .test("acme", &self.id, "widget.test", at)
            .await
    }

    async fn log(&self) -> Vec<Delivery> {
        let log = self.webhooks.deliveries("acme", &self.id, None, None, 100);
        log.await.unwrap()
    }

    /// The log, once it is as `wanted` says.
    async fn log_once(&self, wanted: impl Fn(&[Delivery]) -> bool) -> Vec<Delivery> {
        let found = async {
            loop {
                let log = self.log().await;
                if wanted(&log) {
                    return log;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, found).await.unwrap()
    }

    /// What would be sent now: what is taken out here is under way.
    async fn due(&self, most: usize) -> Vec<Message> {
        let queue = records::due(&self.store, &self.id, now(), most).await;
        queue.unwrap().unwrap().due.unwrap().messages
    }

    /// An attempt ends like this; why the endpoint is disabled by it.
    async fn ends(
        &self,
        message: &Message,
        outcome: Outcome,
        config: &WebhooksConfig,
    ) -> Option<String> {
        let at_once = Duration::ZERO;
        let ended = records::settle(&self.store, &self.id, message, outcome, at_once, config).await;
        ended.unwrap()
    }

    /// Why the endpoint is disabled.
    async fn disabled(&self) -> Option<String> {
        let endpoint = self.webhooks.endpoint("acme", &self.id).await;
        endpoint.unwrap().disabled
    }

    async fn enable(&self) {
        self.webhooks.enable("acme", &self.id).await.unwrap();
    }

    /// Why the last attempt of a message failed.
    async fn fault(&self, message: &Message) -> (DeliveryState, Option<String>) {
        let log = self.log().await.into_iter();
        let mut found = log.filter(|delivery| delivery.message == message.id);
        let found = found.next().unwrap();
        (found.state(), found.fault)
    }

    /// With how many secrets a message would be signed at `at`.
    async fn secrets(&self, at: i64) -> usize {
        let queue = records::due(&self.store, &self.id, at, 1).await.unwrap();
        queue.unwrap().due.unwrap().secrets().len()
    }
}

/// What a partner's server answers, from now on: a status, and `Retry-After`.
type Answer = Arc<Mutex<(StatusCode, Option<String>)>>;

async fn receiver(status: StatusCode, retry_after: Option<&str>) -> (String, Answer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let answer: Answer = Arc::new(Mutex::new((status, retry_after.map(str::to_owned))));
    let app = Router::new()
        .fallback(async |State(answer): State<Answer>| {
            let (status, retry_after) = answer.lock().unwrap().clone();
            let mut headers = HeaderMap::new();
            if let Some(wish) = retry_after {
                headers.insert("retry-after", wish.parse().unwrap());
            }
            (status, headers)
        })
        .with_state(Arc::clone(&answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, answer)
}

fn noted(webhooks: &Webhooks, id: &str, kind: &str, subject: &str) -> Noted {
    let envelope = serde_json::json!({
        "specversion": "1.0", "id": id, "source": "/widgets", "type": kind, "subject": subject, "data": {},
    });
    let event = ChangeEvent::parse(envelope.to_string().into()).unwrap();
    webhooks.note(&event).unwrap()
}

#[test]
fn pauses_double_up_to_the_longest_and_are_shortened_to_half_at_most() {
    let config = WebhooksConfig {
        first_retry: Duration::from_secs(4),
        max_retry: Duration::from_secs(60),
        ..config()
    };
    let seconds = Duration::from_secs;
    for (attempts, usual) in [
        (0, 4),
        (1, 8),
        (2, 16),
        (3, 32),
        (4, 60),
        (9, 60),
        (4000, 60),
    ] {
        for _ in 0..200 {
            let wait = pause(&config, attempts, None);
            assert!(wait >= seconds(usual) / 2, "{attempts}: {wait:?}");
            assert!(wait <= seconds(usual), "{attempts}: {wait:?}");
        }
    }
    // They do not all come back together.
    let first = pause(&config, 4, None);
    assert!((0..200).any(|_| pause(&config, 4, None) != first));
    // A wish makes a pause longer, never shorter, and never longer than the longest.
    assert_eq!(pause(&config, 0, Some(seconds(20))), seconds(20));
    assert!(pause(&config, 3, Some(seconds(1))) >= seconds(16));
    assert_eq!(pause(&config, 0, Some(seconds(3600))), seconds(60));
}

#[tokio::test]
async fn the_next_attempt_is_when_the_partner_wishes_but_not_too_late() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
    for (retry_after, least, most) in [
        ("40", 40_000, 45_000),
        ("86400", 100_000, 105_000),
        (date.as_str(), 30_000, 61_000),
    ] {
        let (url, _answer) = receiver(StatusCode::SERVICE_UNAVAILABLE, Some(retry_after)).await;
        let config = WebhooksConfig {
            first_retry: Duration::from_millis(10),
            max_retry: Duration::from_secs(100),
            ..config()
        };
        let world = World::new(&config, &url).await;
        let stop = CancellationToken::new();
        world.webhooks.start(&Handle::current(), &stop);
        let began = now();
        world.test().await.unwrap();
        let log = world.log_once(|log| log[0].attempts == 1).await;
        let ended = now();
        assert_eq!(log[0].state(), DeliveryState::Pending);
        assert!(log[0].due_at >= began + least, "{retry_after}: {log:?}");
        assert!(
            log[0].due_at <= ended + most,
            "{retry_after}: {ended}, {log:?}"
        );
    }
}

#[tokio::test]
async fn an_overlap_is_as_long_as_it_was_said_to_be() {
    let world = World::new(&config(), "http://127.0.0.1:9/").await;
    world.test().await.unwrap();
    assert_eq!(world.secrets(now()).await, 1);
    let rotate = async |secret: &'static str, now, until| {
        let (store, id) = (&world.store, world.id.as_str());
        records::rotate(store, "acme", id, secret, now, until).await
    };
    let start = now();
    let end = start + HOUR;
    rotate("whsec_b", start, end).await.unwrap();
    assert_eq!(world.secrets(end - 1).await, 2);
    // The secret that partners still verify with would be gone.
    let refused = rotate("whsec_c", end - 1500, end + HOUR).await;
    let Err(WebhookError::Overlap(left)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(left, Duration::from_millis(1500));
    let queue = records::due(&world.store, &world.id, end - 1, 1)
        .await
        .unwrap();
    assert_eq!(queue.unwrap().due.unwrap().secrets()[0], "whsec_b");
    assert_eq!(world.secrets(end).await, 1);
    rotate("whsec_c", end, end + HOUR).await.unwrap();
    let queue = records::due(&world.store, &world.id, end, 1).await.unwrap();
    assert_eq!(
        queue.unwrap().due.unwrap().secrets(),
        ["whsec_c", "whsec_b"]
    );
    // Nobody else's, and none that is not.
    let stranger = records::rotate(&world.store, "other", &world.id, "x", end * 2, end * 3).await;
    assert!(
        matches!(stranger, Err(WebhookError::Unknown)),
        "{stranger:?}"
    );
}

#[tokio::test]
async fn nothing_is_promised_to_an_endpoint_that_is_disabled() {
    let (url, answer) = receiver(StatusCode::GONE, None).await;
    let world = World::new(&config(), &url).await;
    let stop = CancellationToken::new();
    world.webhooks.start(&Handle::current(), &stop);
    let message = world.test().await.unwrap();
    world
        .log_once(|log| log[0].state() == DeliveryState::Failed)
        .await;
    let endpoint = world.webhooks.endpoint("acme", &world.id).await.unwrap();
    assert!(endpoint.disabled.is_some());

    let refused = world.test().await;
    assert!(
        matches!(refused, Err(WebhookError::Disabled)),
        "{refused:?}"
    );
    let replay = || world.webhooks.replay("acme", &world.id, &message);
    let refused = replay().await;
    assert!(
        matches!(refused, Err(WebhookError::Disabled)),
        "{refused:?}"
    );
    let log = world.log().await;
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(log[0].state(), DeliveryState::Failed);
    // Whose it is not does not learn that.
    let stranger = world.webhooks.replay("other", &world.id, &message).await;
    assert!(
        matches!(stranger, Err(WebhookError::Unknown)),
        "{stranger:?}"
    );

    answer.lock().unwrap().0 = StatusCode::NO_CONTENT;
    world.webhooks.enable("acme", &world.id).await.unwrap();
    let unknown = world.webhooks.replay("acme", &world.id, "msg_x").await;
    assert!(matches!(unknown, Err(WebhookError::Unknown)), "{unknown:?}");
    replay().await.unwrap();
    world
        .log_once(|log| log[0].state() == DeliveryState::Delivered)
        .await;
}

fn broken() -> Outcome {
    Outcome::Failed {
        status: Some(500),
        why: "the answer was 500".to_owned(),
        retry_after: None,
    }
}

/// What those say that were given up because of another one.
fn given_up() -> (DeliveryState, Option<String>) {
    let why = "the webhook was disabled".to_owned();
    (DeliveryState::Failed, Some(why))
}

#[tokio::test]
async fn an_answer_to_what_was_sent_before_an_endpoint_was_enabled_does_not_disable_it() {
    let world = World::new(&config(), "http://127.0.0.1:9/").await;
    for _ in 0..2 {
        world.test().await.unwrap();
    }
    let under_way = world.due(2).await;
    let [quick, slow] = under_way.as_slice() else {
        panic!("{under_way:?}");
    };
    let why = world.ends(quick, Outcome::Gone, &config()).await;
    assert_eq!(why.as_deref(), Some("the answer was 410"));
    world.enable().await;
    world.test().await.unwrap();
    assert_eq!(world.ends(slow, Outcome::Gone, &config()).await, None);
    assert_eq!(world.disabled().await, None);
    assert_eq!(world.fault(slow).await, given_up());
    let waiting = world.due(2).await;
    assert_eq!(waiting.len(), 1, "{waiting:?}");

    // Enabled while it was not disabled: what was under way then is asked for again, and that answer counts.
    world.enable().await;
    let ended = world.ends(&waiting[0], Outcome::Gone, &config()).await;
    assert_eq!(ended, None);
    let again = world.due(2).await;
    assert_eq!((again.len(), again[0].attempts), (1, 1), "{again:?}");
    let why = world.ends(&again[0], Outcome::Gone, &config()).await;
    assert_eq!(why.as_deref(), Some("the answer was 410"));
}

#[tokio::test]
async fn failures_of_what_was_sent_before_an_endpoint_was_enabled_are_not_counted() {
    let hasty = WebhooksConfig {
        attempts: 1,
        disable_after: 1,
        ..config()
    };
    let world = World::new(&hasty, "http://127.0.0.1:9/").await;
    world.test().await.unwrap();
    let former = world.due(1).await;
    world.enable().await;
    assert_eq!(world.ends(&former[0], broken(), &hasty).await, None);
    assert_eq!(world.disabled().await, None);
    assert_eq!(world.fault(&former[0]).await.0, DeliveryState::Failed);
    world.test().await.unwrap();
    let now = world.due(1).await;
    assert!(world.ends(&now[0], broken(), &hasty).await.is_some());
}

#[tokio::test]
async fn what_ends_after_its_endpoint_was_disabled_changes_nothing_unless_it_was_taken() {
    let hasty = WebhooksConfig {
        attempts: 1,
        disable_after: 2,
        ..config()
    };
    let world = World::new(&hasty, "http://127.0.0.1:9/").await;
    for _ in 0..6 {
        world.test().await.unwrap();
    }
    let under_way = world.due(6).await;
    let [gone, first, second, third, taken, late] = under_way.as_slice() else {
        panic!("{under_way:?}");
    };
    let patient = config();
    assert!(world.ends(gone, Outcome::Gone, &hasty).await.is_some());
    // The last attempts of two, and one after which there would be another.
    for (message, config) in [(first, &hasty), (second, &hasty), (third, &patient)] {
        assert_eq!(world.ends(message, broken(), config).await, None);
        assert_eq!(world.fault(message).await, given_up());
    }
    // It is disabled by one of them alone.
    assert_eq!(world.ends(third, Outcome::Gone, &hasty).await, None);
    assert_eq!(world.fault(third).await, given_up());
    let reason = world.disabled().await;
    assert_eq!(reason.as_deref(), Some("the answer was 410"));
    let delivered = Outcome::Delivered(204);
    assert_eq!(world.ends(taken, delivered, &hasty).await, None);
    assert_eq!(world.fault(taken).await, (DeliveryState::Delivered, None));
    // Nor does it count when it is enabled again.
    world.enable().await;
    assert_eq!(world.ends(late, broken(), &hasty).await, None);
    world.test().await.unwrap();
    let now = world.due(1).await;
    assert_eq!(world.ends(&now[0], broken(), &hasty).await, None);
    assert_eq!(world.disabled().await, None);
}

#[tokio::test]
async fn a_delivery_is_numbered_among_those_of_its_endpoint_alone() {
    let world = World::new(&config(), "http://127.0.0.1:9/").await;
    let webhooks = &world.webhooks;
    let new = NewEndpoint {
        url: "http://127.0.0.1:9/".to_owned(),
        kinds: Vec::new(),
        ordered: false,
    };
    let (other, _secret) = webhooks.create("other", new).await.unwrap();
    let at = "2030-01-01T00:00:00Z";
    for _ in 0..3 {
        let test = webhooks.test("other", &other.id, "widget.test", at);
        test.await.unwrap();
        world.test().await.unwrap();
    }
    let numbers = async |state, before| -> Vec<i64> {
        let page = webhooks.deliveries("acme", &world.id, state, before, 2);
        let page = page.await.unwrap().into_iter();
        page.map(|delivery| delivery.number).collect()
    };
    assert_eq!(numbers(None, None).await, [3, 2]);
    // What comes between two pages is on neither.
    world.test().await.unwrap();
    assert_eq!(numbers(None, Some(2)).await, [1]);
    // Nor does the next page change when what the one before ended with is forgotten, or everything is.
    let under_way = world.due(4).await;
    let delivered = || Outcome::Delivered(204);
    world.ends(&under_way[1], delivered(), &config()).await;
    let over = Some(DeliveryState::Delivered);
    assert_eq!(numbers(over, None).await, [2]);
    records::prune(&world.store, i64::MAX).await.unwrap();
    assert_eq!(numbers(None, Some(2)).await, [1]);
    for message in [&under_way[0], &under_way[2], &under_way[3]] {
        world.ends(message, delivered(), &config()).await;
    }
    records::prune(&world.store, i64::MAX).await.unwrap();
    world.test().await.unwrap();
    assert_eq!(numbers(None, None).await, [5]);
    // One that is there already takes no number.
    let partners = webhooks.inner.partners.load_full();
    for _ in 0..2 {
        let change = noted(webhooks, "1", "of:red", "widget-1");
        let taken = records::take(
            &world.store,
            vec![change],
            None,
            Arc::clone(&partners),
            now(),
        );
        taken.await.unwrap();
    }
    world.test().await.unwrap();
    assert_eq!(numbers(None, None).await, [7, 6]);
}

/// As they were before deliveries were numbered by endpoint.
static FORMER: [Tables; 1] = [Tables {
    owner: TABLES.owner,
    migrations: TABLES.migrations.split_at(2).0,
}];

#[tokio::test]
async fn what_a_file_had_before_is_numbered_by_endpoint() {
    crate::install_crypto();
    let folder = TempDir::new().unwrap();
    let store = || Store::new(Some(folder.path().join("store.db")));
    let former = store();
    former.open(&FORMER).unwrap();
    let filled = former.write(|connection| {
        Box::pin(
            sqlx::raw_sql(
                "INSERT INTO webhooks_endpoints (id, partner, url, kinds, ordered, secret, created_at)
                 VALUES ('wh_1', 'acme', 'http://127.0.0.1:9/', '', 0, 'whsec_a', 1),
                        ('wh_2', 'other', 'http://127.0.0.1:9/', '', 0, 'whsec_b', 1),
                        ('wh_3', 'acme', 'http://127.0.0.1:9/', '', 0, 'whsec_c', 1);
                 INSERT INTO webhooks_deliveries (endpoint, message, kind, subject, body, due_at, created_at)
                 VALUES ('wh_2', 'a', 'k', 's', '{}', 1, 1), ('wh_1', 'a', 'k', 's', '{}', 1, 1),
                        ('wh_2', 'b', 'k', 's', '{}', 1, 1), ('wh_1', 'b', 'k', 's', '{}', 1, 1)",
            )
            .execute(connection),
        )
    });
    filled.await.unwrap();
    former.close();

    let store = store();
    store.open(&[TABLES]).unwrap();
    let webhooks = Webhooks::new(&store, &config(), None);
    for (partner, id, numbers) in [
        ("acme", "wh_1", &[3, 2, 1][..]),
        ("other", "wh_2", &[3, 2, 1]),
        ("acme", "wh_3", &[1]),
    ] {
        let at = "2030-01-01T00:00:00Z";
        let test = webhooks.test(partner, id, "widget.test", at);
        test.await.unwrap();
        let log = webhooks.deliveries(partner, id, None, None, 10);
        let log = log.await.unwrap().into_iter();
        let found: Vec<i64> = log.map(|delivery| delivery.number).collect();
        assert_eq!(found, numbers, "{id}");
    }
    let queue = records::due(&store, "wh_1", now(), 1).await.unwrap();
    assert_eq!(queue.unwrap().due.unwrap().messages[0].generation, 0);
    let plan = store.read(|connection| {
        let plan = "EXPLAIN QUERY PLAN SELECT * FROM webhooks_deliveries
                    WHERE endpoint = 'wh_1' AND place < 3 ORDER BY place DESC LIMIT 2";
        Box::pin(sqlx::query_as::<_, (i64, i64, i64, String)>(plan).fetch_all(connection))
    });
    let plan = plan.await.unwrap();
    assert_eq!(plan.len(), 1, "{plan:?}");
    assert!(
        plan[0].3.contains("webhooks_deliveries_by_place"),
        "{plan:?}"
    );
    store.close();
}

#[tokio::test]
async fn what_is_replayed_while_it_is_under_way_is_sent_once_more() {
    let (arrived, mut arrivals) = watch::channel(0);
    let hold = Arc::new(Semaphore::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let gate = Arc::clone(&hold);
    let app = Router::new().fallback(async move || {
        arrived.send_modify(|count| *count += 1);
        gate.acquire().await.unwrap().forget();
        StatusCode::NO_CONTENT
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    let world = World::new(&config(), &url).await;
    world
        .webhooks
        .start(&Handle::current(), &CancellationToken::new());
    let message = world.test().await.unwrap();
    let first = arrivals.wait_for(|count| *count == 1);
    timeout(LONG, first).await.unwrap().unwrap();
    let replay = world.webhooks.replay("acme", &world.id, &message);
    replay.await.unwrap();
    hold.add_permits(1);
    let second = arrivals.wait_for(|count| *count == 2);
    timeout(LONG, second).await.unwrap().unwrap();
    assert_eq!(world.log().await[0].state(), DeliveryState::Pending);
    hold.add_permits(1);
    let log = world
        .log_once(|log| log[0].state() == DeliveryState::Delivered)
        .await;
    // Of the replay; the attempt before it is another round's.
    assert_eq!(log[0].attempts, 1, "{log:?}");
    world.webhooks.stop();
}

#[tokio::test]
async fn what_is_over_is_forgotten_and_nothing_else() {
    let (url, _answer) = receiver(StatusCode::NO_CONTENT, None).await;
    let world = World::new(&config(), &url).await;
    let ended = world.test().await.unwrap();
    let queue = records::due(&world.store, &world.id, now(), 1).await;
    let message = &queue.unwrap().unwrap().due.unwrap().messages[0];
    let (delivered, at_once) = (Outcome::Delivered(204), Duration::ZERO);
    records::settle(
        &world.store,
        &world.id,
        message,
        delivered,
        at_once,
        &config(),
    )
    .await
    .unwrap();
    let waiting = world.test().await.unwrap();
    let ended_at = world.log().await[1].ended_at.unwrap();
    let messages = async || -> Vec<String> {
        let log = world.log().await.into_iter();
        log.map(|delivery| delivery.message).collect()
    };
    records::prune(&world.store, ended_at - 1).await.unwrap();
    assert_eq!(messages().await, [waiting.as_str(), ended.as_str()]);
    records::prune(&world.store, ended_at).await.unwrap();
    assert_eq!(messages().await, [waiting.as_str()]);
    records::prune(&world.store, i64::MAX).await.unwrap();
    assert_eq!(messages().await, [waiting.as_str()]);
}

#[tokio::test]
async fn a_subject_of_which_nothing_was_heard_for_a_month_belongs_to_nobody() {
    let world = World::new(&config(), "http://127.0.0.1:9/").await;
    let webhooks = &world.webhooks;
    let take = async |noted, at| {
        let partners = webhooks.inner.partners.load_full();
        let woken = records::take(&world.store, vec![noted], None, partners, at).await;
        woken.unwrap().len()
    };
    let days = |days: i64| now() - days * 24 * HOUR;
    assert_eq!(
        take(noted(webhooks, "1", "of:red", "old"), days(31)).await,
        1
    );
    assert_eq!(
        take(noted(webhooks, "2", "of:red", "new"), days(29)).await,
        1
    );
    // Those that do not say whom they concern concern those whom earlier ones did.
    assert_eq!(take(noted(webhooks, "3", "dried", "old"), now()).await, 1);
    records::prune(&world.store, 0).await.unwrap();
    assert_eq!(take(noted(webhooks, "4", "dried", "old"), now()).await, 0);
    assert_eq!(take(noted(webhooks, "5", "dried", "new"), now()).await, 1);
}

#[tokio::test]
async fn the_client_connects_to_no_address_that_its_resolver_did_not_check() {
    crate::install_crypto();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // A name says nothing of the address behind it.
    let world = World::new(&config(), &format!("https://localhost:{port}/")).await;
    world.test().await.unwrap();
    let queue = records::due(&world.store, &world.id, now(), 1).await;
    let due = queue.unwrap().unwrap().due.unwrap();
    let message: &Message = &due.messages[0];
    let attempt = async |allow_loopback| {
        let config = WebhooksConfig {
            allow_loopback,
            timeout: Duration::from_secs(1),
            ..WebhooksConfig::default()
        };
        let sender = Sender::new(&config).unwrap();
        match sender.attempt(&due, message, 1).await {
            Outcome::Failed { why, .. } => why,
            other => panic!("{other:?}"),
        }
    };
    let nobody_comes = async || {
        let come = timeout(Duration::from_millis(50), listener.accept()).await;
        come.is_err()
    };
    let why = attempt(false).await;
    assert_eq!(why, "the URL has to lead to a public address");
    assert!(nobody_comes().await);
    // It is the address alone that stood in the way.
    assert_ne!(
        attempt(true).await,
        "the URL has to lead to a public address"
    );
    assert!(!nobody_comes().await);
}

#[tokio::test]
async fn who_is_no_partner_any_more_is_told_nothing() {
    let (url, _answer) = receiver(StatusCode::NO_CONTENT, None).await;
    let world = World::new(&config(), &url).await;
    world.webhooks.bind(&partners(&["other"]));
    world
        .webhooks
        .start(&Handle::current(), &CancellationToken::new());
    world.test().await.unwrap();
    // Another's is delivered meanwhile, so deliveries are made.
    let new = NewEndpoint {
        url,
        kinds: Vec::new(),
        ordered: false,
    };
    let (endpoint, _secret) = world.webhooks.create("other", new).await.unwrap();
    let at = "2030-01-01T00:00:00Z";
    let test = world
        .webhooks
        .test("other", &endpoint.id, "widget.test", at);
    test.await.unwrap();
    let log = async || {
        let log = world
            .webhooks
            .deliveries("other", &endpoint.id, None, None, 1);
        log.await.unwrap()[0].state()
    };
    let told = async {
        while log().await != DeliveryState::Delivered {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, told).await.unwrap();
    assert_eq!(world.log().await[0].state(), DeliveryState::Pending);
    // What waits is theirs when they are a partner again.
    world.webhooks.bind(&partners(&["acme", "other"]));
    let delivered = |log: &[Delivery]| log[0].state() == DeliveryState::Delivered;
    world.log_once(delivered).await;
    world.webhooks.stop();
}

#[tokio::test]
async fn a_store_that_is_closed_ends_deliveries_instead_of_being_asked_for_ever() {
    let (url, _answer) = receiver(StatusCode::NO_CONTENT, None).await;
    let world = World::new(&config(), &url).await;
    let stop = CancellationToken::new();
    world.webhooks.start(&Handle::current(), &stop);
    world.test().await.unwrap();
    world
        .log_once(|log| log[0].state() == DeliveryState::Delivered)
        .await;
    let store = world.store.clone();
    tokio::task::spawn_blocking(move || store.close())
        .await
        .unwrap();
    world.webhooks.wake(&world.id);
    let empty = async {
        while !world.webhooks.queues().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, empty).await.unwrap();
    world.webhooks.stop();
    timeout(LONG, world.webhooks.ended()).await.unwrap();
}
