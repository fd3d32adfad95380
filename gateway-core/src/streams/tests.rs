//! Streams over a feed that the test plays: what clients see, whatever comes at which moment.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::time::{Instant, advance, timeout};

use super::{Beginning, Begun, EventStream, Messages, Source, Start};
use crate::auth::{ApiKeyPrincipal, Principal};
use crate::config::StreamConfig;
use crate::context::RequestContext;
use crate::error::{ClientError, Error, GatewayError};
use crate::events::{ChangeEvent, Events};

const TAG: &str = "widget:1";
const BUDGET: Duration = Duration::from_secs(3);

/// From where, and what was heard by then.
type Asked = (Start, Option<u64>);

/// The log of a service, and what becomes of questions about it.
#[derive(Clone, Default)]
struct Log {
    last: Arc<Mutex<u64>>,
    failures: Arc<Mutex<Vec<Error>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

struct Widget {
    log: Log,
}

impl Log {
    fn write(&self) -> ChangeEvent {
        let mut last = self.last.lock().unwrap();
        *last += 1;
        event(*last)
    }

    fn last(&self) -> u64 {
        *self.last.lock().unwrap()
    }
}

impl Source for Widget {
    fn tell(&self, event: &ChangeEvent, messages: &mut Messages) {
        messages
            .add(&event.kind, event.position, &json!({}))
            .unwrap();
    }

    async fn begin(self: Arc<Self>, beginning: Beginning) -> Result<Begun, Error> {
        let Beginning { start, heard, .. } = beginning;
        self.log.asked.lock().unwrap().push((start, heard));
        // Whatever else is ready goes first.
        for _ in 0..fastrand::usize(..3) {
            tokio::task::yield_now().await;
        }
        if let Some(failure) = self.log.failures.lock().unwrap().pop() {
            return Err(failure);
        }
        let last = self.log.last();
        let mut messages = Messages::default();
        let position = match start {
            Start::After(position) if position <= last => {
                for missed in position + 1..=last {
                    self.tell(&event(missed), &mut messages);
                }
                last
            }
            Start::Now | Start::After(_) | Start::Nowhere => {
                let position = heard.unwrap_or(last);
                messages.add("state", Some(position), &json!({})).unwrap();
                position
            }
        };
        for _ in 0..fastrand::usize(..3) {
            tokio::task::yield_now().await;
        }
        Ok(Begun { messages, position })
    }
}

fn event(position: u64) -> ChangeEvent {
    let envelope = json!({
        "specversion": "1.0", "id": position.to_string(), "source": "/widgets", "type": "WidgetPainted", "subject": "1",
    });
    let event = ChangeEvent::parse(envelope.to_string().into()).unwrap();
    event.at(Some(position))
}

fn caller(owner: &str) -> RequestContext {
    let principal = Principal::ApiKey(Arc::new(ApiKeyPrincipal {
        key_id: "k".to_owned(),
        owner: owner.to_owned(),
        scopes: Vec::new(),
        attributes: Default::default(),
    }));
    RequestContext::for_tests_as(principal, BUDGET)
}

fn config(max_per_caller: usize) -> StreamConfig {
    StreamConfig {
        idle: Duration::from_secs(120),
        lifetime: Duration::from_secs(3600),
        max_frame_bytes: 1,
        heartbeat: Duration::from_secs(15),
        max_per_caller,
    }
}

async fn open(events: &Events, log: &Log, start: Start) -> Result<Reader, Error> {
    open_as(events, log, start, "anna").await
}

async fn open_as(events: &Events, log: &Log, start: Start, owner: &str) -> Result<Reader, Error> {
    let source = Widget { log: log.clone() };
    let stream = events.stream(&caller(owner), [TAG], start, source).await?;
    Ok(Reader::new(stream))
}

fn tell(events: &Events, event: ChangeEvent) {
    events.changed(event, &[TAG.to_owned()]);
}

/// A client that reads block by block.
struct Reader {
    body: Body,
    text: String,
}

impl Reader {
    fn new(stream: EventStream) -> Self {
        let response = stream.into_response();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self {
            body: response.into_body(),
            text: String::new(),
        }
    }

