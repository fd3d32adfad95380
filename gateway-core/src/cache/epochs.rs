//! Invalidation without a list of what is stored: a change ends the epoch of what it concerns, and what was asked for
//! before does not count any more. Bounded: names share a fixed number of slots, at worst something is fetched once too
//! often. What the names are, URIs or tags, is decided by who has the table.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use siphasher::sip::SipHasher13;

const SLOTS: usize = 8192;

/// A point in the order of requests and changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(u64);

/// The place of a name in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(u32);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What decides which names share a slot.
#[derive(Clone, Copy)]
pub(super) enum Seed {
    /// Nobody can tell.
    Random,
    /// The same at every replica and in every release: replicas tell one another of slots. Who knows it can choose names that
    /// end one another's epochs, which costs a call.
    Agreed,
}

impl Seed {
    fn keys(self) -> (u64, u64) {
        match self {
            Self::Random => {
                let random = RandomState::new();
                (random.hash_one(0), random.hash_one(1))
            }
            Self::Agreed => (0x6761_7465_7761_7920, 0x6361_6368_6520_6c32),
        }
    }
}

pub(super) struct Epochs {
    now: AtomicU64,
    /// When the last change of a slot's names was.
    ended: Box<[AtomicU64]>,
    hasher: SipHasher13,
}

impl Epochs {
    pub(super) fn new(seed: Seed) -> Self {
        let (one, other) = seed.keys();
        Self {
            now: AtomicU64::new(1),
            ended: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: SipHasher13::new_with_keys(one, other),
        }
    }

    pub(super) fn now(&self) -> Epoch {
        Epoch(self.now.load(Ordering::SeqCst))
    }

    /// Of a name in parts. Of its bytes alone: how a type is hashed is not promised from one release of Rust to the next.
    pub(super) fn slot(&self, name: &[&str]) -> Slot {
        let mut hasher = self.hasher;
        for part in name {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part.as_bytes());
        }
        // The remainder is less than the number of slots, which fits.
        Slot((hasher.finish() % SLOTS as u64) as u32)
    }

    /// Whatever was asked for before this call is not current any more, also when it arrives after it.
    pub(super) fn end(&self, slot: Slot) {
        let at = self.step();
        self.ended[slot.0 as usize].fetch_max(at, Ordering::SeqCst);
    }

    /// A change that `floor` remembers, in the order of all changes.
    pub(super) fn raise(&self, floor: &AtomicU64) {
        let at = self.step();
        floor.fetch_max(at, Ordering::SeqCst);
    }

    pub(super) fn is_current(&self, epoch: Epoch, slot: Slot) -> bool {
        epoch.is_after(&self.ended[slot.0 as usize])
    }

    fn step(&self) -> u64 {
        self.now.fetch_add(1, Ordering::SeqCst)
    }
}

impl Epoch {
    pub(super) fn is_after(self, change: &AtomicU64) -> bool {
        self.0 > change.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::{Epochs, Seed};

    #[test]
    fn a_change_ends_what_was_asked_before_it() {
        let epochs = Epochs::new(Seed::Random);
        let before = epochs.now();
        let one = epochs.slot(&["widgets", "/widgets/1"]);
        assert!(epochs.is_current(before, one));
        epochs.end(one);
        assert!(!epochs.is_current(before, one));
        assert!(epochs.is_current(epochs.now(), one));
        // In all likelihood in another slot.
        let others = (2..20)
            .map(|id| epochs.slot(&["widgets", &format!("/widgets/{id}")]))
            .filter(|slot| epochs.is_current(before, *slot))
            .count();
        assert!(others > 10);
    }

    /// Replicas of different releases work beside one another: these numbers never change.
    #[test]
    fn what_replicas_agreed_on_stays() {
        let epochs = Epochs::new(Seed::Agreed);
        let slots = [
            epochs.slot(&["widget:1"]),
            epochs.slot(&["widgets", "/widgets/1"]),
            // Not the same name in other parts.
            epochs.slot(&["widgets/", "widgets/1"]),
        ];
        assert_eq!(slots.map(|slot| slot.to_string()), ["4471", "2589", "1663"]);
    }
}
