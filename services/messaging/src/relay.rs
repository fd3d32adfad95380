//! Offers the rows of one service's outbox to their subscribers until everyone has them. Which row is next for a
//! subscriber is decided in `lanes`; how a message travels is the transport's business.

mod lanes;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use metrics::gauge;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::consumer::error_chain;
use crate::database::Database;
use crate::inbox::BoxError;
use crate::transport::{OfferError, Transport};
use crate::{inbox, now_millis, outbox, panic_text};
use lanes::{Key, Lane};

/// A safety net only: every commit in this process wakes the relay by itself.
const POLL: Duration = Duration::from_millis(250);
/// Rows read from the outbox at a time.
const PAGE: i64 = 512;
/// Marks are written together after this pause. One that is lost in a crash costs a duplicate, which the inbox filters.
const MARK_LINGER: Duration = Duration::from_millis(20);
/// How long offers under way may take once the relay is told to stop.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// Attempts after which a message that still fails is worth an error in the log.
const WORRYING_FAILURES: u32 = 20;
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
const PRUNE_PAGE: i64 = 1000;
const KEEP_DELIVERED: Duration = Duration::from_secs(24 * 3600);
/// Much longer than the crash window that the inbox covers: who has a row is remembered in the outbox, too.
const KEEP_INBOX: Duration = Duration::from_secs(7 * 24 * 3600);

/// The relay of one service's outbox.
pub struct Relay {
    service: &'static str,
    database: Database,
    transport: Arc<dyn Transport>,
    arrivals: watch::Receiver<u64>,
    /// One for each subscriber: none can hold up another.
    lanes: HashMap<&'static str, Lane>,
    /// For each row that was read: how many subscribers are still missing.
    missing: HashMap<i64, usize>,
    /// The last row that was read from the outbox.
    cursor: i64,
    /// Whether the rows of the last run have been read. Only they may have receipts that this relay does not know.
    recovered: bool,
    work: JoinSet<Done>,
    marks: Marks,
    poll: Duration,
}

/// What has arrived and is not written down yet.
#[derive(Default)]
struct Marks {
    open: Vec<Mark>,
    /// When they are written; none while there are none, or while others are being written.
    due: Option<Instant>,
    writing: bool,
}

#[derive(Clone, Copy)]
enum Mark {
    /// This subscriber has the row, another is missing.
    Receipt(i64, &'static str),
    Delivered(i64),
}

/// A piece of work that ended.
enum Done {
    Offer {
        subscriber: &'static str,
        key: Arc<Key>,
        seq: i64,
        /// The arrivals counted before the offer.
        arrivals: u64,
        result: Result<(), OfferError>,
    },
    Marks {
        /// What could not be written.
        failed: Vec<Mark>,
    },
    Pruning,
}

/// A running relay.
pub struct RelayHandle {
    task: JoinHandle<()>,
}

impl RelayHandle {
    /// Waits until the relay has ended, which takes at most about a second after its shutdown token is cancelled.
    pub async fn ended(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the relay ended by a panic");
        }
    }
}

impl Relay {
    /// Starts the relay of `database`, which belongs to `service`. A database has one relay at a time.
    pub fn spawn(
        service: &'static str,
        database: Database,
        transport: Arc<dyn Transport>,
        shutdown: CancellationToken,
    ) -> RelayHandle {
        Self::spawn_polling(POLL, service, database, transport, shutdown)
    }

    fn spawn_polling(
        poll: Duration,
        service: &'static str,
        database: Database,
        transport: Arc<dyn Transport>,
        shutdown: CancellationToken,
    ) -> RelayHandle {
        let arrivals = transport.arrivals();
        let relay = Relay {
            service,
            database,
            transport,
            arrivals,
            lanes: HashMap::new(),
            missing: HashMap::new(),
            cursor: 0,
            recovered: false,
            work: JoinSet::new(),
            marks: Marks::default(),
            poll,
        };
        RelayHandle {
            task: tokio::spawn(relay.run(shutdown)),
        }
    }

