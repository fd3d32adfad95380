//! The validated configuration of a service that the gateway calls: where it is, and what it is trusted with.
//! What each number does to a call is told in `upstream/stack.rs` and docs/upstreams.md.

use std::net::SocketAddr;
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// gRPC, over HTTP/2 with prior knowledge.
    Grpc,
}

/// A service that the gateway calls.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamConfig {
    /// Scheme and authority by which the service is spoken of: `http://127.0.0.1:8101`. The first of several.
    pub address: Uri,
    pub discovery: Discovery,
    pub protocol: UpstreamProtocol,
    pub connect_timeout: Duration,
    /// The most that one attempt at a safe call may take, the body of a composed call's answer included. Without it, and
    /// for commands always, only the request's deadline counts.
    pub timeout: Option<Duration>,
    /// Idle connections kept per endpoint and worker.
    pub max_idle: usize,
    pub idle_timeout: Duration,
    /// Open connections to one endpoint, of all workers.
    pub max_connections: usize,
    /// Calls under way at once, of all workers.
    pub max_in_flight: usize,
    /// The limit finds itself between this and `max_in_flight`.
    pub min_in_flight: Option<usize>,
    /// After this time without an answer a safe call gets a second attempt beside the first.
    pub hedge_after: Option<Duration>,
    /// Connections that each worker keeps ready to each endpoint.
    pub warm: usize,
    /// The largest answer that a composed call reads, in bytes.
    pub max_response_bytes: usize,
    pub retry: RetryConfig,
    /// Without it calls are made however many fail.
    pub breaker: Option<BreakerConfig>,
    pub ejection: EjectionConfig,
    /// Without it endpoints are only judged by how calls come out.
    pub health: Option<HealthConfig>,
}

/// How the endpoints of an upstream are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// They are these.
    Static(Vec<Uri>),
    /// They are what DNS says that this name is.
    Dns { name: Uri, dns: DnsConfig },
}

/// How names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// Those of the system without any.
    pub name_servers: Vec<SocketAddr>,
    /// For one question to one name server.
    pub timeout: Duration,
    /// Names are looked up again when the time to live of the answer is over: not before this has passed,
    pub min_refresh: Duration,
    /// and not after this.
    pub max_refresh: Duration,
}

/// How endpoints are asked whether they are well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// What is asked for with `GET`; gRPC services have a protocol of their own for it.
    pub path: PathAndQuery,
    pub interval: Duration,
    pub timeout: Duration,
    /// So many bad checks in a row, and an endpoint gets no calls.
    pub unhealthy: u32,
    /// So many good ones, and it does again.
    pub healthy: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RetryConfig {
    /// Attempts after the first one.
    pub retries: u32,
    /// Retries as a share of calls, for the process.
    pub budget: f64,
    /// Retries a second that are allowed beside that share.
    pub min_per_second: u32,
    /// The wait before the first retry; doubled for each further one.
    pub backoff: Duration,
    pub max_backoff: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BreakerConfig {
    /// The time that is looked back on.
    pub window: Duration,
    /// With fewer calls in the window it never opens.
    pub min_calls: u32,
    /// The share of failures in the window that opens it.
    pub failure_rate: f64,
    /// How long it stays open at first; doubled each time that a probe fails.
    pub open: Duration,
    pub max_open: Duration,
    /// Calls let through when that time is over; all of them have to succeed.
    pub probes: u8,
    /// A call that had less time than this, and no answer, is not held against the service.
    pub min_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EjectionConfig {
    /// So many failures in a row, and an endpoint is left out.
    pub failures: u32,
    /// As is one with this share of failures within 10 s, of 20 calls or more.
    pub failure_rate: f64,
    /// For how long at first; doubled each time.
    pub base: Duration,
    pub max: Duration,
    /// The largest share of the endpoints that may be left out at once.
    pub max_share: f64,
}
