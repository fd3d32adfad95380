//! Sessions in the process's memory: all there are, or, where replicas share them, those that this one has seen. Bounded;
//! when there is no room, those go that were not used for longest.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::record::{Session, SessionKey};

/// So that workers seldom meet.
const SHARDS: usize = 16;

pub(super) struct Memory {
    shards: [Mutex<HashMap<SessionKey, Arc<Session>>>; SHARDS],
    /// In one shard.
    most: usize,
    /// In seconds.
    idle: u64,
}

impl Memory {
    pub(super) fn new(most: usize, idle: u64) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            most: most.div_ceil(SHARDS),
            idle,
        }
    }

    /// The session under `key`, unless it is over; looking it up is using it.
    pub(super) fn find(&self, key: &SessionKey, now: u64) -> Option<Arc<Session>> {
        let mut shard = self.shard(key);
        let session = shard.get(key)?;
        if session.is_over(now, self.idle) {
            shard.remove(key);
            return None;
        }
        session.touch(now);
        Some(Arc::clone(session))
    }

    /// Returns how many others had to go.
    pub(super) fn insert(&self, session: Arc<Session>, now: u64) -> usize {
        let mut shard = self.shard(&session.key);
        let mut gone = 0;
        if shard.len() >= self.most && !shard.contains_key(&session.key) {
            let before = shard.len();
            shard.retain(|_, known| !known.is_over(now, self.idle));
            if shard.len() >= self.most {
                drop_oldest(&mut shard);
            }
            gone = before - shard.len();
        }
        shard.insert(session.key, session);
        gone
    }

    /// Puts `session` in the place of the one of the same key. One that has ended meanwhile stays ended: false.
    pub(super) fn replace(&self, session: Arc<Session>) -> bool {
        match self.shard(&session.key).get_mut(&session.key) {
            Some(known) => {
                // Requests may have come while it was renewed.
                session.touch(known.used.load(Ordering::Relaxed));
                *known = session;
                true
            }
            None => false,
        }
    }

    pub(super) fn remove(&self, key: &SessionKey) -> Option<Arc<Session>> {
        self.shard(key).remove(key)
    }

    /// Ends all that `meant` says; they are returned. Looks at every one there is.
    pub(super) fn remove_all(&self, meant: impl Fn(&Session) -> bool) -> Vec<Arc<Session>> {
        let mut removed = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            removed.extend(
                shard
                    .extract_if(|_, session| meant(session))
                    .map(|(_, s)| s),
            );
        }
        removed
    }

    /// Forgets those that are over; how many there were.
    pub(super) fn sweep(&self, now: u64) -> usize {
        self.remove_all(|session| session.is_over(now, self.idle))
            .len()
    }

    /// Of all there are.
    pub(super) fn keys(&self) -> Vec<SessionKey> {
        let shards = self.shards.iter();
        shards
            .flat_map(|shard| lock(shard).keys().copied().collect::<Vec<_>>())
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, key: &SessionKey) -> MutexGuard<'_, HashMap<SessionKey, Arc<Session>>> {
        lock(&self.shards[usize::from(key.0[0]) % SHARDS])
    }
}

/// One in a hundred at once, so that a full store does not look for the oldest at every sign-in.
fn drop_oldest(shard: &mut HashMap<SessionKey, Arc<Session>>) {
    let used = |session: &Session| session.used.load(Ordering::Relaxed);
    let mut uses: Vec<(u64, SessionKey)> = shard
        .values()
        .map(|session| (used(session), session.key))
        .collect();
    let many = uses.len().div_ceil(100);
    if many < uses.len() {
        uses.select_nth_unstable_by_key(many, |(used, _)| *used);
    }
    for (_, key) in uses.iter().take(many) {
        shard.remove(key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::record::tests::{record, session};

    #[test]
    fn a_session_is_there_until_it_is_over() {
        let memory = Memory::new(100, 600);
        let ann = Arc::new(session("ann", "1"));
        assert_eq!(memory.insert(Arc::clone(&ann), 1000), 0);
        assert!(memory.find(&ann.key, 1500).is_some());
        // It was used meanwhile.
        assert!(memory.find(&ann.key, 2000).is_some());
        assert!(memory.find(&ann.key, 2600).is_none());
        assert_eq!(memory.len(), 0);
        memory.insert(Arc::new(session("bob", "2")), 1000);
        assert_eq!(memory.sweep(1599), 0);
        assert_eq!(memory.sweep(1600), 1);
    }

    #[test]
    fn what_has_ended_is_not_brought_back_by_a_refresh() {
        let memory = Memory::new(100, 600);
        let ann = Arc::new(session("ann", "1"));
        memory.insert(Arc::clone(&ann), 1000);
        memory.find(&ann.key, 1400);
        let renewed = Arc::new(ann.renewed(record("ann", "1")));
        assert!(memory.replace(Arc::clone(&renewed)));
        assert_eq!(renewed.used.load(Ordering::Relaxed), 1400);
        assert!(memory.remove(&ann.key).is_some());
        assert!(!memory.replace(renewed));
        assert!(memory.find(&ann.key, 1400).is_none());
    }

    #[test]
    fn there_are_never_more_than_fit_and_the_oldest_go_first() {
        let memory = Memory::new(16 * 10, 600);
        let mut sessions = Vec::new();
        for at in 0..2_000_u64 {
            let one = session("ann", "1");
            one.touch(1000 + at / 100);
            let one = Arc::new(one);
            memory.insert(Arc::clone(&one), 1000);
            sessions.push(one);
        }
        assert!(memory.len() <= 160, "{}", memory.len());
        let is_there = |session: &&Arc<Session>| memory.find(&session.key, 1100).is_some();
        assert_eq!(sessions[..1000].iter().filter(is_there).count(), 0);
        assert!(sessions.last().iter().all(is_there));
    }

    #[test]
    fn sessions_end_by_what_they_are() {
        let memory = Memory::new(100, 600);
        for (subject, provider_session) in [("ann", "1"), ("ann", "2"), ("bob", "3")] {
            memory.insert(Arc::new(session(subject, provider_session)), 1000);
        }
        let of_ann = |session: &Session| session.record.subject == "ann";
        assert_eq!(memory.remove_all(of_ann).len(), 2);
        assert_eq!(memory.len(), 1);
    }
}
