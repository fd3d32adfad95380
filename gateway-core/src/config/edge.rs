//! What the edge keeps to besides access and limits: cross-origin sharing, forged requests, headers for browsers, and content
//! codings. Domain types only; what they mean for a request is in `edge/*`.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

/// Which other origins' scripts may use a route (CORS, Fetch Standard 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsConfig {
    pub origins: CorsOrigins,
    /// Those that scripts may use, of those that a path has; `None` = all of them.
    pub methods: Option<Vec<Method>>,
    /// Request fields that scripts may set, beside those that need no permission.
    pub headers: Vec<HeaderName>,
    /// Answer fields that scripts may read, beside those that need no permission.
    pub exposed: Vec<HeaderName>,
    /// Whether browsers may add cookies. Never together with [`CorsOrigins::Any`].
    pub credentials: bool,
    /// How long a browser may remember what a preflight said, in whole seconds.
    pub max_age: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigins {
    Any,
    /// Exactly these, as browsers write them in `Origin`.
    Listed(Vec<HeaderValue>),
}

/// Which requests could be forged by another site (CSRF), and how ours are told from them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CsrfConfig {
    /// The name of the cookie that authenticates. Without it nothing is checked: what a script of another site cannot send
    /// by itself (`Authorization`) cannot be forged.
    pub cookie: Option<String>,
    /// Path prefixes below which unsafe requests need the header `X-CSRF: 1`, too.
    pub header_below: Vec<String>,
    /// Our own origins, when they cannot be told from a request's host and scheme.
    pub origins: Vec<String>,
}

impl CsrfConfig {
    /// What holds for a route that says nothing itself.
    pub(crate) fn rule_for(&self, path: &str) -> CsrfRule {
        let below = |prefix: &String| covers(prefix, path);
        if self.header_below.iter().any(below) {
            CsrfRule::OriginAndHeader
        } else {
            CsrfRule::Origin
        }
    }
}

/// Whether `path` is `prefix` or below it, by whole segments.
pub(crate) fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| prefix == "/" || rest.is_empty() || rest.starts_with('/'))
}

/// What a route asks of requests that are authenticated by the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsrfRule {
    /// Nothing: something else proves where the request comes from.
    Exempt,
    /// Unsafe methods come from our own origin.
    Origin,
    /// And carry `X-CSRF: 1`, which no form of another site can set.
    OriginAndHeader,
}

/// Fields that tell browsers what not to do with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityHeadersConfig {
    pub hsts: Hsts,
    /// The value of `Strict-Transport-Security` (RFC 6797).
    pub hsts_value: HeaderValue,
    pub referrer_policy: HeaderValue,
    pub resource_policy: HeaderValue,
    /// For pages only.
    pub permissions_policy: HeaderValue,
}

/// When `Strict-Transport-Security` is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hsts {
    Off,
    /// With answers that go over TLS, as far as we or a trusted proxy can say.
    Tls,
    /// Always: a proxy that says nothing ends TLS in front of us.
    Always,
}

/// How answers are made smaller for clients that like it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressionConfig {
    /// In the order in which they are preferred when a client likes several equally.
    pub codings: Vec<Coding>,
    /// Bodies that are known to be smaller stay as they are.
    pub min_bytes: u64,
}

/// What bounds event streams and WebSockets, whose deadline ends with their head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// How long one may be silent.
    pub idle: Duration,
    /// How long one may last; less when the caller's credential ends before.
    pub lifetime: Duration,
    /// The largest WebSocket frame that a client may send, in bytes.
    pub max_frame_bytes: u64,
    /// How long a stream of our own is silent at most.
    pub heartbeat: Duration,
    /// How many streams of our own one caller may have open.
    pub max_per_caller: usize,
}

/// Major, minor and patch; what follows a `-` or `+` does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AppVersion([u32; 3]);

impl AppVersion {
    /// Reads `2`, `2.1` or `2.1.7`; what is left out is 0.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let core = text.trim().split(['-', '+']).next()?;
        let mut numbers = [0; 3];
        let mut parts = core.split('.');
        for (index, part) in parts.by_ref().take(3).enumerate() {
            if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            numbers[index] = part.parse().ok()?;
        }
        parts.next().is_none().then_some(Self(numbers))
    }
}

impl fmt::Display for AppVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// Which versions of an app are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppVersionConfig {
    /// Older ones are refused.
    pub minimum: Option<AppVersion>,
    /// Older ones are told of it: the version, and as it is told.
    pub recommended: Option<(AppVersion, HeaderValue)>,
    /// Where there is a newer one.
    pub store_url: String,
}

/// A content coding (RFC 9110, 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}
