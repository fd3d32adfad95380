//! What is stored: a complete answer with the request fields that selected it, and the key it is found by. Whether it may
//! be stored, and for how long it is fresh, is `cache/freshness.rs`; when to look and when to store is decided in `cache/lookup.rs`.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED, TRANSFER_ENCODING, VARY,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};

use super::directives::{AnswerControl, RequestControl};
use super::epochs::{Epoch, Slot};
use super::freshness::{Circumstances, Freshness, has_validator, is_storable, withheld};
use super::members;
use super::memory;
use super::moment::Moment;
use super::second::Entry;
use crate::config::{CacheRule, RouteCache};
use crate::upstream::Identity;

/// Answers kept for one URI and identity, by what selected them.
const MAX_VARIANTS: usize = 8;
/// What an entry costs besides its bytes, roughly.
const OVERHEAD: usize = 512;
/// Fields that come on the way out: `Age`, `Cache-Status`, and those of the edge.
const ADDED: usize = 12;
/// Fields that a service may build absolute links from, although hardly any says `Vary` for them.
pub(super) const ADDRESSED_AS: [HeaderName; 2] = [
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

/// What variants are found by. The method is always GET, which also answers HEAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    upstream: &'static str,
    target: PathAndQuery,
    addressed_as: [Option<HeaderValue>; 2],
    /// What one rule lets be stored another one may not.
    share: RouteCache,
    /// Whom the service was told that it answers.
    identity: Identity,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Self::hash_parts(self.target(), &self.identity, state);
    }
}

impl Key {
    pub(super) fn new(
        upstream: &'static str,
        uri: &Uri,
        headers: &HeaderMap,
        share: RouteCache,
        identity: Identity,
    ) -> Self {
        Self {
            upstream,
            target: super::target(uri),
            addressed_as: ADDRESSED_AS.map(|name| headers.get(name).cloned()),
            share,
            identity,
        }
    }

    /// The rest tells apart, and is hardly ever all that differs.
    pub(super) fn hash_parts<H: Hasher>(target: &str, identity: &Identity, state: &mut H) {
        target.hash(state);
        identity.hash(state);
    }

    /// Whether it is made of these.
    pub(super) fn is(
        &self,
        upstream: &'static str,
        target: &str,
        addressed_as: [Option<&HeaderValue>; 2],
        share: RouteCache,
        identity: &Identity,
    ) -> bool {
        self.target() == target
            && self.upstream == upstream
            && self.share == share
            && self.identity == *identity
            && self.addressed_as.each_ref().map(Option::as_ref) == addressed_as
    }

    pub(super) fn upstream(&self) -> &'static str {
        self.upstream
    }

    pub(super) fn target(&self) -> &str {
        self.target.as_str()
    }

    /// Whether what is stored under it is for others than the one who asked.
    pub(super) fn is_shared(&self) -> bool {
        self.share == RouteCache::Shared || self.identity.is_nobody()
    }

    /// Whether the service is told of nobody.
    pub(super) fn is_nobodys(&self) -> bool {
        self.identity.is_nobody()
    }

    /// All that tells it from other keys, but for who asks.
    pub(super) fn each_part(&self, mut tell: impl FnMut(&[u8])) {
        let Self {
            upstream,
            target,
            addressed_as,
            share,
            identity: _,
        } = self;
        tell(upstream.as_bytes());
        tell(target.as_str().as_bytes());
        for value in addressed_as {
            // A field that is not there is not an empty one.
            tell(if value.is_some() { b"1" } else { b"0" });
            tell(value.as_ref().map_or(b"", HeaderValue::as_bytes));
        }
        tell(match share {
            RouteCache::Off => b"off",
            RouteCache::Private => b"private",
            RouteCache::Shared => b"shared",
        });
    }

    /// A key to be kept, which does not hold what the request came in.
    pub(super) fn own(&self) -> Self {
        let target = PathAndQuery::try_from(self.target());
        Self {
            target: target.unwrap_or_else(|_| self.target.clone()),
            addressed_as: self
                .addressed_as
                .each_ref()
                .map(|value| value.as_ref().map(memory::own)),
            ..self.clone()
        }
    }

    pub(super) fn weight(&self) -> usize {
        let addressed_as = self.addressed_as.iter().flatten();
        self.target().len()
            + addressed_as.map(HeaderValue::len).sum::<usize>()
            + self.identity.weight()
            + OVERHEAD
    }
}

/// The answers of one key, the one that was asked for last at the end.
#[derive(Clone)]
pub(super) struct Variants(Arc<[Arc<Stored>]>);

impl Variants {
    pub(super) fn one(stored: Arc<Stored>) -> Self {
        Self(Arc::new([stored]))
    }

