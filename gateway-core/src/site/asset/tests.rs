//! Which bytes a client gets, under which validator.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use axum::response::Response;
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, HeaderName, HeaderValue, IF_NONE_MATCH};
use http_body_util::BodyExt;

use super::{Asset, Assets};

const ASSETS: Assets = Assets(&[
    Asset {
        file: "widgets-1a.js",
        media_type: "text/javascript; charset=utf-8",
        plain: b"plain",
        brotli: Some(b"brotli"),
        gzip: Some(b"gzip"),
    },
    Asset {
        file: "picture-2b.woff2",
        media_type: "font/woff2",
        plain: b"font",
        brotli: None,
        gzip: None,
    },
    Asset {
        file: "old-3c.css",
        media_type: "text/css; charset=utf-8",
        plain: b"style",
        brotli: None,
        gzip: Some(b"zipped"),
    },
]);

fn ask(file: &str, fields: &[(HeaderName, &'static str)]) -> Response {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, HeaderValue::from_static(value));
    }
    ASSETS.answer(file, &headers).unwrap()
}

async fn body(response: Response) -> Vec<u8> {
    let body = response.into_body().collect().await.unwrap();
    body.to_bytes().to_vec()
}

#[tokio::test]
async fn each_client_gets_the_coding_that_it_likes_best_of_those_that_are_there() {
    for (file, accept, coding, bytes, etag) in [
        (
            "widgets-1a.js",
            "gzip, br",
            Some("br"),
            "brotli",
            "\"widgets-1a.js.br\"",
        ),
        (
            "widgets-1a.js",
            "gzip, deflate, br, zstd",
            Some("br"),
            "brotli",
            "\"widgets-1a.js.br\"",
        ),
        (
            "widgets-1a.js",
            "br;q=0.5, gzip",
            Some("gzip"),
            "gzip",
            "\"widgets-1a.js.gzip\"",
        ),
        ("widgets-1a.js", "zstd", None, "plain", "\"widgets-1a.js\""),
        (
            "widgets-1a.js",
            "identity",
            None,
            "plain",
            "\"widgets-1a.js\"",
        ),
        (
            "widgets-1a.js",
            "br;q=0",
            None,
            "plain",
            "\"widgets-1a.js\"",
        ),
        (
            "picture-2b.woff2",
            "br, gzip",
            None,
            "font",
            "\"picture-2b.woff2\"",
        ),
        (
            "old-3c.css",
            "br, gzip",
            Some("gzip"),
            "zipped",
            "\"old-3c.css.gzip\"",
        ),
    ] {
        let response = ask(file, &[(ACCEPT_ENCODING, accept)]);
        let headers = response.headers();
        let found = headers.get("content-encoding");
        assert_eq!(
            found.map(|value| value.to_str().unwrap()),
            coding,
            "{file} {accept}"
        );
        assert_eq!(headers["etag"], etag, "{file} {accept}");
        assert_eq!(headers["vary"], "accept-encoding");
        assert_eq!(
            headers["cache-control"],
            "public, max-age=31536000, immutable"
        );
        assert_eq!(body(response).await, bytes.as_bytes(), "{file} {accept}");
    }
}

#[tokio::test]
async fn who_has_the_content_in_any_coding_is_sent_nothing() {
    for tag in [
        "\"widgets-1a.js\"",
        "W/\"widgets-1a.js\"",
        "\"else\", \"widgets-1a.js.gzip\"",
        "W/\"widgets-1a.js.br\"",
        "*",
    ] {
        let known = (IF_NONE_MATCH, tag);
        let response = ask("widgets-1a.js", &[(ACCEPT_ENCODING, "br"), known]);
        assert_eq!(response.status(), 304, "{tag}");
        let headers = response.headers();
        assert!(!headers.contains_key("content-encoding"), "{tag}");
        assert_eq!(headers["etag"], "\"widgets-1a.js.br\"");
        assert_eq!(
            headers["cache-control"],
            "public, max-age=31536000, immutable"
        );
        assert!(body(response).await.is_empty(), "{tag}");
    }
    let other = ask("widgets-1a.js", &[(IF_NONE_MATCH, "\"widgets-0f.js\"")]);
    assert_eq!(other.status(), 200);
}

#[test]
fn a_name_that_is_not_there_is_not_found() {
    for file in ["", "widgets", "widgets-1a.js.br", "../widgets-1a.js"] {
        assert!(ASSETS.answer(file, &HeaderMap::new()).is_err(), "{file}");
    }
}
