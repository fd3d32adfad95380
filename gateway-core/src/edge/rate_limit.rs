//! Rate limits (GCRA): how many requests an address, a principal or everybody may send on a route, and the headers that
//! say so. How many requests the gateway works on at once is `admission.rs`; where buckets are kept is `rate_limit/buckets.rs`.

mod buckets;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::Quota;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::auth::Principal;
use crate::config::{RateLimitConfig, RateLimitKey};
use buckets::{Bucket, Buckets, Lookup, Mode};

/// draft-ietf-httpapi-ratelimit-headers, sections 3 and 4.
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// A policy, found by its name when routes are set up, so that no name is looked up per request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitId(usize);

/// The route's name, which it keeps when the configuration is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteKey(pub(crate) &'static str);

/// All policies of the process. A policy's buckets are shared by all routes that name it.
pub(crate) struct RateLimiter<C: Clock = DefaultClock> {
    policies: Vec<Arc<Policy<C>>>,
    names: BTreeMap<String, LimitId>,
    /// Turns principals into keys of one size; keyed, so that nobody can aim at another's bucket.
    hasher: RandomState,
}

struct Policy<C: Clock> {
    key: RateLimitKey,
    /// `"name"`, as a structured-field string.
    quoted: String,
    /// `"name";q=100;w=2`.
    policy_item: String,
    burst: u32,
    /// After which one more request is allowed.
    interval: Duration,
    limiter: governor::RateLimiter<Lookup, Buckets, C, StateInformationMiddleware>,
}

/// What an answer says about its limits. Empty where a route has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RateLimitHeaders {
    /// `RateLimit-Policy`: every policy of the route, with how many requests it grants (`q`) in how many seconds (`w`).
    pub(crate) policy: Option<HeaderValue>,
    /// `RateLimit`: what is left (`r`), and in how many seconds everything is granted again (`t`).
    pub(crate) limit: Option<HeaderValue>,
}

impl RateLimitHeaders {
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in [(RATELIMIT_POLICY, &self.policy), (RATELIMIT, &self.limit)] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }
}

/// A request over a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    /// When it would be let through, if nobody else uses up the limit.
    pub(crate) retry_after: Duration,
    pub(crate) headers: RateLimitHeaders,
}

impl RateLimiter {
    pub(crate) fn new(config: &BTreeMap<String, RateLimitConfig>) -> Self {
        Self::with_clock(config, &DefaultClock::default())
    }
}

impl<C: Clock + Clone> RateLimiter<C> {
    fn with_clock(config: &BTreeMap<String, RateLimitConfig>, clock: &C) -> Self {
        let policies = config
            .iter()
            .map(|(name, config)| Arc::new(Policy::new(name, config, clock.clone())))
            .collect();
        let names = config
            .keys()
            .enumerate()
            .map(|(index, name)| (name.clone(), LimitId(index)))
            .collect();
        Self {
            policies,
            names,
            hasher: RandomState::new(),
        }
    }

    /// Goes on with the buckets of `previous` for every policy that is what it was: a reload gives nobody a second
    /// burst. A policy whose numbers have changed begins with full buckets, for the old ones count in another measure.
    #[must_use]
    pub(crate) fn inherit(mut self, previous: &Self) -> Self {
        // The keys of principals have to stay the same.
        self.hasher = previous.hasher.clone();
        for (name, id) in &self.names {
            let known = previous
                .names
                .get(name)
                .and_then(|id| previous.policies.get(id.0));
            if let (Some(known), Some(policy)) = (known, self.policies.get_mut(id.0))
                && policy.is_like(known)
            {
                *policy = Arc::clone(known);
            }
        }
        self
    }

    /// The policies with these names; a name that is not configured is left out (the configuration refuses it before).
    pub(crate) fn resolve(&self, names: &[String]) -> Vec<LimitId> {
        names
            .iter()
            .filter_map(|name| self.names.get(name).copied())
            .collect()
    }

