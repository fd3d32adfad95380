//! Partners and the plans that they have. What a plan allows is counted in `edge/rate_limit.rs` and `quota.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a partner may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanConfig {
    /// Requests allowed in `window` at an even pace.
    pub requests: u32,
    pub window: Duration,
    /// Requests that may come at once.
    pub burst: u32,
    /// Requests in a day (UTC).
    pub daily: u64,
}

/// Somebody who has credentials of any kind, and a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartnerConfig {
    /// A name in `plans`.
    pub plan: String,
    /// What the BFF's code and the services need to know of it, whichever credentials it comes with.
    pub attributes: BTreeMap<String, String>,
}

/// All partners by id. The ids are what `owner` of API keys and the claim `partner_claim` of tokens name.
pub type Partners = Arc<BTreeMap<String, PartnerConfig>>;
