//! How many streams one caller has, and how many there are. What a stream does is `body.rs`'s.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::auth::Principal;
use crate::config::StreamConfig;
use crate::error::ClientError;

/// Marks an answer that is a stream of ours: it is counted here, and no longer among the requests at work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HasPlace;

/// The streams of a process, under every configuration.
#[derive(Debug)]
pub(crate) struct Places {
    by_caller: Mutex<HashMap<Box<str>, usize>>,
    max_per_caller: AtomicUsize,
    /// Milliseconds.
    heartbeat: AtomicU64,
    open: AtomicUsize,
    refused: AtomicU64,
}

/// A caller's place for a stream; it ends with the stream.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    /// Nobody in particular has no name, and no limit of its own.
    caller: Option<Box<str>>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            by_caller: Mutex::default(),
            max_per_caller: AtomicUsize::new(usize::MAX),
            heartbeat: AtomicU64::new(15_000),
            open: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }
}

impl Places {
    /// What holds from now on; streams that are open stay.
    pub(crate) fn configure(&self, config: &StreamConfig) {
        let heartbeat = u64::try_from(config.heartbeat.as_millis()).unwrap_or(u64::MAX);
        self.max_per_caller
            .store(config.max_per_caller, Ordering::Relaxed);
        self.heartbeat.store(heartbeat, Ordering::Relaxed);
    }

    pub(super) fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat.load(Ordering::Relaxed))
    }

    /// How many streams are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many were refused since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn take(self: &Arc<Self>, principal: &Principal) -> Result<Place, ClientError> {
        let caller: Option<Box<str>> = principal.subject().map(Box::from);
        if let Some(caller) = &caller {
            let mut by_caller = self.lock();
            let count = by_caller.entry(caller.clone()).or_default();
            if *count >= self.max_per_caller.load(Ordering::Relaxed) {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Err(ClientError::TooManyStreams);
            }
            *count += 1;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Place {
            places: Arc::clone(self),
            caller,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, usize>> {
        // A count that was changed is right also when somebody panicked afterwards.
        self.by_caller
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(super) fn heartbeat(&self) -> Duration {
        self.places.heartbeat()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.open.fetch_sub(1, Ordering::Relaxed);
        let Some(caller) = &self.caller else {
            return;
        };
        let mut by_caller = self.places.lock();
        if let Some(count) = by_caller.get_mut(caller) {
            *count -= 1;
            if *count == 0 {
                by_caller.remove(caller);
            }
        }
    }
}
