//! Webhooks with times that make sense. What is done with them is `webhooks.rs`'s.

use super::check::Check;
use crate::config::WebhooksConfig;
use crate::config::raw::RawWebhooks;

pub(super) fn webhooks(raw: RawWebhooks, check: &mut Check<'_>) -> WebhooksConfig {
    let first_retry = check.positive(raw.first_retry, "webhooks.first_retry");
    let max_retry = check.positive(raw.max_retry, "webhooks.max_retry");
    check.that(first_retry <= max_retry, "webhooks.max_retry", || {
        "has to be at least webhooks.first_retry".to_owned()
    });
    for (number, key) in [
        (raw.attempts, "webhooks.attempts"),
        (raw.disable_after, "webhooks.disable_after"),
    ] {
        check.that(number >= 1, key, || "has to be at least 1".to_owned());
    }
    WebhooksConfig {
        allow_loopback: raw.allow_loopback,
        timeout: check.positive(raw.timeout, "webhooks.timeout"),
        first_retry,
        max_retry,
        attempts: raw.attempts,
        disable_after: raw.disable_after,
        max_endpoints: check.at_least_one(raw.max_endpoints, "webhooks.max_endpoints"),
        overlap: raw.overlap.0,
        kept: check.positive(raw.kept, "webhooks.kept"),
    }
}
