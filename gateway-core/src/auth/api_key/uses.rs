//! When each API key was used, for operators who want to take one away: in this process, to a few seconds. A request only
//! raises a flag; the control runtime turns flags into times. Which keys there are is `auth/api_key.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::ApiKeysConfig;

/// The process's record, handed on from one configuration to the next.
pub(crate) struct KeyUses {
    /// When the record begins.
    since: SystemTime,
    by_hash: HashMap<[u8; 32], Arc<KeyUse>>,
}

/// One key's.
#[derive(Default)]
pub(super) struct KeyUse {
    /// Since the flags were last turned into times.
    used: AtomicBool,
    /// In seconds since the epoch; 0 = never.
    last: AtomicU64,
}

impl KeyUse {
    /// On every request with a key: mostly a look at what all workers have in their caches.
    pub(super) fn note(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    fn fold(&self, now: u64) {
        if self.used.swap(false, Ordering::Relaxed) {
            self.last.store(now, Ordering::Relaxed);
        }
    }
}

impl KeyUses {
    /// Of the keys in `config`; what `previous` knows of them goes on.
    pub(crate) fn after(previous: Option<&Self>, config: Option<&ApiKeysConfig>) -> Self {
        let keys = config.iter().flat_map(|config| &config.keys);
        let known = |hash| previous.and_then(|previous| previous.by_hash.get(hash));
        Self {
            since: previous.map_or_else(SystemTime::now, |previous| previous.since),
            by_hash: keys
                .map(|key| {
                    (
                        key.hash,
                        known(&key.hash).map(Arc::clone).unwrap_or_default(),
                    )
                })
                .collect(),
        }
    }

    /// Turns flags into times. Called by the control runtime every few seconds, and before anybody looks.
    pub(crate) fn fold(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        for key in self.by_hash.values() {
            key.fold(now);
        }
    }

    /// Uses before that are not known.
    pub(crate) fn since(&self) -> SystemTime {
        self.since
    }

    /// When the key with this hash was used last.
    pub(crate) fn last(&self, hash: &[u8; 32]) -> Option<SystemTime> {
        let last = self.by_hash.get(hash)?.last.load(Ordering::Relaxed);
        (last > 0).then(|| UNIX_EPOCH + Duration::from_secs(last))
    }

    pub(super) fn of(&self, hash: &[u8; 32]) -> Arc<KeyUse> {
        self.by_hash.get(hash).map(Arc::clone).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::KeyUses;
    use crate::config::{ApiKeyConfig, ApiKeysConfig};

    fn config(hashes: &[u8]) -> ApiKeysConfig {
        let key = |number: &u8| ApiKeyConfig {
            id: format!("key-{number}"),
            owner: "partner-a".to_owned(),
            hash: [*number; 32],
            scopes: Vec::new(),
            attributes: BTreeMap::new(),
        };
        ApiKeysConfig {
            prefix: "acme".to_owned(),
            keys: hashes.iter().map(key).collect(),
        }
    }

    #[test]
    fn a_use_is_known_after_the_next_fold_and_in_the_next_configuration() {
        let first = KeyUses::after(None, Some(&config(&[1, 2])));
        first.of(&[1; 32]).note();
        assert_eq!(first.last(&[1; 32]), None);
        first.fold();
        let used = first.last(&[1; 32]);
        assert!(used.is_some());
        assert_eq!(first.last(&[2; 32]), None);

        // A request that began before the change notes its use where it is looked for afterwards.
        let noted = first.of(&[2; 32]);
        let second = KeyUses::after(Some(&first), Some(&config(&[1, 2, 3])));
        noted.note();
        second.fold();
        assert_eq!(second.last(&[1; 32]), used);
        assert!(second.last(&[2; 32]).is_some());
        assert_eq!(second.last(&[3; 32]), None);
        assert_eq!(second.since(), first.since());

        let third = KeyUses::after(Some(&second), Some(&config(&[3])));
        assert_eq!(third.last(&[1; 32]), None);
    }
}
