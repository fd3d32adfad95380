//! Files and pages out of the binary as browsers get them: one coding and no second one on top, validators that hold, and
//! the fields that keep a page to itself. The rules are tested beside their code.

use super::world::World;
use crate::site::{Asset, Assets, Page};

/// Longer than what is coded on the way out.
const PLAIN: &[u8] = &[b'x'; 4096];

pub(super) const ASSETS: Assets = Assets(&[
    Asset {
        file: "widgets-1a.js",
        media_type: "text/javascript; charset=utf-8",
        plain: PLAIN,
        brotli: Some(b"once and for all"),
        gzip: None,
    },
    Asset {
        file: "shapes-2b.svg",
        media_type: "image/svg+xml",
        plain: PLAIN,
        brotli: None,
        gzip: None,
    },
]);

pub(super) const PAGE: Page = Page {
    html: "<!doctype html><script nonce=\"{nonce}\" src=\"/assets/widgets-1a.js\"></script>",
    policy: "default-src 'none'; script-src 'nonce-{nonce}'; frame-ancestors 'none'",
};

const FOREVER: &str = "public, max-age=31536000, immutable";

#[tokio::test]
async fn what_was_coded_once_is_not_coded_again() {
    let world = World::start().await;
    let line = "GET /assets/widgets-1a.js";
    let coded = world
        .raw(&world.head(line, &["Accept-Encoding: gzip, deflate, br, zstd"]))
        .await;
    assert_eq!(coded.status, 200, "{coded:?}");
    assert_eq!(coded.all("content-encoding"), ["br"]);
    assert_eq!(coded.header("content-length"), Some("16"));
    assert_eq!(coded.body, "once and for all");
    assert_eq!(coded.header("etag"), Some("\"widgets-1a.js.br\""));
    assert_eq!(coded.all("vary"), ["accept-encoding"]);
    assert_eq!(coded.header("cache-control"), Some(FOREVER));
    assert_eq!(coded.header("x-content-type-options"), Some("nosniff"));

    // A coding that is not there is made on the way out, and the validator says so.
    let other = world
        .raw(&world.head(line, &["Accept-Encoding: gzip"]))
        .await;
    assert_eq!(other.all("content-encoding"), ["gzip"]);
    assert_eq!(other.header("etag"), Some("W/\"widgets-1a.js\""));
    let plain = world.get("/assets/widgets-1a.js").await;
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(plain.body.as_bytes(), PLAIN);
    assert_eq!(plain.all("vary"), ["accept-encoding"]);
    let picture = world
        .raw(&world.head("HEAD /assets/shapes-2b.svg", &[]))
        .await;
    assert_eq!(picture.header("content-type"), Some("image/svg+xml"));
    assert_eq!(picture.header("content-length"), Some("4096"));
    assert_eq!(picture.body, "");
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again_and_what_is_not_there_is_kept_by_nobody() {
    let world = World::start().await;
    for tag in [
        "\"widgets-1a.js.br\"",
        "W/\"widgets-1a.js\"",
        "\"widgets-1a.js\"",
    ] {
        let known = format!("If-None-Match: {tag}");
        let fields = ["Accept-Encoding: br", &known];
        let reply = world
            .raw(&world.head("GET /assets/widgets-1a.js", &fields))
            .await;
        assert_eq!((reply.status, reply.body.as_str()), (304, ""), "{tag}");
        assert_eq!(reply.header("cache-control"), Some(FOREVER), "{tag}");
    }
    let missing = world.get("/assets/widgets-0f.js").await;
    missing.problem(404);
    assert_eq!(missing.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_page_keeps_to_itself() {
    let world = World::start().await;
    let page = world.get("/page").await;
    assert_eq!(page.status, 200, "{page:?}");
    let nonce = page.body.split('"').nth(1).unwrap_or_default();
    let policy = format!("default-src 'none'; script-src 'nonce-{nonce}'; frame-ancestors 'none'");
    for (name, value) in [
        ("content-security-policy", policy.as_str()),
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(page.all(name), [value], "{page:?}");
    }
    for name in ["referrer-policy", "permissions-policy"] {
        assert!(page.header(name).is_some(), "{name}");
    }
    assert_eq!(page.header("etag"), None);
    assert_ne!(world.get("/page").await.body, page.body);
}

/// Whoever comes with what is worth nothing is refused elsewhere; a page is the same for everybody.
#[tokio::test]
async fn a_page_does_not_ask_who_comes() {
    let world = World::start().await;
    for credentials in ["X-API-Key: nonsense", "Authorization: Bearer nonsense"] {
        let ask = async |path: &str| {
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: gateway.example\r\nConnection: close\r\n{credentials}\r\n\r\n"
            );
            world.raw(&head).await
        };
        ask("/html").await.problem(401);
        for path in ["/page", "/assets/widgets-1a.js"] {
            assert_eq!(ask(path).await.status, 200, "{path} {credentials}");
        }
    }
}
