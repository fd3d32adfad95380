//! The short way of a hit: a look at what is stored for a request as the client sent it, before anything is made ready for the
//! service. It knows the plain case alone; all others go the whole way (`cache/lookup.rs`).

use std::hash::{Hash, Hasher};

use axum::body::Body;
use http::header::{CACHE_CONTROL, IF_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PRAGMA, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use moka::Equivalent;

use super::epochs::Slot;
use super::status::Outcome;
use super::stored::Key;
use super::tags::Validity;
use super::{ResponseCache, conditional};
use crate::auth::Principal;
use crate::config::RouteCache;
use crate::upstream::Identity;

/// With one of these it is no plain case.
const UNUSUAL: [HeaderName; 6] = [
    CACHE_CONTROL,
    PRAGMA,
    RANGE,
    IF_MATCH,
    IF_UNMODIFIED_SINCE,
    IF_RANGE,
];

/// A request without a body, as the client sent it.
pub(crate) struct Glance<'a> {
    pub(crate) upstream: &'static str,
    /// The path and query upstream.
    pub(crate) target: &'a str,
    /// Host and scheme, as the service will be told.
    pub(crate) addressed_as: [Option<&'a HeaderValue>; 2],
    pub(crate) share: RouteCache,
    /// Whom the service would be told that it answers.
    pub(crate) principal: &'a Principal,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    /// Whether a field is not passed on as it is: an answer that varies by it is not for a look.
    pub(crate) alters: fn(&HeaderName) -> bool,
}

/// A key that owns nothing.
pub(super) struct KeyRef<'a> {
    upstream: &'static str,
    target: &'a str,
    addressed_as: [Option<&'a HeaderValue>; 2],
    share: RouteCache,
    identity: Identity,
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Key::hash_parts(self.target, &self.identity, state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        key.is(
            self.upstream,
            self.target,
            self.addressed_as,
            self.share,
            &self.identity,
        )
    }
}

impl ResponseCache {
    /// The answer, when it is there and fresh. `tags` are what it depends on for who asks.
    pub(crate) fn glance(
        &self,
        at: &Glance<'_>,
        tags: impl Iterator<Item = Slot>,
    ) -> Option<Response<Body>> {
        let store = self.store.as_ref()?;
        let plain = (at.method == Method::GET || at.method == Method::HEAD)
            && !at.headers.keys().any(|name| UNUSUAL.contains(name));
        if !plain {
            return None;
        }
        let known = store.entries.get(&KeyRef {
            upstream: at.upstream,
            target: at.target,
            addressed_as: at.addressed_as,
            share: at.share,
            identity: self.identity(at.principal),
        })?;
        if known.selecting().any(at.alters) {
            return None;
        }
        let stored = known.select(at.headers)?;
        let now = (store.now)();
        let is_fresh = stored.freshness().is_fresh(now);
        let fresh = is_fresh && store.validity(stored, tags) == Validity::Current;
        fresh.then(|| {
            let mut response = conditional::respond(stored, at.method, at.headers, now);
            let ttl = stored.freshness().left(now);
            Outcome::Hit { ttl }.mark(&mut response, &store.metrics);
            response
        })
    }
}
