//! Identical reads under way at the same time share one call. The call is a task of its own, on the worker of whoever came
//! first: it ends when its answer is there, its deadline has passed, or its last waiter has gone. What makes calls
//! identical is `upstream/request_key.rs`; answers that are there already are `cache/parts.rs`'s.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::call::UpstreamResponse;
use super::error::UpstreamError;
use super::request_key::RequestKey;
use crate::cache::{Epoch, Slot, Tags, Validity};

/// Locks are held for a look-up; that many keep workers out of each other's way.
const SHARDS: usize = 32;

/// What a shared call came to, for each of its waiters.
pub(crate) type Outcome = Result<Arc<UpstreamResponse>, Arc<UpstreamError>>;

/// How a shared call ended.
#[derive(Clone, Debug)]
pub(crate) enum Landed {
    Done(Outcome),
    /// The time of whoever began it was over. Others may have more.
    RanOut(Arc<UpstreamError>),
    /// Its task was ended from outside, for instance with its worker.
    Lost,
}

/// The calls under way of a process. All workers share them.
pub(crate) struct Flights {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    tags: Arc<Tags>,
}

type Shard = HashMap<Arc<RequestKey>, Arc<Flight>>;

/// One call under way.
struct Flight {
    /// When it began: a change after that may not be in its answer.
    epoch: Epoch,
    landing: watch::Sender<Option<Landed>>,
}

/// A place at a call under way. When the last one is dropped, the call ends.
pub(crate) struct Seat {
    landing: watch::Receiver<Option<Landed>>,
}

/// That there is no call that will do. Nobody else finds that out for the same key while this is held.
pub(crate) struct Vacancy<'a> {
    flights: &'a Arc<Flights>,
    shard: MutexGuard<'a, Shard>,
    key: &'a Arc<RequestKey>,
    /// The point, in the order of purges, at which the call begins.
    pub(crate) epoch: Epoch,
}

impl Flights {
    pub(crate) fn new(tags: &Arc<Tags>) -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            tags: Arc::clone(tags),
        })
    }

    /// Takes a seat at the call for `key`, unless there is none that will do: an answer that was asked for before one of
    /// `tags` was purged is not for who asks now.
    pub(crate) fn sit_down<'a>(
        self: &'a Arc<Self>,
        key: &'a Arc<RequestKey>,
        tags: &[Slot],
    ) -> Result<Seat, Vacancy<'a>> {
        let shard = self.shard(key);
        match shard.get(key) {
            Some(flight)
                if self.tags.validity(flight.epoch, tags.iter().copied()) == Validity::Current =>
            {
                Ok(Seat {
                    landing: flight.landing.subscribe(),
                })
            }
            _ => Err(Vacancy {
                flights: self,
                shard,
                key,
                epoch: self.tags.now(),
            }),
        }
    }

    fn shard(&self, key: &RequestKey) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(key) as usize % self.shards.len();
        // What is in it is good also when somebody panicked elsewhere while having the lock.
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The calls under way.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }
}

impl Vacancy<'_> {
    /// Begins the call, in a task of its own. Whoever begins it waits until `until`.
    pub(crate) fn begin(
        mut self,
        until: Instant,
        call: impl Future<Output = Outcome> + Send + 'static,
    ) -> Seat {
        let (sender, landing) = watch::channel(None);
        let flight = Arc::new(Flight {
            epoch: self.epoch,
            landing: sender,
        });
        // Whoever sits at one that will not do any more keeps the seat.
        self.shard.insert(Arc::clone(self.key), Arc::clone(&flight));
        drop(self.shard);
        let task = Task {
            flights: Arc::clone(self.flights),
            key: Arc::clone(self.key),
            until,
            flight,
        };
        // Boxed first: a task's future is moved on its way, and one that takes another has room for it twice.
        tokio::spawn(task.run(Box::pin(call)));
        Seat { landing }
    }
}

impl Seat {
    /// Waits for the end of the call.
    pub(crate) async fn outcome(&mut self) -> Landed {
        match self.landing.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(landed)) => landed.clone(),
            Ok(None) | Err(_) => Landed::Lost,
        }
    }
}

/// A call's task. However it ends, nobody sits down at it afterwards, and nobody waits for ever.
struct Task {
    flights: Arc<Flights>,
    key: Arc<RequestKey>,
    until: Instant,
    flight: Arc<Flight>,
}

impl Task {
    async fn run(self, mut call: Pin<Box<impl Future<Output = Outcome>>>) {
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut call => break outcome,
                () = self.flight.landing.closed() => if self.is_deserted() {
                    return;
                },
            }
        };
        self.leave();
        let landed = match outcome {
            Err(error) if error.is_out_of_time(self.until) => Landed::RanOut(error),
            outcome => Landed::Done(outcome),
        };
        self.flight.landing.send_replace(Some(landed));
    }

    /// Whether nobody is waiting any more; nobody sits down after that.
    fn is_deserted(&self) -> bool {
        let mut shard = self.flights.shard(&self.key);
        // Seats are taken under the same lock.
        let deserted = self.flight.landing.is_closed();
        if deserted {
            self.remove_from(&mut shard);
        }
        deserted
    }

    fn leave(&self) {
        self.remove_from(&mut self.flights.shard(&self.key));
    }

    /// Another call may be there under the same key.
    fn remove_from(&self, shard: &mut Shard) {
        let mine = shard
            .get(&self.key)
            .is_some_and(|known| Arc::ptr_eq(known, &self.flight));
        if mine {
            shard.remove(&self.key);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.leave();
        self.flight.landing.send_if_modified(|landing| {
            let lost = landing.is_none();
            if lost {
                *landing = Some(Landed::Lost);
            }
            lost
        });
    }
}
