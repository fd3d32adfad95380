//! What is stored: a complete answer with the request fields that selected it, and the key it is found by.
//! Freshness is http-cache-semantics' business; when to look and when to store is decided in `cache.rs`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, PRAGMA, SET_COOKIE, TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy, RequestLike};

use super::epochs::Epoch;
use super::{has_directives, members};
use crate::config::RouteCache;

/// Answers kept for one URI and identity, by what selected them.
const MAX_VARIANTS: usize = 8;
/// What an entry costs besides its bytes, roughly.
const OVERHEAD: usize = 512;
/// Fields that a service may build absolute links from, although hardly any says `Vary` for them.
const ADDRESSED_AS: [HeaderName; 2] = [
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];
/// What a 304 does not change: how the stored body is to be read (RFC 9111, 3.2), and the validators that it confirmed.
const KEPT: [HeaderName; 6] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    TRANSFER_ENCODING,
    ETAG,
    LAST_MODIFIED,
];

/// Whose answer it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    /// The same for everybody, as the route says.
    Shared,
    Anonymous,
    Principal(Box<str>),
}

impl Identity {
    pub(super) fn of(rule: RouteCache, identity: Option<&str>) -> Self {
        match (rule, identity) {
            (RouteCache::Shared, _) => Self::Shared,
            (RouteCache::Off | RouteCache::Private, None) => Self::Anonymous,
            (RouteCache::Off | RouteCache::Private, Some(identity)) => {
                Self::Principal(identity.into())
            }
        }
    }
}

/// What variants are found by. The method is always GET, which also answers HEAD.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    upstream: Box<str>,
    target: Box<str>,
    addressed_as: [Option<HeaderValue>; 2],
    identity: Identity,
}

impl Key {
    pub(super) fn new<B>(upstream: &str, request: &Request<B>, identity: Identity) -> Self {
        Self {
            upstream: upstream.into(),
            target: super::target(request.uri()).into(),
            addressed_as: ADDRESSED_AS.map(|name| request.headers().get(name).cloned()),
            identity,
        }
    }

    pub(super) fn upstream(&self) -> &str {
        &self.upstream
    }

    pub(super) fn target(&self) -> &str {
        &self.target
    }

    pub(super) fn weight(&self) -> usize {
        let identity = match &self.identity {
            Identity::Shared | Identity::Anonymous => 0,
            Identity::Principal(name) => name.len(),
        };
        self.upstream.len() + self.target.len() + identity + OVERHEAD
    }
}

/// The answers of one key, the newest last.
#[derive(Clone)]
pub(super) struct Variants(Arc<[Arc<Stored>]>);

impl Variants {
    pub(super) fn one(stored: Arc<Stored>) -> Self {
        Self(Arc::new([stored]))
    }

    /// The newest one that a request with these fields selects.
    pub(super) fn select(&self, headers: &HeaderMap) -> Option<Arc<Stored>> {
        self.0
            .iter()
            .rev()
            .find(|stored| stored.is_selected_by(headers))
            .cloned()
    }

    /// With another answer in the place of the one that the same requests select, unless that one was asked for later.
    pub(super) fn with(&self, stored: Arc<Stored>) -> Self {
        let same = |known: &&Arc<Stored>| known.selecting == stored.selecting;
        if self
            .0
            .iter()
            .find(same)
            .is_some_and(|known| known.epoch > stored.epoch)
        {
            return self.clone();
        }
        let kept: Vec<_> = self
            .0
            .iter()
            .filter(|known| !same(known))
            .cloned()
            .collect();
        let too_many = (kept.len() + 1).saturating_sub(MAX_VARIANTS);
        Self(kept.into_iter().skip(too_many).chain([stored]).collect())
    }

    pub(super) fn without(&self, headers: &HeaderMap) -> Option<Self> {
        let kept: Arc<[_]> = self
            .0
            .iter()
            .filter(|stored| !stored.is_selected_by(headers))
            .cloned()
            .collect();
        (!kept.is_empty()).then_some(Self(kept))
    }

    pub(super) fn weight(&self) -> usize {
        self.0.iter().map(|stored| stored.weight()).sum()
    }
}

/// One answer.
pub(super) struct Stored {
    rule: RouteCache,
    policy: CachePolicy,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    storable: bool,
    /// The request fields that `Vary` names, and what they were.
    selecting: Vec<(HeaderName, Vec<HeaderValue>)>,
    /// When it was asked for.
    pub(super) epoch: Epoch,
}

