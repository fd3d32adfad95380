//! Version 1 is frozen: what partners were promised is in `golden/`, and is replayed here against the running system, byte by
//! byte. The resources are seeded and have fixed ids and times; the request's id is all that is masked of a body.
//!
//! Of the header those fields count that are about the resource. What says something of the request's circumstances (date,
//! request id, limits, timings) or of all answers alike (security headers) is not version 1's.

use std::path::PathBuf;

use anyhow::{Context, Result};
use ftgo_runner::service::Service;
use ftgo_tests::Client;
use ftgo_tests::bff::{Bff, partner_key};
use ftgo_tests::books;
use ftgo_tests::process::{BffProcess, Services};
use ftgo_tests::system::eventually;
use reqwest::{Method, Response};
use sha2::{Digest, Sha256};

/// Of all golden answers. Whoever changes one has to change this, too, and has broken a promise: see `docs/partners.md`.
const PROMISED: &str = "82ef5ce4b9647a1819060b0c97c4a9a4b9d66ae92b2ebd7df3f5f71c1df44cf5";

/// Fields that are the answer's own.
const FIELDS: [&str; 8] = [
    "content-type",
    "cache-control",
    "etag",
    "vary",
    "deprecation",
    "sunset",
    "link",
    "allow",
];

/// Requests by the names of their golden answers.
const ANSWERS: [(&str, Method, &str); 9] = [
    ("order-approved", Method::GET, "/v1/orders/golden-1"),
    ("order-rejected", Method::GET, "/v1/orders/golden-2"),
    ("order-none", Method::GET, "/v1/orders/none"),
    ("order-foreign", Method::GET, "/v1/orders/golden-3"),
    ("order-method", Method::DELETE, "/v1/orders/golden-1"),
    (
        "restaurants",
        Method::GET,
        "/v1/restaurants?lat=37.80&lng=-122.27&at=2030-01-01T20:00:00Z&limit=2",
    ),
    (
        "restaurants-none",
        Method::GET,
        "/v1/restaurants?lat=0&lng=0&at=2030-01-01T20:00:00Z",
    ),
    (
        "restaurants-bad",
        Method::GET,
        "/v1/restaurants?lat=91&lng=0",
    ),
    (
        "restaurants-cursor",
        Method::GET,
        "/v1/restaurants?lat=37.80&lng=-122.27&cursor=made-up",
    ),
];

/// Orders as the order service keeps them.
const ORDERS: [&str; 3] = [
    include_str!("golden/orders/golden-1.json"),
    include_str!("golden/orders/golden-2.json"),
    include_str!("golden/orders/golden-3.json"),
];

fn file(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/it/public/golden");
    PathBuf::from(folder).join(format!("{name}.http"))
}

/// The answer as it is compared.
async fn shown(answer: Response) -> Result<String> {
    let mut text = format!("{}\n", answer.status().as_u16());
    let headers = answer.headers().clone();
    for name in FIELDS {
        for value in headers.get_all(name) {
            text.push_str(&format!("{name}: {}\n", value.to_str()?));
        }
    }
    let id = headers["x-request-id"].to_str()?;
    let body = answer.text().await?.replace(id, "(request id)");
    Ok(format!("{text}\n{body}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn version_1_answers_as_it_was_promised() -> Result<()> {
    gateway_core::install_crypto();
    let data = tempfile::tempdir()?;
    let services = Services::start(data.path(), &[]).await?;
    for order in ORDERS {
        books::add_order(&data.path().join("order.db"), order).await?;
    }
    let gateway = BffProcess::start_at(Bff::Public, &services.addresses).await?;
    let http = Client::new()?;
    let ask = async |method: &Method, path: &str| {
        let request = http.request(method.clone(), &format!("{}{path}", gateway.base));
        let request = request.header("x-api-key", &partner_key().secret);
        shown(request.send().await?).await
    };
    let list = services.url(
        Service::OrderHistory,
        "/restaurants/available?lat=37.80&lng=-122.27&radius=50000&at=2030-01-01T20:00:00Z",
    )?;
    eventually("all seeded restaurants are listed", async || {
        let page: serde_json::Value = http.get_raw(&list).await?.json().await?;
        let count = page["items"].as_array().map_or(0, Vec::len);
        Ok((count >= 5).then_some(()))
    })
    .await?;

    let mut digest = Sha256::new();
    let mut differences = Vec::new();
    for (name, method, path) in &ANSWERS {
        let now = ask(method, path).await?;
        if std::env::var_os("WRITE_GOLDEN").is_some() {
            std::fs::write(file(name), &now)?;
        }
        let promised = std::fs::read_to_string(file(name)).with_context(|| (*name).to_owned())?;
        digest.update(&promised);
        if now != promised {
            differences.push(format!("{name}: promised\n{promised}\nis now\n{now}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    let digest: String = digest
        .finalize()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(digest, PROMISED, "golden answers were changed");
    Ok(())
}
