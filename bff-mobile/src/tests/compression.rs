//! Screens are compressed on their way to the app, in each coding that it may ask for.

use std::io::Read;

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use serde_json::{Value, json};

use super::{as_usual, fake, start};

fn decoded(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_end(&mut plain),
        "br" => brotli::Decompressor::new(body, 4096).read_to_end(&mut plain),
        "zstd" => zstd::stream::read::Decoder::new(body)
            .unwrap()
            .read_to_end(&mut plain),
        other => panic!("{other}"),
    }
    .unwrap();
    plain
}

#[tokio::test]
async fn every_screen_comes_in_the_coding_that_was_asked_for() {
    // A page of restaurants and a menu as the city has them: what is tiny is not coded.
    let world = start(|seen| {
        let usual = || (fake::SETUP.usual)(seen);
        match seen.call.as_str() {
            "GET /restaurants/available" => {
                Some(usual().changed("/items", &json!(vec![fake::nearby(); 10])))
            }
            "GET /restaurants/restaurant-1" => {
                let price = json!({"amount": "3.00", "currency": "USD"});
                let dish =
                    json!({"id": "item-2", "name": "Naan", "description": null, "price": price});
                Some(usual().changed("/menu/items", &json!(vec![dish; 20])))
            }
            _ => None,
        }
    })
    .await;
    for path in [
        "/home?lat=37.8&lng=-122.27",
        "/orders/order-1",
        "/orders",
        "/orders/order-1/events",
        "/restaurants?lat=37.8&lng=-122.27",
        "/restaurants/restaurant-1",
        "/openapi.json",
    ] {
        let plain = world.get(path).send().await.unwrap();
        assert!(!plain.headers().contains_key(CONTENT_ENCODING), "{path}");
        let etag = plain.headers().get("etag").cloned();
        let plain = plain.bytes().await.unwrap();
        for coding in ["gzip", "br", "zstd"] {
            let coded = world.get(path).header(ACCEPT_ENCODING, coding);
            let coded = coded.send().await.unwrap();
            let headers = coded.headers().clone();
            let said = headers
                .get(CONTENT_ENCODING)
                .map(|said| said.to_str().unwrap());
            assert_eq!(said, Some(coding), "{path}");
            let varies = headers.get_all(VARY).iter();
            let mut varies = varies.filter_map(|value| value.to_str().ok());
            assert!(
                varies.any(|value| value.contains("accept-encoding")),
                "{path} {coding}"
            );
            // Weak validators hold for all codings of an answer.
            assert_eq!(headers.get("etag"), etag.as_ref(), "{path} {coding}");
            let sent = coded.bytes().await.unwrap();
            assert!(sent.len() < plain.len(), "{path} {coding}");
            assert_eq!(decoded(coding, &sent), plain, "{path} {coding}");
        }
    }
}

#[tokio::test]
async fn neither_streams_nor_answers_to_who_wants_none_are_coded() {
    let world = start(as_usual).await;
    let stream = world.get("/orders/order-1/events");
    let stream = stream.header("accept", "text/event-stream");
    let stream = stream
        .header(ACCEPT_ENCODING, "gzip, br, zstd")
        .send()
        .await
        .unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert!(!stream.headers().contains_key(CONTENT_ENCODING));

    let order = world
        .get("/orders/order-1")
        .header(ACCEPT_ENCODING, "gzip;q=0, identity");
    let order = order.send().await.unwrap();
    assert!(!order.headers().contains_key(CONTENT_ENCODING));
    assert!(order.json::<Value>().await.unwrap().is_object());
}
