//! The validated configuration: what the rest of the gateway reads, in domain types that cannot be wrong any more.
//! Nothing here parses text (`config/raw.rs`), checks it (`config/validate.rs`) or reads files (`config/load.rs`).

mod edge;
mod environment;
mod fault;
mod load;
mod origin;
mod plans;
mod raw;
mod schema;
mod session;
mod units;
mod upstream;
mod validate;
mod webhooks;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Method, Uri};
use ipnet::IpNet;
use jsonwebtoken::Algorithm;

use crate::auth::internal_token::SigningKey;
use crate::graphql::Settings;
use crate::trace::Sampling;

pub(crate) use edge::covers;
pub use edge::{
    AppVersion, AppVersionConfig, Coding, CompressionConfig, CorsConfig, CorsOrigins, CsrfConfig,
    CsrfRule, Hsts, SecurityHeadersConfig, StreamConfig,
};
pub use fault::{ConfigFault, ConfigFaults};
pub use load::{from_files, from_text};
pub(crate) use origin::{NeedsRestart, Origin};
pub use plans::{PartnerConfig, Partners, PlanConfig};
pub use schema::schema;
pub use session::{ClientSecret, SessionConfig};
pub use upstream::{
    BreakerConfig, Discovery, DnsConfig, EjectionConfig, HealthConfig, RetryConfig, UpstreamConfig,
    UpstreamProtocol,
};
pub use webhooks::WebhooksConfig;

/// The limit of a route's policy that stands for the caller's plan: burst and daily quota.
pub(crate) const PLAN: &str = "plan";

/// The attribute that names the partner whose credentials they are.
pub(crate) const PARTNER: &str = "partner";

/// The exit code of a process whose configuration is wrong: `EX_USAGE` of sysexits.
pub const EXIT_CONFIG: u8 = 64;

/// Everything one gateway process needs to know before it binds a socket.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: ServerConfig,
    pub admin: AdminConfig,
    pub log: LogConfig,
    pub tracing: TracingConfig,
    pub deadline: DeadlineConfig,
    pub issuers: Vec<IssuerConfig>,
    pub api_keys: Option<ApiKeysConfig>,
    /// Without it services are not told who is calling.
    pub internal_token: Option<InternalTokenConfig>,
    /// Which other origins may use routes that say nothing of it themselves; `None` = none.
    pub cors: Option<Arc<CorsConfig>>,
    pub csrf: CsrfConfig,
    /// Without it no browser can sign in.
    pub session: Option<Arc<SessionConfig>>,
    pub security_headers: SecurityHeadersConfig,
    pub compression: CompressionConfig,
    pub streams: StreamConfig,
    pub app_version: AppVersionConfig,
    pub upstreams: BTreeMap<String, UpstreamConfig>,
    pub rate_limits: BTreeMap<String, RateLimitConfig>,
    pub plans: BTreeMap<String, PlanConfig>,
    pub partners: Partners,
    /// What replicas share; without it each process counts for itself.
    pub redis: Option<RedisConfig>,
    pub store: StoreConfig,
    pub cache: CacheConfig,
    /// Where changes are heard of; without it nothing that is stored learns of them.
    pub events: Option<EventsConfig>,
    /// How messages to partners' servers are delivered, for the apps that have some.
    pub webhooks: WebhooksConfig,
    /// What GraphQL documents may cost and ask; for the BFFs that have a schema.
    pub graphql: Settings,
    /// Passthrough routes, in the order of the file.
    pub routes: Vec<PassthroughConfig>,
    /// The policy of each composed route, by the route's name in code.
    pub policies: BTreeMap<String, PolicyConfig>,
    /// Names in `rate_limits`: of requests that are no route's.
    pub unmatched_limits: Vec<String>,
    /// Relaxations for development that have to be visible: one warning is logged for each at the start.
    pub warnings: Vec<String>,
    /// What clients see as the base of problem types, for example `/problems`.
    pub problem_base: Arc<str>,
    /// Where all this came from, and how it is shown to operators.
    pub(crate) origin: Origin,
}

/// The public listener and what it puts up with.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub address: SocketAddr,
    /// Proxies whose word on the client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Worker threads, each with a runtime of its own; one per core when the file says 0.
    pub workers: usize,
    /// How long a client may take to send a request head.
    pub header_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// How long a body, in either direction, may be without progress.
    pub body_timeout: Duration,
    pub max_connections: usize,
    /// Requests worked on at once; more are shed with 503.
    pub max_requests: usize,
    /// How long a request waits for one of those places before it is shed.
    pub max_wait: Duration,
    pub max_uri_bytes: usize,
    pub max_header_bytes: usize,
    pub max_headers: usize,
    /// Largest request body in bytes, unless a route's policy says otherwise.
    pub max_body_bytes: u64,
    /// On drain: how long connections are still accepted after readiness has failed.
    pub lame_duck: Duration,
    /// On drain: how long running requests may take to finish.
    pub grace: Duration,
    /// Plain text without it.
    pub tls: Option<TlsConfig>,
}

