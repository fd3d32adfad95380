//! Fetches under way, for whoever wants the same at the same time (RFC 9111, 4: requests that are collapsed), and which
//! answers turned out to be for one only. What a fetch does is `cache/fetch.rs`; who waits for which is decided in `cache/lookup.rs`.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::sync::watch;
use tokio::time::Instant;

use super::moment::Moment;
use super::stored::{Asked, Key, Since, Stored};
use crate::upstream::UpstreamError;

/// Locks are held for a look-up; that many keep workers out of each other's way.
const SHARDS: usize = 32;
/// Places for keys whose answers are not for others. Keys share them by hash: at worst some are not waited for.
const ALONE: usize = 8192;
/// For how long nobody waits for an answer like one that turned out not to be for others: those who wait would go one after
/// the other, or all late.
const REMEMBERED: Duration = Duration::from_secs(10);

/// The fetches under way of a process. All workers share them.
pub(super) struct Fills {
    shards: Box<[Mutex<Shard>]>,
    began: Instant,
    /// Until when, in seconds since it began, requests with the keys of this place go on by themselves, by whether they show
    /// credentials.
    alone: Box<[[AtomicU64; 2]]>,
    hasher: RandomState,
}

type Shard = HashMap<Key, Vec<Arc<Fill>>>;

/// Whom it concerns what an answer was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Everybody,
    /// Those who show credentials.
    Authorized,
    /// Those who show none.
    Anonymous,
}

/// One fetch under way.
pub(super) struct Fill {
    pub(super) asked: Asked,
    landing: watch::Sender<Option<Landed>>,
}

/// How a fetch ended for those who wait beside the one who began it.
#[derive(Clone)]
pub(super) enum Landed {
    /// With an answer that is stored now, for those whom it fits.
    Stored(Arc<Stored>),
    /// The same, and nobody was asked: another replica had it.
    Found(Arc<Stored>),
    /// With one that is not for others: everybody goes on by themselves.
    Alone,
    /// The service failed: whoever asks again now would only add to it.
    Failed(Failure),
    /// With nothing: the answer broke off, or is not for others because of who asked, or its task was ended from outside.
    Lost,
}

#[derive(Clone)]
pub(super) enum Failure {
    /// It said so.
    Status {
        status: StatusCode,
        retry_after: Option<HeaderValue>,
    },
    /// It did not answer.
    NoAnswer {
        error: Arc<UpstreamError>,
        /// Because the time of the one who began was over: others may have more.
        ran_out: bool,
    },
}

/// A place at a fetch under way. When the last one is dropped, the fetch ends.
pub(super) struct Seat {
    landing: watch::Receiver<Option<Landed>>,
}

/// That there is no fetch that will do. Nobody else finds that out for the same key while this is held.
pub(super) struct Vacancy<'a> {
    fills: &'a Arc<Fills>,
    shard: MutexGuard<'a, Shard>,
}

/// A fetch as its task has it. However the task ends, nobody sits down at it afterwards, and nobody waits for ever.
pub(super) struct UnderWay {
    pub(super) fill: Arc<Fill>,
    pub(super) key: Key,
    fills: Arc<Fills>,
}

impl Fills {
    pub(super) fn new(now: Moment) -> Arc<Self> {
        Arc::new(Self {
            began: now.at,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            alone: (0..ALONE).map(|_| Default::default()).collect(),
            hasher: RandomState::new(),
        })
    }

