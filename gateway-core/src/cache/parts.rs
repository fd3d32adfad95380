//! The composed cache: answers of services that composed calls want to use again, each for the caller it was for and for
//! as long as the call says, unless one of its tags is purged before. Responses of passthrough routes are `cache.rs`'s;
//! what identifies a call is `upstream/request_key.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant as SystemInstant};

use axum::body::Bytes;
use foldhash::quality::RandomState;
use http::HeaderMap;
use http::header::CACHE_CONTROL;
use moka::Expiry;
use moka::sync::Cache;
use tokio::time::Instant;

use super::directives::AnswerControl;
use super::epochs::{Epoch, Slot};
use super::memory;
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
    /// For how long it is kept.
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
    store: Option<Cache<Arc<RequestKey>, Arc<Part>, RandomState>>,
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
        self.response.body.len() + memory::weight(&self.response.headers) + OVERHEAD
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
                .build_with_hasher(RandomState::default())
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
    pub(crate) fn put(&self, key: &Arc<RequestKey>, mut part: Part) {
        let Some(store) = &self.store else {
            return;
        };
        if forbids(&part.response.headers)
            || self.tags.validity(part.epoch, part.tags.iter().copied()) != Validity::Current
        {
            return;
        }
        part.response = Arc::new(own(&part.response));
        store.insert(Arc::clone(key), Arc::new(part));
    }

    pub(crate) fn forget(&self, key: &RequestKey) {
        if let Some(store) = &self.store {
            store.invalidate(key);
        }
    }

    /// For a call that would use it for `lifetime` and depends on `tags`: who stored it may have said else of it.
    pub(crate) fn standing(&self, part: &Part, lifetime: Lifetime, tags: &[Slot]) -> Standing {
        let age = part.asked_at.elapsed();
        let Lifetime { fresh, if_failing } = lifetime;
        let tags = part.tags.iter().chain(tags).copied();
        match self.tags.validity(part.epoch, tags) {
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

/// A copy that does not hold what the answer came in.
fn own(response: &UpstreamResponse) -> UpstreamResponse {
    let mut headers = response.headers.clone();
    memory::own_all(&mut headers);
    UpstreamResponse {
        status: response.status,
        headers,
        body: Bytes::copy_from_slice(&response.body),
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use http::header::ETAG;
    use http::{HeaderMap, HeaderValue, Method, StatusCode};
    use tokio::time::Instant;

    use super::{Lifetime, Part, Parts};
    use crate::auth::Principal;
    use crate::cache::Tags;
    use crate::cache::tests::slice_of_buffer;
    use crate::upstream::{RequestKey, UpstreamResponse};

    #[test]
    fn a_part_holds_no_buffer_of_a_connection() {
        let tags = Arc::<Tags>::default();
        let parts = Parts::new(1 << 20, &tags);
        let held = Arc::<AtomicU64>::default();
        let mut headers = HeaderMap::new();
        let etag = HeaderValue::from_maybe_shared(slice_of_buffer("\"1\"", &held)).unwrap();
        headers.insert(ETAG, etag);
        let response = Arc::new(UpstreamResponse {
            status: StatusCode::OK,
            headers,
            body: slice_of_buffer("one", &held),
        });
        let nobody = Principal::Anonymous;
        let key = RequestKey::new("parts", &Method::GET, "/1", &HeaderMap::new(), b"", &nobody);
        let key = Arc::new(key);
        let lifetime = Lifetime::seconds(60);
        let part = Part::new(response, Instant::now(), tags.now(), Box::new([]), lifetime);
        parts.put(&key, part);
        assert_eq!(held.load(Ordering::SeqCst), 0);
        let kept = parts.get(&key).unwrap();
        assert_eq!(kept.response.body, "one");
        assert_eq!(kept.response.headers[ETAG], "\"1\"");
    }
}
