//! Generations, and the purges that Redis does not know of yet: what depends on those is not read from there. How it is
//! told of them is `second/link.rs`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::super::epochs::Slot;
use crate::metrics::Gauge;

/// What entries hang on, by its name in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Generation {
    /// Every entry.
    All,
    /// Every entry with tags: changes may have gone unheard.
    Tagged,
    /// Those of the URIs in a slot.
    Uri(Slot),
    /// Those with a tag in a slot.
    Tag(Slot),
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Tagged => f.write_str("tagged"),
            Self::Uri(slot) => write!(f, "u{slot}"),
            Self::Tag(slot) => write!(f, "t{slot}"),
        }
    }
}

impl Generation {
    /// What an answer hangs on whose URI and tags have these places.
    pub(in super::super) fn of(place: Slot, tags: &[Slot]) -> Vec<Self> {
        let mut all = vec![Self::All, Self::Uri(place)];
        if !tags.is_empty() {
            all.push(Self::Tagged);
        }
        all.extend(tags.iter().map(|slot| Self::Tag(*slot)));
        all
    }
}

/// Bounded by the number of generations, however long Redis is away.
pub(super) struct Purges {
    state: Mutex<State>,
    wake: Notify,
    /// How many of the purges, in the order in which they were made, Redis knows of.
    confirmed: watch::Sender<u64>,
    waiting: Gauge,
}

#[derive(Default)]
struct State {
    waiting: BTreeSet<Generation>,
    /// Told, and not confirmed.
    sent: BTreeSet<Generation>,
    made: u64,
}

/// What is to be told at once.
pub(super) struct Batch {
    pub(super) generations: Vec<Generation>,
    /// How many purges are done with it.
    made: u64,
}

impl Purges {
    pub(super) fn new(waiting: Gauge) -> Self {
        Self {
            state: Mutex::default(),
            wake: Notify::new(),
            confirmed: watch::Sender::new(0),
            waiting,
        }
    }

    pub(super) fn add(&self, generation: Generation) {
        let mut state = self.lock();
        state.waiting.insert(generation);
        state.made += 1;
        self.show(&state);
        drop(state);
        self.wake.notify_one();
    }

    pub(super) fn made(&self) -> u64 {
        self.lock().made
    }

    /// Whether Redis knows of the first so many.
    pub(super) fn are_done(&self, made: u64) -> bool {
        *self.confirmed.borrow() >= made
    }

    pub(super) async fn done(&self, made: u64) {
        // It does not end before we do.
        let _ = self
            .confirmed
            .subscribe()
            .wait_for(|done| *done >= made)
            .await;
    }

    /// Whether one of these was purged, and Redis may not know of it.
    pub(super) fn bar(&self, on: &[Generation]) -> bool {
        let state = self.lock();
        on.iter()
            .any(|one| state.waiting.contains(one) || state.sent.contains(one))
    }

    /// Waits for something to tell.
    pub(super) async fn wanted(&self) {
        self.wake.notified().await;
    }

    pub(super) fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        state.sent = std::mem::take(&mut state.waiting);
        (!state.sent.is_empty()).then(|| Batch {
            generations: state.sent.iter().copied().collect(),
            made: state.made,
        })
    }

    /// Redis knows of it.
    pub(super) fn confirm(&self, batch: &Batch) {
        let mut state = self.lock();
        state.sent.clear();
        self.show(&state);
        drop(state);
        self.confirmed.send_replace(batch.made);
    }

    /// It may not know of what was taken.
    pub(super) fn put_back(&self) {
        let mut state = self.lock();
        let mut sent = std::mem::take(&mut state.sent);
        state.waiting.append(&mut sent);
        drop(state);
        self.wake.notify_one();
    }

    fn show(&self, state: &State) {
        self.waiting
            .set((state.waiting.len() + state.sent.len()) as f64);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is in it is good also when somebody panicked elsewhere while having the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::{Generation, Purges};
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn a_purge_bars_until_redis_knows_of_all_of_it() {
        let purges = Purges::new(Metrics::new(1).second_level().purges_waiting);
        let (tagged, all) = ([Generation::Tagged], [Generation::All]);
        assert!(purges.take().is_none() && purges.are_done(purges.made()));
        purges.add(Generation::Tagged);
        let first = purges.made();
        assert!(purges.bar(&tagged) && !purges.bar(&all));
        let batch = purges.take().unwrap();
        assert!(purges.bar(&tagged) && !purges.are_done(first));
        // Purged again while Redis is being told: that word does not cover it.
        purges.add(Generation::Tagged);
        purges.confirm(&batch);
        purges.done(first).await;
        assert!(purges.bar(&tagged) && !purges.are_done(purges.made()));
        // What was told in vain is told again.
        assert_eq!(purges.take().unwrap().generations, tagged);
        purges.put_back();
        assert!(purges.bar(&tagged));
        purges.wanted().await;
        let batch = purges.take().unwrap();
        assert_eq!(batch.generations, tagged);
        purges.confirm(&batch);
        assert!(!purges.bar(&tagged) && purges.are_done(purges.made()));
    }
}
