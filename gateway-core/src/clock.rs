//! The time of day as tokens and cookies tell it. How long something takes is measured elsewhere, by `tokio::time::Instant`.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the epoch (RFC 7519, 2: `NumericDate`); zero on a clock before it.
pub(crate) fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
