//! What the cache did for a request, as `Cache-Status` says it (RFC 9211). What it does is decided in `cache/lookup.rs`.

use std::fmt::Write;
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

/// Why something stale was good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StaleUse {
    /// The client takes it.
    MaxStale,
    WhileRevalidate,
}

/// Whether a request waited for another one's fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collapsed {
    No,
    /// And could use what came of it.
    Yes,
    /// And could not.
    InVain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Hit {
        ttl: Duration,
    },
    /// From what replicas share.
    SecondLevel {
        ttl: Duration,
    },
    Stale {
        by: Duration,
        why: StaleUse,
    },
    /// Not the cache's business.
    Forwarded(Forwarded),
    Fetched {
        forwarded: Forwarded,
        /// The service's status, where that is not the answer's own.
        status: Option<StatusCode>,
        /// Whether it is kept once it is complete.
        stored: bool,
        collapsed: Collapsed,
    },
    /// The service failed.
    StoodIn {
        forwarded: Forwarded,
        status: Option<StatusCode>,
        by: Duration,
    },
}

impl Outcome {
    /// Adds itself after what caches nearer to the service have said, and is counted.
    pub(super) fn mark(self, response: &mut Response<Body>, metrics: &CacheMetrics) {
        self.counter(metrics).increment(1);
        if let Ok(value) = HeaderValue::try_from(self.text()) {
            response.headers_mut().append(CACHE_STATUS, value);
        }
    }

    fn text(self) -> String {
        let mut text = String::with_capacity(64);
        text.push_str("gateway");
        // Writing to a string does not fail.
        let _ = match self {
            Self::Hit { ttl } => write!(text, "; hit; ttl={}", ttl.as_secs()),
            Self::SecondLevel { ttl } => {
                write!(text, "; hit; ttl={}; detail=second-level", ttl.as_secs())
            }
            Self::Stale { by, why } => {
                let why = match why {
                    StaleUse::MaxStale => "max-stale",
                    StaleUse::WhileRevalidate => "stale-while-revalidate",
                };
                write!(text, "; hit; ttl={}; detail={why}", negative(by))
            }
            Self::Forwarded(reason) => write!(text, "; fwd={}", reason.as_str()),
            Self::Fetched {
                forwarded,
                status,
                stored,
                collapsed,
            } => {
                fetched(&mut text, forwarded, status);
                text.push_str(if stored { "; stored" } else { "" });
                text.push_str(match collapsed {
                    Collapsed::No => "",
                    Collapsed::Yes => "; collapsed",
                    Collapsed::InVain => "; collapsed=?0",
                });
                Ok(())
            }
            Self::StoodIn {
                forwarded,
                status,
                by,
            } => {
                fetched(&mut text, forwarded, status);
                write!(text, "; ttl={}; detail=stale-if-error", negative(by))
            }
        };
        text
    }

    fn counter(self, metrics: &CacheMetrics) -> &Counter {
        match self {
            Self::Hit { .. } => &metrics.hit,
            Self::SecondLevel { .. } => &metrics.second_level,
            Self::Stale { .. } | Self::StoodIn { .. } => &metrics.stale,
            Self::Forwarded(_) => &metrics.bypass,
            Self::Fetched {
                collapsed: Collapsed::Yes,
                ..
            } => &metrics.collapsed,
            Self::Fetched {
                status: Some(StatusCode::NOT_MODIFIED),
                ..
            } => &metrics.revalidated,
            Self::Fetched {
                forwarded: Forwarded::Stale,
                ..
            } => &metrics.expired,
            Self::Fetched { .. } => &metrics.miss,
        }
    }
}

fn fetched(text: &mut String, forwarded: Forwarded, status: Option<StatusCode>) {
    text.push_str("; fwd=");
    text.push_str(forwarded.as_str());
    if let Some(status) = status {
        text.push_str("; fwd-status=");
        text.push_str(status.as_str());
    }
}

/// A lifetime that has been over for so long; never 0, which would not be over.
fn negative(by: Duration) -> i64 {
    i64::try_from(by.as_secs()).map_or(i64::MIN, |by| -by.max(1))
}
