//! Invalidation without a list of what is stored: a change ends the epoch of its URI, and what was asked for before does
//! not count any more. Bounded: URIs share a fixed number of slots, at worst something is fetched once too often.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

const SLOTS: usize = 4096;

/// A point in the order of requests and changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Epoch(u64);

pub(super) struct Epochs {
    now: AtomicU64,
    /// When the last change of a slot's URIs was.
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

    /// Whatever was asked for before this call is not current any more, also when it arrives after it.
    pub(super) fn end(&self, upstream: &str, target: &str) {
        let at = self.now.fetch_add(1, Ordering::SeqCst);
        self.slot(upstream, target).fetch_max(at, Ordering::SeqCst);
    }

    pub(super) fn is_current(&self, epoch: Epoch, upstream: &str, target: &str) -> bool {
        epoch.0 > self.slot(upstream, target).load(Ordering::SeqCst)
    }

    fn slot(&self, upstream: &str, target: &str) -> &AtomicU64 {
        let index = self.hasher.hash_one((upstream, target)) as usize % self.ended.len();
        &self.ended[index]
    }
}

#[cfg(test)]
mod tests {
    use super::Epochs;

    #[test]
    fn a_change_ends_what_was_asked_before_it() {
        let epochs = Epochs::default();
        let before = epochs.now();
        assert!(epochs.is_current(before, "widgets", "/widgets/1"));
        epochs.end("widgets", "/widgets/1");
        assert!(!epochs.is_current(before, "widgets", "/widgets/1"));
        assert!(epochs.is_current(epochs.now(), "widgets", "/widgets/1"));
        // In all likelihood in another slot.
        let others = (2..20)
            .filter(|id| epochs.is_current(before, "widgets", &format!("/widgets/{id}")))
            .count();
        assert!(others > 10);
    }
}
