//! The storefront and GraphiQL as browsers get them, and the files that are built into this binary. That these are what
//! their sources make is tested in `tests/it/assets.rs`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use std::io::Read;

use serde_json::Value;

use super::as_usual;
use super::fake::{As, World};
use crate::pages::ASSETS;

const PAGES: [&str; 8] = [
    "/",
    "/restaurants/restaurant-1",
    "/checkout",
    "/orders",
    "/orders/order-1",
    "/kitchen",
    "/kitchen/restaurant-1",
    "/graphiql",
];

/// The value of an attribute, as often as it is there.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!(" {name}=\"");
    html.split(&*begin)
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect()
}

#[tokio::test]
async fn pages_load_from_here_alone_and_only_what_carries_their_nonce() {
    let world = World::start(as_usual).await;
    let mut nonces = BTreeSet::new();
    let mut files = BTreeSet::new();
    for path in PAGES {
        let page = world.get(path).send().await.unwrap();
        assert_eq!(page.status(), 200, "{path}");
        let header = |name: &str| page.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "text/html; charset=utf-8");
        assert_eq!(header("cache-control"), "no-cache");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("cross-origin-opener-policy"), "same-origin");
        assert!(page.headers().contains_key("referrer-policy"));
        let policy = header("content-security-policy");
        let html = page.text().await.unwrap();

        let nonce = attributes(&html, "nonce")[0].to_owned();
        for part in [
            "default-src 'none'".to_owned(),
            format!("script-src 'nonce-{nonce}'"),
            format!("style-src 'nonce-{nonce}'"),
            "connect-src 'self'".to_owned(),
            "base-uri 'none'".to_owned(),
            "form-action 'none'".to_owned(),
            "frame-ancestors 'none'".to_owned(),
        ] {
            assert!(policy.split("; ").any(|found| found == part), "{policy}");
        }
        // Nothing beside these: no host, no scheme but `data:`, nothing unsafe. The nonce is any text of Base64, `//` included.
        let own_nonce = format!("'nonce-{nonce}'");
        for directive in policy.split("; ") {
            for source in directive.split(' ').skip(1) {
                let known = ["'none'", "'self'", "'script'", "data:", &own_nonce];
                assert!(known.contains(&source), "{policy}");
            }
        }
        let is_graphiql = path == "/graphiql";
        let trusted_types = policy.contains("require-trusted-types-for 'script'");
        assert_eq!(trusted_types, !is_graphiql, "{policy}");

        assert!(!html.contains("://") && !html.contains('{'), "{html}");
        assert!(
            !html.contains("<style") && !html.contains(" style="),
            "{html}"
        );
        for line in html.lines() {
            let needs_one = line.contains("<script") || line.contains("rel=\"stylesheet\"");
            assert_eq!(line.contains(&nonce), needs_one, "{line}");
        }
        assert!(nonces.insert(nonce), "a nonce was used twice");
        for file in [attributes(&html, "src"), attributes(&html, "href")].concat() {
            files.insert(file.to_owned());
        }
    }
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let response = world.get(&file).send().await.unwrap();
        assert_eq!(response.status(), 200, "{file}");
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let immutable = "public, max-age=31536000, immutable";
        assert_eq!(header("cache-control"), immutable, "{file}");
        let known = world.get(&file).header("if-none-match", header("etag"));
        assert_eq!(known.send().await.unwrap().status(), 304, "{file}");
    }
    for missing in ["/assets/storefront.js", "/assets/", "/kitchen/a/b", "/else"] {
        let response = world.get(missing).send().await.unwrap();
        assert_eq!(response.status(), 404, "{missing}");
    }
}

/// GraphiQL is there in production, too: what it may not see there is the schema.
#[tokio::test]
async fn the_shipped_configuration_shows_nobody_the_schema() {
    let world = World::start(as_usual).await;
    let query = "{ __schema { types { name } } __type(name: \"Order\") { name } }";
    for who in [As::Nobody, As::Consumer] {
        let answer = world.ask(who, query, Value::Null).await;
        for field in ["__schema", "__type"] {
            assert!(answer["data"][field].is_null(), "{answer}");
        }
    }
}

#[test]
fn coded_files_are_the_plain_ones() {
    let mut coded = 0;
    for asset in ASSETS.0 {
        let mut plain = Vec::new();
        if let Some(bytes) = asset.brotli {
            brotli::Decompressor::new(bytes, 4096)
                .read_to_end(&mut plain)
                .unwrap();
            assert!(plain == asset.plain, "{}.br", asset.file);
            coded += 1;
        }
        plain.clear();
        if let Some(bytes) = asset.gzip {
            flate2::read::GzDecoder::new(bytes)
                .read_to_end(&mut plain)
                .unwrap();
            assert!(plain == asset.plain, "{}.gz", asset.file);
            coded += 1;
        }
    }
    assert!(coded >= 8, "{coded}");
}

#[test]
fn the_storefront_is_light() {
    let size = |begin: &str, end: &str| -> usize {
        let names = |file: &str| file.starts_with(begin) && file.ends_with(end);
        let found = ASSETS.0.iter().find(|asset| names(asset.file)).unwrap();
        found.gzip.unwrap_or(found.plain).len()
    };
    assert!(size("storefront-", ".js") < 40_000);
    assert!(size("storefront-style-", ".css") < 8_000);
    assert!(size("bricolage-", ".woff2") < 30_000);
}
