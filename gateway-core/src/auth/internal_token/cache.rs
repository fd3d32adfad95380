//! The tokens that one worker has for one upstream, so that a call costs a look-up and never a signature. How a token is
//! made is in `auth/internal_token.rs`.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;
use tokio::time::Instant;

use super::InternalTokenSigner;
use crate::auth::Principal;

/// Callers in one generation; there are two.
pub(super) const GENERATION: usize = 2048;

/// One worker's tokens for one upstream.
pub(crate) struct InternalTokens {
    signer: Arc<InternalTokenSigner>,
    audience: &'static str,
    // Only its own worker ever takes it, so nobody waits for it; it makes the worker's tasks `Send`.
    generations: Mutex<Generations>,
}

/// Nearly least-recently-used without a list: when the younger generation is full, the older one is dropped, and what is
/// in use moves back to the younger one.
#[derive(Default)]
struct Generations {
    young: HashMap<Caller, Signed>,
    old: HashMap<Caller, Signed>,
}

struct Signed {
    header: HeaderValue,
    /// When half of its life is over: what a service gets is always good for the rest, however slow the way.
    renew_at: Instant,
}

/// A principal as a key. Equal are those who are the same in everything that a token could say; the same `Arc` is seen to
/// be equal without looking into it.
#[derive(PartialEq, Eq)]
struct Caller(Principal);

impl Hash for Caller {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Principal::Anonymous => 0_u8.hash(state),
            Principal::Token(token) => (1_u8, &token.subject).hash(state),
            Principal::ApiKey(key) => (2_u8, &key.key_id).hash(state),
        }
    }
}

impl InternalTokens {
    pub(crate) fn new(signer: &Arc<InternalTokenSigner>, audience: &'static str) -> Self {
        Self {
            signer: Arc::clone(signer),
            audience,
            generations: Mutex::default(),
        }
    }

    /// The value of the header for a call on behalf of `principal`; none for an anonymous one.
    pub(crate) fn header(&self, principal: &Principal) -> Option<HeaderValue> {
        if *principal == Principal::Anonymous {
            return None;
        }
        let now = Instant::now();
        // A clone of a principal counts a reference, and copies nothing.
        let caller = Caller(principal.clone());
        if let Some(header) = self.lock().find(&caller, now) {
            return Some(header);
        }
        let header = self.sign(principal)?;
        let signed = Signed {
            header: header.clone(),
            renew_at: now + self.signer.lifetime / 2,
        };
        self.lock().insert(caller, signed);
        Some(header)
    }

    fn sign(&self, principal: &Principal) -> Option<HeaderValue> {
        match self.signer.for_principal(principal, self.audience) {
            Ok(token) => {
                // Three parts of base64url and two dots: always a legal value.
                let mut header = HeaderValue::try_from(token?).ok()?;
                header.set_sensitive(true);
                Some(header)
            }
            Err(error) => {
                // The call goes on without: the service decides what an unknown caller may do.
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, upstream = self.audience, "no internal token");
                None
            }
        }
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
    fn find(&mut self, caller: &Caller, now: Instant) -> Option<HeaderValue> {
        if let Some(signed) = self.young.get(caller) {
            return (now < signed.renew_at).then(|| signed.header.clone());
        }
        let (caller, signed) = self.old.remove_entry(caller)?;
        let header = (now < signed.renew_at).then(|| signed.header.clone())?;
        self.insert(caller, signed);
        Some(header)
    }

    fn insert(&mut self, caller: Caller, signed: Signed) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(caller, signed);
    }
}
