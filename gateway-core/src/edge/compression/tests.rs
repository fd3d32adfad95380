//! Which coding is chosen, which answers get one, and what their heads say then. No socket is opened here.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Accepted, apply};
use crate::config::{self, Coding, CompressionConfig};
use crate::edge::client::Client;

const CODINGS: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

fn config() -> CompressionConfig {
    CompressionConfig {
        codings: CODINGS.to_vec(),
        min_bytes: 1024,
    }
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

fn client(fields: &[(&'static str, &str)]) -> Client {
    let text = r#"
        [server]
        address = "127.0.0.1:0"
        [admin]
        address = "127.0.0.1:0"
        [csrf]
        cookie = "session"
    "#;
    Client::of(
        &headers(fields),
        &config::from_text(&[text]).unwrap(),
        false,
    )
}

#[test]
fn a_client_gets_what_it_likes_best() {
    for (accept, chosen) in [
        (&[][..], None),
        (&[""], None),
        (&["gzip"], Some("gzip")),
        (&["x-gzip"], Some("gzip")),
        (&["GZip"], Some("gzip")),
        (&["br"], Some("br")),
        (&["gzip, deflate, br, zstd"], Some("zstd")),
        (&["gzip, deflate, br"], Some("br")),
        (&["gzip", "br"], Some("br")),
        (&["gzip;q=1.0, br;q=0.8"], Some("gzip")),
        (&["gzip; Q=0.001"], Some("gzip")),
        (&["gzip;q=0"], None),
        (&["gzip;q=0.0, br;q=0.000"], None),
        (&["*"], Some("zstd")),
        (&["*, zstd;q=0"], Some("br")),
        (&["*;q=0"], None),
        (&["br;q=0.5, *;q=0.1"], Some("br")),
        (&["identity"], None),
        (&["identity, gzip;q=0.5"], None),
        (&["identity;q=0.5, gzip"], Some("gzip")),
        (&["identity;q=0.5, gzip;q=0.5"], Some("gzip")),
        (&["identity;q=0, gzip;q=0.1"], Some("gzip")),
        (&["deflate, compress"], None),
        // What is no weight says nothing about its coding.
        (&["gzip;q=2"], None),
        (&["gzip;q=1.001"], None),
        (&["gzip;q=0.1234"], None),
        (&["gzip;q=-1"], None),
        (&["gzip;q"], None),
        (&["gzip;level=9;q=0.5"], Some("gzip")),
        (&[",, gzip ,"], Some("gzip")),
    ] {
        let fields: Vec<_> = accept
            .iter()
            .map(|value| ("accept-encoding", *value))
            .collect();
        let best = Accepted::of(&headers(&fields)).best(&CODINGS);
        assert_eq!(best.map(Coding::name), chosen, "{accept:?}");
    }
}

#[test]
fn only_text_that_is_long_enough_and_may_be_changed_is_coded() {
    const JSON: (&str, &str) = ("content-type", "application/json");
    for (status, length, fields, vary, coded) in [
        (200, 2000, &[JSON][..], true, true),
        (200, 1024, &[JSON], true, true),
        (200, 1023, &[JSON], false, false),
        (200, 0, &[JSON], false, false),
        (
            404,
            2000,
            &[("content-type", "application/problem+json")],
            true,
            true,
        ),
        (
            200,
            2000,
            &[("content-type", "text/html; charset=utf-8")],
            true,
            true,
        ),
        (200, 2000, &[("content-type", "Image/SVG+xml")], true, true),
        (
            200,
            2000,
            &[("content-type", "text/event-stream")],
            false,
            false,
        ),
        (200, 2000, &[("content-type", "image/png")], false, false),
        (
            200,
            2000,
            &[("content-type", "application/zip")],
            false,
            false,
        ),
        (
            200,
            2000,
            &[("content-type", "application/grpc")],
            false,
            false,
        ),
        (200, 2000, &[], false, false),
        (200, 2000, &[JSON, ("content-encoding", "br")], false, false),
        (
            200,
            2000,
            &[JSON, ("content-encoding", "identity")],
            false,
            false,
        ),
        (
            200,
            2000,
            &[JSON, ("cache-control", "private, No-Transform")],
            false,
            false,
        ),
        (
            200,
            2000,
            &[JSON, ("cache-control", "no-cache")],
            true,
            true,
        ),
        (
            200,
            2000,
            &[JSON, ("content-range", "bytes 0-1/2")],
            false,
            false,
        ),
        (
            200,
            2000,
            &[JSON, ("repr-digest", "sha-256=:x:")],
            false,
            false,
        ),
        (206, 2000, &[JSON], false, false),
        (204, 0, &[JSON], false, false),
    ] {
        for likes in [true, false] {
            let accept = if likes { "gzip" } else { "identity" };
            let mut response = Response::new(Body::from("x".repeat(length)));
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            *response.headers_mut() = headers(fields);
            let before = response.headers().get("content-encoding").cloned();
            let response = apply(
                response,
                &client(&[("accept-encoding", accept)]),
                false,
                &config(),
            );
            let found = response.headers();
            assert_eq!(
                found.contains_key("vary"),
                vary,
                "{status} {length} {fields:?}"
            );
            let now = found.get("content-encoding");
            if coded && likes {
                assert_eq!(now.unwrap(), "gzip", "{status} {length} {fields:?}");
            } else {
                assert_eq!(now, before.as_ref(), "{status} {length} {fields:?}");
            }
        }
    }
}

#[test]
fn a_coded_answers_head_says_what_is_true_of_it() {
    let answer = |etag: &str| {
        let mut response = Response::new(Body::from("x".repeat(2000)));
        *response.headers_mut() = headers(&[
            ("content-type", "text/plain"),
            ("content-length", "2000"),
            ("accept-ranges", "bytes"),
            ("etag", etag),
            ("vary", "origin"),
        ]);
        response
    };
    let gzip = client(&[("accept-encoding", "gzip")]);
    let get = apply(answer("\"v1\""), &gzip, false, &config());
    assert_eq!(get.headers()["etag"], "W/\"v1\"");
    assert!(!get.headers().contains_key("content-length"));
    assert!(!get.headers().contains_key("accept-ranges"));
    let vary: Vec<_> = get.headers().get_all("vary").iter().collect();
    assert_eq!(vary, ["origin", "accept-encoding"]);
    assert_eq!(
        apply(answer("W/\"v1\""), &gzip, false, &config()).headers()["etag"],
        "W/\"v1\""
    );
    // The same head without the body, which a forwarded HEAD never had.
    let head = apply(
        answer("\"v1\"").map(|_| Body::empty()),
        &gzip,
        true,
        &config(),
    );
    assert_eq!(head.headers(), get.headers());
    // Nothing changes for a client that likes none, but that others get something else.
    let plain = apply(answer("\"v1\""), &client(&[]), false, &config());
    assert_eq!(plain.headers()["etag"], "\"v1\"");
    assert_eq!(plain.headers()["content-length"], "2000");

    let mut known = Response::new(Body::empty());
    *known.status_mut() = http::StatusCode::NOT_MODIFIED;
    known
        .headers_mut()
        .insert("etag", "\"v1\"".parse().unwrap());
    let known = apply(known, &gzip, false, &config());
    assert_eq!(known.headers()["etag"], "W/\"v1\"");
    assert_eq!(known.headers()["vary"], "accept-encoding");
}

#[test]
fn who_may_have_made_a_browser_ask_learns_no_lengths() {
    let cookie = ("cookie", "session=x");
    for (fields, off) in [
        (&[][..], false),
        (&[("sec-fetch-site", "cross-site")], false),
        (&[cookie], true),
        (&[cookie, ("sec-fetch-site", "cross-site")], true),
        (&[cookie, ("sec-fetch-site", "same-site")], true),
        (&[cookie, ("sec-fetch-site", "same-origin")], false),
        (&[cookie, ("sec-fetch-site", "none")], false),
        (&[cookie, ("authorization", "Bearer x")], false),
    ] {
        assert_eq!(super::is_off(true, &client(fields)), off, "{fields:?}");
        assert!(super::is_off(false, &client(fields)));
    }
}
