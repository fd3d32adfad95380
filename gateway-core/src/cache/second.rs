//! The second level of the response cache: answers for everybody, which replicas share through Redis. When a replica's own
//! level has nothing, it looks here before it asks the service. What may be stored at all is decided in `cache/stored.rs`, when to look in
//! `cache/lookup.rs`; what Redis keeps looks like `second/entry.rs` says.
//!
//! Nothing that is stored is deleted when something changes. Every URI, every tag and the cache as a whole have a *generation*
//! in Redis, a random value; an entry holds those that were read before its answer was asked for, and counts while they
//! are the same. A purge deletes the generation, and whoever reads next makes another one. So what was asked for before a
//! purge can be stored after it and is never used, and a Redis that forgets generations only makes entries useless.
//!
//! Between a purge and Redis' word that it is done, this replica does not read what depends on it (`second/purges.rs`).
//! What is read after Redis was away counts only if it was asked for since (`second/link.rs`): others may have purged
//! meanwhile, too, and not been able to say so.
//!
//! Keys, behind the app's prefix: `cache:g:{generation}`; `cache:e:{digest}` (an entry, or the fields that entries of this name differ
//! by); `cache:server` (which server all this was told to).

mod entry;
mod link;
mod purges;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use bytes::Bytes;
use http::HeaderMap;
use redis::{Pipeline, Value};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::moment::Moment;
use super::stored::{Key, Stored};
use crate::config::RedisConfig;
use crate::metrics::SecondLevelMetrics;
pub(super) use entry::{Entry, Name};
use entry::{Mark, Record};
use link::Link;
pub(crate) use purges::Generation;
use purges::Purges;

const READ: &str = include_str!("second/read.lua");
const WRITE: &str = include_str!("second/write.lua");

/// What `read.lua` answers.
type Standing = (u64, u64, Option<Vec<u8>>, Vec<Vec<u8>>);

/// Answers that are on their way to Redis at once. Others are not kept there.
const MAX_WRITES: usize = 16;

/// What a process has of it, for its life.
pub(crate) struct SecondLevel {
    prefix: String,
    /// The most that a request waits for Redis.
    timeout: Duration,
    /// For how long an entry counts, whatever it says itself.
    max_age: Duration,
    link: Link,
    purges: Purges,
    writes: Arc<Semaphore>,
    metrics: SecondLevelMetrics,
    /// Whether it takes everything: the negative control of the test that nobody gets what is another's.
    #[cfg(test)]
    careless: std::sync::atomic::AtomicBool,
}

/// What an answer can be kept with: how things stood before the service was asked.
pub(super) struct Ticket {
    name: Name,
    /// What entries for the request's fields are called, where entries of the name differ by fields.
    variant: Option<Name>,
    marks: Vec<Mark>,
    /// In microseconds, by Redis' clock, when this was read; and when its answer was there.
    asked: u64,
    received: Instant,
    /// Whether something was there that does not count, or does not fit.
    occupied: bool,
}

impl SecondLevel {
    /// When the configuration has one.
    pub(crate) fn of(
        config: Option<&RedisConfig>,
        app: &str,
        metrics: impl FnOnce() -> SecondLevelMetrics,
    ) -> Option<Arc<Self>> {
        let config = config?;
        let max_age = config.share_responses?;
        let metrics = metrics();
        let prefix = format!("{}:cache:", config.key_prefix(app));
        Some(Arc::new(Self {
            timeout: config.timeout,
            max_age,
            link: Link::new(config, &prefix, metrics.up.clone()),
            purges: Purges::new(metrics.purges_waiting.clone()),
            writes: Arc::new(Semaphore::new(MAX_WRITES)),
            prefix,
            metrics,
            #[cfg(test)]
            careless: false.into(),
        }))
    }

    /// Connects on `control`, again and again, until `stop`.
    pub(crate) fn start(self: &Arc<Self>, control: &Handle, stop: CancellationToken) {
        let this = Arc::clone(self);
        control.spawn(async move {
            stop.run_until_cancelled(this.link.run(&this.purges)).await;
        });
    }

