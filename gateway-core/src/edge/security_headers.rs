//! Fields that tell browsers what not to do with an answer (OWASP's secure headers). What clients' scripts may read is
//! `cors.rs`'s; that services do not speak for us here is seen to in `proxy/headers.rs`.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::config::{Hsts, SecurityHeadersConfig};

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");
const CROSS_ORIGIN_OPENER_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const DENY: HeaderValue = HeaderValue::from_static("DENY");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Of data, which is no page.
const NOTHING_ALLOWED: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Sets them on an answer. `secure`: it goes over TLS.
pub(super) fn set(
    headers: &mut HeaderMap,
    status: StatusCode,
    secure: bool,
    config: &SecurityHeadersConfig,
) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(X_FRAME_OPTIONS, DENY);
    // RFC 6797, 7.2: never over plain text.
    let hsts = match config.hsts {
        Hsts::Off => false,
        Hsts::Tls => secure,
        Hsts::Always => true,
    };
    if hsts {
        headers.insert(STRICT_TRANSPORT_SECURITY, config.hsts_value.clone());
    } else {
        headers.remove(STRICT_TRANSPORT_SECURITY);
    }
    // A page knows better what it needs; data needs nothing.
    let mut unless_said = |name: HeaderName, value: &HeaderValue| {
        headers.entry(name).or_insert_with(|| value.clone());
    };
    unless_said(REFERRER_POLICY, &config.referrer_policy);
    unless_said(CROSS_ORIGIN_RESOURCE_POLICY, &config.resource_policy);
    unless_said(CONTENT_SECURITY_POLICY, &NOTHING_ALLOWED);
    if status.is_client_error() || status.is_server_error() {
        unless_said(CACHE_CONTROL, &NO_STORE);
    }
    if is_page(headers) {
        let mut unless_said = |name: HeaderName, value: &HeaderValue| {
            headers.entry(name).or_insert_with(|| value.clone());
        };
        unless_said(PERMISSIONS_POLICY, &config.permissions_policy);
        unless_said(
            CROSS_ORIGIN_OPENER_POLICY,
            &HeaderValue::from_static("same-origin"),
        );
    }
}

fn is_page(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let starts = |kind: &[u8]| {
            let start = value.as_bytes().get(..kind.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(kind))
        };
        starts(b"text/html") || starts(b"application/xhtml")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(hsts: Hsts) -> SecurityHeadersConfig {
        SecurityHeadersConfig {
            hsts,
            hsts_value: HeaderValue::from_static("max-age=60"),
            referrer_policy: HeaderValue::from_static("no-referrer"),
            resource_policy: HeaderValue::from_static("same-origin"),
            permissions_policy: HeaderValue::from_static("camera=()"),
        }
    }

    #[test]
    fn hsts_goes_over_tls_or_when_configured() {
        for (hsts, secure, there) in [
            (Hsts::Off, true, false),
            (Hsts::Tls, false, false),
            (Hsts::Tls, true, true),
            (Hsts::Always, false, true),
        ] {
            let mut headers = HeaderMap::new();
            // Nobody else decides it for the whole host.
            let theirs = HeaderValue::from_static("max-age=1; preload");
            headers.insert(STRICT_TRANSPORT_SECURITY, theirs);
            set(&mut headers, StatusCode::OK, secure, &config(hsts));
            let found = headers.get(STRICT_TRANSPORT_SECURITY);
            assert_eq!(
                found.is_some_and(|value| value == "max-age=60"),
                there,
                "{hsts:?}"
            );
            assert_eq!(found.is_some(), there, "{hsts:?}");
        }
    }

    #[test]
    fn a_page_says_what_it_needs_and_data_needs_nothing() {
        let mut page = HeaderMap::new();
        for (name, value) in [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, "default-src 'self'"),
            (X_FRAME_OPTIONS, "SAMEORIGIN"),
        ] {
            page.insert(name, HeaderValue::from_static(value));
        }
        let mut data = HeaderMap::new();
        set(&mut page, StatusCode::OK, false, &config(Hsts::Tls));
        set(&mut data, StatusCode::OK, false, &config(Hsts::Tls));
        assert_eq!(page[CONTENT_SECURITY_POLICY], "default-src 'self'");
        assert_eq!(page[X_FRAME_OPTIONS], "DENY");
        assert_eq!(page[PERMISSIONS_POLICY], "camera=()");
        assert_eq!(page[CROSS_ORIGIN_OPENER_POLICY], "same-origin");
        assert!(!data.contains_key(PERMISSIONS_POLICY));
        assert!(!data.contains_key(CACHE_CONTROL));
        assert_eq!(data[CROSS_ORIGIN_RESOURCE_POLICY], "same-origin");
        let policy = "default-src 'none'; frame-ancestors 'none'";
        assert_eq!(data[CONTENT_SECURITY_POLICY], policy);
        for headers in [&page, &data] {
            assert!(
                headers
                    .keys()
                    .all(|name| headers.get_all(name).iter().count() == 1)
            );
        }
    }

    #[test]
    fn errors_are_kept_by_nobody_unless_somebody_says_so() {
        let mut headers = HeaderMap::new();
        set(
            &mut headers,
            StatusCode::NOT_FOUND,
            false,
            &config(Hsts::Tls),
        );
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=5"));
        set(
            &mut headers,
            StatusCode::NOT_FOUND,
            false,
            &config(Hsts::Tls),
        );
        assert_eq!(headers[CACHE_CONTROL], "max-age=5");
    }
}
