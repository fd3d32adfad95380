//! The response cache of passthrough routes (RFC 9111), in front of the proxy: what may be stored, found again, made sure
//! of and forgotten; who may see what is decided before a request gets here. Beside it, what composed calls store: their
//! parts (`cache/parts.rs`) and what those depend on (`cache/tags.rs`).

mod collect;
mod conditional;
mod epochs;
mod parts;
mod status;
mod stored;
mod tags;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, COOKIE, IF_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LOCATION, PRAGMA, RANGE,
};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::config::{CacheConfig, RouteCache};
use crate::error::{Error, GatewayError};
use crate::metrics::CacheMetrics;
use collect::Collecting;
use epochs::Epochs;
pub(crate) use epochs::{Epoch, Slot};
pub use parts::Lifetime;
pub(crate) use parts::{Part, Parts, Standing};
use status::{Forwarded, Outcome};
use stored::{Identity, Key, Stored, Variants};
pub(crate) use tags::{Tags, Validity};

/// The process's response cache. All workers share it.
pub(crate) struct ResponseCache {
    store: Option<Arc<Store>>,
    epochs: Epochs,
}

/// How full the cache is, as of its last upkeep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheUsage {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) max_bytes: u64,
}

struct Store {
    entries: Cache<Key, Variants>,
    max_bytes: u64,
    max_entry_bytes: usize,
    metrics: CacheMetrics,
    now: Clock,
}

type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

impl ResponseCache {
    pub(crate) fn new(config: &CacheConfig, metrics: CacheMetrics) -> Self {
        Self::with_clock(config, metrics, Arc::new(SystemTime::now))
    }

    fn with_clock(config: &CacheConfig, metrics: CacheMetrics, now: Clock) -> Self {
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
                .build();
            Arc::new(Store {
                entries,
                max_bytes: config.max_bytes,
                max_entry_bytes: config.max_entry_bytes,
                metrics,
                now,
            })
        });
        Self {
            store,
            epochs: Epochs::default(),
        }
    }

    /// For operators; `None` without a cache.
    pub(crate) fn usage(&self) -> Option<CacheUsage> {
        self.store.as_ref().map(|store| CacheUsage {
            entries: store.entries.entry_count(),
            bytes: store.entries.weighted_size(),
            max_bytes: store.max_bytes,
        })
    }

    /// Answers `request`, which is as it would be sent upstream, from the cache or with `forward`.
    ///
    /// All requests of passthrough routes come through here, also those that are never stored: an unsafe method makes
    /// what is stored for its URI invalid.
    ///
    /// # Errors
    /// Those of `forward`, and `NotCached` when the client asked for `only-if-cached`.
    pub(crate) async fn serve<F, Fut>(
        &self,
        rule: RouteCache,
        upstream: &str,
        request: Request<Body>,
        identity: Option<&str>,
        forward: F,
    ) -> Result<Response<Body>, Error>
    where
        F: FnOnce(Request<Body>) -> Fut,
        Fut: Future<Output = Result<Response<Body>, Error>>,
    {
        if !request.method().is_safe() {
            return self.change(upstream, request, forward).await;
        }
        let store = match &self.store {
            Some(store) if rule != RouteCache::Off => store,
            _ => return forward(request).await,
        };
        if let Some(reason) = bypass(rule, &request, identity) {
            let mut response = forward(request).await?;
            Outcome::Forwarded(reason).mark(&mut response, &store.metrics);
            return Ok(response);
        }
        Lookup {
            key: Key::new(upstream, &request, Identity::of(rule, identity)),
            epoch: self.epochs.now(),
            store,
            rule,
        }
        .serve(&self.epochs, request, forward)
        .await
    }

    /// Forgets what is stored for a URI of an upstream, for everybody.
    fn invalidate(&self, upstream: &str, target: &str) {
        self.epochs.end(self.epochs.slot((upstream, target)));
    }

    /// RFC 9111, 4.4: after a change that was not refused, what is stored for the URI, and for those that the answer
    /// names, is not to be used again. An answer that got lost may have changed something, too.
    async fn change<F, Fut>(
        &self,
        upstream: &str,
        request: Request<Body>,
        forward: F,
    ) -> Result<Response<Body>, Error>
    where
        F: FnOnce(Request<Body>) -> Fut,
        Fut: Future<Output = Result<Response<Body>, Error>>,
    {
        let uri = request.uri().clone();
        let response = forward(request).await;
        let refused = response
            .as_ref()
            .is_ok_and(|response| response.status().is_client_error());
        if self.store.is_some() && !refused {
            self.invalidate(upstream, target(&uri));
            let named = response.iter().flat_map(|response| {
                [LOCATION, CONTENT_LOCATION].map(|name| response.headers().get(name))
            });
            for location in named.flatten() {
                if let Some(location) = same_origin(&uri, location) {
                    self.invalidate(upstream, target(&location));
                }
            }
        }
        response
    }
}

