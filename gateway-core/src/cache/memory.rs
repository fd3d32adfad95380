//! The memory of what is stored: it holds none but its own, which is weighed, and what is on its way into the store is
//! bounded, too. What goes to make room is moka's to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

/// What a field costs besides its bytes, roughly.
const FIELD: usize = 64;

/// A copy in a buffer of its own: what came over a connection is a slice of what was read at once, and keeps all of that.
pub(super) fn own(value: &HeaderValue) -> HeaderValue {
    // What is a value already cannot be refused as one.
    let mut own = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
    own.set_sensitive(value.is_sensitive());
    own
}

/// The same for all values; names are copied when they are read.
pub(super) fn own_all(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        *value = own(value);
    }
}

pub(super) fn weight(headers: &HeaderMap) -> usize {
    headers.iter().map(weight_of).sum()
}

/// Of one field.
pub(super) fn weight_of((name, value): (&HeaderName, &HeaderValue)) -> usize {
    name.as_str().len() + value.len() + FIELD
}

/// How many bytes of bodies that are being collected there may be at once.
pub(super) struct Budget(AtomicU64);

/// What one body has of it; given back with it.
pub(super) struct Share {
    budget: Arc<Budget>,
    taken: AtomicU64,
}

impl Budget {
    pub(super) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self(bytes.into()))
    }

    pub(super) fn share(self: &Arc<Self>) -> Arc<Share> {
        Arc::new(Share {
            budget: Arc::clone(self),
            taken: 0.into(),
        })
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Share {
    /// Whether there was room for so many bytes more.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let left = &self.budget.0;
        let taken = left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(bytes)
        });
        if taken.is_ok() {
            self.taken.fetch_add(bytes, Ordering::Relaxed);
        }
        taken.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let taken = *self.taken.get_mut();
        self.budget.0.fetch_add(taken, Ordering::Relaxed);
    }
}
