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

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{RESERVED, strip};
    use crate::auth::internal_token::X_INTERNAL_TOKEN;

    #[test]
    fn what_only_the_gateway_may_say_is_gone_however_often_it_was_said() {
        let mut headers = HeaderMap::new();
        for name in RESERVED {
            for value in ["forged", "forged again"] {
                headers.append(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
        }
        headers.insert("accept", HeaderValue::from_static("*/*"));
        assert!(headers.contains_key(X_INTERNAL_TOKEN));
        strip(&mut headers);
        assert_eq!(headers.len(), 1, "{headers:?}");
    }
}
