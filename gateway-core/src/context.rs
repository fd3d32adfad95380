//! What a request carries on its way through the gateway: id, trace, caller, deadline and the record of upstream calls
//! (`context/record.rs`). It is made at the edge and handed to handlers and upstream clients; it holds no services and no configuration.

mod record;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;
use uuid::Uuid;

use crate::auth::{Principal, RevocationWatch};
use crate::config::DeadlineConfig;
use crate::deadline::Deadline;
use crate::edge::{Metered, Permit};
use crate::error::{Error, GatewayError};
use crate::streams::Place;
use crate::trace::{SpanId, TraceContext};
use crate::waterfall::Waterfall;
pub(crate) use record::{CallNote, PartKind};

/// The longest `X-Request-Id` that is taken over from a client.
const MAX_REQUEST_ID: usize = 128;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id by which a request is found in every log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The client's `X-Request-Id` when it is a sane token, else a new UUIDv7.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let sane = |id: &[u8]| {
            !id.is_empty()
                && id.len() <= MAX_REQUEST_ID
                && id
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(b))
        };
        let known = headers
            .get(X_REQUEST_ID)
            .map(HeaderValue::as_bytes)
            .filter(|id| sane(id));
        let mut buffer = Uuid::encode_buffer();
        let id = known.unwrap_or_else(|| {
            Uuid::now_v7()
                .hyphenated()
                .encode_lower(&mut buffer)
                .as_bytes()
        });
        // Copied, so that it holds nothing of the connection's memory. Letters and digits are always a legal value.
        Self(HeaderValue::from_bytes(id).unwrap_or(HeaderValue::from_static("-")))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        // Checked or made in `from_headers`: always readable.
        self.0.to_str().unwrap_or("-")
    }

    /// The same memory for every header that it stands in.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        self.0.clone()
    }
}

#[derive(Debug)]
struct Shared {
    request_id: RequestId,
    trace: TraceContext,
    principal: Principal,
    client_address: IpAddr,
    started: Instant,
    optional_reserve: Duration,
    waterfall: Mutex<Waterfall>,
    /// In milliseconds, for how long the answer can be as it is: the least that was noted.
    lifetime: AtomicU64,
    /// A copy of the worker's own, so that workers do not count each other's references.
    revocations: Option<Arc<RevocationWatch>>,
    metered: Option<Metered>,
    /// The request's place among those worked on: kept by whoever still works for it, also when its client has gone.
    permit: Mutex<Option<Permit>>,
}

