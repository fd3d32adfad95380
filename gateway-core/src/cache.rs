//! The response cache of passthrough routes (RFC 9111), in front of the proxy: what may be stored, found again, made sure
//! of and forgotten; who may see what is decided before a request gets here. Beside it, what composed calls store: their
//! parts (`cache/parts.rs`) and what those depend on (`cache/tags.rs`).

mod conditional;
mod directives;
mod epochs;
mod fetch;
mod fills;
mod freshness;
mod glance;
mod lookup;
mod memory;
mod moment;
mod parts;
mod second;
mod status;
mod stored;
mod tags;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use foldhash::quality::RandomState;
use http::header::{CONTENT_LOCATION, IF_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LOCATION, RANGE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body::Body as _;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::sync::Cache;
use tokio::time::Instant;
use url::Url;

use crate::auth::Principal;
use crate::config::{CacheConfig, CacheRule};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::metrics::CacheMetrics;
use crate::upstream::Identity;
pub(crate) use epochs::{Epoch, Slot};
use fills::Fills;
pub(crate) use glance::Glance;
use lookup::Lookup;
use memory::Budget;
use moment::Moment;
pub use parts::Lifetime;
pub(crate) use parts::{Part, Parts, Standing};
pub(crate) use second::SecondLevel;
use second::Ticket;
use status::{Forwarded, Outcome};
use stored::{ADDRESSED_AS, Key, Since, Stored, Variants};
pub(crate) use tags::{Tags, Validity};

/// The process's response cache. All workers share it.
pub(crate) struct ResponseCache {
    store: Option<Arc<Store>>,
    tags: Arc<Tags>,
    /// Whether keys are made without the caller: the negative control of the test that nobody gets what is another's.
    #[cfg(test)]
    forgetful: std::sync::atomic::AtomicBool,
}

/// A request of a passthrough route, as far as the cache is concerned.
pub(crate) struct Question<'a> {
    pub(crate) rule: CacheRule,
    pub(crate) upstream: &'static str,
    /// Whom the service is told that it answers.
    pub(crate) principal: &'a Principal,
    /// Whether the client showed credentials, which the service does not get (RFC 9111, 3.5).
    pub(crate) authorized: bool,
    pub(crate) depends_on: DependsOn,
    /// Until when the client waits.
    pub(crate) deadline: Deadline,
    /// The same, when something has to be left to answer with what is there.
    pub(crate) deadline_with_spare: Deadline,
}

/// What the answer to a request depends on.
#[derive(Clone)]
pub(crate) struct DependsOn {
    pub(crate) tags: Arc<[Slot]>,
    /// Stands for all commands to the upstream: nobody who asks after one has ended waits for what was asked before.
    pub(crate) commands: Slot,
}

impl Question<'_> {
    fn until(&self, spare: bool) -> Instant {
        if spare {
            self.deadline_with_spare.at()
        } else {
            self.deadline.at()
        }
    }
}

/// The way on to the service.
pub(crate) trait Forward: Send + Sync + 'static {
    /// Asks it. `spare`: something is there to answer with when it fails; some time has to be left for that.
    fn forward(
        &self,
        request: Request<Body>,
        spare: bool,
    ) -> impl Future<Output = Result<Response<Body>, Error>> + Send;
}

/// Goes with an answer that another request's call has brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joined;

/// Goes with an answer whose cookie was taken away: it may be for one client alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetsCookie;

/// How full the cache is, as of its last upkeep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheUsage {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) max_bytes: u64,
}

struct Store {
    entries: Cache<Key, Variants, RandomState>,
    fills: Arc<Fills>,
    tags: Arc<Tags>,
    /// How often a service has been asked.
    asked: AtomicU64,
    /// Bodies on their way into the store take at most as much as those that are there.
    collecting: Arc<Budget>,
    max_bytes: u64,
    max_entry_bytes: usize,
    metrics: CacheMetrics,
    now: Clock,
}

type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

impl ResponseCache {
    pub(crate) fn new(config: &CacheConfig, tags: &Arc<Tags>, metrics: CacheMetrics) -> Self {
        Self::with_clock(config, tags, metrics, Arc::new(Moment::now))
    }

