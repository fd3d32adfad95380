//! What a request carries on its way through the gateway: id, trace, caller, deadline and the record of upstream calls.
//! It is made at the edge and handed to handlers and upstream clients; it holds no services and no configuration.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;
use uuid::Uuid;

use crate::auth::Principal;
use crate::config::DeadlineConfig;
use crate::deadline::Deadline;
use crate::edge::Permit;
use crate::error::{Error, GatewayError};
use crate::trace::TraceContext;

/// The longest `X-Request-Id` that is taken over from a client.
const MAX_REQUEST_ID: usize = 128;

/// The id by which a request is found in every log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The client's `X-Request-Id` when it is a sane token, else a new UUIDv7.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let sane = |id: &str| {
            !id.is_empty()
                && id.len() <= MAX_REQUEST_ID
                && id
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
        };
        match headers
            .get("x-request-id")
            .and_then(|value| value.to_str().ok())
        {
            Some(id) if sane(id) => Self(Arc::from(id)),
            _ => Self(Arc::from(Uuid::now_v7().to_string())),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        // Checked or made in `from_headers`: always a legal value.
        HeaderValue::from_str(&self.0).unwrap_or(HeaderValue::from_static("-"))
    }
}

/// One upstream call as it was: for `Server-Timing`, the access log and the console.
#[derive(Clone, Debug)]
pub struct UpstreamCall {
    /// The part of the composition, or the upstream's name when it was not called for a part.
    pub part: &'static str,
    pub upstream: &'static str,
    /// From the start of the request.
    pub started: Duration,
    pub took: Duration,
    pub outcome: &'static str,
}

#[derive(Debug)]
struct Shared {
    request_id: RequestId,
    trace: TraceContext,
    principal: Principal,
    client_address: IpAddr,
    started: Instant,
    optional_reserve: Duration,
    calls: Mutex<Vec<UpstreamCall>>,
    /// In milliseconds, for how long the answer can be as it is: the least that was noted.
    lifetime: AtomicU64,
    /// The request's place among those worked on: kept by whoever still works for it, also when its client has gone.
    _permit: Option<Permit>,
}

/// The context of one request; cloning it costs one counter.
#[derive(Clone, Debug)]
pub struct RequestContext {
    shared: Arc<Shared>,
    deadline: Deadline,
    part: Option<&'static str>,
    /// Whether services are not to learn who is calling.
    for_everybody: bool,
    /// Where to say that what a part was made of is stale; without it nothing stale can be shown.
    staleness: Option<Arc<Staleness>>,
}

/// How old the data of a part is, when its service failed and older data stood in.
#[derive(Debug, Default)]
pub(crate) struct Staleness {
    /// One more than the age in seconds; 0 = not stale.
    age: AtomicU64,
    /// What went wrong first.
    reason: OnceLock<&'static str>,
}

impl Staleness {
    /// The age of stale data in seconds, and why there is nothing newer; `None` when nothing is stale.
    pub(crate) fn get(&self) -> Option<(u64, &'static str)> {
        let age = self.age.load(Ordering::Relaxed).checked_sub(1)?;
        Some((age, self.reason.get().copied()?))
    }
}

/// What the edge has found out before a route's action runs.
pub(crate) struct ContextParts {
    pub(crate) request_id: RequestId,
    pub(crate) trace: TraceContext,
    pub(crate) principal: Principal,
    pub(crate) client_address: IpAddr,
    pub(crate) started: Instant,
    pub(crate) budget: Duration,
    pub(crate) permit: Option<Permit>,
}

impl RequestContext {
    pub(crate) fn new(parts: ContextParts, config: &DeadlineConfig) -> Self {
        let reserve = parts
            .budget
            .mul_f64(config.reserve_ratio)
            .max(config.reserve_min);
        Self {
            deadline: Deadline::from_instant(parts.started + parts.budget),
            part: None,
            for_everybody: false,
            staleness: None,
            shared: Arc::new(Shared {
                request_id: parts.request_id,
                trace: parts.trace,
                principal: parts.principal,
                client_address: parts.client_address,
                started: parts.started,
                optional_reserve: reserve,
                calls: Mutex::new(Vec::new()),
                lifetime: AtomicU64::new(u64::MAX),
                _permit: parts.permit,
            }),
        }
    }

    /// A context with `budget` left, for unit tests of what runs behind the edge.
    #[cfg(test)]
    pub(crate) fn for_tests(budget: Duration) -> Self {
        Self::for_tests_as(Principal::Anonymous, budget)
    }

