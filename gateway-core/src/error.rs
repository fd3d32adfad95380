//! The closed taxonomy of what can go wrong with a request, by who is at fault. No status is picked here (`problem.rs`).
//!
//! The client sees a problem document (RFC 9457) with a fixed title and a detail written for it; the log keeps the
//! source, the upstream's name and the kind. An upstream's fault is never reported as ours: a 500 means a bug here.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

pub use crate::upstream::{UpstreamError, UpstreamErrorKind};

/// Why a request was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the client's request cannot be served")]
    Client(#[from] ClientError),
    #[error("an upstream failed")]
    Upstream(#[from] UpstreamError),
    #[error("the gateway could not serve the request")]
    Gateway(#[from] GatewayError),
}

/// Who is at fault, as the access log and the metrics say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorSource {
    Client,
    Upstream,
    Gateway,
}

impl ErrorSource {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Gateway => "gateway",
        }
    }
}

/// One thing wrong with a request body: where (RFC 6901 pointer) and what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    pub pointer: String,
    pub detail: String,
}

/// Faults of the request itself.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// With a detail for the client. It may say what was in the query or the body: the log has nothing of it.
    #[error("bad request")]
    BadRequest(String),
    /// Each parameter of the query is right, and all of them together mean nothing. With a detail for the client.
    #[error("parameters that do not go together")]
    ParametersDisagree(String),
    #[error("no credentials")]
    Unauthenticated,
    #[error("invalid token: {0}")]
    InvalidToken(&'static str),
    #[error("insufficient scope")]
    InsufficientScope { scope: String },
    #[error("forbidden: {0}")]
    Forbidden(&'static str),
    /// With a cookie, and not from one of our own pages.
    #[error("may be forged: {0}")]
    CrossSite(&'static str),
    /// What the provider has sent a browser back with makes no session.
    #[error("a login cannot be finished: {0}")]
    SignInFailed(&'static str),
    #[error("a logout token is not accepted: {0}")]
    LogoutTokenRefused(&'static str),
    /// No such path, or no such resource, or none that this caller may know of.
    #[error("not found")]
    NotFound,
    #[error("method not allowed")]
    MethodNotAllowed { allow: HeaderValue },
    #[error("not acceptable")]
    NotAcceptable,
    #[error("request body timed out")]
    BodyTimeout,
    #[error("unsupported media type")]
    UnsupportedMediaType { expected: &'static str },
    #[error("body larger than {limit} bytes")]
    BodyTooLarge { limit: u64 },
    #[error("URI too long")]
    UriTooLong,
    #[error("request head too large")]
    HeadTooLarge,
    #[error("request head timed out")]
    HeadTimeout,
    #[error("unknown expectation")]
    ExpectationFailed,
    #[error("another version of the WebSocket protocol")]
    UpgradeRequired,
    #[error("unknown transfer coding")]
    UnknownTransferCoding,
    #[error("body does not fit the schema")]
    Unprocessable(Vec<FieldError>),
    #[error("rate limited")]
    RateLimited { retry_after: Duration },
    /// Everything that the caller's plan allows in a day.
    #[error("the day's quota is used up")]
    QuotaUsedUp { retry_after: Duration },
    /// What is written over has to be named.
    #[error("no If-Match")]
    PreconditionRequired,
    #[error("the idempotency key came with another payload")]
    IdempotencyKeyReused,
    #[error("somebody is at the idempotency key")]
    IdempotencyKeyInUse,
    /// The app is older than what is still served.
    #[error("unsupported version of the app")]
    AppVersionUnsupported { store_url: String },
    /// The caller has as many streams open as one may have.
    #[error("too many streams")]
    TooManyStreams,
    /// An upstream's own refusal that the caller may see.
    #[error("refused by the service with {}", .0.status)]
    Refused(Refusal),
}

/// A refusal (4xx) that a service spelled out for its caller: status, and the parts of its problem that may leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    /// The last segment of the problem's type: names the kind of refusal.
    pub slug: Option<String>,
    pub detail: Option<String>,
    pub errors: Vec<FieldError>,
}

/// Faults and limits of the gateway.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("too many requests at once")]
    Overloaded,
    #[error("no usable key set for the issuer")]
    KeysUnavailable,
    /// Whether a cookie is worth something cannot be looked up.
    #[error("the store of sessions cannot be asked")]
    SessionsUnavailable,
    /// Nobody can sign in, and tokens of sessions cannot be renewed.
    #[error("the identity provider cannot be used")]
    IdentityProviderUnavailable,
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// The client wants nothing but what is in the cache (`only-if-cached`).
    #[error("not in the cache")]
    NotCached,
    #[error("bug: {0}")]
    Bug(String),
}

impl Error {
    #[must_use]
    pub fn source(&self) -> ErrorSource {
        match self {
            Self::Client(_) => ErrorSource::Client,
            Self::Upstream(_) => ErrorSource::Upstream,
            Self::Gateway(_) => ErrorSource::Gateway,
        }
    }

    #[must_use]
    pub fn not_found() -> Self {
        Self::Client(ClientError::NotFound)
    }

    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::Client(ClientError::BadRequest(detail.into()))
    }
}
