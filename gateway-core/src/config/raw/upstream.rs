//! `[upstreams.…]` as it is written, with the default of every optional key. Cross-checks are in `config/validate/upstreams.rs`.

use std::net::SocketAddr;
use std::time::Duration;

use http::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Share, Size, Text};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RawProtocol {
    Http1,
    Http2,
    Grpc,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RawDiscovery {
    Static,
    Dns,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawUpstream {
    pub(in crate::config) address: Option<Text<Uri>>,
    pub(in crate::config) addresses: Vec<Text<Uri>>,
    pub(in crate::config) discovery: RawDiscovery,
    pub(in crate::config) protocol: RawProtocol,
    pub(in crate::config) connect_timeout: Text<Duration>,
    pub(in crate::config) timeout: Option<Text<Duration>>,
    pub(in crate::config) max_idle: usize,
    pub(in crate::config) idle_timeout: Text<Duration>,
    pub(in crate::config) max_connections: usize,
    pub(in crate::config) max_in_flight: usize,
    pub(in crate::config) min_in_flight: Option<usize>,
    pub(in crate::config) hedge_after: Option<Text<Duration>>,
    pub(in crate::config) warm: usize,
    pub(in crate::config) max_response: Text<Size>,
    pub(in crate::config) retry: RawRetry,
    pub(in crate::config) breaker: RawBreaker,
    pub(in crate::config) ejection: RawEjection,
    pub(in crate::config) health: RawHealth,
}

impl Default for RawUpstream {
    fn default() -> Self {
        Self {
            address: None,
            addresses: Vec::new(),
            discovery: RawDiscovery::Static,
            protocol: RawProtocol::Http1,
            connect_timeout: Text(Duration::from_millis(500)),
            timeout: None,
            max_idle: 64,
            idle_timeout: Text(Duration::from_secs(30)),
            max_connections: 1_024,
            max_in_flight: 1_000,
            min_in_flight: None,
            hedge_after: None,
            warm: 0,
            max_response: Text(Size(1 << 20)),
            retry: RawRetry::default(),
            breaker: RawBreaker::default(),
            ejection: RawEjection::default(),
            health: RawHealth::default(),
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawRetry {
    pub(in crate::config) retries: u32,
    pub(in crate::config) budget: Text<Share>,
    pub(in crate::config) min_per_second: u32,
    pub(in crate::config) backoff: Text<Duration>,
    pub(in crate::config) max_backoff: Text<Duration>,
}

impl Default for RawRetry {
    fn default() -> Self {
        Self {
            retries: 2,
            budget: Text(Share(0.2)),
            min_per_second: 10,
            backoff: Text(Duration::from_millis(20)),
            max_backoff: Text(Duration::from_millis(250)),
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawBreaker {
    pub(in crate::config) enabled: bool,
    pub(in crate::config) window: Text<Duration>,
    pub(in crate::config) min_calls: u32,
    pub(in crate::config) failure_rate: Text<Share>,
    pub(in crate::config) open: Text<Duration>,
    pub(in crate::config) max_open: Text<Duration>,
    pub(in crate::config) probes: u8,
    pub(in crate::config) min_timeout: Text<Duration>,
}

impl Default for RawBreaker {
    fn default() -> Self {
        Self {
            enabled: true,
            window: Text(Duration::from_secs(10)),
            min_calls: 20,
            failure_rate: Text(Share(0.5)),
            open: Text(Duration::from_secs(1)),
            max_open: Text(Duration::from_secs(30)),
            probes: 3,
            min_timeout: Text(Duration::from_millis(250)),
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawEjection {
    pub(in crate::config) failures: u32,
    pub(in crate::config) failure_rate: Text<Share>,
    pub(in crate::config) base: Text<Duration>,
    pub(in crate::config) max: Text<Duration>,
    pub(in crate::config) max_share: Text<Share>,
}

impl Default for RawEjection {
    fn default() -> Self {
        Self {
            failures: 5,
            failure_rate: Text(Share(0.8)),
            base: Text(Duration::from_secs(5)),
            max: Text(Duration::from_mins(5)),
            max_share: Text(Share(0.5)),
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawHealth {
    pub(in crate::config) path: Option<String>,
    pub(in crate::config) interval: Text<Duration>,
    pub(in crate::config) timeout: Text<Duration>,
    pub(in crate::config) unhealthy: u32,
    pub(in crate::config) healthy: u32,
}

impl Default for RawHealth {
    fn default() -> Self {
        Self {
            path: None,
            interval: Text(Duration::from_secs(5)),
            timeout: Text(Duration::from_secs(1)),
            unhealthy: 3,
            healthy: 2,
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawDns {
    pub(in crate::config) name_servers: Vec<Text<SocketAddr>>,
    pub(in crate::config) timeout: Text<Duration>,
    pub(in crate::config) min_refresh: Text<Duration>,
    pub(in crate::config) max_refresh: Text<Duration>,
}

impl Default for RawDns {
    fn default() -> Self {
        Self {
            name_servers: Vec::new(),
            timeout: Text(Duration::from_secs(2)),
            min_refresh: Text(Duration::from_secs(1)),
            max_refresh: Text(Duration::from_secs(30)),
        }
    }
}
