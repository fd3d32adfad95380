//! Version 1 is frozen: what partners were promised is in `golden/`, and is replayed here against the running system, byte by
//! byte, each header field and the body. The resources are seeded and have fixed ids and times. Masked are the request's id, the
//! date, and the numbers that no two runs have alike: what is left of the plan and until when, and how long services took.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use axum::response::IntoResponse;
use ftgo_runner::service::Service;
use ftgo_tests::Client;
use ftgo_tests::bff::{Bff, partner_key};
use ftgo_tests::books;
use ftgo_tests::process::{BffProcess, Services};
use ftgo_tests::system::eventually;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Of all golden answers. Whoever changes one has to change this, too, and has broken a promise: see `docs/partners.md`.
const PROMISED: &str = "0b91ca9044663e392f7d456ba07363310a81aa7f66baf36be64ff83a3d902309";

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
    let status = answer.status().as_u16();
    let headers = answer.headers().clone();
    let id = headers["x-request-id"].to_str()?;
    let mut fields = Vec::new();
    for (name, value) in &headers {
        let value = value.to_str()?;
        let value = match name.as_str() {
            "date" => "(date)".to_owned(),
            "ratelimit" | "server-timing" => without_numbers(value),
            _ => value.replace(id, "(request id)"),
        };
        fields.push(format!("{name}: {value}\n"));
    }
    // Of several fields their order means nothing; of several lines of one field it does, and this keeps it.
    fields.sort_by(|one, other| one.split(':').next().cmp(&other.split(':').next()));
    let body = answer.text().await?.replace(id, "(request id)");
    Ok(format!("{status}\n{}\n{body}", fields.concat()))
}

/// `"quota";r=999;t=80000` and `order;dur=2.2;desc="ok"` without their numbers.
fn without_numbers(parameters: &str) -> String {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let parts = parameters
        .split(';')
        .map(|part| match part.split_once('=') {
            Some((name, value)) if value.starts_with(is_number) => {
                format!("{name}=(number){}", value.trim_start_matches(is_number))
            }
            _ => part.to_owned(),
        });
    parts.collect::<Vec<_>>().join(";")
}

/// In front of a service, what a later release of it could say: more of everything, each field under a second name, too, and
/// those under another one alone that version 1 has never read. (A field that is read keeps its name until nobody reads it.)
async fn later_release(of: SocketAddr) -> Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let http = reqwest::Client::new();
    let pass = move |request: axum::extract::Request| {
        let http = http.clone();
        async move {
            let (parts, body) = request.into_parts();
            let target = parts.uri.path_and_query().map_or("/", |p| p.as_str());
            let body = axum::body::to_bytes(body, usize::MAX)
                .await
                .unwrap_or_default();
            let mut headers = parts.headers;
            headers.remove("host");
            // So that it can be read here.
            headers.remove("accept-encoding");
            let request = http.request(parts.method, format!("http://{of}{target}"));
            let answer = request.headers(headers).body(body).send().await;
            let Ok(answer) = answer else {
                return axum::http::StatusCode::BAD_GATEWAY.into_response();
            };
            let (status, mut headers) = (answer.status(), answer.headers().clone());
            headers.remove("content-length");
            headers.remove("transfer-encoding");
            let body = answer.bytes().await.unwrap_or_default();
            let body = match serde_json::from_slice::<Value>(&body) {
                Ok(mut said) => {
                    say_more(&mut said);
                    said.to_string().into()
                }
                Err(_) => body,
            };
            (status, headers, body).into_response()
        }
    };
    let app = axum::Router::new().fallback(pass);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

/// What neither `/v1/orders/{id}` nor `/v1/restaurants` has ever read of a service.
const UNREAD: [&str; 5] = [
    "version",
    "timeZone",
    "openingHours",
    "description",
    "rejectionReason",
];

fn say_more(said: &mut Value) {
    match said {
        Value::Object(members) => {
            members.values_mut().for_each(say_more);
            let known = std::mem::take(members);
            for (name, value) in known {
                members.insert(format!("{name}V9"), value.clone());
                if !UNREAD.contains(&name.as_str()) {
                    members.insert(name, value);
                }
            }
            members.insert("added".to_owned(), json!({"by": ["a later release"]}));
        }
        Value::Array(items) => items.iter_mut().for_each(say_more),
        _ => {}
    }
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
    let mut later = services.addresses.clone();
    for service in [Service::Order, Service::OrderHistory, Service::Restaurant] {
        let address = later.get_mut(&service).context("no such service")?;
        *address = later_release(*address).await?;
    }
    let before_later_services = BffProcess::start_at(Bff::Public, &later).await?;
    let ask = async |base: &str, method: &Method, path: &str| {
        let request = http.request(method.clone(), &format!("{base}{path}"));
        let request = request.header("x-api-key", &partner_key().secret);
        shown(request.send().await?).await
    };
    let list = services.url(
        Service::OrderHistory,
        "/restaurants/available?lat=37.80&lng=-122.27&radius=50000&at=2030-01-01T20:00:00Z",
    )?;
    eventually("all seeded restaurants are listed", async || {
        let page: Value = http.get_raw(&list).await?.json().await?;
        let count = page["items"].as_array().map_or(0, Vec::len);
        Ok((count >= 5).then_some(()))
    })
    .await?;

    let mut digest = Sha256::new();
    let mut differences = Vec::new();
    for (name, method, path) in &ANSWERS {
        let now = ask(&gateway.base, method, path).await?;
        if std::env::var_os("WRITE_GOLDEN").is_some() {
            std::fs::write(file(name), &now)?;
        }
        let promised = std::fs::read_to_string(file(name)).with_context(|| (*name).to_owned())?;
        digest.update(&promised);
        let later = ask(&before_later_services.base, method, path).await?;
        for (when, now) in [("now", now), ("with services of later releases", later)] {
            if now != promised {
                differences.push(format!("{name}: promised\n{promised}\nis {when}\n{now}"));
            }
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