/// The path and query, which name a thing at an upstream.
fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |target| target.as_str())
}

/// The URI in `Location` when it is one of the same upstream: another's cannot be made invalid by this one.
fn same_origin(uri: &Uri, location: &http::HeaderValue) -> Option<Uri> {
    let location: Uri = location.to_str().ok()?.parse().ok()?;
    let ours = location.authority().is_none() || location.authority() == uri.authority();
    (ours && location.path().starts_with('/')).then_some(location)
}

/// Why a request does not concern the cache at all.
fn bypass(rule: RouteCache, request: &Request<Body>, identity: Option<&str>) -> Option<Forwarded> {
    let headers = request.headers();
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Some(Forwarded::Method);
    }
    // Parts are not stored, preconditions other than revalidation are the service's to judge, a body makes it no plain GET.
    let unusual = [RANGE, IF_MATCH, IF_UNMODIFIED_SINCE, IF_RANGE]
        .iter()
        .any(|name| headers.contains_key(name));
    // A caller whom we do not know and who shows credentials to the service could get what is only theirs.
    let stranger = rule == RouteCache::Private
        && identity.is_none()
        && (headers.contains_key(AUTHORIZATION) || headers.contains_key(COOKIE));
    (unusual || stranger || !request.body().is_end_stream()).then_some(Forwarded::Bypass)
}

/// One request's way through the cache.
struct Lookup<'a> {
    key: Key,
    /// When it began: a change that comes after it makes its answer invalid.
    epoch: Epoch,
    store: &'a Arc<Store>,
    rule: RouteCache,
}