    #[cfg(test)]
    pub(crate) fn be_careless(&self) {
        self.careless
            .store(true, std::sync::atomic::Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn metrics(&self) -> &SecondLevelMetrics {
        &self.metrics
    }

    /// Whether it is asked, and why not.
    pub(crate) fn readiness(&self) -> (bool, String) {
        self.link.readiness()
    }

    /// Whether replicas share what is stored under `key`: only what was asked for on nobody's behalf. So names in Redis need
    /// not tell callers apart, and nothing there is anybody's secret.
    pub(super) fn takes(&self, key: &Key) -> bool {
        #[cfg(test)]
        if self.careless.load(std::sync::atomic::Ordering::Relaxed) {
            return true;
        }
        key.is_nobodys()
    }

    /// No replica finds any more what depends on this and was asked for before: this one from now on, the others when Redis
    /// knows of it. It is told for as long as that takes.
    pub(crate) fn purge(&self, generation: Generation) {
        self.purges.add(generation);
    }

    /// Waits, at most once for the configured time, until Redis knows of all purges before this call. Whether it does.
    pub(crate) async fn told(&self) -> bool {
        let made = self.purges.made();
        if self.purges.are_done(made) {
            return true;
        }
        // While it is away nobody waits: it is told when it is back.
        if self.link.connected().is_none() {
            return false;
        }
        let done = timeout(self.timeout, self.purges.done(made)).await.is_ok();
        if !done {
            self.link.suspect();
        }
        done
    }

    /// Looks for an answer to a request with these fields, which depends on `on`: what `accept` makes of one and its age
    /// now, and what the service's answer can be kept with. `None` when Redis cannot be asked now. Whoever asks has taken the
    /// point in the order of their own purges before.
    pub(super) async fn look<T>(
        &self,
        name: Name,
        on: &[Generation],
        headers: &HeaderMap,
        accept: impl FnOnce(Entry, Duration) -> Option<T>,
    ) -> Option<(Ticket, Option<T>)> {
        let Some(connected) = self.link.connected() else {
            self.metrics.away.increment(1);
            return None;
        };
        if self.purges.bar(on) {
            self.metrics.barred.increment(1);
            return None;
        }
        let sent = Instant::now();
        let looked = timeout(self.timeout, async {
            let (mut ticket, kept) = self.read(&connected, name, on).await?;
            let record = kept.and_then(|kept| Record::parse(kept, &ticket.marks));
            let entry = match record {
                Some(Record::Answer(entry)) => Some(entry),
                Some(Record::Differ(fields)) => {
                    let variant = ticket.name.variant(&fields, headers);
                    let kept = self.get(&connected, &variant).await?;
                    ticket.variant = Some(variant);
                    kept.and_then(|kept| Record::parse(kept, &ticket.marks))
                        .and_then(Record::answer)
                }
                None => None,
            };
            Ok((ticket, entry))
        });
        let looked = match looked.await {
            Ok(looked) => looked,
            Err(_elapsed) => {
                self.link.suspect();
                Err(link::LATE.to_owned())
            }
        };
        self.metrics.duration.observe(sent.elapsed());
        let (ticket, entry) = match looked {
            Ok(looked) => looked,
            Err(reason) => {
                tracing::debug!(reason, "the second level of the cache could not be asked");
                self.metrics.failed.increment(1);
                return None;
            }
        };
        let counts = |entry: &Entry| {
            entry.is_named(&ticket.name)
                && entry.asked >= connected.not_before
                // A clock that was set back tells no ages.
                && entry.born <= ticket.asked
                && entry.asked <= ticket.asked
                && micros(ticket.asked - entry.asked) <= self.max_age
        };
        let answer = entry.filter(|entry| counts(entry)).and_then(|entry| {
            // Redis read its clock after this was sent.
            let age = micros(ticket.asked - entry.born) + sent.elapsed();
            accept(*entry, age)
        });
        let outcome = if answer.is_some() {
            &self.metrics.hit
        } else {
            &self.metrics.miss
        };
        outcome.increment(1);
        Some((ticket, answer))
    }

    /// How things stand, and what is kept under the name.
    async fn read(
        &self,
        connected: &link::Connected,
        name: Name,
        on: &[Generation],
    ) -> Result<(Ticket, Option<Bytes>), String> {
        let mut fresh = Mark::default();
        rand::fill(&mut fresh).map_err(|error| error.to_string())?;
        let mut pipeline = Pipeline::new();
        let script = pipeline.cmd("EVAL").arg(READ).arg(1 + on.len());
        script.arg(self.key(&name));
        for generation in on {
            script.arg(self.generation(*generation));
        }
        script.arg(fresh.as_slice());
        let ((seconds, rest, kept, marks),): (Standing,) =
            self.link.ask(connected, &pipeline).await?;
        let received = Instant::now();
        let marks: Vec<Mark> = marks
            .into_iter()
            .map(|mark| Mark::try_from(mark).map_err(|_| "a generation is none of ours"))
            .collect::<Result<_, _>>()?;
        let ticket = Ticket {
            name,
            variant: None,
            marks,
            asked: seconds * 1_000_000 + rest,
            received,
            occupied: kept.is_some(),
        };
        Ok((ticket, kept.map(Bytes::from)))
    }

    async fn get(&self, connected: &link::Connected, name: &Name) -> Result<Option<Bytes>, String> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("GET").arg(self.key(name));
        let (kept,): (Option<Vec<u8>>,) = self.link.ask(connected, &pipeline).await?;
        Ok(kept.map(Bytes::from))
    }

    /// Keeps the answer that the service gave to who had the ticket, for as long as it is fresh. Nobody waits for it.
    pub(super) fn keep(self: &Arc<Self>, ticket: Ticket, stored: &Stored, now: Moment) {
        let Some(connected) = self.link.connected() else {
            return;
        };
        // What Redis' clock says now, or a little less.
        let clock = ticket.asked + to_micros(ticket.received.elapsed());
        let left = self
            .max_age
            .saturating_sub(ticket.received.elapsed())
            .min(stored.freshness().left(now));
        let life = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        if life == 0 {
            return;
        }
        let Ok(place) = Arc::clone(&self.writes).try_acquire_owned() else {
            self.metrics.crowded.increment(1);
            return;
        };
        let born = clock.saturating_sub(to_micros(stored.freshness().age(now)));
        let fields: Vec<_> = stored.selecting().cloned().collect();
        let name = if fields.is_empty() {
            ticket.name.clone()
        } else {
            ticket.name.variant_of(stored)
        };
        let text = entry::entry_text(&ticket, born, stored);
        let mut pipeline = Pipeline::new();
        let script = pipeline.cmd("EVAL").arg(WRITE);
        if fields.is_empty() {
            script.arg(1).arg(self.key(&name));
        } else {
            script
                .arg(2)
                .arg(self.key(&name))
                .arg(self.key(&ticket.name));
        }
        script
            .arg(text)
            .arg(life)
            .arg(entry::digits(ticket.asked))
            .arg(entry::fields_text(&fields, ticket.asked));
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let _place = place;
            let written: Result<(u64,), String> = this.link.exchange(&connected, &pipeline).await;
            match written {
                Ok((1,)) => this.metrics.stored.increment(1),
                Ok(_) => this.metrics.outrun.increment(1),
                Err(_reason) => this.metrics.not_stored.increment(1),
            }
        });
    }

    /// What is kept must not outlive the answer that would take its place and is not to be stored.
    pub(super) fn forget(self: &Arc<Self>, ticket: &Ticket) {
        if !ticket.occupied {
            return;
        }
        let Some(connected) = self.link.connected() else {
            return;
        };
        let mut pipeline = Pipeline::new();
        let names = [Some(&ticket.name), ticket.variant.as_ref()];
        let keys: Vec<_> = names
            .into_iter()
            .flatten()
            .map(|name| self.key(name))
            .collect();
        pipeline.cmd("DEL").arg(keys);
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let done: Result<(Value,), String> = this.link.exchange(&connected, &pipeline).await;
            if let Err(reason) = done {
                tracing::debug!(reason, "an answer stays in the second level of the cache");
            }
        });
    }

    fn key(&self, name: &Name) -> String {
        format!("{}e:{}", self.prefix, name.digest())
    }

    fn generation(&self, generation: Generation) -> String {
        format!("{}g:{generation}", self.prefix)
    }
}

fn micros(count: u64) -> Duration {
    Duration::from_micros(count)
}

fn to_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
