//! The tokens that one worker has for one upstream, so that a call costs a look-up and never a signature. How a token is
//! made is in `auth/internal_token.rs`.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::quality::RandomState;
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
    /// A copy of this worker's own: its count of references is no other worker's business.
    attributes: Arc<[String]>,
    // Only its own worker ever takes it, so nobody waits for it; it makes the worker's tasks `Send`.
    generations: Mutex<Generations>,
}

/// Nearly least-recently-used without a list: when the younger generation is full, the older one is dropped, and what is
/// in use moves back to the younger one.
#[derive(Default)]
struct Generations {
    young: Tokens,
    old: Tokens,
}

/// Only callers who have proved who they are get here.
type Tokens = HashMap<Caller, Signed, RandomState>;

struct Signed {
    header: HeaderValue,
    /// When half of its life is over: what a service gets is always good for the rest, however slow the way.
    renew_at: Instant,
}

/// A principal as a key. Equal are those of whom a token says the same, whatever credential each of them has shown: not its
/// end, its id or the key's, nor attributes that no token tells of.
struct Caller {
    principal: Principal,
    attributes: Arc<[String]>,
}

impl Caller {
    /// What a token says without allocating: all of it but the attributes.
    fn said(&self) -> (&str, Option<&str>, &[String], &[String]) {
        let principal = &self.principal;
        (
            principal.kind(),
            principal.subject(),
            principal.roles(),
            principal.scopes(),
        )
    }

    /// Whether both are the same in memory: the usual case, a client that goes on with its token or key.
    fn is(&self, other: &Self) -> bool {
        match (&self.principal, &other.principal) {
            (Principal::Token(one), Principal::Token(other)) => Arc::ptr_eq(one, other),
            (Principal::ApiKey(one), Principal::ApiKey(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        let same = |name: &String| {
            self.principal.attribute(name.as_str()) == other.principal.attribute(name.as_str())
        };
        self.is(other) || self.said() == other.said() && self.attributes.iter().all(same)
    }
}

impl Eq for Caller {}

impl Hash for Caller {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Equal callers have both in common; what else tells callers apart is looked at where these are the same.
        (self.principal.kind(), self.principal.subject()).hash(state);
    }
}

impl InternalTokens {
    pub(crate) fn new(signer: &Arc<InternalTokenSigner>, audience: &'static str) -> Self {
        Self {
            signer: Arc::clone(signer),
            audience,
            attributes: signer.attributes().into(),
            generations: Mutex::default(),
        }
    }

    /// The value of the header for a call on behalf of `principal`; none for an anonymous one.
    pub(crate) fn header(&self, principal: &Principal) -> Option<HeaderValue> {
        if *principal == Principal::Anonymous {
            return None;
        }
        let now = Instant::now();
        // Clones count references, and copy nothing.
        let caller = Caller {
            principal: principal.clone(),
            attributes: Arc::clone(&self.attributes),
        };
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
