//! Tokens that this worker has verified already, by their SHA-256, so that a signature is checked once. Bounded, and
//! never believed past `exp` or after the issuer's keys have changed; nothing is verified here.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use crate::auth::TokenPrincipal;
use crate::auth::jwks::IssuerKeys;

/// Tokens in one generation; there are two.
pub(super) const GENERATION: usize = 8192;

pub(super) struct Verified {
    pub(super) principal: Arc<TokenPrincipal>,
    pub(super) issuer: Arc<IssuerKeys>,
    /// Of the key set that the signature was checked with.
    pub(super) version: u64,
}

/// Two generations: when the younger one is full, the older one is dropped. What is in use moves back to the younger
/// one, so that this is nearly least-recently-used without a list.
#[derive(Default)]
pub(super) struct VerifiedTokens {
    // Only its own worker ever takes it, so nobody waits for it; it makes the worker's tasks `Send`.
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: Tokens,
    old: Tokens,
}

type Tokens = HashMap<[u8; 32], Verified, BuildHasherDefault<OfDigest>>;

/// A digest is as good as a hash of it. Only tokens that were verified are in the maps, so nobody else can aim at a place.
#[derive(Default)]
struct OfDigest(u64);

impl Hasher for OfDigest {
    fn write(&mut self, digest: &[u8]) {
        if let Some(first) = digest.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    /// The length, which is always the same.
    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Verified {
    fn is_good(&self, now: u64) -> bool {
        now < self.principal.expires_at && self.issuer.version() == Some(self.version)
    }
}

impl VerifiedTokens {
    pub(super) fn find(&self, digest: &[u8; 32], now: u64) -> Option<Arc<TokenPrincipal>> {
        let mut generations = self.lock();
        if let Some(known) = generations.young.get(digest) {
            if known.is_good(now) {
                return Some(Arc::clone(&known.principal));
            }
            generations.young.remove(digest);
            return None;
        }
        let known = generations.old.remove(digest)?;
        let principal = known.is_good(now).then(|| Arc::clone(&known.principal))?;
        generations.insert(*digest, known);
        Some(principal)
    }

    pub(super) fn remember(&self, digest: [u8; 32], verified: Verified) {
        self.lock().insert(digest, verified);
    }

    pub(super) fn forget(&self, digest: &[u8; 32]) {
        let mut generations = self.lock();
        generations.young.remove(digest);
        generations.old.remove(digest);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let generations = self.lock();
        generations.young.len() + generations.old.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn insert(&mut self, digest: [u8; 32], verified: Verified) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, verified);
    }
}