/// TLS on the public listener. The files are read again when they change.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// The certificate and its chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// Who signs clients' certificates, PEM; without it none is asked for.
    pub client_ca: Option<PathBuf>,
    /// A client without a certificate is refused.
    pub require_client: bool,
    pub handshake_timeout: Duration,
}

/// The operators' listener: never public.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    pub address: SocketAddr,
    /// Names with a dot by which the listener may be called; addresses and names without one always are.
    pub hosts: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct LogConfig {
    /// A `tracing` filter directive, for example `info` or `info,gateway_core::upstream=debug`.
    pub filter: String,
}

/// Where traces go, and how many.
#[derive(Clone, Debug, PartialEq)]
pub struct TracingConfig {
    /// Where spans are posted (OTLP over HTTP, protobuf), with its path. Nothing is recorded without it.
    pub endpoint: Option<String>,
    /// Of the traces that begin here, those that are recorded: 0 none, 1 all. Other traces are recorded when the caller
    /// does.
    pub ratio: f64,
    /// What spans come from; the app's name when absent.
    pub service: Option<String>,
    /// How long one export may take, its repetitions included.
    pub timeout: Duration,
    /// Finished requests that wait for their export; what comes on top is dropped.
    pub queue: usize,
}

impl TracingConfig {
    pub(crate) fn sampling(&self) -> Sampling {
        match self.endpoint {
            Some(_) => Sampling::ratio(self.ratio),
            None => Sampling::Off,
        }
    }
}

#[derive(Clone, Debug)]
pub struct DeadlineConfig {
    /// The time a request has when its client does not ask for less.
    pub default: Duration,
    /// Held back from optional parts, as a share of the whole (0.1 = 10 %).
    pub reserve_ratio: f64,
    /// The smallest reserve.
    pub reserve_min: Duration,
}

/// A token issuer that this gateway believes.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuerConfig {
    /// Exactly as in `iss`; discovery is at `{issuer}/.well-known/openid-configuration`.
    pub issuer: String,
    /// What its subjects' names begin with for services and handlers, so that they are nobody else's.
    pub subject_prefix: String,
    /// Those of other issuers that a subject of this one could begin with; tokens with such a one are refused.
    pub reserved_prefixes: Vec<String>,
    /// Where the keys are, when discovery is not wanted.
    pub jwks_uri: Option<Uri>,
    /// At least one of them has to be in `aud`.
    pub audiences: Vec<String>,
    /// The only algorithms that this issuer may use: asymmetric ones.
    pub algorithms: Vec<Algorithm>,
    /// Accepted values of the `typ` header, without `application/`; empty = any.
    pub token_types: Vec<String>,
    /// The claim that names the partner whose token it is; without it nobody's tokens are a partner's.
    pub partner_claim: Option<String>,
    /// Clock difference that `exp` and `nbf` are forgiven.
    pub leeway: Duration,
    /// Keys are fetched again in the background after this time.
    pub refresh: Duration,
    /// The least time between two fetches caused by an unknown `kid`.
    pub cooldown: Duration,
    /// Keys older than this are no longer believed when they cannot be fetched again.
    pub max_stale: Duration,
}

/// Keys of partners' servers; only hashes are kept.
#[derive(Clone, Debug)]
pub struct ApiKeysConfig {
    /// Keys look like `{prefix}_live_…` and `{prefix}_test_…`.
    pub prefix: String,
    pub keys: Vec<ApiKeyConfig>,
}

#[derive(Clone, Debug)]
pub struct ApiKeyConfig {
    pub id: String,
    /// The principal that the key speaks for.
    pub owner: String,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
    pub scopes: Vec<String>,
    /// What the BFF's code needs to know of the owner, for example the account it is bound to.
    pub attributes: BTreeMap<String, String>,
}

/// How services are told who is calling.
#[derive(Clone, Debug)]
pub struct InternalTokenConfig {
    pub key: SigningKey,
    /// The `kid` by which services find the public half.
    pub key_id: String,
    /// In whole seconds; a token is signed anew when half of it is over.
    pub lifetime: Duration,
    /// Which attributes of a principal services learn; no others.
    pub attributes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimitKey {
    Address,
    /// The principal; the address for those who have none.
    Principal,
    /// Each API key by itself; as `Principal` for those who have none.
    ApiKey,
    /// One bucket for everybody.
    Route,
}

/// One GCRA policy.
#[derive(Clone, Debug)]
pub struct RateLimitConfig {
    pub key: RateLimitKey,
    /// Requests allowed in `window` at an even pace.
    pub requests: u32,
    pub window: Duration,
    /// Requests that may come at once.
    pub burst: u32,
}

/// A Redis that all replicas of a gateway share.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    pub server: RedisServer,
    /// The most that a request waits for it.
    pub timeout: Duration,
    /// How many replicas share it: while it is away, each keeps to one part in so many of every limit.
    pub replicas: NonZeroU32,
    /// What all keys begin with; the app's name when absent.
    pub prefix: Option<String>,
    /// Whether it is the second level of the response cache, and for how long an answer counts there at most.
    pub share_responses: Option<Duration>,
}

