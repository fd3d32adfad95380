//! `/v2/usage`: what the partner has used of its plan.

use chrono::{DateTime, SecondsFormat, Utc};
use gateway_core::quota::PlanUsage;
use schemars::JsonSchema;
use serde::Serialize;

use super::Uncached;

/// What has been used of the plan, this request included.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UsageV2 {
    /// The plan's name.
    plan: String,
    rate: RateV2,
    day: DayV2,
}

/// How fast requests may come.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RateV2 {
    /// So many in `seconds`.
    requests: u32,
    seconds: f64,
    /// So many at once.
    burst: u32,
}

/// How many requests a day (UTC) has. Some routes count as several.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct DayV2 {
    limit: u64,
    used: u64,
    remaining: u64,
    #[schemars(extend("format" = "date-time"))]
    resets_at: String,
}

pub(crate) async fn show(usage: PlanUsage) -> Uncached<UsageV2> {
    let allows = &usage.allows;
    Uncached::new(UsageV2 {
        rate: RateV2 {
            requests: allows.requests,
            seconds: allows.window.as_secs_f64(),
            burst: allows.burst,
        },
        day: DayV2 {
            limit: allows.daily,
            used: usage.used,
            remaining: usage.remaining(),
            resets_at: DateTime::<Utc>::from(usage.resets_at)
                .to_rfc3339_opts(SecondsFormat::Secs, true),
        },
        plan: usage.plan.to_string(),
    })
}
