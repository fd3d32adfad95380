//! When something is sent again, with which secrets, to which addresses, and what is forgotten. What partners see of it over the
//! public API is with the system tests.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
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
use crate::store::Store;

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

    /// With how many secrets a message would be signed at `at`.
    async fn secrets(&self, at: i64) -> usize {
        let queue = records::due(&self.store, &self.id, at, 1).await.unwrap();
        queue.unwrap().due.unwrap().secrets().len()
    }
}

/// What a partner's server answers, from now on: a status, and `Retry-After`.
type Answer = Arc<Mutex<(StatusCode, Option<&'static str>)>>;

async fn receiver(status: StatusCode, retry_after: Option<&'static str>) -> (String, Answer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let answer: Answer = Arc::new(Mutex::new((status, retry_after)));
    let app = Router::new()
        .fallback(async |State(answer): State<Answer>| {
            let (status, retry_after) = *answer.lock().unwrap();
            let mut headers = HeaderMap::new();
            if let Some(seconds) = retry_after {
                headers.insert("retry-after", seconds.parse().unwrap());
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
    for (retry_after, least, most) in [("40", 40_000, 45_000), ("86400", 100_000, 105_000)] {
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