    /// Counts one request against all `limits`, or against none of them when one refuses it.
    pub(crate) fn check(
        &self,
        limits: &[LimitId],
        route: RouteKey,
        principal: &Principal,
        address: IpAddr,
    ) -> Result<RateLimitHeaders, Denied> {
        let policies = || {
            limits
                .iter()
                .filter_map(|id| self.policies.get(id.0).map(Arc::as_ref))
        };
        let Some(last) = policies().next_back() else {
            return Ok(RateLimitHeaders::default());
        };
        let bucket = |policy: &Policy<C>| self.bucket(policy.key, route, principal, address);
        let denied = |policy: &Policy<C>, wait: Duration| Denied {
            retry_after: wait,
            headers: RateLimitHeaders {
                policy: policy_header(policies()),
                limit: header(policy.limit_item(0)),
            },
        };

        // Nothing is taken before all agree; the last one can take at once. Another thread may get in between: then a
        // denied request has cost the earlier policies one, which is not worth a lock over all of them.
        let measure = |policy: &Policy<C>, mode| {
            policy
                .measure(bucket(policy), mode)
                .map_err(|wait| denied(policy, wait))
        };
        let others = || policies().filter(|policy| !std::ptr::eq(*policy, last));
        for policy in others() {
            measure(policy, Mode::Look)?;
        }
        let left_of_last = measure(last, Mode::Take)?;
        let mut limit = String::new();
        for policy in others() {
            let remaining = measure(policy, Mode::Take)?;
            limit.push_str(&policy.limit_item(remaining));
            limit.push_str(", ");
        }
        limit.push_str(&last.limit_item(left_of_last));
        Ok(RateLimitHeaders {
            policy: policy_header(policies()),
            limit: header(limit),
        })
    }

    /// Forgets buckets that are full again. Called by the control runtime, now and then.
    pub(crate) fn forget_idle(&self) {
        for policy in &self.policies {
            policy.limiter.retain_recent();
        }
    }

    fn bucket(
        &self,
        key: RateLimitKey,
        route: RouteKey,
        principal: &Principal,
        address: IpAddr,
    ) -> Bucket {
        match (key, principal) {
            (RateLimitKey::Route, _) => Bucket::Route(route.0),
            (RateLimitKey::Principal, Principal::Token(token)) => Bucket::Principal(
                self.hasher
                    .hash_one(("token", &token.issuer, &token.subject)),
            ),
            (RateLimitKey::Principal, Principal::ApiKey(key)) => {
                Bucket::Principal(self.hasher.hash_one(("api key", &key.owner)))
            }
            (RateLimitKey::Address, _) | (RateLimitKey::Principal, Principal::Anonymous) => {
                Bucket::from(address)
            }
        }
    }
}

impl<C: Clock> Policy<C> {
    fn new(name: &str, config: &RateLimitConfig, clock: C) -> Self {
        // Both are at least 1 in a configuration that was validated.
        let interval = config.window / config.requests.max(1);
        let burst = NonZeroU32::new(config.burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(interval)
            .map_or(Quota::per_second(burst), |quota| quota.allow_burst(burst));
        let quoted = format!("\"{name}\"");
        let policy_item = format!(
            "{quoted};q={burst};w={}",
            whole_seconds(interval * burst.get()).max(1)
        );
        Self {
            key: config.key,
            quoted,
            policy_item,
            burst: burst.get(),
            interval,
            limiter: governor::RateLimiter::new(quota, Buckets::default(), clock),
        }
    }

    /// Whether buckets of the one mean the same in the other.
    fn is_like(&self, other: &Self) -> bool {
        self.key == other.key && self.interval == other.interval && self.burst == other.burst
    }

    /// What is left after this request, or how long it would have to wait.
    fn measure(&self, bucket: Bucket, mode: Mode) -> Result<u32, Duration> {
        match self.limiter.check_key(&Lookup { bucket, mode }) {
            Ok(snapshot) => Ok(snapshot.remaining_burst_capacity()),
            Err(until) => Err(until.wait_time_from(self.limiter.clock().now())),
        }
    }

    fn limit_item(&self, remaining: u32) -> String {
        let full_after = self.interval * self.burst.saturating_sub(remaining);
        let mut item = self.quoted.clone();
        // Writing to a string does not fail.
        let _ = write!(item, ";r={remaining};t={}", whole_seconds(full_after));
        item
    }
}

fn policy_header<'a, C: Clock + 'a>(
    policies: impl Iterator<Item = &'a Policy<C>>,
) -> Option<HeaderValue> {
    let mut text = String::new();
    for policy in policies {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&policy.policy_item);
    }
    header(text)
}

/// Names are checked by the configuration: they always make a header value.
fn header(text: String) -> Option<HeaderValue> {
    HeaderValue::try_from(text).ok()
}

/// Rounded up: nobody should come back too early.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests;