    fn with_clock(
        config: &CacheConfig,
        tags: &Arc<Tags>,
        metrics: CacheMetrics,
        now: Clock,
    ) -> Self {
        let store = (config.max_bytes > 0).then(|| {
            let evicted = metrics.evicted.clone();
            let entries = Cache::builder()
                .eviction_listener(move |_, _, cause| {
                    if cause == RemovalCause::Size {
                        evicted.increment(1);
                    }
                })
                .max_capacity(config.max_bytes)
                .weigher(|key: &Key, variants: &Variants| {
                    u32::try_from(key.weight() + variants.weight()).unwrap_or(u32::MAX)
                })
                .build_with_hasher(RandomState::default());
            Arc::new(Store {
                entries,
                fills: Fills::new(now()),
                tags: Arc::clone(tags),
                asked: AtomicU64::new(0),
                collecting: Budget::new(config.max_bytes),
                max_bytes: config.max_bytes,
                max_entry_bytes: config.max_entry_bytes,
                metrics,
                now,
            })
        });
        Self {
            store,
            tags: Arc::clone(tags),
            #[cfg(test)]
            forgetful: false.into(),
        }
    }

    #[cfg(test)]
    pub(crate) fn forget_identity(&self) {
        self.forgetful
            .store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Those who wait for fetches under way, with those who have begun them.
    #[cfg(test)]
    pub(crate) fn seated(&self) -> usize {
        self.store.as_ref().map_or(0, |store| store.fills.seated())
    }

    /// For operators; `None` without a cache.
    pub(crate) fn usage(&self) -> Option<CacheUsage> {
        self.store.as_ref().map(|store| CacheUsage {
            entries: store.entries.entry_count(),
            bytes: store.entries.weighted_size(),
            max_bytes: store.max_bytes,
        })
    }

    /// Answers a safe `request`, which is as it would be sent upstream, from the cache or by `way`.
    ///
    /// # Errors
    /// Those of `way`; `NotCached` when the client asked for `only-if-cached`; a timeout, when the time of a request that
    /// waited for another one's answer was over.
    pub(crate) async fn serve<W: Forward>(
        &self,
        question: &Question<'_>,
        request: Request<Body>,
        way: &Arc<W>,
    ) -> Result<Response<Body>, Error> {
        let Some(store) = &self.store else {
            return way.forward(request, false).await;
        };
        if let Some(reason) = bypass(&request) {
            let mut response = way.forward(request, false).await?;
            Outcome::Forwarded(reason).mark(&mut response, &store.metrics);
            return Ok(response);
        }
        let (parts, _nothing) = request.into_parts();
        let identity = self.identity(question.principal);
        let key = Key::new(
            question.upstream,
            &parts.uri,
            &parts.headers,
            question.rule.share,
            identity,
        );
        Lookup::new(store, question, way, key, &parts).serve().await
    }

    /// Sends a request with an unsafe method, also of a route that stores nothing: it makes what is stored for its URI
    /// invalid, from whichever of `upstreams` that is.
    ///
    /// RFC 9111, 4.4: after a change that was not refused, what is stored for the URI, and for those that the answer
    /// names, is not to be used again, whoever it is for. An answer that got lost may have changed something, too. This cache
    /// need not be the one that has it: another configuration may have brought another one meanwhile.
    ///
    /// # Errors
    /// Those of `way`.
    pub(crate) async fn change<W: Forward>(
        &self,
        upstreams: &[&str],
        request: Request<Body>,
        way: &W,
    ) -> Result<Response<Body>, Error> {
        let uri = request.uri().clone();
        let addressed_as = ADDRESSED_AS.map(|name| request.headers().get(name).cloned());
        let response = way.forward(request, false).await;
        let refused = response
            .as_ref()
            .is_ok_and(|response| response.status().is_client_error());
        if refused {
            return response;
        }
        self.invalidate(upstreams, target(&uri).as_str());
        let named = response.iter().flat_map(|response| {
            [LOCATION, CONTENT_LOCATION].map(|name| response.headers().get(name))
        });
        for location in named.flatten().filter_map(|value| value.to_str().ok()) {
            // As the service's own origin is called here, or as it is called by clients.
            let bases = [
                Url::parse(&uri.to_string()).ok(),
                public_url(&uri, addressed_as.each_ref().map(Option::as_ref)),
            ];
            for base in bases.into_iter().flatten() {
                if let Some(target) = same_origin(&base, location) {
                    self.invalidate(upstreams, &target);
                }
            }
        }
        response
    }

    /// Forgets what is stored for a URI of these upstreams, for everybody.
    fn invalidate(&self, upstreams: &[&str], target: &str) {
        for upstream in upstreams {
            self.tags.purge_uri(self.tags.place(upstream, target));
        }
    }

    fn identity(&self, principal: &Principal) -> Identity {
        #[cfg(test)]
        if self.forgetful.load(std::sync::atomic::Ordering::Relaxed) {
            return Identity::Forgotten;
        }
        Identity::Principal(principal.clone())
    }
}

/// Why a request does not concern the cache at all.
fn bypass(request: &Request<Body>) -> Option<Forwarded> {
    let headers = request.headers();
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Some(Forwarded::Method);
    }
    // Parts are not stored, preconditions other than revalidation are the service's to judge, a body makes it no plain GET.
    let unusual = [RANGE, IF_MATCH, IF_UNMODIFIED_SINCE, IF_RANGE]
        .iter()
        .any(|name| headers.contains_key(name));
    (unusual || !request.body().is_end_stream()).then_some(Forwarded::Bypass)
}