    #[cfg(test)]
    pub(crate) fn for_tests_as(principal: Principal, budget: Duration) -> Self {
        let headers = HeaderMap::new();
        Self::new(
            ContextParts {
                request_id: RequestId::from_headers(&headers),
                trace: TraceContext::from_headers(&headers),
                principal,
                client_address: IpAddr::from([127, 0, 0, 1]),
                started: Instant::now(),
                budget,
                permit: None,
            },
            &DeadlineConfig {
                default: budget,
                reserve_ratio: 0.1,
                reserve_min: Duration::from_millis(20),
            },
        )
    }

    #[must_use]
    pub fn request_id(&self) -> &RequestId {
        &self.shared.request_id
    }

    #[must_use]
    pub fn trace(&self) -> &TraceContext {
        &self.shared.trace
    }

    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.shared.principal
    }

    /// The client's address, as far as proxies are trusted.
    #[must_use]
    pub fn client_address(&self) -> IpAddr {
        self.shared.client_address
    }

    #[must_use]
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// This context for a part of a composition, under the same deadline.
    #[must_use]
    pub fn for_required(&self, part: &'static str) -> Self {
        Self {
            part: Some(part),
            ..self.clone()
        }
    }

    /// This context for a part that the answer can do without: its deadline leaves time to answer without it.
    #[must_use]
    pub fn for_optional(&self, part: &'static str) -> Self {
        Self {
            part: Some(part),
            deadline: self.deadline.less(self.shared.optional_reserve),
            ..self.clone()
        }
    }

    /// How much earlier than the answer its optional parts have to be there.
    pub(crate) fn optional_reserve(&self) -> Duration {
        self.shared.optional_reserve
    }

    /// This context for a call whose answer may be shown to others: the service does not learn who is calling.
    #[must_use]
    pub fn for_everybody(&self) -> Self {
        Self {
            for_everybody: true,
            ..self.clone()
        }
    }

    /// This context for a part that can say that it is stale.
    pub(crate) fn noting(&self, staleness: &Arc<Staleness>) -> Self {
        Self {
            staleness: Some(Arc::clone(staleness)),
            ..self.clone()
        }
    }

    pub(crate) fn is_for_everybody(&self) -> bool {
        self.for_everybody
    }

    /// Notes that data of this age is used, because the service failed, and how. False when nobody could tell the client:
    /// then it must not be used.
    pub(crate) fn note_stale(&self, age: Duration, reason: &'static str) -> bool {
        let Some(staleness) = &self.staleness else {
            return false;
        };
        self.note_lifetime(Duration::ZERO);
        staleness.reason.get_or_init(|| reason);
        staleness
            .age
            .fetch_max(age.as_secs() + 1, Ordering::Relaxed);
        true
    }

    /// Notes for how long what was read can be as it is. What is the caller's own counts as no time at all: the caller
    /// can change it, and the copy that it keeps is not reached by any purge.
    pub(crate) fn note_lifetime(&self, left: Duration) {
        let left = if self.for_everybody {
            u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
        } else {
            0
        };
        self.shared.lifetime.fetch_min(left, Ordering::Relaxed);
    }

    /// For how long the client may use the answer without asking again: the least of what its parts allow.
    pub(crate) fn lifetime(&self) -> Duration {
        match self.shared.lifetime.load(Ordering::Relaxed) {
            // Nothing was read that said anything.
            u64::MAX => Duration::ZERO,
            millis => Duration::from_millis(millis),
        }
    }

    /// On whose behalf services are called.
    pub(crate) fn principal_for_upstreams(&self) -> &Principal {
        if self.for_everybody {
            &Principal::Anonymous
        } else {
            &self.shared.principal
        }
    }

    /// Notes an upstream call that began at `began`.
    pub(crate) fn record(&self, upstream: &'static str, began: Instant, outcome: &'static str) {
        let call = UpstreamCall {
            part: self.part.unwrap_or(upstream),
            upstream,
            started: began.saturating_duration_since(self.shared.started),
            took: began.elapsed(),
            outcome,
        };
        // A poisoned lock only means that a panic happened elsewhere while noting a call; the notes are still good.
        self.shared
            .calls
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(call);
    }

    /// The upstream calls made so far, in the order in which they ended.
    #[must_use]
    pub fn calls(&self) -> Vec<UpstreamCall> {
        self.shared
            .calls
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| GatewayError::Bug("a handler ran without the edge".to_owned()).into())
    }
}