impl Stored {
    /// An answer to `asked`, without its body yet.
    pub(super) fn new(
        rule: RouteCache,
        asked: &Request<()>,
        status: StatusCode,
        headers: HeaderMap,
        now: SystemTime,
        epoch: Epoch,
    ) -> Self {
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        let options = CacheOptions {
            shared: rule == RouteCache::Shared,
            // Only what a service says explicitly: data has no age to guess from.
            cache_heuristic: 0.0,
            immutable_min_time_to_live: Duration::ZERO,
            ignore_cargo_cult: false,
        };
        let policy = CachePolicy::new_options(&Asked::new(asked), &response, now, options);
        let headers = std::mem::take(response.headers_mut());
        let selected_by_anything = members(&headers, &VARY).any(|name| name == "*");
        let selecting = members(&headers, &VARY)
            .filter_map(|name| HeaderName::try_from(name).ok())
            .map(|name| {
                let values = asked.headers().get_all(&name).iter().cloned().collect();
                (name, values)
            })
            .collect();
        let of_use = has_validator(&headers) || !policy.time_to_live(now).is_zero();
        let storable = policy.is_storable()
            && of_use
            && !selected_by_anything
            // A cookie is for the one who got it.
            && !headers.contains_key(SET_COOKIE);
        Self {
            rule,
            policy,
            status,
            headers,
            body: Bytes::new(),
            storable,
            selecting,
            epoch,
        }
    }

    pub(super) fn with_body(self, body: Bytes) -> Self {
        Self { body, ..self }
    }

    /// This answer with what a 304 says of it now (RFC 9111, 3.2).
    pub(super) fn freshened(
        &self,
        asked: &Request<()>,
        update: &HeaderMap,
        now: SystemTime,
        epoch: Epoch,
    ) -> Self {
        let mut headers = self.headers.clone();
        // Its age starts anew, unless the 304 itself comes from a cache.
        headers.remove(AGE);
        for name in update.keys().filter(|name| !KEPT.contains(name)) {
            headers.remove(name);
            for value in update.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        Self::new(self.rule, asked, self.status, headers, now, epoch).with_body(self.body.clone())
    }

    /// RFC 9111, 3, and that it can be of use: fresh for a while, or easy to make sure of.
    pub(super) fn is_storable(&self) -> bool {
        self.storable
    }

    pub(super) fn is_fresh(&self, now: SystemTime) -> bool {
        !self.policy.is_stale(now)
    }

    /// Whether the directives of a request let it be answered with this fresh answer.
    pub(super) fn satisfies<B>(&self, request: &Request<B>, now: SystemTime) -> bool {
        !has_directives(request.headers())
            || matches!(
                self.policy.before_request(&Asked::new(request), now),
                BeforeRequest::Fresh(_)
            )
    }

    pub(super) fn has_validator(&self) -> bool {
        has_validator(&self.headers)
    }

    /// Makes a request ask only whether this answer still holds.
    pub(super) fn make_conditional(&self, headers: &mut HeaderMap) {
        headers.remove(IF_NONE_MATCH);
        headers.remove(IF_MODIFIED_SINCE);
        if let Some(etag) = self.headers.get(ETAG) {
            headers.insert(IF_NONE_MATCH, etag.clone());
        } else if let Some(modified) = self.headers.get(LAST_MODIFIED) {
            headers.insert(IF_MODIFIED_SINCE, modified.clone());
        }
    }

    pub(super) fn time_to_live(&self, now: SystemTime) -> Duration {
        self.policy.time_to_live(now)
    }

    pub(super) fn age(&self, now: SystemTime) -> Duration {
        self.policy.age(now)
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    fn is_selected_by(&self, headers: &HeaderMap) -> bool {
        self.selecting
            .iter()
            .all(|(name, values)| headers.get_all(name).iter().eq(values))
    }

    fn weight(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 64)
            .sum();
        // The policy holds the fields once more.
        self.body.len() + 2 * headers + OVERHEAD
    }
}

fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED)
}

/// A request as the policy sees it: a GET, and of its fields those that caching rules are about. `Vary` is our own
/// business, for the policy only looks at the first value of a field.
struct Asked<'a> {
    uri: &'a Uri,
    headers: HeaderMap,
}

impl<'a> Asked<'a> {
    fn new<B>(request: &'a Request<B>) -> Self {
        let mut headers = HeaderMap::new();
        for name in [CACHE_CONTROL, PRAGMA] {
            for value in request.headers().get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        if request.headers().contains_key(AUTHORIZATION) {
            // That there is one counts; what it says is nobody's business here.
            headers.insert(AUTHORIZATION, HeaderValue::from_static("present"));
        }
        Self {
            uri: request.uri(),
            headers,
        }
    }
}

impl RequestLike for Asked<'_> {
    fn uri(&self) -> Uri {
        self.uri.clone()
    }

    fn is_same_uri(&self, other: &Uri) -> bool {
        self.uri == other
    }

    fn method(&self) -> &Method {
        &Method::GET
    }

    fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}