impl Store {
    fn since(&self) -> Since {
        Since {
            number: self.asked.fetch_add(1, Ordering::Relaxed),
            uri: self.tags.uris_now(),
            tags: self.tags.now(),
        }
    }

    /// For a request that depends on `tags`: who stored the answer may have said less of it, or else.
    fn validity(&self, stored: &Stored, tags: impl IntoIterator<Item = Slot>) -> Validity {
        if self.tags.is_current(stored.since.uri, stored.place) {
            let tags = stored.tags.iter().copied().chain(tags);
            self.tags.validity(stored.since.tags, tags)
        } else {
            Validity::Purged
        }
    }

    /// Whether nothing has changed since that the answer could show.
    fn is_current(&self, since: &Since, place: Slot, on: &DependsOn) -> bool {
        self.tags.is_current(since.uri, place)
            && self.tags.validity(since.tags, on.tags.iter().copied()) == Validity::Current
            && self.tags.validity(since.tags, [on.commands]) != Validity::Purged
    }

    /// Keeps an answer, unless what it depends on has changed since it was asked for. Other replicas may use it when there is a
    /// ticket.
    fn put(&self, key: &Key, stored: &Arc<Stored>, ticket: Option<Ticket>) {
        if self.validity(stored, []) != Validity::Current {
            return;
        }
        if let (Some(second), Some(ticket)) = (self.tags.second_level(), ticket) {
            second.keep(ticket, stored, (self.now)());
        }
        self.metrics.stored.increment(1);
        self.entries
            .entry(key.own())
            .and_upsert_with(|known| match known {
                None => Variants::one(Arc::clone(stored)),
                Some(known) => known.into_value().with(Arc::clone(stored)),
            });
    }

    /// Forgets what a request with these fields selects, unless it was asked for later than `since`; and what other replicas
    /// could use in its place.
    fn remove(&self, key: &Key, headers: &HeaderMap, since: &Since, ticket: Option<&Ticket>) {
        if let (Some(second), Some(ticket)) = (self.tags.second_level(), ticket) {
            second.forget(ticket);
        }
        self.entries
            .entry(key.own())
            .and_compute_with(|known| match known {
                None => Op::Nop,
                Some(known) => match known.into_value().without(headers, since) {
                    Some(rest) => Op::Put(rest),
                    None => Op::Remove,
                },
            });
    }
}

/// The path and query, which name a thing at an upstream.
fn target(uri: &Uri) -> PathAndQuery {
    let root = || PathAndQuery::from_static("/");
    uri.path_and_query().cloned().unwrap_or_else(root)
}

/// What a changed thing is called by clients, as the service was told.
fn public_url(uri: &Uri, addressed_as: [Option<&HeaderValue>; 2]) -> Option<Url> {
    let [Some(host), Some(proto)] = addressed_as.map(|value| value?.to_str().ok()) else {
        return None;
    };
    Url::parse(&format!("{proto}://{host}{}", target(uri))).ok()
}

/// The path and query of the reference `location`, when it is to the origin of `base`: another's cannot be made invalid by
/// this one.
fn same_origin(base: &Url, location: &str) -> Option<String> {
    let url = base.join(location).ok()?;
    (url.origin() == base.origin()).then(|| match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    })
}

/// The members of a comma-separated field.
fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|member| !member.is_empty())
}