impl Lookup<'_> {
    async fn serve<F, Fut>(
        self,
        epochs: &Epochs,
        request: Request<Body>,
        forward: F,
    ) -> Result<Response<Body>, Error>
    where
        F: FnOnce(Request<Body>) -> Fut,
        Fut: Future<Output = Result<Response<Body>, Error>>,
    {
        let now = (self.store.now)();
        let known = self.store.entries.get(&self.key);
        let selected = known
            .as_ref()
            .map(|variants| variants.select(request.headers()));
        // What a change has made invalid is as if it were not there.
        let stored = selected.clone().flatten().filter(|stored| {
            let slot = epochs.slot((self.key.upstream(), self.key.target()));
            epochs.is_current(stored.epoch, slot)
        });
        let forwarded = match &stored {
            None if matches!(selected, Some(None)) => Forwarded::VaryMiss,
            None => Forwarded::UriMiss,
            Some(stored) if !stored.is_fresh(now) => Forwarded::Stale,
            Some(stored) if !stored.satisfies(&request, now) => Forwarded::Request,
            Some(stored) => {
                let mut response = conditional::respond(stored, &request, now);
                Outcome::Hit {
                    ttl: stored.time_to_live(now),
                }
                .mark(&mut response, &self.store.metrics);
                return Ok(response);
            }
        };
        if has_directive(request.headers(), "only-if-cached") {
            return Err(GatewayError::NotCached.into());
        }
        match stored.filter(|stored| stored.has_validator()) {
            Some(stored) => self.revalidate(&stored, forwarded, request, forward).await,
            None => self.fetch(forwarded, request, forward).await,
        }
    }

    async fn fetch<F, Fut>(
        self,
        forwarded: Forwarded,
        request: Request<Body>,
        forward: F,
    ) -> Result<Response<Body>, Error>
    where
        F: FnOnce(Request<Body>) -> Fut,
        Fut: Future<Output = Result<Response<Body>, Error>>,
    {
        let asked = head(&request);
        let response = forward(request).await?;
        Ok(self.store_while_streaming(&asked, response, forwarded, None))
    }

    /// Asks the service whether what is stored still holds (RFC 9111, 4.3).
    async fn revalidate<F, Fut>(
        self,
        stored: &Arc<Stored>,
        forwarded: Forwarded,
        mut request: Request<Body>,
        forward: F,
    ) -> Result<Response<Body>, Error>
    where
        F: FnOnce(Request<Body>) -> Fut,
        Fut: Future<Output = Result<Response<Body>, Error>>,
    {
        let asked = head(&request);
        // Only our own validator: a 304 then can only mean what is stored here.
        stored.make_conditional(request.headers_mut());
        let response = forward(request).await?;
        let status = response.status();
        if status != StatusCode::NOT_MODIFIED {
            return Ok(self.store_while_streaming(&asked, response, forwarded, Some(status)));
        }
        let now = (self.store.now)();
        let metrics = self.store.metrics.clone();
        let fresh = Arc::new(stored.freshened(&asked, response.headers(), now, self.epoch));
        let mut answer = conditional::respond(&fresh, &asked, now);
        if fresh.is_storable() {
            self.store.put(self.key, fresh);
        } else {
            self.store.remove(&self.key, asked.headers());
        }
        Outcome::Revalidated(forwarded).mark(&mut answer, &metrics);
        Ok(answer)
    }

    /// Passes an answer on; if it may be stored, it is collected on its way and kept once it is complete.
    fn store_while_streaming(
        self,
        asked: &Request<()>,
        response: Response<Body>,
        forwarded: Forwarded,
        status: Option<StatusCode>,
    ) -> Response<Body> {
        let now = (self.store.now)();
        let candidate = (asked.method() == Method::GET)
            .then(|| {
                let headers = response.headers().clone();
                Stored::new(
                    self.rule,
                    asked,
                    response.status(),
                    headers,
                    now,
                    self.epoch,
                )
            })
            .filter(Stored::is_storable);
        let length = content_length(response.headers());
        let fits = length.is_none_or(|length| length <= self.store.max_entry_bytes);
        let Some(candidate) = candidate.filter(|_| fits) else {
            // What is stored must not outlive the answer that took its place; a failure takes no place.
            if asked.method() == Method::GET && !response.status().is_server_error() {
                self.store.remove(&self.key, asked.headers());
            }
            let mut response = response;
            Outcome::Fetched {
                forwarded,
                status,
                stored: false,
            }
            .mark(&mut response, &self.store.metrics);
            return response;
        };
        let store = Arc::clone(self.store);
        let key = self.key;
        let max = store.max_entry_bytes;
        let metrics = store.metrics.clone();
        let mut response = response.map(|body| {
            Collecting::body(body, length, max, move |bytes| {
                store.put(key, Arc::new(candidate.with_body(bytes)));
            })
        });
        Outcome::Fetched {
            forwarded,
            status,
            stored: true,
        }
        .mark(&mut response, &metrics);
        response
    }
}

impl Store {
    fn put(&self, key: Key, stored: Arc<Stored>) {
        self.metrics.stored.increment(1);
        self.entries.entry(key).and_upsert_with(|known| {
            known.map_or_else(
                || Variants::one(Arc::clone(&stored)),
                |known| known.into_value().with(Arc::clone(&stored)),
            )
        });
    }

    fn remove(&self, key: &Key, headers: &HeaderMap) {
        self.entries
            .entry_by_ref(key)
            .and_compute_with(|known| match known {
                None => Op::Nop,
                Some(known) => match known.into_value().without(headers) {
                    Some(rest) => Op::Put(rest),
                    None => Op::Remove,
                },
            });
    }
}

/// A request without its body, to be kept while the request itself is under way.
fn head(request: &Request<Body>) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.headers_mut() = request.headers().clone();
    head
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether a request says anything about caching, and in particular `directive`.
fn has_directive(headers: &HeaderMap, directive: &str) -> bool {
    members(headers, &CACHE_CONTROL).any(|member| {
        let name = member.split('=').next().unwrap_or(member);
        name.trim().eq_ignore_ascii_case(directive)
    })
}

fn has_directives(headers: &HeaderMap) -> bool {
    headers.contains_key(CACHE_CONTROL) || headers.contains_key(PRAGMA)
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
