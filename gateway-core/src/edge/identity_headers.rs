//! Headers by which only the gateway may say who is calling and where from: a client's own are removed on every request.

use http::HeaderMap;

/// Removed whatever they say; what is true is set again for the upstream (`proxy.rs`).
const RESERVED: [&str; 8] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-real-ip",
    "x-internal-token",
];

pub(super) fn strip(headers: &mut HeaderMap) {
    for name in RESERVED {
        headers.remove(name);
    }
}
