//! Webhooks as they are written.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Text;
use crate::config::WebhooksConfig;

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawWebhooks {
    pub(in crate::config) allow_loopback: bool,
    pub(in crate::config) timeout: Text<Duration>,
    pub(in crate::config) first_retry: Text<Duration>,
    pub(in crate::config) max_retry: Text<Duration>,
    pub(in crate::config) attempts: u32,
    pub(in crate::config) disable_after: u32,
    pub(in crate::config) max_endpoints: usize,
    pub(in crate::config) overlap: Text<Duration>,
    pub(in crate::config) kept: Text<Duration>,
}

impl Default for RawWebhooks {
    fn default() -> Self {
        let usual = WebhooksConfig::default();
        Self {
            allow_loopback: usual.allow_loopback,
            timeout: Text(usual.timeout),
            first_retry: Text(usual.first_retry),
            max_retry: Text(usual.max_retry),
            attempts: usual.attempts,
            disable_after: usual.disable_after,
            max_endpoints: usual.max_endpoints,
            overlap: Text(usual.overlap),
            kept: Text(usual.kept),
        }
    }
}
