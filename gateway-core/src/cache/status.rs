//! What the cache did for a request, as `Cache-Status` says it (RFC 9211). What it does is decided in `cache.rs`.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::metrics::{CacheMetrics, Counter};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Why a request went on to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forwarded {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    Stale,
    /// The client asked for it.
    Request,
}

impl Forwarded {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Hit {
        ttl: Duration,
    },
    /// Not the cache's business.
    Forwarded(Forwarded),
    /// What was stored still holds.
    Revalidated(Forwarded),
    Fetched {
        forwarded: Forwarded,
        /// The answer to a revalidation.
        status: Option<StatusCode>,
        /// Whether it is kept once it is complete.
        stored: bool,
    },
}

impl Outcome {
    /// Adds itself after what caches nearer to the service have said, and is counted.
    pub(super) fn mark(self, response: &mut Response<Body>, metrics: &CacheMetrics) {
        self.counter(metrics).increment(1);
        let text = match self {
            Self::Hit { ttl } => format!("gateway; hit; ttl={}", ttl.as_secs()),
            Self::Forwarded(reason) => format!("gateway; fwd={}", reason.as_str()),
            Self::Revalidated(reason) => {
                format!("gateway; fwd={}; fwd-status=304; stored", reason.as_str())
            }
            Self::Fetched {
                forwarded,
                status,
                stored,
            } => {
                let mut text = format!("gateway; fwd={}", forwarded.as_str());
                if let Some(status) = status {
                    text.push_str("; fwd-status=");
                    text.push_str(status.as_str());
                }
                if stored {
                    text.push_str("; stored");
                }
                text
            }
        };
        if let Ok(value) = HeaderValue::try_from(text) {
            response.headers_mut().append(CACHE_STATUS, value);
        }
    }

    fn counter(self, metrics: &CacheMetrics) -> &Counter {
        match self {
            Self::Hit { .. } => &metrics.hit,
            Self::Forwarded(_) => &metrics.bypass,
            Self::Revalidated(_) => &metrics.revalidated,
            Self::Fetched {
                forwarded: Forwarded::Stale,
                ..
            } => &metrics.expired,
            Self::Fetched { .. } => &metrics.miss,
        }
    }
}