    async fn run(mut self, shutdown: CancellationToken) {
        let mut prune_at = Instant::now();
        loop {
            self.read_outbox().await;
            let now = Instant::now();
            if now >= prune_at {
                prune_at = now + PRUNE_EVERY;
                let (service, database) = (self.service, self.database.clone());
                self.work.spawn(async move {
                    if let Err(error) = prune(&database).await {
                        tracing::warn!(service, %error, "old messages could not be deleted");
                    }
                    Done::Pruning
                });
            }
            // Until something was written that may be worth reading, only finished offers and pauses that are over
            // matter.
            let poll_at = now + self.poll;
            loop {
                self.offer_ready();
                self.write_marks();
                let wake_at = self.next_due().map_or(poll_at, |due| due.min(poll_at));
                tokio::select! {
                    () = shutdown.cancelled() => return self.stop().await,
                    Some(done) = self.work.join_next() => self.settle(done),
                    () = self.database.written() => break,
                    Ok(()) = self.arrivals.changed() => {
                        self.lanes.values_mut().for_each(Lane::unpark);
                    }
                    () = tokio::time::sleep_until(wake_at) => if wake_at == poll_at { break },
                }
            }
        }
    }

    /// Enters what was committed since the last time into the lanes of its subscribers.
    async fn read_outbox(&mut self) {
        loop {
            let known = self.recovered;
            let rows = match outbox::undelivered(self.database.read(), self.cursor, PAGE, known)
                .await
            {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::warn!(service = self.service, %error, "the outbox could not be read");
                    return;
                }
            };
            let more = rows.len() as i64 == PAGE;
            for row in rows {
                self.cursor = row.seq;
                let mut subscribers = self.transport.subscribers(&row.topic);
                subscribers.retain(|subscriber| !row.receipts.iter().any(|has| has == subscriber));
                if subscribers.is_empty() {
                    self.mark(Mark::Delivered(row.seq));
                    continue;
                }
                self.missing.insert(row.seq, subscribers.len());
                let key = Arc::new(Key {
                    topic: row.topic,
                    subject: row.subject,
                });
                for subscriber in subscribers {
                    let lane = self.lanes.entry(subscriber).or_default();
                    lane.push(&key, row.seq);
                }
            }
            if !more {
                self.recovered = true;
                break;
            }
        }
        gauge!("ftgo_outbox_undelivered", "service" => self.service).set(self.missing.len() as f64);
    }

    fn offer_ready(&mut self) {
        let now = Instant::now();
        let arrivals = *self.arrivals.borrow();
        for (&subscriber, lane) in &mut self.lanes {
            while let Some((key, seq)) = lane.next(now) {
                let transport = Arc::clone(&self.transport);
                let database = self.database.clone();
                self.work.spawn(async move {
                    let offer = offer(&*transport, &database, subscriber, seq);
                    let result = AssertUnwindSafe(offer).catch_unwind().await;
                    let result = result.unwrap_or_else(|panic| {
                        Err(OfferError::Failed {
                            subscriber: subscriber.to_owned(),
                            source: format!("a panic: {}", panic_text(&*panic)).into(),
                        })
                    });
                    Done::Offer {
                        subscriber,
                        key,
                        seq,
                        arrivals,
                        result,
                    }
                });
            }
        }
    }

    fn settle(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Offer {
                subscriber,
                key,
                seq,
                arrivals,
                result,
            }) => self.settle_offer(subscriber, &key, seq, arrivals, result),
            Ok(Done::Marks { failed }) => {
                self.marks.writing = false;
                self.marks.open.extend(failed);
                self.marks.due =
                    (!self.marks.open.is_empty()).then(|| Instant::now() + MARK_LINGER);
            }
            Ok(Done::Pruning) => {}
            // Only a bug in this file gets here: offers catch the panics of others.
            Err(error) => {
                tracing::error!(service = self.service, %error, "a task of the relay died");
            }
        }
    }

    fn settle_offer(
        &mut self,
        subscriber: &'static str,
        key: &Arc<Key>,
        seq: i64,
        arrivals: u64,
        result: Result<(), OfferError>,
    ) {
        let lane = self.lanes.entry(subscriber).or_default();
        match result {
            Ok(()) => {
                lane.delivered(key);
                let missing = self.missing.get(&seq).map_or(0, |missing| missing - 1);
                if missing == 0 {
                    self.missing.remove(&seq);
                    self.mark(Mark::Delivered(seq));
                } else {
                    self.missing.insert(seq, missing);
                    self.mark(Mark::Receipt(seq, subscriber));
                }
            }
            // Whoever came in the meantime may be the one that was missed: then the lane stays open.
            Err(OfferError::Absent { .. }) => lane.absent(key, *self.arrivals.borrow() == arrivals),
            Err(error @ OfferError::Failed { .. }) => {
                let (failures, pause) = lane.failed(key, Instant::now());
                let error = error_chain(&error);
                let (service, topic, subject) = (self.service, &key.topic, &key.subject);
                if failures % WORRYING_FAILURES == 0 {
                    tracing::error!(
                        service,
                        subscriber,
                        topic,
                        subject,
                        failures,
                        error,
                        "a message keeps failing"
                    );
                } else {
                    tracing::warn!(
                        service,
                        subscriber,
                        topic,
                        subject,
                        failures,
                        ?pause,
                        error,
                        "a message is offered again later"
                    );
                }
            }
        }
    }

    fn mark(&mut self, mark: Mark) {
        self.marks.open.push(mark);
        if self.marks.due.is_none() && !self.marks.writing {
            self.marks.due = Some(Instant::now() + MARK_LINGER);
        }
    }

    /// Writes the open marks if their time has come. Offers go on meanwhile.
    fn write_marks(&mut self) {
        if self.marks.due.is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.marks.due = None;
        self.marks.writing = true;
        let marks = std::mem::take(&mut self.marks.open);
        let (service, database) = (self.service, self.database.clone());
        self.work.spawn(async move {
            let failed = match record(&database, &marks).await {
                Ok(()) => Vec::new(),
                Err(error) => {
                    tracing::warn!(service, %error, "deliveries could not be recorded");
                    marks
                }
            };
            Done::Marks { failed }
        });
    }

    /// When there is something to do that nobody else will wake the relay for.
    fn next_due(&self) -> Option<Instant> {
        let pauses = self.lanes.values().filter_map(Lane::next_due);
        pauses.chain(self.marks.due).min()
    }

    /// Lets offers under way end, and writes down what has arrived. What does not make it is offered again by the next
    /// relay.
    async fn stop(mut self) {
        let deadline = Instant::now() + STOP_GRACE;
        while let Ok(Some(done)) = tokio::time::timeout_at(deadline, self.work.join_next()).await {
            self.settle(done);
        }
        self.work.shutdown().await;
        if self.marks.open.is_empty() {
            return;
        }
        let recording = record(&self.database, &self.marks.open);
        if !matches!(
            tokio::time::timeout(STOP_GRACE / 2, recording).await,
            Ok(Ok(()))
        ) {
            tracing::warn!(
                service = self.service,
                "the last deliveries could not be recorded"
            );
        }
    }
}

