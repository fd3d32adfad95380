//! The limits of a route, counted: by the edge for every request, and by what runs behind it for what one request asks for
//! several times. It gives places to streams, too. How a limit counts is `rate_limit.rs`, how many streams there may be
//! `streams/places.rs`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::SystemTime;

use super::rate_limit::{Counted, LimitId, RateLimitHeaders, RateLimiter, RouteKey};
use crate::config::PLAN;
use crate::context::RequestContext;
use crate::error::{ClientError, Error};
use crate::gateway::Shared;
use crate::quota::{self, PlanUsage, Quotas};
use crate::route::{Action, Route};
use crate::streams::Places;

/// One worker's. Streams keep it for their life, and of their configuration nothing else.
pub(crate) struct Meter {
    limiter: Arc<RateLimiter>,
    quotas: Arc<Quotas>,
    places: Arc<Places>,
    /// Those that are composed, by their names.
    routes: HashMap<&'static str, Arc<Route>>,
}

/// The meter of a request, and the route that it counts for.
#[derive(Clone)]
pub(crate) struct Metered {
    pub(crate) meter: Arc<Meter>,
    pub(crate) route: RouteKey,
}

impl Meter {
    pub(super) fn new(shared: &Shared) -> Self {
        let routes = shared.table.routes();
        Self {
            limiter: Arc::clone(&shared.limiter),
            quotas: Arc::clone(&shared.quotas),
            places: Arc::clone(shared.events.places()),
            routes: routes
                .filter(|route| matches!(route.action, Action::Composed))
                .map(|route| (route.name, Arc::clone(route)))
                .collect(),
        }
    }

    /// Counts a request against `limits`; what they say goes into `told`, whatever becomes of it.
    pub(super) async fn limit(
        &self,
        limits: &[LimitId],
        request: &Counted<'_>,
        told: &mut RateLimitHeaders,
    ) -> Result<(), Error> {
        if limits.is_empty() {
            return Ok(());
        }
        let checked = self.limiter.check(limits, request, told).await;
        checked.map_err(|denied| {
            let retry_after = denied.retry_after;
            ClientError::RateLimited { retry_after }.into()
        })
    }

    /// Counts a request against the caller's plan: first how fast, then how many in a day.
    pub(super) async fn count_in_plan(
        &self,
        policies: &BTreeMap<String, &'static str>,
        request: &Counted<'_>,
        told: &mut RateLimitHeaders,
    ) -> Result<PlanUsage, Error> {
        let without_plan = || ClientError::Forbidden("The credentials have no plan.");
        let name = request.principal.attribute(PLAN);
        let plan = name.and_then(|name| self.limiter.plan(name));
        let (plan, partner) = plan
            .zip(request.principal.partner())
            .ok_or_else(without_plan)?;
        if let Some(policy) = policies.get(&*plan.name) {
            told.policy = policy;
        }
        self.limit(&[plan.pace], request, told).await?;

        let now = SystemTime::now();
        let cost = u64::from(request.cost.get());
        let daily = plan.allows.daily;
        let counted = self.quotas.take(partner, daily, cost, now);
        let counted = counted.ok_or_else(without_plan)?;
        let (Ok(used) | Err(used)) = counted;
        let (resets_at, resets_in) = quota::end_of_day(now);
        let left = daily.saturating_sub(used);
        told.add_quota(left, resets_in);
        if counted.is_err() {
            plan.quota.denied.increment(1);
            return Err(ClientError::QuotaUsedUp {
                retry_after: resets_in,
            }
            .into());
        }
        plan.quota.allowed.increment(1);
        plan.quota.cost.increment(cost);
        Ok(PlanUsage {
            plan: Arc::clone(&plan.name),
            allows: Arc::clone(&plan.allows),
            used,
            resets_at,
            resets_in,
        })
    }
}

impl Metered {
    /// Counts as many more requests, in all limits of the route at once.
    pub(crate) async fn charge(
        &self,
        times: NonZeroU32,
        context: &RequestContext,
    ) -> Result<(), Error> {
        let Some(route) = self.meter.routes.get(self.route.0) else {
            return Ok(());
        };
        let limits = &route.limits;
        let counted = Counted {
            route: self.route,
            cost: limits.cost.saturating_mul(times),
            principal: context.caller(),
            address: context.client_address(),
            deadline: context.deadline(),
        };
        let told = &mut RateLimitHeaders::default();
        let all = [&limits.before[..], &limits.after[..]].concat();
        self.meter.limit(&all, &counted, told).await?;
        if let Some(policies) = &limits.plan {
            self.meter.count_in_plan(policies, &counted, told).await?;
        }
        Ok(())
    }

    pub(crate) fn places(&self) -> &Arc<Places> {
        &self.meter.places
    }
}

impl fmt::Debug for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metered").field(&self.route).finish()
    }
}
