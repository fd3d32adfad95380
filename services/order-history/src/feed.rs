//! The live side of the event log: readers that follow it, each at its own pace. A commit only wakes them; what they send
//! they read from the log, so that nobody misses an event, gets one twice, or holds up the writer. Not here: the HTTP
//! request that a reader belongs to (`http/events.rs`).

mod couriers;

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use chrono::{SecondsFormat, Utc};
use ftgo_messaging::{Database, Message};
use futures_util::stream::{Stream, unfold};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::event_log::{self, LoggedEvent};
use crate::events::COURIER_LOCATION_CHANGED;
use crate::feed::couriers::Couriers;

/// Rows that a reader takes from the log at once.
const PAGE: u32 = 64;

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// With what happens from now on.
    Live,
    /// With the event after this sequence number.
    After(i64),
    /// At a place that was never in this log.
    Nowhere,
}

/// The types of events that a reader wants; `None` for all. What isn't an event (`reset`, `heartbeat`) always comes.
pub(crate) type TypeFilter = Option<HashSet<String>>;

/// What all readers share.
pub(crate) struct Feed {
    database: Database,
    /// Counts commits; its value means nothing, its change wakes the readers.
    commits: watch::Sender<u64>,
    couriers: Couriers,
    heartbeat: Duration,
    shutdown: CancellationToken,
}

impl Feed {
    /// `heartbeat` is the longest silence on a stream; all streams end with `shutdown`.
    pub(crate) fn new(
        database: Database,
        heartbeat: Duration,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Feed {
            database,
            commits: watch::Sender::new(0),
            couriers: Couriers::default(),
            heartbeat,
            shutdown,
        })
    }

    /// To be called after the commit that handled `message`.
    pub(crate) fn committed(&self, message: &Message) {
        if message.kind == COURIER_LOCATION_CHANGED {
            self.couriers.moved(message);
        }
        self.commits
            .send_modify(|commits| *commits = commits.wrapping_add(1));
    }

    /// A stream of server-sent events from `start` on. It ends at shutdown, and when the log can't be read.
    pub(crate) async fn follow(
        self: Arc<Self>,
        start: Start,
        filter: TypeFilter,
    ) -> Result<impl Stream<Item = Result<Event, Infallible>> + use<>, sqlx::Error> {
        // Subscribed before the log is looked at: a commit in between wakes the reader instead of being missed.
        let commits = self.commits.subscribe();
        let bounds = event_log::bounds(self.database.read()).await?;
        let mut reader = Reader {
            position: bounds.head,
            locations_seen: self.couriers.latest(),
            commits,
            filter,
            pending: VecDeque::new(),
            next_heartbeat: Instant::now() + self.heartbeat,
            feed: self,
        };
        match start {
            Start::Live => {}
            Start::After(position) if bounds.can_resume_after(position) => {
                reader.position = position;
            }
            Start::After(_) | Start::Nowhere => reader.pending.push_back(reset(bounds.head)),
        }
        Ok(unfold(reader, async |mut reader| {
            let event = reader.next().await?;
            Some((Ok(event), reader))
        }))
    }
}

/// One client's place in the log.
struct Reader {
    feed: Arc<Feed>,
    commits: watch::Receiver<u64>,
    filter: TypeFilter,
    /// The last sequence number that was read, wanted or not.
    position: i64,
    /// The last stamp of a courier's location that was read.
    locations_seen: u64,
    pending: VecDeque<Event>,
    next_heartbeat: Instant,
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.feed.shutdown.is_cancelled() {
                return None;
            }
            if let Some(event) = self.pending.pop_front() {
                self.next_heartbeat = Instant::now() + self.feed.heartbeat;
                return Some(event);
            }
            // Before the log is read, so that a later commit counts as a change.
            self.commits.mark_unchanged();
            let more = match self.read().await {
                Ok(more) => more,
                // The database closes while the last streams end.
                Err(_) if self.feed.shutdown.is_cancelled() => return None,
                Err(error) => {
                    let error: &dyn Error = &error;
                    tracing::error!(error, "the event log could not be read; a stream ends");
                    return None;
                }
            };
            if Instant::now() >= self.next_heartbeat && self.pending.is_empty() {
                self.pending.push_back(heartbeat(self.position));
            }
            if more || !self.pending.is_empty() {
                continue;
            }
            tokio::select! {
                () = self.feed.shutdown.cancelled() => return None,
                changed = self.commits.changed() => changed.ok()?,
                () = sleep_until(self.next_heartbeat) => {}
            }
        }
    }

    /// Takes the next page of the log and the locations that have changed. True when the log has more.
    async fn read(&mut self) -> Result<bool, sqlx::Error> {
        let pool = self.feed.database.read();
        let page = event_log::read_after(pool, self.position, PAGE).await?;
        if page
            .first()
            .is_some_and(|event| event.sequence != self.position + 1)
        {
            // So slow that the log was pruned before it was read.
            let head = event_log::bounds(pool).await?.head;
            self.position = head;
            self.pending.push_back(reset(head));
            return Ok(true);
        }
        let more = page.len() == PAGE as usize;
        for event in page {
            self.position = event.sequence;
            if self.wants(&event.kind) {
                self.pending.push_back(logged(event));
            }
        }
        if !more && self.wants(COURIER_LOCATION_CHANGED) {
            let (seen, changed) = self.feed.couriers.changed_since(self.locations_seen);
            self.locations_seen = seen;
            self.pending
                .extend(changed.into_iter().map(|event| location(&event)));
        }
        Ok(more)
    }

    fn wants(&self, kind: &str) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|kinds| kinds.contains(kind))
    }
}

fn logged(event: LoggedEvent) -> Event {
    Event::default()
        .id(event.sequence.to_string())
        .event(event.kind)
        .data(event.event)
}

/// Without an id: it is in no log, so that a client can't resume after it.
fn location(event: &str) -> Event {
    Event::default().event(COURIER_LOCATION_CHANGED).data(event)
}

/// The client has missed something that can't be made up for: it must read anew what it shows, then go on from `head`.
fn reset(head: i64) -> Event {
    Event::default()
        .id(head.to_string())
        .event("reset")
        .data(json!({ "head": head }).to_string())
}

/// Tells the client that nothing is wrong, and how far the stream has come. Without an id, as it is no event.
fn heartbeat(position: i64) -> Event {
    let time = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    Event::default()
        .event("heartbeat")
        .data(json!({ "time": time, "position": position }).to_string())
}