    /// Takes a seat at a fetch for `key` by a request with the same values of the fields `telling`, which answers for this key
    /// are known to vary by. `will_do` says whether its answer cannot be older than what changed since.
    pub(super) fn sit_down<'a>(
        self: &'a Arc<Self>,
        key: &Key,
        headers: &HeaderMap,
        telling: &[HeaderName],
        will_do: impl Fn(&Since) -> bool,
    ) -> Result<Seat, Vacancy<'a>> {
        let shard = self.shard(key);
        let same = |fill: &&Arc<Fill>| {
            let theirs = &fill.asked.headers;
            will_do(&fill.asked.since)
                && telling
                    .iter()
                    .all(|name| headers.get_all(name).iter().eq(theirs.get_all(name)))
        };
        let known = shard.get(key).and_then(|fills| fills.iter().find(same));
        match known {
            Some(fill) => Ok(fill.seat()),
            None => Err(Vacancy { fills: self, shard }),
        }
    }

    /// A fetch that nobody can wait for but the one who begins it.
    pub(super) fn begin_alone(self: &Arc<Self>, key: Key, asked: Asked) -> (UnderWay, Seat) {
        let (fill, seat) = Fill::new(asked);
        let under_way = UnderWay {
            fill,
            key,
            fills: Arc::clone(self),
        };
        (under_way, seat)
    }

    /// Whether answers for this key, to requests with credentials or without, were for one only, not long ago.
    pub(super) fn is_alone(&self, key: &Key, authorized: bool, now: Moment) -> bool {
        let until = &self.alone[self.place(key)][usize::from(authorized)];
        until.load(Ordering::Relaxed) > self.seconds(now)
    }

    pub(super) fn set_alone(&self, key: &Key, whom: Whom, now: Moment, alone: bool) {
        let until = if alone {
            self.seconds(now) + REMEMBERED.as_secs()
        } else {
            0
        };
        let [anonymous, authorized] = &self.alone[self.place(key)];
        if whom != Whom::Authorized {
            anonymous.store(until, Ordering::Relaxed);
        }
        if whom != Whom::Anonymous {
            authorized.store(until, Ordering::Relaxed);
        }
    }

    fn seconds(&self, now: Moment) -> u64 {
        now.at.saturating_duration_since(self.began).as_secs()
    }

    fn place(&self, key: &Key) -> usize {
        self.hasher.hash_one(key) as usize % ALONE
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(key) as usize % self.shards.len();
        // What is in it is good also when somebody panicked elsewhere while having the lock.
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The fetches under way that can be waited for.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
            .map(|shard| shard.values().map(Vec::len).sum::<usize>())
            .sum()
    }

    /// Those who wait for them, with those who have begun them.
    #[cfg(test)]
    pub(super) fn seated(&self) -> usize {
        let shards = self.shards.iter();
        shards
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
            .flat_map(|shard| {
                let fills = shard.values().flatten();
                fills
                    .map(|fill| fill.landing.receiver_count())
                    .collect::<Vec<_>>()
            })
            .sum()
    }
}

impl Vacancy<'_> {
    /// Lists a fetch, so that others can wait for it, too.
    pub(super) fn begin(mut self, key: Key, asked: Asked) -> (UnderWay, Seat) {
        let (fill, seat) = Fill::new(asked);
        self.shard
            .entry(key.clone())
            .or_default()
            .push(Arc::clone(&fill));
        let under_way = UnderWay {
            fill,
            key,
            fills: Arc::clone(self.fills),
        };
        (under_way, seat)
    }
}

impl Fill {
    fn new(asked: Asked) -> (Arc<Self>, Seat) {
        let (sender, landing) = watch::channel(None);
        let fill = Arc::new(Self {
            asked,
            landing: sender,
        });
        (fill, Seat { landing })
    }

    fn seat(&self) -> Seat {
        Seat {
            landing: self.landing.subscribe(),
        }
    }
}

impl Seat {
    /// Waits for the end of the fetch.
    pub(super) async fn outcome(&mut self) -> Landed {
        match self.landing.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(landed)) => landed.clone(),
            Ok(None) | Err(_) => Landed::Lost,
        }
    }
}

impl UnderWay {
    /// Tells those who wait how it ended; the first word counts. Nobody sits down after it.
    pub(super) fn land(&self, landed: Landed) {
        self.leave();
        self.fill.landing.send_if_modified(|landing| {
            let first = landing.is_none();
            if first {
                *landing = Some(landed);
            }
            first
        });
    }

    /// Ends the joining. Whether others wait beside the one who began.
    pub(super) fn is_shared(&self) -> bool {
        self.leave();
        self.fill.landing.receiver_count() > 1
    }

    /// Waits until nobody waits any more; nobody sits down after that.
    pub(super) async fn deserted(&self) {
        loop {
            self.fill.landing.closed().await;
            let mut shard = self.fills.shard(&self.key);
            // Seats are taken under the same lock.
            if self.fill.landing.is_closed() {
                self.remove_from(&mut shard);
                return;
            }
        }
    }

    fn leave(&self) {
        self.remove_from(&mut self.fills.shard(&self.key));
    }

    fn remove_from(&self, shard: &mut Shard) {
        if let Some(fills) = shard.get_mut(&self.key) {
            fills.retain(|known| !Arc::ptr_eq(known, &self.fill));
            if fills.is_empty() {
                shard.remove(&self.key);
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.land(Landed::Lost);
    }
}
