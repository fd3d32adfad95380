//! What stored answers depend on: a tag names a thing (`widget:7`), and who learns that the thing has changed purges the
//! tag; for responses also their URI, which unsafe methods change. What is stored, and for how long, is decided by who stores it
//! (`cache.rs`, `cache/parts.rs`).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::epochs::{Epoch, Epochs, Seed, Slot};
use super::second::{Generation, SecondLevel};

/// The tags of a process, and its URIs. Purging one costs the same however much is stored, and whatever it is.
///
/// Tags share a fixed number of places: that of another one may be purged with it, which costs a call and is never wrong.
pub(crate) struct Tags {
    epochs: Epochs,
    /// Of URIs, which unsafe methods change. Here, as who began such a change may have another response cache by then than those
    /// who read after it.
    uris: Epochs,
    /// When it was last not certain that every change is heard of.
    uncertain: AtomicU64,
    /// Where the other replicas' purges and ours meet.
    second: Option<Arc<SecondLevel>>,
}

impl Default for Tags {
    /// Of a process that has a cache for itself alone.
    fn default() -> Self {
        Self::beside(None)
    }
}

/// Whether an answer can be used after what has been purged since it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    Current,
    /// Nobody has said that it changed; it may have all the same.
    Uncertain,
    /// What it depends on has changed.
    Purged,
}

impl Tags {
    pub(crate) fn beside(second: Option<Arc<SecondLevel>>) -> Self {
        // Tests say of some tags that others' purges do not concern them: by chance they would share a slot now and then.
        let seed = if second.is_some() || cfg!(test) {
            Seed::Agreed
        } else {
            Seed::Random
        };
        Self {
            epochs: Epochs::new(seed),
            uris: Epochs::new(seed),
            uncertain: AtomicU64::new(0),
            second,
        }
    }

    /// What replicas share, when they share something.
    pub(crate) fn second_level(&self) -> Option<&Arc<SecondLevel>> {
        self.second.as_ref()
    }

    /// The point in the order of changes by unsafe methods at which an answer is asked for.
    pub(super) fn uris_now(&self) -> Epoch {
        self.uris.now()
    }

    /// What changes of a URI of an upstream are known by.
    pub(super) fn place(&self, upstream: &str, target: &str) -> Slot {
        self.uris.slot(&[upstream, target])
    }

    /// What the URI names has changed: no answer that was asked for before this call is used after it.
    pub(super) fn purge_uri(&self, place: Slot) {
        // First, as for tags.
        if let Some(second) = &self.second {
            second.purge(Generation::Uri(place));
        }
        self.uris.end(place);
    }

    /// Whether no unsafe method has changed it since.
    pub(super) fn is_current(&self, asked: Epoch, place: Slot) -> bool {
        self.uris.is_current(asked, place)
    }

    /// The point in the order of purges at which an answer is asked for.
    pub(crate) fn now(&self) -> Epoch {
        self.epochs.now()
    }

    pub(crate) fn slot(&self, tag: &str) -> Slot {
        self.epochs.slot(&[tag])
    }

    /// What a tag names has changed: no answer with this tag that was asked for before this call is used after it.
    pub(crate) fn purge(&self, tag: &str) {
        self.purge_slot(self.slot(tag));
    }

    pub(crate) fn purge_slot(&self, slot: Slot) {
        // First: what is asked for after the end of the epoch must find it barred.
        if let Some(second) = &self.second {
            second.purge(Generation::Tag(slot));
        }
        self.epochs.end(slot);
    }

    /// The same for what nothing depends on but calls of this process that are under way.
    pub(crate) fn end_calls(&self, slot: Slot) {
        self.epochs.end(slot);
    }

    /// Changes may go unheard, or have: everything tagged that was asked for before this call is expired.
    pub(crate) fn expire_all(&self) {
        if let Some(second) = &self.second {
            second.purge(Generation::Tagged);
        }
        self.epochs.raise(&self.uncertain);
    }

    /// Waits, not for long, until no replica finds any more what this one has purged before. Whether that is so.
    pub(crate) async fn told(&self) -> bool {
        match &self.second {
            Some(second) => second.told().await,
            None => true,
        }
    }

    /// How an answer that was asked for at `asked` and depends on `tags` stands now.
    pub(crate) fn validity(&self, asked: Epoch, tags: impl IntoIterator<Item = Slot>) -> Validity {
        let mut is_tagged = false;
        for slot in tags {
            if !self.epochs.is_current(asked, slot) {
                return Validity::Purged;
            }
            is_tagged = true;
        }
        if is_tagged && !asked.is_after(&self.uncertain) {
            Validity::Uncertain
        } else {
            Validity::Current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Tags, Validity};

    #[test]
    fn a_purge_concerns_what_was_asked_before_it_and_has_the_tag() {
        let tags = Tags::default();
        let one = [tags.slot("widget:1"), tags.slot("owner:7")];
        let before = tags.now();
        assert_eq!(tags.validity(before, one), Validity::Current);
        tags.purge("owner:7");
        assert_eq!(tags.validity(before, one), Validity::Purged);
        assert_eq!(tags.validity(before, [one[0]]), Validity::Current);
        assert_eq!(tags.validity(tags.now(), one), Validity::Current);
    }

    #[test]
    fn uncertainty_concerns_everything_that_has_a_tag() {
        let tags = Tags::default();
        let tagged = [tags.slot("widget:1")];
        let before = tags.now();
        tags.expire_all();
        assert_eq!(tags.validity(before, tagged), Validity::Uncertain);
        assert_eq!(tags.validity(before, []), Validity::Current);
        assert_eq!(tags.validity(tags.now(), tagged), Validity::Current);
        // That it has changed is worse than that it may have.
        tags.purge("widget:1");
        assert_eq!(tags.validity(before, tagged), Validity::Purged);
    }
}
