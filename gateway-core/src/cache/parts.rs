//! The composed cache: answers of services that composed calls want to use again, each for the caller it was for and for
//! as long as the call says, unless one of its tags is purged before. Responses of passthrough routes are `cache.rs`'s;
//! what identifies a call is `upstream/request_key.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant as SystemInstant};

use http::HeaderMap;
use http::header::CACHE_CONTROL;
use moka::Expiry;
use moka::sync::Cache;
use tokio::time::Instant;

use super::directives::AnswerControl;
use super::epochs::{Epoch, Slot};
use super::tags::{Tags, Validity};
use crate::upstream::{RequestKey, UpstreamResponse};

/// What an entry costs besides its bytes, roughly.
const OVERHEAD: usize = 512;
/// For how long after its lifetime an answer may stand in for a service that fails, unless the call says otherwise.
const IF_FAILING: Duration = Duration::from_secs(60);

/// How long an answer may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    fresh: Duration,
    if_failing: Duration,
}

impl Lifetime {
    /// The answer is as good as a new one for so many seconds; for a minute more it may be shown, marked as stale, when
    /// the service fails.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self {
            fresh: Duration::from_secs(seconds),
            if_failing: IF_FAILING,
        }
    }

    /// For how many seconds after its lifetime it may be shown, marked as stale, when the service fails (as RFC 5861,
    /// section 4); 0 = not at all.
    #[must_use]
    pub const fn if_failing_seconds(self, seconds: u64) -> Self {
        Self {
            if_failing: Duration::from_secs(seconds),
            ..self
        }
    }
}

/// An answer that may be used again.
pub(crate) struct Part {
    pub(crate) response: Arc<UpstreamResponse>,
    /// When it was asked for: nothing that is older than the answer can have changed it.
    asked_at: Instant,
    epoch: Epoch,
    tags: Box<[Slot]>,
    lifetime: Lifetime,
}

/// How a stored answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As good as a new one, for so long.
    Fresh(Duration),
    /// Of use when the service fails; of this age.
    Stale(Duration),
    /// Of no use.
    Gone,
}

impl Standing {
    /// For how long it is as good as a new one.
    pub(crate) fn left(self) -> Duration {
        match self {
            Self::Fresh(left) => left,
            Self::Stale(_) | Self::Gone => Duration::ZERO,
        }
    }
}

/// The stored parts of a process. All workers share them.
pub(crate) struct Parts {
    store: Option<Cache<Arc<RequestKey>, Arc<Part>>>,
    tags: Arc<Tags>,
}

impl Part {
    pub(crate) fn new(
        response: Arc<UpstreamResponse>,
        asked_at: Instant,
        epoch: Epoch,
        tags: Box<[Slot]>,
        lifetime: Lifetime,
    ) -> Self {
        Self {
            response,
            asked_at,
            epoch,
            tags,
            lifetime,
        }
    }

    fn weight(&self) -> usize {
        let headers: usize = self
            .response
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 64)
            .sum();
        self.response.body.len() + headers + OVERHEAD
    }
}

impl Parts {
    /// Room for `max_bytes`; 0 = nothing is stored.
    pub(crate) fn new(max_bytes: u64, tags: &Arc<Tags>) -> Self {
        let store = (max_bytes > 0).then(|| {
            Cache::builder()
                .max_capacity(max_bytes)
                .weigher(|key: &Arc<RequestKey>, part: &Arc<Part>| {
                    u32::try_from(key.weight() + part.weight()).unwrap_or(u32::MAX)
                })
                .expire_after(UntilOfNoUse)
                .build()
        });
        Self {
            store,
            tags: Arc::clone(tags),
        }
    }

    pub(crate) fn get(&self, key: &RequestKey) -> Option<Arc<Part>> {
        self.store.as_ref()?.get(key)
    }

    /// Keeps an answer, unless what it depends on has changed since it was asked for, or the service forbids it.
    pub(crate) fn put(&self, key: &Arc<RequestKey>, part: Part) {
        let Some(store) = &self.store else {
            return;
        };
        if forbids(&part.response.headers)
            || self.tags.validity(part.epoch, &part.tags) != Validity::Current
        {
            return;
        }
        store.insert(Arc::clone(key), Arc::new(part));
    }

    pub(crate) fn forget(&self, key: &RequestKey) {
        if let Some(store) = &self.store {
            store.invalidate(key);
        }
    }

    pub(crate) fn standing(&self, part: &Part) -> Standing {
        let age = part.asked_at.elapsed();
        let Lifetime { fresh, if_failing } = part.lifetime;
        match self.tags.validity(part.epoch, &part.tags) {
            Validity::Current if age < fresh => Standing::Fresh(fresh - age),
            Validity::Current | Validity::Uncertain if age < fresh + if_failing => {
                Standing::Stale(age)
            }
            Validity::Current | Validity::Uncertain | Validity::Purged => Standing::Gone,
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        self.store.as_ref().map_or(0, |store| {
            store.run_pending_tasks();
            store.entry_count()
        })
    }
}

/// The service says that nobody is to keep its answer; how long it may be kept is the call's to say.
fn forbids(headers: &HeaderMap) -> bool {
    headers.contains_key(CACHE_CONTROL) && AnswerControl::of(headers).no_store
}

/// What is of no use any more is not kept until there is no room.
struct UntilOfNoUse;

impl Expiry<Arc<RequestKey>, Arc<Part>> for UntilOfNoUse {
    fn expire_after_create(
        &self,
        _key: &Arc<RequestKey>,
        part: &Arc<Part>,
        _created_at: SystemInstant,
    ) -> Option<Duration> {
        Some(part.lifetime.fresh + part.lifetime.if_failing)
    }

    fn expire_after_update(
        &self,
        key: &Arc<RequestKey>,
        part: &Arc<Part>,
        updated_at: SystemInstant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, part, updated_at)
    }
}
