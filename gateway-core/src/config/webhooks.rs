//! How messages to partners' servers are delivered. Who does it is `webhooks.rs`.

use std::time::Duration;

/// Webhooks, for the apps that have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhooksConfig {
    /// Whether they may lead to this machine, then also without TLS. For development alone.
    pub allow_loopback: bool,
    /// For one attempt.
    pub timeout: Duration,
    /// Before the second attempt; it doubles from there,
    pub first_retry: Duration,
    /// up to this.
    pub max_retry: Duration,
    /// After so many a message is given up.
    pub attempts: u32,
    /// After so many messages that were given up one after another, the endpoint is disabled.
    pub disable_after: u32,
    /// That one partner may have.
    pub max_endpoints: usize,
    /// For how long messages are signed with the former secret, too.
    pub overlap: Duration,
    /// For how long is known what was delivered.
    pub kept: Duration,
}

impl Default for WebhooksConfig {
    fn default() -> Self {
        Self {
            allow_loopback: false,
            timeout: Duration::from_secs(15),
            first_retry: Duration::from_secs(5),
            max_retry: Duration::from_hours(6),
            attempts: 16,
            disable_after: 10,
            max_endpoints: 10,
            overlap: Duration::from_hours(24),
            kept: Duration::from_hours(7 * 24),
        }
    }
}
