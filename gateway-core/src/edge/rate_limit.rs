//! Rate limits (GCRA): how many requests an address, a principal, an API key or everybody may send on a route.
//! How many requests the gateway works on at once is `admission.rs`; this process's buckets are `rate_limit/buckets.rs`,
//! those that replicas share `rate_limit/store.rs`.

mod buckets;
mod policy;
mod store;

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use sha2::{Digest, Sha256};

use crate::auth::Principal;
use crate::config::{Config, PLAN, PlanConfig, PolicyConfig, RateLimitConfig, RateLimitKey};
use crate::deadline::Deadline;
use crate::metrics::{LimitMetrics, Metrics};
use crate::quota;
use buckets::{Bucket, Mode};
pub(crate) use policy::RateLimitHeaders;
use policy::{Policy, Wait};
pub(crate) use store::Store as RateLimitStore;
use store::{Entry, Verdict};

/// A policy, found by its name when routes are set up, so that no name is looked up per request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitId(usize);

/// The limits of a route, by when they can be checked. Those of each phase are taken together or not at all; what the
/// first phase has taken stays taken when the second refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteLimits {
    /// By address and by route: checked before credentials are looked at, so that they also stop who guesses them.
    pub(crate) before: Vec<LimitId>,
    /// By who is calling: known only after the credentials are.
    pub(crate) after: Vec<LimitId>,
    /// Whether it counts against the plan of who is calling: then `RateLimit-Policy` by the plan's name.
    pub(crate) plan: Option<BTreeMap<String, &'static str>>,
    /// `RateLimit-Policy` of every answer: all of them, in this order. Empty without limits.
    pub(crate) policy: &'static str,
    /// As how many requests one counts.
    pub(crate) cost: NonZeroU32,
}

/// A route, for limits that it has for itself: its name, which it has in all replicas and keeps when the configuration is
/// read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteKey(pub(crate) &'static str);

/// One request, as a limiter sees it.
#[derive(Clone, Copy)]
pub(crate) struct Counted<'a> {
    pub(crate) route: RouteKey,
    pub(crate) cost: NonZeroU32,
    /// Not looked at for the limits of [`RouteLimits::before`].
    pub(crate) principal: &'a Principal,
    pub(crate) address: IpAddr,
    /// A store that is asked has no more time than the request.
    pub(crate) deadline: Deadline,
}

/// All policies of the process. A policy's buckets are shared by all routes that name it.
pub(crate) struct RateLimiter<C: Clock = DefaultClock> {
    policies: Vec<Arc<Policy<C>>>,
    names: BTreeMap<String, LimitId>,
    plans: HashMap<String, Plan>,
    /// Turns principals into keys of one size; keyed, so that nobody can aim at another's bucket.
    hasher: RandomState,
    /// Where replicas count together.
    store: Option<Arc<RateLimitStore>>,
}

/// What a partner with a plan may do.
pub(crate) struct Plan {
    pub(crate) name: Arc<str>,
    pub(crate) allows: Arc<PlanConfig>,
    /// How fast.
    pub(crate) pace: LimitId,
    /// Decisions by its daily quota.
    pub(crate) quota: LimitMetrics,
}

/// A request over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    /// When it would be let through, if nobody else uses up the limit.
    pub(crate) retry_after: Duration,
}

impl RateLimiter {
    /// With a `store`, replicas share the limits; without, this process counts for itself.
    pub(crate) fn new(
        config: &Config,
        store: Option<Arc<RateLimitStore>>,
        metrics: &Metrics,
    ) -> Self {
        let policies = config.policies.values();
        let policies = || {
            let routes = config.routes.iter().map(|route| &route.policy);
            policies.clone().chain(routes)
        };
        let largest_cost = |name: &str| {
            policies()
                .filter(|policy| policy.limits.iter().any(|limit| limit == name))
                .map(|policy| policy.cost.get())
                .max()
                .unwrap_or(1)
        };
        Self::with_clock(
            &config.rate_limits,
            largest_cost,
            store,
            metrics,
            &DefaultClock::default(),
        )
        .with_plans(
            &config.plans,
            largest_cost(PLAN),
            metrics,
            &DefaultClock::default(),
        )
    }
}

impl<C: Clock + Clone> RateLimiter<C> {
    fn with_clock(
        config: &BTreeMap<String, RateLimitConfig>,
        largest_cost: impl Fn(&str) -> u32,
        store: Option<Arc<RateLimitStore>>,
        metrics: &Metrics,
        clock: &C,
    ) -> Self {
        let replicas = store.as_ref().map_or(1, |store| store.replicas());
        let policies = config
            .iter()
            .map(|(name, config)| {
                let cost = largest_cost(name);
                let counters = metrics.limit(name);
                let policy =
                    Policy::new(name, name, config, replicas, cost, counters, clock.clone());
                Arc::new(policy)
            })
            .collect();
        let names = config
            .keys()
            .enumerate()
            .map(|(index, name)| (name.clone(), LimitId(index)))
            .collect();
        Self {
            policies,
            names,
            plans: HashMap::new(),
            hasher: RandomState::new(),
            store,
        }
    }