/// The context of one request; cloning it costs one counter.
#[derive(Clone, Debug)]
pub struct RequestContext {
    shared: Arc<Shared>,
    deadline: Deadline,
    /// Whether the deadline leaves time to answer with something else.
    has_reserve: bool,
    part: Option<&'static str>,
    /// Whether services are not to learn who is calling.
    for_everybody: bool,
    /// What this context stands for in the trace: the request, a part of its composition, or one call.
    span: SpanId,
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
    /// Without it nothing is ever revoked.
    pub(crate) revocations: Option<Arc<RevocationWatch>>,
    /// Without it nothing is counted but the request itself.
    pub(crate) metered: Option<Metered>,
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
            has_reserve: false,
            part: None,
            for_everybody: false,
            span: parts.trace.span(),
            staleness: None,
            shared: Arc::new(Shared {
                request_id: parts.request_id,
                trace: parts.trace,
                principal: parts.principal,
                client_address: parts.client_address,
                started: parts.started,
                optional_reserve: reserve,
                waterfall: Mutex::default(),
                lifetime: AtomicU64::new(u64::MAX),
                revocations: parts.revocations,
                metered: parts.metered,
                permit: Mutex::new(parts.permit),
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
                trace: TraceContext::from_headers(&headers, crate::trace::Sampling::Off),
                principal,
                client_address: IpAddr::from([127, 0, 0, 1]),
                started: Instant::now(),
                budget,
                revocations: None,
                metered: None,
                permit: None,
            },
            &DeadlineConfig {
                default: budget,
                reserve_ratio: 0.1,
                reserve_min: Duration::from_millis(20),
            },
        )
    }

    /// This context for what its stream asks of services later, when the request's own time is over. What is recorded of it
    /// is nobody's.
    pub(crate) fn anew(&self, budget: Duration) -> Self {
        let shared = &self.shared;
        Self {
            deadline: Deadline::after(budget),
            has_reserve: false,
            part: None,
            for_everybody: self.for_everybody,
            span: self.span,
            staleness: None,
            shared: Arc::new(Shared {
                request_id: shared.request_id.clone(),
                trace: shared.trace.clone(),
                principal: shared.principal.clone(),
                client_address: shared.client_address,
                started: Instant::now(),
                optional_reserve: shared.optional_reserve,
                waterfall: Mutex::default(),
                lifetime: AtomicU64::new(u64::MAX),
                revocations: shared.revocations.clone(),
                metered: shared.metered.clone(),
                permit: Mutex::default(),
            }),
        }
    }

    /// The request is no longer among those worked on: its answer is a stream that waits for something to happen.
    pub(crate) fn give_place_back(&self) {
        let permit = self.shared.permit.lock();
        permit.unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Counts `times` more requests against all limits of this one's route: for who asks for several things in one.
    ///
    /// # Errors
    /// 429 when a limit refuses them; then none is counted, but by the limits before a plan.
    pub(crate) async fn charge(&self, times: u32) -> Result<(), Error> {
        match (NonZeroU32::new(times), &self.shared.metered) {
            (Some(times), Some(metered)) => metered.charge(times, self).await,
            _ => Ok(()),
        }
    }

    /// A place among the streams, for an answer that goes on.
    ///
    /// # Errors
    /// 429 when the caller has as many as one may have.
    pub(crate) fn stream_place(&self) -> Result<Option<Place>, Error> {
        let place = |metered: &Metered| {
            let places = metered.places();
            places.take(self.caller(), self.client_address())
        };
        Ok(self.shared.metered.as_ref().map(place).transpose()?)
    }

    /// The same for a WebSocket.
    ///
    /// # Errors
    /// The same, and 503 when there are as many WebSockets as there may be.
    pub(crate) fn socket_place(&self) -> Result<Option<Place>, Error> {
        let place = |metered: &Metered| {
            let places = metered.places();
            places.take_for_socket(self.caller(), self.client_address())
        };
        self.shared.metered.as_ref().map(place).transpose()
    }

    #[must_use]
    pub fn request_id(&self) -> &RequestId {
        &self.shared.request_id
    }

    #[must_use]
    pub fn trace(&self) -> &TraceContext {
        &self.shared.trace
    }

    /// Who is calling. An answer that depends on it is the caller's own, also when all that it is made of is for everybody: the
    /// client does not use it again without asking.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        self.shared.lifetime.store(0, Ordering::Relaxed);
        self.caller()
    }

    /// The same, for what no answer depends on.
    pub(crate) fn caller(&self) -> &Principal {
        &self.shared.principal
    }

    /// Ends when the caller's credential is not believed any more before its end: its token was revoked, here or on another
    /// replica, its session has ended, or its API key is no longer configured. Never ends for a caller without one. The credential's own end
    /// (`exp`) is not told by it.
    ///
    /// Whatever outlives the request's head has to end with it. Answers of type `text/event-stream`, composed or forwarded,
    /// and forwarded WebSockets do by themselves: the edge ends them with a last word (`credentials_revoked`). A handler
    /// that upgrades a connection by itself selects on this.
    pub fn until_revoked(&self) -> impl Future<Output = ()> + Send + use<> {
        let revoked = self
            .shared
            .revocations
            .as_ref()
            .map(|watch| watch.until_revoked(&self.shared.principal));
        async move {
            match revoked {
                Some(revoked) => revoked.await,
                None => std::future::pending().await,
            }
        }
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
            has_reserve: true,
            ..self.clone()
        }
    }

    /// This context for something that happens later, on behalf of the same request: with a deadline as long as the
    /// request's was, and without its place among those worked on.
    #[must_use]
    pub fn renewed(&self) -> Self {
        let started = self.shared.started;
        self.anew(self.deadline.at().saturating_duration_since(started))
    }

    /// This context for a call that something can stand in for: its deadline leaves time to answer with that.
    pub(crate) fn with_something_to_spare(&self) -> Self {
        if self.has_reserve {
            return self.clone();
        }
        Self {
            deadline: self.deadline.less(self.shared.optional_reserve),
            has_reserve: true,
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

    /// Whether the client can be told that something is stale.
    pub(crate) fn can_be_stale(&self) -> bool {
        self.staleness.is_some()
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

    /// What this context stands for in the trace.
    pub(crate) fn span(&self) -> SpanId {
        self.span
    }

    /// This context for one call to a service, which is a span of its own.
    pub(crate) fn for_call(&self) -> Self {
        Self {
            span: SpanId::new(),
            ..self.clone()
        }
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