/// Offers one row to one subscriber.
async fn offer(
    transport: &dyn Transport,
    database: &Database,
    subscriber: &str,
    seq: i64,
) -> Result<(), OfferError> {
    let failed = |source: BoxError| OfferError::Failed {
        subscriber: subscriber.to_owned(),
        source,
    };
    let message = outbox::load(database.read(), seq).await;
    match message.map_err(|error| failed(error.into()))? {
        Some(message) => transport.offer_to(subscriber, &message).await,
        None => Err(failed(format!("row {seq} of the outbox is gone").into())),
    }
}

async fn record(database: &Database, marks: &[Mark]) -> Result<(), sqlx::Error> {
    let delivered: HashSet<i64> = marks
        .iter()
        .filter_map(|mark| match mark {
            Mark::Delivered(seq) => Some(*seq),
            Mark::Receipt(..) => None,
        })
        .collect();
    let mut tx = database.write().await?;
    for mark in marks {
        if let Mark::Receipt(seq, subscriber) = mark
            && !delivered.contains(seq)
        {
            outbox::record_receipt(&mut tx, *seq, subscriber).await?;
        }
    }
    let now = now_millis();
    for seq in delivered {
        outbox::mark_delivered(&mut tx, seq, now).await?;
    }
    tx.commit().await
}

/// Deletes what nobody needs any more, in small transactions that let others in between.
async fn prune(database: &Database) -> Result<(), sqlx::Error> {
    let now = now_millis();
    loop {
        let mut tx = database.write().await?;
        let sent = outbox::prune(&mut tx, now - millis(KEEP_DELIVERED), PRUNE_PAGE).await?;
        let received = inbox::prune(&mut tx, now - millis(KEEP_INBOX), PRUNE_PAGE).await?;
        tx.commit().await?;
        if sent.max(received) < PRUNE_PAGE as u64 {
            return Ok(());
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
