//! Plans with sensible numbers, and partners with plans that there are.

use std::collections::BTreeMap;
use std::time::Duration;

use super::check::Check;
use crate::config::fault::suggest;
use crate::config::raw::{RawPartner, RawPlan, child};
use crate::config::{PARTNER, PLAN, PartnerConfig, PlanConfig};

pub(super) fn plans(
    raw: BTreeMap<String, RawPlan>,
    check: &mut Check<'_>,
) -> BTreeMap<String, PlanConfig> {
    raw.into_iter()
        .map(|(name, raw)| {
            let at = child("plans", &name);
            check.name(&name, &at);
            for (is_missing, key) in [(raw.rate.is_none(), "rate"), (raw.daily.is_none(), "daily")]
            {
                if is_missing {
                    check.missing(&child(&at, key));
                }
            }
            let (requests, window) = raw.rate.map_or((1, Duration::from_secs(1)), |rate| {
                (rate.0.requests, rate.0.window)
            });
            check.that(
                requests >= 1 && window.as_nanos() >= u128::from(requests),
                &child(&at, "rate"),
                || "has to allow at least one request in a time above zero".to_owned(),
            );
            check.that(raw.burst != Some(0), &child(&at, "burst"), || {
                "has to be at least 1, or nothing would ever pass".to_owned()
            });
            let plan = PlanConfig {
                requests,
                window,
                burst: raw.burst.unwrap_or(requests),
                daily: raw.daily.unwrap_or(0),
            };
            (name, plan)
        })
        .collect()
}

pub(super) fn partners(
    raw: BTreeMap<String, RawPartner>,
    plans: &BTreeMap<String, PlanConfig>,
    check: &mut Check<'_>,
) -> BTreeMap<String, PartnerConfig> {
    raw.into_iter()
        .map(|(id, raw)| {
            let at = child("partners", &id);
            check.name(&id, &at);
            let plan = check.required(raw.plan, &child(&at, "plan"));
            let is_known = plan.is_empty() || plans.contains_key(&plan);
            check.that(
                is_known || check.faults.explains(&child("plans", &plan)),
                &child(&at, "plan"),
                || {
                    let hint = suggest(&plan, plans.keys().map(String::as_str));
                    format!("no plan is named `{plan}`; {hint}")
                },
            );
            for reserved in [PLAN, PARTNER] {
                check.that(
                    !raw.attributes.contains_key(reserved),
                    &child(&child(&at, "attributes"), reserved),
                    || "is set by the gateway".to_owned(),
                );
            }
            let partner = PartnerConfig {
                plan,
                attributes: raw.attributes,
            };
            (id, partner)
        })
        .collect()
}
