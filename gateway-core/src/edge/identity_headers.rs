//! Headers by which only the gateway may say who is calling and where from: a client's own are removed on every request.
//! What is true is set again for the upstream (`proxy/headers.rs`).

use http::{HeaderMap, HeaderName};

/// Removed whatever they say, as is everything that begins with [`FORWARDED`].
const RESERVED: [&str; 10] = [
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-real-ip",
    "cf-connecting-ip",
    "x-original-url",
    "x-rewrite-url",
    "x-original-host",
    "x-http-method-override",
    "x-internal-token",
];

const FORWARDED: &str = "x-forwarded-";

pub(super) fn strip(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_reserved(name.as_str()))
        .cloned()
        .collect();
    for name in claims {
        headers.remove(name);
    }
}

/// Whether a client has no say in it.
pub(crate) fn is_reserved(name: &str) -> bool {
    // Some services read both marks as the same (CGI's variables).
    if name.contains('_') {
        return is_reserved(&name.replace('_', "-"));
    }
    name.starts_with(FORWARDED) || RESERVED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_services_believe_is_for_us_to_say() {
        for name in [
            "forwarded",
            "x-forwarded-user",
            "x_forwarded-for",
            "x_real_ip",
        ] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["x-request-id", "host", "accept", "traceparent"] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
