//! The rule, case by case. That the edge keeps to it is tested in `wire_tests/browsers.rs`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use http::{HeaderMap, HeaderName, Method};

use super::{Credential, Own, check};
use crate::config::{CsrfConfig, CsrfRule};

fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), value.parse().unwrap());
    }
    headers
}

const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");
const NONE: (&str, &str) = ("sec-fetch-site", "none");
const NAVIGATE: (&str, &str) = ("sec-fetch-mode", "navigate");
const USER: (&str, &str) = ("sec-fetch-user", "?1");
const HEADER: (&str, &str) = ("x-csrf", "1");
const WEBSOCKET: (&str, &str) = ("upgrade", "websocket");
const OURS: (&str, &str) = ("origin", "https://shop.example");

#[test]
fn what_comes_from_our_own_pages_passes() {
    use CsrfRule::{Exempt, Origin, OriginAndHeader};
    let post = Method::POST;
    let get = Method::GET;
    type Case<'a> = (CsrfRule, &'a Method, &'a [(&'static str, &'a str)], bool);
    let cases: &[Case<'_>] = &[
        (Origin, &post, &[], false),
        (Origin, &post, &[SAME], true),
        (Origin, &Method::DELETE, &[SAME], true),
        (Origin, &post, &[("sec-fetch-site", "same-site")], false),
        (Origin, &post, &[("sec-fetch-site", "cross-site")], false),
        (Origin, &post, &[("sec-fetch-site", "Same-Origin")], false),
        (Origin, &post, &[("sec-fetch-site", "")], false),
        (
            Origin,
            &post,
            &[SAME, ("sec-fetch-site", "cross-site")],
            false,
        ),
        (Origin, &post, &[NONE], false),
        (Origin, &post, &[NONE, NAVIGATE], false),
        (Origin, &post, &[NONE, NAVIGATE, USER], true),
        (
            Origin,
            &post,
            &[NONE, ("sec-fetch-mode", "cors"), USER],
            false,
        ),
        // Without Fetch Metadata the origin decides.
        (Origin, &post, &[OURS], true),
        (Origin, &post, &[("origin", "https://SHOP.example")], true),
        (Origin, &post, &[("origin", "http://shop.example")], false),
        (
            Origin,
            &post,
            &[("origin", "https://shop.example:8443")],
            false,
        ),
        (
            Origin,
            &post,
            &[("origin", "https://evil.shop.example")],
            false,
        ),
        (
            Origin,
            &post,
            &[("origin", "https://shop.example.evil.example")],
            false,
        ),
        (Origin, &post, &[("origin", "null")], false),
        (Origin, &post, &[("origin", "")], false),
        (
            Origin,
            &post,
            &[OURS, ("origin", "https://evil.example")],
            false,
        ),
        // With Fetch Metadata it does not.
        (
            Origin,
            &post,
            &[("sec-fetch-site", "cross-site"), OURS],
            false,
        ),
        (Origin, &get, &[("sec-fetch-site", "cross-site")], true),
        (Origin, &Method::HEAD, &[], true),
        (OriginAndHeader, &get, &[], true),
        (OriginAndHeader, &post, &[SAME], false),
        (OriginAndHeader, &post, &[SAME, HEADER], true),
        (OriginAndHeader, &post, &[SAME, ("x-csrf", "0")], false),
        (OriginAndHeader, &post, &[SAME, HEADER, HEADER], false),
        (OriginAndHeader, &post, &[HEADER], false),
        (
            OriginAndHeader,
            &post,
            &[("sec-fetch-site", "same-site"), HEADER],
            false,
        ),
        (OriginAndHeader, &post, &[OURS, HEADER], true),
        (Exempt, &post, &[("sec-fetch-site", "cross-site")], true),
        // A handshake needs the very origin, and no header: scripts cannot set one.
        (Origin, &get, &[WEBSOCKET], false),
        (Origin, &get, &[WEBSOCKET, SAME], false),
        (OriginAndHeader, &get, &[WEBSOCKET, OURS], true),
        (Origin, &get, &[WEBSOCKET, OURS, SAME], true),
        (
            Origin,
            &get,
            &[WEBSOCKET, OURS, ("sec-fetch-site", "same-site")],
            false,
        ),
        (
            Origin,
            &get,
            &[
                ("upgrade", "h2c, WebSocket"),
                ("origin", "https://evil.example"),
            ],
            false,
        ),
        (Origin, &Method::CONNECT, &[], false),
        (Exempt, &get, &[WEBSOCKET], true),
    ];
    for (rule, method, fields, passes) in cases {
        let mut headers = map(fields);
        headers.insert("host", "shop.example".parse().unwrap());
        let own = Own {
            listed: &[],
            secure: true,
        };
        let found = check(*rule, method, &headers, &own).is_ok();
        assert_eq!(found, *passes, "{rule:?} {method} {fields:?}");
    }
}

#[test]
fn our_origin_is_the_configured_one_or_that_of_the_request() {
    let listed = ["https://shop.example".to_owned()];
    for (listed, secure, host, origin, own) in [
        (
            &[][..],
            false,
            "a.example:8080",
            "http://a.example:8080",
            true,
        ),
        (&[], false, "a.example:80", "http://a.example", true),
        (&[], true, "a.example:443", "https://a.example", true),
        (&[], true, "a.example:80", "https://a.example", false),
        (&[], false, "a.example", "https://a.example", false),
        (&[], false, "[::1]:80", "http://[::1]", true),
        (
            &listed,
            false,
            "10.0.0.1:8080",
            "https://shop.example",
            true,
        ),
        (
            &listed,
            false,
            "10.0.0.1:8080",
            "http://10.0.0.1:8080",
            false,
        ),
    ] {
        let headers = map(&[("host", host), ("origin", origin)]);
        let found = check(
            CsrfRule::Origin,
            &Method::POST,
            &headers,
            &Own { listed, secure },
        );
        assert_eq!(found.is_ok(), own, "{host} {origin}");
    }
}

#[test]
fn a_request_is_judged_by_one_credential() {
    let config = CsrfConfig {
        cookie: Some("__Host-session".to_owned()),
        ..CsrfConfig::default()
    };
    let cookie = ("cookie", "__Host-session=abc");
    for (fields, expected) in [
        (&[][..], Credential::None),
        (&[("cookie", "theme=dark")], Credential::None),
        (&[("cookie", "x__Host-session=abc")], Credential::None),
        (&[cookie], Credential::Cookie),
        (
            &[("cookie", "theme=dark; __Host-session=")],
            Credential::Cookie,
        ),
        (
            &[("cookie", "theme=dark;__Host-session =abc")],
            Credential::Cookie,
        ),
        (&[("cookie", "theme=dark"), cookie], Credential::Cookie),
        (&[cookie, ("authorization", "Bearer x")], Credential::Field),
        (&[cookie, ("authorization", "")], Credential::Field),
        (&[cookie, ("x-api-key", "x")], Credential::Field),
    ] {
        assert_eq!(
            Credential::of(&map(fields), &config),
            expected,
            "{fields:?}"
        );
    }
    let none = CsrfConfig::default();
    assert_eq!(Credential::of(&map(&[cookie]), &none), Credential::None);
}
