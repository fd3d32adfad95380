//! Content coding as clients see it: what is coded and what never is, heads that are true, and streams that keep flowing.
//! Which coding and which media types, case by case, is tested beside the code.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io::Read;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::world::{Reply, World, dechunked, long};

const GZIP: &str = "Accept-Encoding: gzip";

fn decoded(reply: &Reply) -> String {
    let bytes = reply.content();
    let mut plain = String::new();
    match reply.header("content-encoding") {
        Some("gzip") => {
            flate2::read::GzDecoder::new(&bytes[..])
                .read_to_string(&mut plain)
                .unwrap();
        }
        Some("br") => {
            brotli::Decompressor::new(&bytes[..], 4096)
                .read_to_string(&mut plain)
                .unwrap();
        }
        Some("zstd") => {
            plain = String::from_utf8(zstd::stream::decode_all(&bytes[..]).unwrap()).unwrap();
        }
        _ => plain = String::from_utf8(bytes).unwrap(),
    }
    plain
}

#[tokio::test]
async fn composed_and_forwarded_text_is_coded_as_the_client_likes() {
    let world = World::start().await;
    for (path, plain) in [
        ("/long", format!("\"{}\"", long())),
        ("/parts/text", long()),
    ] {
        for (accept, coding) in [
            ("gzip", Some("gzip")),
            ("br;q=1, gzip;q=0.5", Some("br")),
            ("zstd, br, gzip", Some("zstd")),
            ("gzip;q=0", None),
            ("identity", None),
        ] {
            let field = format!("Accept-Encoding: {accept}");
            let get = world
                .raw(&world.head(&format!("GET {path}"), &[&field]))
                .await;
            assert_eq!(get.header("content-encoding"), coding, "{path} {accept}");
            assert_eq!(decoded(&get), plain, "{path} {accept}");
            assert!(get.all("vary").contains(&"accept-encoding"), "{get:?}");
            if coding.is_some() {
                assert!(get.content().len() < 500, "{path} {accept}");
                assert_eq!(get.header("content-length"), None);
                assert_eq!(get.header("accept-ranges"), None);
            } else {
                assert_eq!(
                    get.header("content-length").unwrap(),
                    plain.len().to_string()
                );
            }
            let head = world
                .raw(&world.head(&format!("HEAD {path}"), &[&field]))
                .await;
            assert_eq!(head.names(), get.names(), "{path} {accept}");
            assert_eq!(head.header("etag"), get.header("etag"));
            assert_eq!(head.body, "");
        }
    }
    // The smallest problem is not worth it.
    let problem = world.raw(&world.head("GET /nowhere", &[GZIP])).await;
    assert_eq!(problem.header("content-encoding"), None);
}

#[tokio::test]
async fn validators_of_coded_answers_are_weak_and_still_of_use() {
    let world = World::start().await;
    let get = world.raw(&world.head("GET /parts/text", &[GZIP])).await;
    assert_eq!(get.header("etag"), Some("W/\"v1\""));
    let plain = world.get("/parts/text").await;
    assert_eq!(plain.header("etag"), Some("\"v1\""));

    // RFC 9110, 8.8.3.2 and 13.1: If-None-Match compares weakly, If-Match strongly.
    for (field, status) in [
        ("If-None-Match: W/\"v1\"", 304),
        ("If-None-Match: \"v1\"", 304),
        ("If-None-Match: W/\"v2\"", 200),
        ("If-Match: \"v1\"", 200),
    ] {
        let reply = world
            .raw(&world.head("GET /parts/text", &[GZIP, field]))
            .await;
        assert_eq!(reply.status, status, "{field}");
        assert_eq!(reply.header("etag"), Some("W/\"v1\""), "{field}");
        assert!(reply.all("vary").contains(&"accept-encoding"), "{field}");
    }
    let weak = world.head("GET /parts/text", &[GZIP, "If-Match: W/\"v1\""]);
    world.raw(&weak).await.problem(412);
    let plain = world
        .raw(&world.head("GET /parts/text", &["If-None-Match: \"v1\""]))
        .await;
    assert_eq!((plain.status, plain.header("etag")), (304, Some("\"v1\"")));
}

#[tokio::test]
async fn a_route_can_keep_its_answers_as_they_are() {
    let world = World::with(
        r#"
        [policies.long]
        compression = "off"
        [[routes]]
        name = "parts"
        path = "/parts/{*rest}"
        upstream = "parts"
        access = "authenticated"
        compression = "off"
        "#,
    )
    .await;
    let composed = world.raw(&world.head("GET /long", &[GZIP])).await;
    assert_eq!(composed.header("content-encoding"), None);
    let varies = composed.all("vary").concat();
    assert!(!varies.contains("accept-encoding"), "{varies}");
    let forwarded = world.raw(&world.head("GET /parts/text", &[GZIP])).await;
    assert_eq!(forwarded.header("content-encoding"), None);
    assert_eq!(forwarded.header("etag"), Some("\"v1\""));
    // The service is asked for none, either.
    assert_eq!(world.last_seen()["accept-encoding"], "identity");
    let head = world.head("GET /parts/text", &[GZIP, "If-Match: \"v1\""]);
    assert_eq!(world.raw(&head).await.status, 200);
}

#[tokio::test]
async fn a_coded_stream_is_not_held_back() {
    let world = World::start().await;
    let mut socket = world.connect().await;
    let head = world.head("GET /parts/drip", &[GZIP]);
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let first = async {
        loop {
            assert!(socket.read_buf(&mut bytes).await.unwrap() > 0);
            let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            assert!(head.contains("content-encoding: gzip"), "{head}");
            let coded = dechunked(&bytes[end + 4..]);
            let mut plain = [0; 5];
            if flate2::read::GzDecoder::new(&coded[..])
                .read_exact(&mut plain)
                .is_ok()
            {
                return plain;
            }
        }
    };
    let first = tokio::time::timeout(Duration::from_secs(5), first).await;
    assert_eq!(&first.unwrap(), b"first");
}
