//! One policy: its pace, the buckets of this process, and its words in the headers of an answer.
//! Which bucket a request belongs to, and how several policies come to one decision, is in `rate_limit.rs`.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::buckets::{Bucket, Buckets, Lookup, Mode};
use super::store::Left;
use crate::config::{RateLimitConfig, RateLimitKey};
use crate::digits::push_number;
use crate::intern::intern;
use crate::metrics::LimitMetrics;

/// draft-ietf-httpapi-ratelimit-headers, sections 3 and 4.
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

pub(super) struct Policy<C: Clock = DefaultClock> {
    pub(super) name: String,
    pub(super) key: RateLimitKey,
    /// The whole limit.
    pub(super) whole: Pace,
    /// What this process grants by itself: the whole limit, or its share when replicas share it.
    own: Pace,
    /// `"name"`, as a structured-field string.
    quoted: String,
    /// `"name";q=100;w=2`.
    policy_item: String,
    pub(super) counters: LimitMetrics,
    pub(super) limiter: governor::RateLimiter<Lookup, Buckets, C, StateInformationMiddleware>,
}

#[derive(PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) burst: u32,
    /// After which one more request is allowed.
    interval: Duration,
    /// The interval in microseconds, as the store takes it.
    pub(super) micros: String,
}

impl Pace {
    fn new(interval: Duration, burst: u32) -> Self {
        Self {
            burst,
            interval,
            micros: format!("{:.3}", interval.as_secs_f64() * 1e6),
        }
    }
}

/// A request that has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) wait: Duration,
    pub(super) left: Left,
}

impl<C: Clock> Policy<C> {
    /// `shown` is its name in headers, `replicas` is how many processes share the limit, `largest_cost` what its dearest route costs.
    pub(super) fn new(
        name: &str,
        shown: &str,
        config: &RateLimitConfig,
        replicas: u32,
        largest_cost: u32,
        counters: LimitMetrics,
        clock: C,
    ) -> Self {
        // Both are at least 1 in a configuration that was validated.
        let interval = config.window / config.requests.max(1);
        let whole = Pace::new(interval, config.burst);
        // However small the share: what costs most passes now and then.
        let own = Pace::new(
            interval * replicas,
            (config.burst / replicas).max(largest_cost).max(1),
        );
        let burst = NonZeroU32::new(own.burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(own.interval)
            .map_or(Quota::per_second(burst), |quota| quota.allow_burst(burst));
        let quoted = format!("\"{shown}\"");
        let policy_item = format!(
            "{quoted};q={};w={}",
            whole.burst,
            whole_seconds(whole.interval * whole.burst).max(1)
        );
        Self {
            name: name.to_owned(),
            key: config.key,
            whole,
            own,
            quoted,
            policy_item,
            counters,
            limiter: governor::RateLimiter::new(quota, Buckets::default(), clock),
        }
    }

    /// Whether buckets of the one mean the same in the other. Replicas and costs are in this process's own pace.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.key == other.key && self.whole == other.whole && self.own == other.own
    }

    /// What this process's own buckets say: what is left after this request, or how long it would have to wait.
    pub(super) fn measure(
        &self,
        bucket: Bucket,
        cost: NonZeroU32,
        mode: Mode,
    ) -> Result<Left, Wait> {
        let pace = &self.own;
        // What is worth more than a whole bucket takes a whole bucket.
        let cost = cost.min(NonZeroU32::new(pace.burst).unwrap_or(NonZeroU32::MIN));
        match self.limiter.check_key_n(&Lookup { bucket, mode }, cost) {
            Ok(Ok(snapshot)) => {
                let remaining = snapshot.remaining_burst_capacity();
                Ok(Left {
                    remaining,
                    full_after: pace.interval * pace.burst.saturating_sub(remaining),
                })
            }
            Ok(Err(until)) => {
                let wait = until.wait_time_from(self.limiter.clock().now());
                // So many of its requests have to be granted again before it fits.
                let missing = wait.as_nanos().div_ceil(pace.interval.as_nanos().max(1));
                let missing = u32::try_from(missing).unwrap_or(u32::MAX);
                Err(Wait {
                    wait,
                    left: Left {
                        remaining: cost.get().saturating_sub(missing),
                        full_after: wait + pace.interval * pace.burst.saturating_sub(cost.get()),
                    },
                })
            }
            // Not with a cost that is at most the burst.
            Err(_larger_than_the_bucket) => {
                let full_after = pace.interval * pace.burst;
                Err(Wait {
                    wait: full_after,
                    left: Left {
                        remaining: 0,
                        full_after,
                    },
                })
            }
        }
    }

    /// Notes a request that the store has let through: should the store go away, this process has used that much of its
    /// share already.
    pub(super) fn note(&self, bucket: Bucket, cost: NonZeroU32) {
        // Refused when the share is used up; then there is nothing to note.
        let _ = self.measure(bucket, cost, Mode::Take);
    }

    pub(super) fn item(&self) -> &str {
        &self.policy_item
    }

    /// `"name";r=5;t=2`.
    fn write_item(&self, text: &mut String, left: Left) {
        if text.is_empty() {
            text.reserve(ROOM);
        } else {
            text.push_str(", ");
        }
        text.push_str(&self.quoted);
        text.push_str(";r=");
        push_number(text, left.remaining.into());
        text.push_str(";t=");
        push_number(text, whole_seconds(left.full_after));
    }
}

/// What an answer says about its limits. Empty where a route has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RateLimitHeaders {
    /// `RateLimit-Policy`: every policy of the route, with how many requests it grants (`q`) in how many seconds (`w`).
    pub(crate) policy: &'static str,
    /// `RateLimit`: what is left (`r`), and in how many seconds everything is granted again (`t`); what was checked first
    /// stands first.
    pub(super) limit: String,
}

impl RateLimitHeaders {
    /// `left` is what is left of `policy`.
    pub(super) fn add<C: Clock>(&mut self, policy: &Policy<C>, left: Left) {
        policy.write_item(&mut self.limit, left);
    }

    /// Of a daily quota.
    pub(crate) fn add_quota(&mut self, remaining: u64, reset: Duration) {
        if !self.limit.is_empty() {
            self.limit.push_str(", ");
        }
        self.limit.push_str("\"quota\";r=");
        push_number(&mut self.limit, remaining);
        self.limit.push_str(";t=");
        push_number(&mut self.limit, whole_seconds(reset));
    }

    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        if !self.policy.is_empty() {
            headers.insert(RATELIMIT_POLICY, HeaderValue::from_static(self.policy));
        }
        // Names are checked by the configuration: they always make a header value.
        if !self.limit.is_empty()
            && let Ok(value) = HeaderValue::from_str(&self.limit)
        {
            headers.insert(RATELIMIT, value);
        }
    }
}

/// What two policies of usual names need.
const ROOM: usize = 96;

/// A header's text for as long as the process lives: workers that send it count no references of one another.
pub(super) fn interned(text: &str) -> &'static str {
    match HeaderValue::from_str(text) {
        Ok(_) => intern(text),
        Err(_) => "",
    }
}

/// Rounded up: nobody should come back too early.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
