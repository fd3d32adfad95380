//! A feed that the test plays, and its followers: what is purged, resumed, missed, and noticed to be gone.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use http::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{ChangeEvent, Events, Feed, Notice, Source, TooManySubscribers};
use crate::cache::{Tags, Validity};
use crate::config;
use crate::config::{PartnerConfig, WebhooksConfig};
use crate::metrics::Metrics;
use crate::store::Store;
use crate::webhooks::{Announcement, Audience, NewEndpoint, TABLES, Webhooks};

const LONG: Duration = Duration::from_secs(20);

fn event(id: u64, subject: &str) -> String {
    let envelope = json!({
        "specversion": "1.0", "id": id.to_string(), "source": "/widgets", "type": "WidgetPainted",
        "subject": subject, "data": {"colour": "red"},
    });
    format!("id: {id}\nevent: WidgetPainted\ndata: {envelope}\n\n")
}

fn parsed(subject: &str) -> ChangeEvent {
    let envelope = json!({
        "specversion": "1.0", "id": "7", "source": "/widgets", "type": "WidgetPainted", "subject": subject,
        "data": {"colour": "red"},
    });
    ChangeEvent::parse(envelope.to_string().into()).unwrap()
}

fn tags_of(event: &ChangeEvent) -> Option<Vec<String>> {
    Some(vec![format!("widget:{}", event.subject.as_ref()?)])
}

/// One connection of the gateway to the feed, as the feed sees it.
struct Connection {
    last_event_id: Option<String>,
    sender: mpsc::Sender<Result<Bytes, Infallible>>,
}

impl Connection {
    async fn say(&self, text: impl Into<String>) {
        self.sender
            .send(Ok(Bytes::from(text.into())))
            .await
            .unwrap();
    }
}

struct World {
    tags: Arc<Tags>,
    events: Events,
    feed: Arc<Feed>,
    connections: mpsc::Receiver<Connection>,
    refuse: Arc<Mutex<Option<StatusCode>>>,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

type Play = (mpsc::Sender<Connection>, Arc<Mutex<Option<StatusCode>>>);

async fn play(State((connections, refuse)): State<Play>, request: Request) -> Response {
    let last_event_id = request
        .headers()
        .get("last-event-id")
        .map(|id| id.to_str().unwrap().to_owned());
    let refused = refuse.lock().unwrap().take();
    if let Some(status) = refused {
        return status.into_response();
    }
    let (sender, receiver) = mpsc::channel(8);
    let connection = Connection {
        last_event_id,
        sender,
    };
    connections.send(connection).await.unwrap();
    let body = Body::from_stream(unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    }));
    ([("content-type", "text/event-stream")], body).into_response()
}

impl World {
    async fn new(heartbeat: &str) -> Self {
        Self::with_journal(heartbeat, None).await
    }