    /// Adds a policy for each plan, which counts by partner. Clients know it as `plan`, whichever it is.
    fn with_plans(
        mut self,
        plans: &BTreeMap<String, PlanConfig>,
        largest_cost: u32,
        metrics: &Metrics,
        clock: &C,
    ) -> Self {
        let replicas = self.store.as_ref().map_or(1, |store| store.replicas());
        for (plan, config) in plans {
            // No limit of the configuration has a dot in its name.
            let name = format!("plan.{plan}");
            let pace = RateLimitConfig {
                key: RateLimitKey::Principal,
                requests: config.requests,
                window: config.window,
                burst: config.burst,
            };
            let counters = metrics.limit(&name);
            let clock = clock.clone();
            let policy = Policy::new(&name, PLAN, &pace, replicas, largest_cost, counters, clock);
            let id = LimitId(self.policies.len());
            self.policies.push(Arc::new(policy));
            self.names.insert(name, id);
            let known = Plan {
                name: Arc::from(plan.as_str()),
                allows: Arc::new(config.clone()),
                pace: id,
                quota: metrics.limit(&format!("quota.{plan}")),
            };
            self.plans.insert(plan.clone(), known);
        }
        self
    }

    pub(crate) fn plan(&self, name: &str) -> Option<&Plan> {
        self.plans.get(name)
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

    /// The limits that a route's policy names; a name that is not configured is left out (the configuration refuses it
    /// before).
    pub(crate) fn resolve(&self, policy: &PolicyConfig) -> RouteLimits {
        self.resolve_named(&policy.limits, policy.cost)
    }

    /// The same for limits that stand on no route.
    pub(crate) fn resolve_named(&self, limits: &[String], cost: NonZeroU32) -> RouteLimits {
        let (before, after): (Vec<_>, Vec<_>) = limits
            .iter()
            .filter_map(|name| self.names.get(name).copied())
            .partition(|id| match self.policies[id.0].key {
                RateLimitKey::Address | RateLimitKey::Route => true,
                RateLimitKey::Principal | RateLimitKey::ApiKey => false,
            });
        let items: Vec<&str> = [&before, &after]
            .into_iter()
            .flat_map(|limits| self.policies(limits))
            .map(Policy::item)
            .collect();
        let plan = limits.iter().any(|limit| limit == PLAN);
        let of_plan = |(name, plan): (&String, &Plan)| {
            let pace = self
                .policies(&[plan.pace])
                .map(Policy::item)
                .collect::<String>();
            let quota = format!("\"quota\";q={};w={}", plan.allows.daily, quota::DAY);
            let mut all = items.clone();
            all.extend([pace.as_str(), &quota]);
            (name.clone(), policy::interned(&all.join(", ")))
        };
        RouteLimits {
            policy: policy::interned(&items.join(", ")),
            before,
            after,
            plan: plan.then(|| self.plans.iter().map(of_plan).collect()),
            cost,
        }
    }

    /// Counts one request against all `limits`, or against none of them when one refuses it; what is left of them, or of
    /// the one that refuses, is added to `told`. Waits for nothing unless replicas share the limits; and then for one answer
    /// of the store at most.
    pub(crate) async fn check(
        &self,
        limits: &[LimitId],
        request: &Counted<'_>,
        told: &mut RateLimitHeaders,
    ) -> Result<(), Denied> {
        let outcome = match &self.store {
            Some(store) if !limits.is_empty() => {
                // Boxed: who limits alone has no room for it.
                Box::pin(self.check_shared(store, limits, request, told)).await
            }
            _ => self.check_own(limits, request, told),
        };
        if outcome.is_ok() {
            for policy in self.policies(limits) {
                policy.counters.allowed.increment(1);
                policy.counters.cost.increment(request.cost.get().into());
            }
        }
        outcome
    }

    /// By the buckets of this process.
    fn check_own(
        &self,
        limits: &[LimitId],
        request: &Counted<'_>,
        told: &mut RateLimitHeaders,
    ) -> Result<(), Denied> {
        let policies = || self.policies(limits);
        let Some(last) = policies().next_back() else {
            return Ok(());
        };

        // Nothing is taken before all agree; the last one can take at once. Another thread may get in between: then a
        // denied request has cost the earlier policies one, which is not worth a lock over all of them.
        let measure = |policy: &Policy<C>, mode, told: &mut RateLimitHeaders| {
            let bucket = self.bucket(policy.key, request);
            policy
                .measure(bucket, request.cost, mode)
                .map_err(|Wait { wait, left }| {
                    policy.counters.denied.increment(1);
                    told.add(policy, left);
                    Denied { retry_after: wait }
                })
        };
        let others = || policies().filter(|policy| !std::ptr::eq(*policy, last));
        for policy in others() {
            measure(policy, Mode::Look, told)?;
        }
        let left_of_last = measure(last, Mode::Take, told)?;
        for policy in others() {
            let left = measure(policy, Mode::Take, told)?;
            told.add(policy, left);
        }
        told.add(last, left_of_last);
        Ok(())
    }

    /// By the buckets that all replicas share; by this process's share of them when the store does not answer.
    async fn check_shared(
        &self,
        store: &RateLimitStore,
        limits: &[LimitId],
        request: &Counted<'_>,
        told: &mut RateLimitHeaders,
    ) -> Result<(), Denied> {
        // What this process would say; the store may say something else.
        let own = if store.is_settling() {
            let mut own = told.clone();
            if let Err(denied) = self.check_own(limits, request, &mut own) {
                store.spared();
                *told = own;
                return Err(denied);
            }
            Some(own)
        } else {
            None
        };
        let entries: Vec<Entry<'_>> = self
            .policies(limits)
            .map(|policy| Entry {
                key: shared_key(store.prefix(), policy, request),
                interval: &policy.whole.micros,
                burst: policy.whole.burst,
            })
            .collect();
        // What is worth more than a whole bucket takes a whole bucket.
        let cost = entries.iter().map(|entry| entry.burst);
        let cost = cost.fold(request.cost.get(), u32::min);
        let verdict = store.ask(&entries, cost, request.deadline).await;
        let policies = || self.policies(limits);
        match verdict {
            Some(Verdict::Allowed(left)) => {
                if own.is_none() {
                    for policy in policies() {
                        policy.note(self.bucket(policy.key, request), request.cost);
                    }
                }
                for (policy, left) in policies().zip(left) {
                    told.add(policy, left);
                }
                Ok(())
            }
            Some(Verdict::Denied { policy, wait, left }) => {
                if let Some(policy) = policies().nth(policy) {
                    policy.counters.denied.increment(1);
                    told.add(policy, left);
                }
                Err(Denied { retry_after: wait })
            }
            None => match own {
                Some(own) => {
                    *told = own;
                    Ok(())
                }
                None => self.check_own(limits, request, told),
            },
        }
    }

    /// Forgets buckets that are full again. Called by the control runtime, now and then.
    pub(crate) fn forget_idle(&self) {
        for policy in &self.policies {
            policy.limiter.retain_recent();
        }
    }

    fn policies(&self, limits: &[LimitId]) -> impl DoubleEndedIterator<Item = &Policy<C>> {
        limits
            .iter()
            .filter_map(|id| self.policies.get(id.0).map(Arc::as_ref))
    }

    fn bucket(&self, key: RateLimitKey, request: &Counted<'_>) -> Bucket {
        match Caller::of(key, request) {
            Caller::Route(route) => Bucket::Route(route.0),
            Caller::Address(address) => Bucket::from(address),
            Caller::Named(identity) => Bucket::Principal(self.hasher.hash_one(identity)),
        }
    }
}

/// Whose request it is, as far as a limit is concerned.
enum Caller<'a> {
    Route(RouteKey),
    Address(IpAddr),
    /// What kind of caller, and two names that make it one of a kind.
    Named((&'static str, &'a str, &'a str)),
}

impl<'a> Caller<'a> {
    fn of(key: RateLimitKey, request: &Counted<'a>) -> Self {
        let is_named = matches!(key, RateLimitKey::Principal);
        if let Some(partner) = request.principal.partner().filter(|_| is_named) {
            // The same bucket for its keys and its tokens.
            return Self::Named(("partner", partner, ""));
        }
        match (key, request.principal) {
            (RateLimitKey::Route, _) => Self::Route(request.route),
            (RateLimitKey::Address, _) | (_, Principal::Anonymous) => {
                Self::Address(request.address)
            }
            (RateLimitKey::Principal | RateLimitKey::ApiKey, Principal::Token(token)) => {
                Self::Named(("token", &token.issuer, &token.subject))
            }
            (RateLimitKey::Principal, Principal::ApiKey(key)) => {
                Self::Named(("owner", &key.owner, ""))
            }
            (RateLimitKey::ApiKey, Principal::ApiKey(key)) => Self::Named(("key", &key.key_id, "")),
        }
    }
}

/// The bucket's key in the store: the same in every replica, of bounded size, and without anybody's name.
fn shared_key<C: Clock>(prefix: &str, policy: &Policy<C>, request: &Counted<'_>) -> String {
    let name = &policy.name;
    match Caller::of(policy.key, request) {
        Caller::Route(route) => format!("{prefix}:{name}:route:{}", route.0),
        Caller::Address(address) => match Bucket::from(address) {
            Bucket::V6(network) => format!("{prefix}:{name}:v6:{network:x}"),
            _ => format!("{prefix}:{name}:v4:{}", address.to_canonical()),
        },
        Caller::Named((kind, first, second)) => {
            let digest = Sha256::new()
                // With its length, so that no two pairs of names read the same.
                .chain_update((first.len() as u64).to_be_bytes())
                .chain_update(first)
                .chain_update(second)
                .finalize();
            let mut half = [0; 16];
            half.copy_from_slice(&digest[..16]);
            format!("{prefix}:{name}:{kind}:{:032x}", u128::from_be_bytes(half))
        }
    }
}

#[cfg(test)]
mod tests;
