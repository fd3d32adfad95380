//! The page of a running gateway, over its socket: what stands on it, and what can never get onto it.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::config::{self, Config};
use crate::error::Error;
use crate::route::Routes;
use crate::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use crate::{App, Gateway, RequestContext, RunningGateway};

const PATIENCE: Duration = Duration::from_secs(10);

fn routes(upstreams: &Upstreams, _config: &Config) -> Result<Routes, UnknownUpstream> {
    let client = upstreams.client("stock")?;
    let composed = move |context: RequestContext| show(client.clone(), context);
    Ok(Routes::new().get("show", "/show", composed).with_state(()))
}

async fn show(client: UpstreamClient, context: RequestContext) -> Result<String, Error> {
    let answer = client.get(context.for_required("widget"), "/widgets/1");
    let answer = answer.send().await?;
    Ok(answer.body.len().to_string())
}

async fn start() -> RunningGateway {
    crate::install_crypto();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(async |request: Request| {
        let status = if request.uri().path().contains("broken") {
            500
        } else {
            200
        };
        let answer = Response::builder()
            .status(status)
            .header("content-type", "application/json");
        answer.body(Body::from("{}")).unwrap()
    });
    tokio::spawn(async { axum::serve(listener, router).await });
    let text = format!(
        "[server]\naddress = \"127.0.0.1:0\"\nworkers = 1\n\
         [admin]\naddress = \"127.0.0.1:0\"\n\
         [upstreams.stock]\naddress = \"http://{service}\"\n\
         [rate_limits.everybody]\nkey = \"address\"\nrate = \"1000/s\"\nburst = 1000\n\
         [policies.show]\naccess = \"public\"\nlimits = [\"everybody\"]\n\
         [[routes]]\nname = \"passing\"\nmethods = [\"GET\"]\npath = \"/things/{{*rest}}\"\nupstream = \"stock\"\naccess = \"public\"\n"
    );
    let app = App {
        name: "widgets",
        routes,
        tags: crate::events::no_tags,
        tables: &[],
        announce: None,
    };
    Gateway::start(app, config::from_text(&[&text]).unwrap()).unwrap()
}

/// Head and body of the answer to `GET target`.
async fn get(address: SocketAddr, target: &str, fields: &str) -> (String, String) {
    send(address, &format!("GET {target}"), fields).await
}