    async fn with_journal(heartbeat: &str, journal: Option<Webhooks>) -> Self {
        crate::install_crypto();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, connections) = mpsc::channel(8);
        let refuse = Arc::<Mutex<Option<StatusCode>>>::default();
        let router = Router::new()
            .route("/events", axum::routing::get(play))
            .with_state((sender, Arc::clone(&refuse)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let text = format!(
            "[upstreams.widgets]\naddress = \"http://{address}\"\n\
             [events]\nupstream = \"widgets\"\nheartbeat = \"{heartbeat}\"\n"
        );
        let config = config::from_text(&[&text]).unwrap();
        let tags = Arc::<Tags>::default();
        let events = Events::new(&tags);
        let feed = Feed::new(events.clone(), tags_of, journal, Metrics::new(1).feed());
        let stop = CancellationToken::new();
        let source = move || Source::new(&config, None, 1);
        tokio::spawn(Arc::clone(&feed).run(source, stop.clone()));
        Self {
            tags,
            events,
            feed,
            connections,
            refuse,
            stop,
        }
    }

    async fn connection(&mut self) -> Connection {
        timeout(LONG, self.connections.recv())
            .await
            .unwrap()
            .unwrap()
    }
}

async fn next(subscription: &mut super::Subscription) -> Notice {
    timeout(LONG, subscription.next()).await.unwrap()
}

async fn is_told_of(subscription: &mut super::Subscription, id: &str) {
    match next(subscription).await {
        Notice::Changed(event) => assert_eq!(event.id, id),
        Notice::Missed => panic!("missed instead of {id}"),
    }
}

async fn is_told_to_read_anew(subscription: &mut super::Subscription) {
    let notice = next(subscription).await;
    assert!(matches!(notice, Notice::Missed), "{notice:?}");
}

#[tokio::test]
async fn an_event_purges_its_tags_before_its_followers_are_told() {
    let mut world = World::new("10s").await;
    let feed = world.connection().await;
    assert_eq!(feed.last_event_id, None);
    let mut follower = world.events.subscribe(["widget:1"]).unwrap();
    feed.say("event: heartbeat\ndata: {}\n\n").await;
    let slots = [world.tags.slot("widget:1")];
    let others = [world.tags.slot("widget:2")];
    // Nothing is certain before the feed is there.
    let mut before = world.tags.now();
    feed.say(event(1, "1")).await;
    loop {
        match next(&mut follower).await {
            Notice::Changed(event) => {
                assert_eq!(event.id, "1");
                break;
            }
            Notice::Missed => before = world.tags.now(),
        }
    }
    assert_eq!(world.tags.validity(before, slots), Validity::Purged);
    assert_eq!(world.tags.validity(before, others), Validity::Current);
    assert!(world.feed.readiness().up);
}

#[tokio::test]
async fn a_lost_feed_expires_everything_and_is_resumed_where_it_broke_off() {
    let mut world = World::new("10s").await;
    let feed = world.connection().await;
    let mut follower = world.events.subscribe(["widget:1"]).unwrap();
    feed.say(event(41, "1")).await;
    while !matches!(next(&mut follower).await, Notice::Changed(_)) {}
    let before = world.tags.now();
    let slots = [world.tags.slot("widget:2")];
    assert_eq!(world.tags.validity(before, slots), Validity::Current);
    drop(feed);
    let feed = world.connection().await;
    assert_eq!(world.tags.validity(before, slots), Validity::Uncertain);
    assert_eq!(feed.last_event_id.as_deref(), Some("41"));
    feed.say(event(42, "1")).await;
    // The next that its follower hears: it has missed nothing, and asks no service that may be the one that is away.
    is_told_of(&mut follower, "42").await;
    // It does not know that place any more, and says so.
    let before = world.tags.now();
    feed.say("id: 99\nevent: reset\ndata: {\"head\":99}\n\n")
        .await;
    is_told_to_read_anew(&mut follower).await;
    assert_eq!(world.tags.validity(before, slots), Validity::Uncertain);
    // Another feed refuses to go on there: then from now on.
    *world.refuse.lock().unwrap() = Some(StatusCode::GONE);
    drop(feed);
    let feed = world.connection().await;
    assert_eq!(feed.last_event_id, None);
}

fn announce(event: &ChangeEvent) -> Option<Announcement> {
    Some(Announcement {
        kind: "widget.painted",
        subject: event.subject.clone()?,
        audience: Some(Audience {
            attribute: "team",
            value: "red".to_owned(),
        }),
        at: "2030-01-01T00:00:00Z".to_owned(),
        data: json!({}),
    })
}

/// Of the webhooks of a partner whom all widgets concern.
async fn journal() -> (Webhooks, String) {
    let store = Store::new(None);
    store.open(&[TABLES]).unwrap();
    let config = WebhooksConfig {
        allow_loopback: true,
        ..WebhooksConfig::default()
    };
    let journal = Webhooks::new(&store, &config, Some(announce));
    let red = PartnerConfig {
        plan: "large".to_owned(),
        attributes: [("team".to_owned(), "red".to_owned())].into(),
    };
    journal.bind(&Arc::new([("acme".to_owned(), red)].into()));
    let new = NewEndpoint {
        url: "http://127.0.0.1:9/".to_owned(),
        kinds: Vec::new(),
        ordered: false,
    };
    let (endpoint, _secret) = journal.create("acme", new).await.unwrap();
    (journal, endpoint.id)
}

/// Waits until the partner is to be told of these widgets, the newest first.
async fn is_noted(journal: &Webhooks, endpoint: &str, subjects: &[&str]) {
    let noted = async {
        loop {
            let found = journal.deliveries("acme", endpoint, None, None, 10).await;
            let found = found.unwrap();
            if found
                .iter()
                .map(|one| one.subject.as_str())
                .eq(subjects.iter().copied())
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, noted).await.unwrap();
}

#[tokio::test]
async fn a_refused_connection_does_not_give_up_the_place_in_the_journal() {
    let (journal, endpoint) = journal().await;
    let mut world = World::with_journal("10s", Some(journal.clone())).await;
    let mut feed = world.connection().await;
    assert_eq!(feed.last_event_id.as_deref(), Some("none"));
    feed.say(event(41, "1")).await;
    is_noted(&journal, &endpoint, &["1"]).await;
    for status in [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::SERVICE_UNAVAILABLE,
    ] {
        *world.refuse.lock().unwrap() = Some(status);
        // Whoever was heard is come back to soon.
        feed.say("event: heartbeat\ndata: {}\n\n").await;
        drop(feed);
        // Number 42 comes meanwhile; whoever goes on after 41 is told of it.
        feed = world.connection().await;
        assert_eq!(feed.last_event_id.as_deref(), Some("41"), "{status}");
    }
    feed.say(event(42, "2")).await;
    is_noted(&journal, &endpoint, &["2", "1"]).await;

    // The place itself is refused: the feed has to say where it stands, so that the loss is seen.
    *world.refuse.lock().unwrap() = Some(StatusCode::GONE);
    drop(feed);
    let feed = world.connection().await;
    assert_eq!(feed.last_event_id.as_deref(), Some("none"));
    feed.say("id: 99\nevent: reset\ndata: {\"head\":99}\n\n")
        .await;
    feed.say(event(100, "3")).await;
    is_noted(&journal, &endpoint, &["3", "2", "1"]).await;
    assert_eq!(journal.position().await.unwrap().as_deref(), Some("100"));
}

#[tokio::test]
async fn silence_is_a_loss() {
    let mut world = World::new("200ms").await;
    let feed = world.connection().await;
    feed.say("event: heartbeat\ndata: {}\n\n").await;
    let mut follower = world.events.subscribe(["widget:1"]).unwrap();
    let before = world.tags.now();
    // The connection stays open, and nothing comes.
    is_told_to_read_anew(&mut follower).await;
    let slots = [world.tags.slot("widget:1")];
    while world.tags.validity(before, slots) == Validity::Current {
        is_told_to_read_anew(&mut follower).await;
    }
    let again = world.connection().await;
    assert!(!feed.sender.is_closed() || again.last_event_id.is_none());
}

#[tokio::test]
async fn what_is_not_understood_may_be_anything() {
    let mut world = World::new("10s").await;
    let feed = world.connection().await;
    let mut follower = world.events.subscribe(["widget:1"]).unwrap();
    feed.say(event(1, "1")).await;
    while !matches!(next(&mut follower).await, Notice::Changed(_)) {}
    let slots = [world.tags.slot("widget:1")];
    let of_another_version = r#"{"specversion":"2.0","id":"2","source":"x","type":"y"}"#;
    let about_nothing = r#"{"specversion":"1.0","id":"2","source":"x","type":"y"}"#;
    for envelope in [of_another_version, about_nothing] {
        let before = world.tags.now();
        feed.say(format!("id: 2\ndata: {envelope}\n\n")).await;
        is_told_to_read_anew(&mut follower).await;
        let validity = world.tags.validity(before, slots);
        assert_eq!(validity, Validity::Uncertain, "{envelope}");
    }
}

#[tokio::test]
async fn followers_are_told_of_their_tags_once_and_in_order() {
    let events = Events::new(&Arc::default());
    let mut one = events.subscribe(["widget:1", "widget:1"]).unwrap();
    let mut both = events.subscribe(["widget:1", "owner:7"]).unwrap();
    let mut none = events.subscribe(["widget:3"]).unwrap();
    let tags = ["widget:1".to_owned(), "owner:7".to_owned()];
    events.changed(parsed("1"), &tags);
    for follower in [&mut one, &mut both] {
        is_told_of(follower, "7").await;
        assert!(
            timeout(Duration::from_millis(5), follower.next())
                .await
                .is_err()
        );
    }
    assert!(
        timeout(Duration::from_millis(5), none.next())
            .await
            .is_err()
    );
    events.missed();
    is_told_to_read_anew(&mut none).await;
}

#[tokio::test]
async fn a_slow_follower_has_a_bound_and_a_place_ends_with_its_follower() {
    let events = Events::new(&Arc::default());
    events.allow(2);
    let mut slow = events.subscribe(["widget:1"]).unwrap();
    let other = events.subscribe(["widget:2"]).unwrap();
    assert_eq!(
        events.subscribe(["widget:3"]).err(),
        Some(TooManySubscribers)
    );
    drop(other);
    let _place = events.subscribe(["widget:3"]).unwrap();
    for _ in 0..1000 {
        events.changed(parsed("1"), &["widget:1".to_owned()]);
    }
    is_told_to_read_anew(&mut slow).await;
    events.changed(parsed("1"), &["widget:1".to_owned()]);
    is_told_of(&mut slow, "7").await;
}

#[test]
fn an_envelope_is_read_as_cloudevents_say() {
    #[derive(serde::Deserialize)]
    struct Painted {
        colour: String,
    }
    let event = parsed("1");
    assert_eq!(event.kind, "WidgetPainted");
    assert_eq!(event.subject.as_deref(), Some("1"));
    assert_eq!(event.data::<Painted>().unwrap().colour, "red");
    for wrong in [
        "{}",
        "[]",
        r#"{"specversion":"0.3","id":"1","source":"a","type":"b"}"#,
    ] {
        assert!(ChangeEvent::parse(wrong.into()).is_err(), "{wrong}");
    }
}