    /// The newest one that a request with these fields selects.
    pub(super) fn select(&self, headers: &HeaderMap) -> Option<&Arc<Stored>> {
        self.0
            .iter()
            .rev()
            .find(|stored| stored.is_selected_by(headers))
    }

    /// The request fields by which they are told apart.
    pub(super) fn selecting(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().flat_map(|stored| stored.selecting())
    }

    /// With another answer in the place of the one that the same requests select, unless that one was asked for later.
    pub(super) fn with(&self, stored: Arc<Stored>) -> Self {
        let same = |known: &&Arc<Stored>| known.selecting == stored.selecting;
        let earlier = |known: &Arc<Stored>| known.since.number < stored.since.number;
        if self
            .0
            .iter()
            .find(same)
            .is_some_and(|known| !earlier(known))
        {
            return self.clone();
        }
        let mut kept: Vec<_> = self
            .0
            .iter()
            .filter(|known| !same(known))
            .cloned()
            .collect();
        // One that was long under way may select what a later one selects, too.
        kept.insert(kept.partition_point(earlier), stored);
        let too_many = kept.len().saturating_sub(MAX_VARIANTS);
        Self(kept.into_iter().skip(too_many).collect())
    }

    /// Without what a request with these fields selects, as far as it was asked for before.
    pub(super) fn without(&self, headers: &HeaderMap, since: &Since) -> Option<Self> {
        let goes =
            |stored: &Stored| stored.since.number < since.number && stored.is_selected_by(headers);
        let kept: Arc<[_]> = self
            .0
            .iter()
            .filter(|stored| !goes(stored))
            .cloned()
            .collect();
        (!kept.is_empty()).then_some(Self(kept))
    }

    pub(super) fn weight(&self) -> usize {
        self.0.iter().map(|stored| stored.weight()).sum()
    }
}

/// When something was asked for, in the order of changes: nothing that is older can have changed it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    /// Which question it was, of all; what is asked later has a higher one.
    pub(super) number: u64,
    /// Changes by unsafe methods.
    pub(super) uri: Epoch,
    /// Purges of tags.
    pub(super) tags: Epoch,
}

/// What an answer was asked for with, and for what.
pub(super) struct Asked {
    pub(super) rule: CacheRule,
    /// The request's fields as they were sent, but for conditions of ours.
    pub(super) headers: HeaderMap,
    pub(super) since: Since,
    /// What changes of its URI are known by.
    pub(super) place: Slot,
    /// What the answer depends on.
    pub(super) tags: Arc<[Slot]>,
    /// Whether the answer would be used for others than the one who asks.
    pub(super) shared: bool,
    /// Whether who asks showed credentials.
    pub(super) authorized: bool,
    /// Whether the client wants nothing stored.
    pub(super) no_store: bool,
    pub(super) at: Moment,
}

/// Whether an answer is to be stored, and else on whose account it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storable {
    Yes,
    /// Its own: nobody's request would make it so.
    No,
    /// Who asked showed credentials, and it does not say that it is for others all the same.
    NotWithCredentials,
    /// Who asked wants nothing stored.
    Unwanted,
}

/// One answer.
#[derive(Clone)]
pub(super) struct Stored {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    freshness: Freshness,
    storable: Storable,
    /// The request fields that `Vary` names, and what they were.
    selecting: Vec<(HeaderName, Vec<HeaderValue>)>,
    pub(super) since: Since,
    pub(super) place: Slot,
    pub(super) tags: Arc<[Slot]>,
}

