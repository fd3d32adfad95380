//! Invalidation without a list of what is stored: a change ends the epoch of what it concerns, and what was asked for
//! before does not count any more. Bounded: names share a fixed number of slots, at worst something is fetched once too
//! often. What the names are, URIs or tags, is decided by who has the table.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

const SLOTS: usize = 8192;

/// A point in the order of requests and changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(u64);

/// The place of a name in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

pub(super) struct Epochs {
    now: AtomicU64,
    /// When the last change of a slot's names was.
    ended: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Epochs {
    fn default() -> Self {
        Self {
            now: AtomicU64::new(1),
            ended: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Epochs {
    pub(super) fn now(&self) -> Epoch {
        Epoch(self.now.load(Ordering::SeqCst))
    }

    pub(super) fn slot(&self, name: impl Hash) -> Slot {
        // The remainder is less than the number of slots, which fits.
        Slot((self.hasher.hash_one(name) % SLOTS as u64) as u32)
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
    use super::Epochs;

    #[test]
    fn a_change_ends_what_was_asked_before_it() {
        let epochs = Epochs::default();
        let before = epochs.now();
        let one = epochs.slot(("widgets", "/widgets/1"));
        assert!(epochs.is_current(before, one));
        epochs.end(one);
        assert!(!epochs.is_current(before, one));
        assert!(epochs.is_current(epochs.now(), one));
        // In all likelihood in another slot.
        let others = (2..20)
            .map(|id| epochs.slot(("widgets", format!("/widgets/{id}"))))
            .filter(|slot| epochs.is_current(before, *slot))
            .count();
        assert!(others > 10);
    }
}