    /// The next block, without its end; `None` when the stream has ended.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let frame = self.body.frame().await?.unwrap();
            let data = frame.into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// Name and position of the next event; other blocks only move the position.
    async fn event(&mut self) -> Option<(String, Option<u64>)> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                let mut lines = block.lines();
                lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            };
            let position = field("id").map(|id| id.parse().unwrap());
            if let Some(name) = field("event") {
                return Some((name.to_owned(), position));
            }
        }
    }

    async fn position(&mut self) -> u64 {
        self.event().await.unwrap().1.unwrap()
    }

    async fn says_nothing(&mut self) {
        let silent = timeout(Duration::from_millis(1), self.event()).await;
        assert!(silent.is_err(), "{silent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_begins_with_the_state_and_goes_on_with_every_later_event() {
    let (events, log) = (Events::new(&Arc::default()), Log::default());
    tell(&events, log.write());
    // The log is ahead of what this process has heard of.
    let (two, three) = (log.write(), log.write());
    let mut stream = open(&events, &log, Start::Now).await.unwrap();
    assert_eq!(*log.asked.lock().unwrap(), [(Start::Now, Some(1))]);
    let first = stream.block().await.unwrap();
    assert!(
        first.starts_with("retry: ") && first.ends_with("\nid: 1"),
        "{first}"
    );
    assert_eq!(stream.event().await.unwrap(), ("state".to_owned(), Some(1)));
    tell(&events, two);
    // Told twice by the feed, and to others' tags.
    tell(&events, event(2));
    events.changed(event(3), &["widget:2".to_owned()]);
    tell(&events, three.at(Some(4)));
    assert_eq!(
        stream.event().await.unwrap(),
        ("WidgetPainted".to_owned(), Some(2))
    );
    assert_eq!(stream.position().await, 4);
    // What is in no log is told as it comes.
    tell(&events, event(0).at(None));
    assert_eq!(
        stream.event().await.unwrap(),
        ("WidgetPainted".to_owned(), None)
    );
    stream.says_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_is_told_when_it_can_be() {
    let (events, log) = (Events::new(&Arc::default()), Log::default());
    for _ in 0..5 {
        log.write();
    }
    let mut stream = open(&events, &log, Start::After(2)).await.unwrap();
    for position in 3..=5 {
        assert_eq!(stream.position().await, position);
    }
    // Two were not heard, the service fails twice, and more comes in between.
    log.write();
    log.write();
    let unavailable = || GatewayError::Overloaded.into();
    *log.failures.lock().unwrap() = vec![unavailable(), unavailable()];
    events.missed();
    stream.says_nothing().await;
    tell(&events, log.write());
    for position in 6..=8 {
        assert_eq!(stream.position().await, position);
    }
    stream.says_nothing().await;
    // A client that does not read has a queue with an end, and misses nothing for it.
    for _ in 0..200 {
        tell(&events, log.write());
    }
    for position in 9..=208 {
        assert_eq!(stream.position().await, position);
    }
    // The log has begun anew.
    *log.last.lock().unwrap() = 3;
    events.stands_at(None);
    events.missed();
    assert_eq!(stream.event().await.unwrap(), ("state".to_owned(), Some(3)));
    tell(&events, log.write());
    assert_eq!(stream.position().await, 4);
    // It is not this client's any more.
    *log.failures.lock().unwrap() = vec![Error::not_found()];
    events.missed();
    let end = "event: end\ndata: {\"reason\":\"gone\"}";
    assert_eq!(stream.block().await.as_deref(), Some(end));
    assert_eq!(stream.event().await, None);
    assert_eq!(events.places().open(), 1);
    drop(stream);
    assert_eq!(events.places().open(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_missed_or_told_twice_whatever_happens_when() {
    for seed in 0..300 {
        fastrand::seed(seed);
        let (events, log) = (Events::new(&Arc::default()), Log::default());
        let (feed, written) = (events.clone(), log.clone());
        let writer = tokio::spawn(async move {
            let mut untold = Vec::new();
            for _ in 0..120 {
                match fastrand::u8(..8) {
                    0..4 => untold.push(written.write()),
                    // The feed is behind its log, and sometimes breaks off: what it had not told comes from the log.
                    4..7 => untold.drain(..).for_each(|event| tell(&feed, event)),
                    _ => {
                        if fastrand::bool() {
                            untold.clear();
                        }
                        feed.missed();
                    }
                }
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..400))).await;
            }
            untold.into_iter().for_each(|event| tell(&feed, event));
            feed.missed();
        });
        // A client that comes and goes.
        let mut last = None;
        let mut seen = Vec::<u64>::new();
        while !writer.is_finished() || last != Some(log.last()) {
            let start = last.map_or(Start::Now, Start::After);
            let mut stream = open(&events, &log, start).await.unwrap();
            let leaves = Instant::now() + Duration::from_millis(fastrand::u64(1..5_000));
            while let Ok(told) = tokio::time::timeout_at(leaves, stream.event()).await {
                let (name, position) = told.unwrap();
                last = position;
                match name.as_str() {
                    "state" => assert!(seen.is_empty(), "seed {seed}"),
                    _ => seen.push(position.unwrap()),
                }
            }
        }
        writer.await.unwrap();
        let first = seen.first().copied().unwrap_or_default();
        let all: Vec<u64> = (first..=log.last()).collect();
        assert!(seen.is_empty() || seen == all, "seed {seed}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_and_moves_the_place_to_come_back_to() {
    let (events, log) = (Events::new(&Arc::default()), Log::default());
    let mut stream = open(&events, &log, Start::Now).await.unwrap();
    while stream.event().await.unwrap().0 != "state" {}
    let began = Instant::now();
    // Much happens, and nothing of it is this stream's.
    events.changed(event(77), &["widget:2".to_owned()]);
    assert_eq!(stream.block().await.unwrap(), ": heartbeat\nid: 77");
    assert_eq!(stream.block().await.unwrap(), ": heartbeat\nid: 77");
    assert_eq!(began.elapsed().as_secs(), 30);
    // While something is missing nobody may come back to a place behind it.
    let failures: Vec<Error> = (0..9).map(|_| GatewayError::Overloaded.into()).collect();
    *log.failures.lock().unwrap() = failures;
    events.missed();
    events.changed(event(99), &["widget:2".to_owned()]);
    assert_eq!(stream.block().await.unwrap(), ": heartbeat");
    // A client that reads nothing is owed one sign of life, not one for each time.
    advance(Duration::from_secs(600)).await;
}

#[tokio::test(start_paused = true)]
async fn one_caller_has_so_many_streams() {
    let (events, log) = (Events::new(&Arc::default()), Log::default());
    events.places().configure(&config(2));
    let open_as = |owner: &'static str| open_as(&events, &log, Start::Now, owner);
    let one = open_as("anna").await.unwrap();
    let _two = open_as("anna").await.unwrap();
    let refused = open_as("anna").await.err().unwrap();
    assert!(
        matches!(refused, Error::Client(ClientError::TooManyStreams)),
        "{refused:?}"
    );
    let _other = open_as("bert").await.unwrap();
    drop(one);
    let _again = open_as("anna").await.unwrap();
    assert_eq!((events.places().open(), events.places().refused()), (3, 1));
    // One that does not come about takes no place.
    *log.failures.lock().unwrap() = vec![Error::not_found()];
    assert!(open_as("bert").await.is_err());
    let _bert = open_as("bert").await.unwrap();
    // Nor one more than there may be followers.
    events.allow(4);
    let full = open_as("carl").await.err().unwrap();
    assert!(
        matches!(full, Error::Gateway(GatewayError::Overloaded)),
        "{full:?}"
    );
}