impl Stored {
    /// An answer to `asked` that came at `now`, without its body yet.
    pub(super) fn new(
        asked: &Asked,
        status: StatusCode,
        mut headers: HeaderMap,
        now: Moment,
    ) -> Self {
        let how = Circumstances {
            shared: asked.shared,
            authorized: asked.authorized,
            asked_at: asked.at,
            answered_at: now,
        };
        let control = AnswerControl::of(&headers);
        let freshness = Freshness::of(&headers, &control, asked.rule.stale, how);
        let may_be = |how| is_storable(status, &headers, &control, &freshness, how);
        let anonymous = Circumstances {
            authorized: false,
            ..how
        };
        let storable = if may_be(how) {
            if asked.no_store {
                Storable::Unwanted
            } else {
                Storable::Yes
            }
        } else if asked.authorized && may_be(anonymous) {
            Storable::NotWithCredentials
        } else {
            Storable::No
        };
        let selecting = members(&headers, &VARY)
            .filter_map(|name| HeaderName::try_from(name).ok())
            .map(|name| {
                let values = asked.headers.get_all(&name).iter();
                let values = values.map(memory::own).collect();
                (name, values)
            })
            .collect();
        if storable == Storable::Yes {
            memory::own_all(&mut headers);
        }
        for name in withheld(&control, how) {
            headers.remove(name);
        }
        // A copy with room for what comes on the way out does not grow twice.
        headers.reserve(ADDED);
        // Its age is told anew each time; when it was made, once (RFC 9110, 6.6.1).
        headers.remove(AGE);
        if !headers.contains_key(DATE)
            && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(now.wall))
        {
            headers.insert(DATE, date);
        }
        Self {
            status,
            headers,
            body: Bytes::new(),
            freshness,
            storable,
            selecting,
            since: asked.since,
            place: asked.place,
            tags: Arc::clone(&asked.tags),
        }
    }

    /// An answer that another replica was given, of this age now.
    pub(super) fn of_replica(asked: &Asked, entry: Entry, age: Duration, now: Moment) -> Self {
        let mut headers = entry.headers;
        headers.reserve(ADDED);
        Self {
            status: entry.status,
            headers,
            body: entry.body,
            freshness: Freshness::aged(entry.terms, age, now),
            storable: Storable::Yes,
            selecting: entry.selecting,
            since: asked.since,
            place: asked.place,
            tags: Arc::clone(&asked.tags),
        }
    }

    pub(super) fn with_body(mut self, body: Bytes) -> Self {
        if self.status != StatusCode::NO_CONTENT {
            self.headers
                .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Self { body, ..self }
    }

    /// This answer with what a 304 says of it now (RFC 9111, 3.2).
    pub(super) fn freshened(&self, asked: &Asked, update: &HeaderMap, now: Moment) -> Self {
        let mut headers = self.headers.clone();
        // What does not say when it was made was made now.
        headers.remove(DATE);
        for name in update.keys().filter(|name| !KEPT.contains(name)) {
            headers.remove(name);
            for value in update.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        Self::new(asked, self.status, headers, now).with_body(self.body.clone())
    }

    /// Whether a 304 can be about this answer: it does not name another one (RFC 9111, 4.3.4).
    pub(super) fn is_meant_by(&self, not_modified: &HeaderMap) -> bool {
        match (self.headers.get(ETAG), not_modified.get(ETAG)) {
            (Some(ours), Some(theirs)) => opaque(ours) == opaque(theirs),
            (_, None) => true,
            (None, Some(_)) => false,
        }
    }

    pub(super) fn storable(&self) -> Storable {
        self.storable
    }

    pub(super) fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// Whether the directives of a request let it be answered with this fresh answer (RFC 9111, 5.2.1).
    pub(super) fn satisfies(&self, control: &RequestControl, now: Moment) -> bool {
        let young = control
            .max_age
            .is_none_or(|max| self.freshness.age(now) <= Duration::from_secs(max));
        let lasting = control
            .min_fresh
            .is_none_or(|min| self.freshness.left(now) >= Duration::from_secs(min));
        !control.no_cache && young && lasting
    }

    pub(super) fn has_validator(&self) -> bool {
        has_validator(&self.headers)
    }

    /// Makes a request ask only whether this answer still holds. Only with our own validator: a 304 then can only mean what
    /// is stored here.
    pub(super) fn make_conditional(&self, headers: &mut HeaderMap) {
        unconditional(headers);
        if let Some(etag) = self.headers.get(ETAG) {
            headers.insert(IF_NONE_MATCH, etag.clone());
        } else if let Some(modified) = self.headers.get(LAST_MODIFIED) {
            headers.insert(IF_MODIFIED_SINCE, modified.clone());
        }
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

    pub(super) fn selecting(&self) -> impl Iterator<Item = &HeaderName> {
        self.selecting.iter().map(|(name, _)| name)
    }

    /// The same, with what they were.
    pub(super) fn selected_by(&self) -> &[(HeaderName, Vec<HeaderValue>)] {
        &self.selecting
    }

    pub(super) fn is_selected_by(&self, headers: &HeaderMap) -> bool {
        self.selecting
            .iter()
            .all(|(name, values)| headers.get_all(name).iter().eq(values))
    }

    fn weight(&self) -> usize {
        let selecting: usize = self
            .selecting
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
            .map(memory::weight_of)
            .sum();
        self.body.len() + memory::weight(&self.headers) + selecting + OVERHEAD
    }
}

/// Asks for the whole answer.
pub(super) fn unconditional(headers: &mut HeaderMap) {
    headers.remove(IF_NONE_MATCH);
    headers.remove(IF_MODIFIED_SINCE);
}

/// An entity tag for the weak comparison (RFC 9110, 8.8.3.2).
fn opaque(etag: &HeaderValue) -> &[u8] {
    let bytes = etag.as_bytes();
    bytes.strip_prefix(b"W/").unwrap_or(bytes)
}