impl RedisConfig {
    /// What all keys of `app` begin with.
    pub(crate) fn key_prefix<'a>(&'a self, app: &'a str) -> &'a str {
        self.prefix.as_deref().unwrap_or(app)
    }
}

/// Where a Redis is, and what it takes to get in. Its texts show host and port only.
#[derive(Clone)]
pub struct RedisServer(pub(crate) redis::ConnectionInfo);

impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0.addr(), f)
    }
}

/// What outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreConfig {
    /// The SQLite file; `None` = in memory, so that nothing outlives the process.
    pub path: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Memory for stored responses, in bytes. 0 = no cache.
    pub max_bytes: u64,
    /// The largest body stored, in bytes.
    pub max_entry_bytes: usize,
    /// Memory for parts of composed answers, in bytes. 0 = none are stored.
    pub parts_max_bytes: u64,
}

/// A service's feed of change events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsConfig {
    /// A name in `upstreams`.
    pub upstream: String,
    /// Path and query.
    pub path: PathAndQuery,
    /// The longest silence of the feed; after twice as long it is taken for lost.
    pub heartbeat: Duration,
    /// Who can follow changes at once: streams and subscriptions of clients.
    pub max_subscribers: usize,
}

/// Who may use a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody. Has to be spelled out.
    Public,
    /// Any principal that fits.
    Principals(Requirement),
}

/// What a principal needs; an empty list asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    /// All of these scopes.
    pub all_scopes: Vec<String>,
    /// One of these scopes.
    pub any_scopes: Vec<String>,
    /// One of these roles.
    pub roles: Vec<String>,
    /// Only these callers.
    pub principals: Vec<AllowedPrincipal>,
}

/// A caller by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedPrincipal {
    /// The subject of an issuer's tokens: the same subject of another issuer is somebody else.
    Subject { issuer: String, subject: String },
    /// The owner of API keys.
    Owner(String),
    /// One API key, by its id.
    Key(String),
}

/// What the edge does for a route before its action runs.
#[derive(Clone, Debug)]
pub struct PolicyConfig {
    pub access: Access,
    /// Names in `rate_limits`.
    pub limits: Vec<String>,
    /// As how many requests one counts in its limits.
    pub cost: NonZeroU32,
    pub deadline: Option<Duration>,
    pub max_body_bytes: Option<u64>,
    /// Which other origins may use it; `None` = none.
    pub cors: Option<Arc<CorsConfig>>,
    /// What is asked of requests with the cookie; `None` = as `[csrf]` says for the route's path.
    pub csrf: Option<CsrfRule>,
    /// Whether its answers may be content-coded. Never where a secret stands next to what a client sent (BREACH), nor
    /// where clients need a strong validator.
    pub compression: bool,
}

/// A route that forwards to one upstream.
#[derive(Clone, Debug)]
pub struct PassthroughConfig {
    pub name: String,
    /// `/api/things/{id}` or `/api/files/{*rest}`.
    pub path: String,
    pub methods: Vec<Method>,
    /// Where it forwards to, by weight. Never empty.
    pub upstreams: Vec<WeightedUpstream>,
    /// Where copies of its requests go.
    pub mirror: Option<MirrorConfig>,
    /// The path upstream, with the same placeholders; the client's path when absent.
    pub rewrite: Option<String>,
    pub policy: PolicyConfig,
    pub cache: CacheRule,
    /// What its answers depend on, and what its commands change; with the placeholders of `path`.
    pub tags: Vec<String>,
    /// Whether WebSockets may be opened through it.
    pub websocket: bool,
}

/// One of the upstreams of a passthrough route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedUpstream {
    pub name: String,
    /// How much of all weights together comes to this one.
    pub weight: u32,
}

/// The upstream that gets copies of a passthrough route's requests.
#[derive(Clone, Debug, PartialEq)]
pub struct MirrorConfig {
    pub upstream: String,
    /// Of the requests, from 0 to 1.
    pub share: f64,
}

/// What becomes of a passthrough route's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheRule {
    pub share: RouteCache,
    pub stale: StaleWindows,
}

/// For how long after its lifetime an answer may be used all the same, when it says nothing about it (RFC 5861).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StaleWindows {
    /// While it is being asked for again.
    pub while_revalidate: Duration,
    /// When the service fails.
    pub if_error: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteCache {
    /// Never stored.
    Off,
    /// Stored for the same principal only.
    Private,
    /// Stored for everybody: the answer does not depend on who asks, and no identity is sent upstream.
    Shared,
}