async fn send(address: SocketAddr, line: &str, fields: &str) -> (String, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let host = if fields.contains("Host:") {
        String::new()
    } else {
        format!("Host: {address}\r\n")
    };
    let head = format!("{line} HTTP/1.1\r\n{host}{fields}Connection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, socket.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

/// The page, as soon as it says all of `expected`.
async fn page_with(gateway: &RunningGateway, target: &str, expected: &[&str]) -> String {
    let page = async {
        loop {
            let (head, page) = get(gateway.admin_address(), target, "").await;
            assert!(head.starts_with("http/1.1 200"), "{head}");
            if expected.iter().all(|text| page.contains(text)) {
                return page;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    match timeout(PATIENCE, page).await {
        Ok(page) => page,
        Err(_elapsed) => {
            let (_, page) = get(gateway.admin_address(), target, "").await;
            panic!("{expected:?} is not all on: {page}");
        }
    }
}

#[tokio::test]
async fn the_page_shows_routes_upstreams_and_the_way_of_requests() {
    let gateway = start().await;
    let (head, _) = get(gateway.address(), "/show", "").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    get(gateway.address(), "/things/17?secret=canary", "").await;
    get(gateway.address(), "/things/broken", "").await;

    let page = page_with(
        &gateway,
        "/console",
        &["/things/17", "/things/broken", "GET</span> /show"],
    )
    .await;
    for expected in [
        "<title>widgets · console</title>",
        "<th scope=\"row\">show</th>",
        "<th scope=\"row\">passing</th>",
        "<th scope=\"row\">stock</th>",
        "<th scope=\"row\">everybody</th>",
        "<th scope=\"row\">worker-0</th>",
        "→ stock",
        "upstream_error 500",
        "Parts of composed answers",
        "serving",
    ] {
        assert!(page.contains(expected), "{expected} is missing: {page}");
    }
    assert!(!page.contains("canary"), "a query is shown");

    let notable = page_with(&gateway, "/console?requests=notable", &["/things/broken"]).await;
    assert!(
        !notable.contains("/things/17"),
        "it was neither slow nor did it fail"
    );
}

#[tokio::test]
async fn the_page_is_under_a_policy_that_it_keeps_to() {
    let gateway = start().await;
    let (head, page) = get(gateway.admin_address(), "/console", "").await;
    let policy = head
        .lines()
        .find_map(|line| line.strip_prefix("content-security-policy: "))
        .unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(
        !policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'),
        "{policy}"
    );
    for directive in [
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(directive), "{policy}");
    }
    for field in [
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
    ] {
        assert!(head.contains(field), "{head}");
    }

    // Nothing inline and nothing of another host's: the policy would block it.
    let lower = page.to_ascii_lowercase();
    assert!(
        !lower.contains("<style") && !lower.contains(" style="),
        "{page}"
    );
    assert!(
        !lower.contains("src=\"http") && !lower.contains("href=\"http"),
        "{page}"
    );
    assert_eq!(lower.matches("<script").count(), 1);
    assert!(lower.contains("<script src=\"/console/console.js\" defer></script>"));
    for handler in [" onclick=", " onload=", " onerror=", "javascript:"] {
        assert!(!lower.contains(handler), "{handler}");
    }
    let scripts_and_styles = lower
        .split(['"', '\''])
        .filter(|text| text.ends_with(".js") || text.ends_with(".css") || text.ends_with(".svg"));
    let mut assets = 0;
    for path in scripts_and_styles {
        assets += 1;
        let (head, body) = get(gateway.admin_address(), path, "").await;
        assert!(
            head.starts_with("http/1.1 200") && head.contains("nosniff"),
            "{path}: {head}"
        );
        assert!(!body.is_empty() && !body.contains("url("), "{path}");
    }
    assert_eq!(assets, 3);
}

#[tokio::test]
async fn no_request_puts_markup_onto_the_page() {
    let gateway = start().await;
    let evil = "<script>alert(1)</script>";
    for target in [
        format!("/things/{evil}"),
        "/things/%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
        "/things/\"onmouseover=alert(1)".to_owned(),
        "/nowhere/'><img/src=x/onerror=alert(1)>".to_owned(),
        format!("/show?{evil}"),
    ] {
        get(
            gateway.address(),
            &target,
            &format!("X-Request-Id: {evil}\r\nUser-Agent: {evil}\r\n"),
        )
        .await;
    }
    send(gateway.address(), "<SCRIPT> /show", "").await;
    send(gateway.address(), "X-EVIL&LT; /show", "").await;
    get(
        gateway.address(),
        "/show",
        &format!("traceparent: 00-{evil}\r\n"),
    )
    .await;
    get(gateway.address(), "/things/last", "").await;

    let page = page_with(&gateway, "/console", &["/things/last"]).await;
    for text in ["alert(1)", "<img", "onerror", "onmouseover", "<script>"] {
        assert!(!page.contains(text), "{text}: {page}");
    }
    assert_eq!(page.matches("<script").count(), 1);
}

#[tokio::test]
async fn strangers_names_and_pages_are_refused_on_all_paths() {
    let gateway = start().await;
    let admin = gateway.admin_address();
    for path in [
        "/console",
        "/config",
        "/metrics",
        "/routes",
        "/ready",
        "/console/console.js",
        "/nothing",
    ] {
        let (head, body) = get(admin, path, "Host: rebound.example:9080\r\n").await;
        assert!(head.starts_with("http/1.1 421"), "{path}: {head}");
        assert!(
            body.contains("admin.hosts") && !body.contains("widgets"),
            "{path}"
        );
    }
    let (head, _) = get(admin, "/console", "Host: localhost:9080\r\n").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let cross = "Sec-Fetch-Site: cross-site\r\nContent-Length: 0\r\n";
    let (head, _) = send(admin, "POST /revocations", cross).await;
    assert!(head.starts_with("http/1.1 403"), "{head}");
}
