//! What clients send stays out of logs: a secret in every place where one can be put, and everything that the gateways and
//! the services have written searched for it.

use std::fs::{self, File};

use anyhow::{Context, Result, ensure};
use ftgo_runner::service::Service;
use ftgo_tests::bff::{Bff, partner_key};
use ftgo_tests::client::Client;
use ftgo_tests::process::{BffProcess, Services};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

/// Text that is nowhere else.
const CANARY: &str = "c4n4ryS3cret";

/// Requests with the secret in one place each, to a path that exists.
fn requests(http: &Client, base: &str, path: &str, token: &str) -> Vec<RequestBuilder> {
    let url = format!("{base}{path}");
    let get = |url: &str| http.request(Method::GET, url);
    let post = || http.request(Method::POST, &url).bearer_auth(token);
    let jwt = format!("eyJhbGciOiJub25lIn0.{CANARY}{CANARY}{CANARY}.{CANARY}");
    let key = format!("ftgo_live_{CANARY}{CANARY}{CANARY}");
    vec![
        get(&url).bearer_auth(&jwt),
        get(&url).bearer_auth(&key),
        get(&url).bearer_auth(CANARY),
        get(&url).basic_auth(CANARY, Some(CANARY)),
        get(&url).header("authorization", format!("Digest {CANARY}")),
        get(&url).header("x-api-key", &key),
        get(&url).header("x-internal-token", &jwt),
        get(&url).header("cookie", format!("__Host-ftgo={CANARY}; other={CANARY}")),
        get(&url).header("proxy-authorization", format!("Basic {CANARY}")),
        get(&url).header("x-request-id", format!("not sane: {CANARY}")),
        get(&url).header("traceparent", CANARY),
        get(&url).header("tracestate", format!("vendor={CANARY}")),
        get(&url).header("user-agent", CANARY),
        get(&url).header("referer", format!("http://a/?token={CANARY}")),
        get(&url).header("forwarded", format!("for={CANARY}")),
        get(&url).header("request-timeout", CANARY).bearer_auth(token),
        get(&url).header("if-none-match", format!("\"{CANARY}\"")).bearer_auth(token),
        get(&format!("{url}?access_token={CANARY}")),
        get(&format!("{url}?fields={CANARY}")).bearer_auth(token),
        get(&format!("{url}/unknown?fields={CANARY}")).bearer_auth(token),
        get(&format!("{url}?lat={CANARY}&lng={CANARY}&cursor={CANARY}")).bearer_auth(token),
        get(&format!("{url}/{jwt}")).bearer_auth(token),
        get(&format!("{base}/orders/{jwt}")).bearer_auth(token),
        get(&format!("{base}/orders/{key}")).bearer_auth(token),
        get(&format!("{base}/nowhere/{key}")),
        get(&format!("{base}/nowhere/{CANARY}@example.com")),
        post().header("content-type", CANARY).body(CANARY),
        post().header("content-type", "application/json").body(format!("{{\"{CANARY}\": ")),
        post().json(&serde_json::json!({"restaurantId": CANARY, "lineItems": CANARY})),
        post().json(&serde_json::json!({CANARY: CANARY, "query": format!("{{ {CANARY} }}")})),
        post()
            .header("idempotency-key", CANARY)
            .json(&serde_json::json!({
                "restaurantId": CANARY,
                "deliveryAddress": {"street1": CANARY, "city": CANARY, "state": "CA", "zip": "94612"},
                "lineItems": [{"menuItemId": CANARY, "quantity": 1}],
            })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_what_clients_keep_secret_is_logged() -> Result<()> {
    gateway_core::install_crypto();
    let data = tempfile::tempdir()?;
    let log = data.path().join("services.log");
    let services = Services::start_logging(data.path(), &[], File::create(&log)?).await?;
    let http = Client::new()?;
    let url = services.url(Service::Identity, "/dev/token?sub=consumer-1")?;
    let answer: serde_json::Value = http.get_raw(&url).await?.json().await?;
    let token = answer["access_token"]
        .as_str()
        .context("no token")?
        .to_owned();

    let mut echoed = 0;
    for (bff, path, token) in [
        (Bff::Mobile, "/orders", token.as_str()),
        (Bff::Web, "/graphql?query=%7B__typename%7D", &token),
        (Bff::Public, "/v1/restaurants", &partner_key().secret),
    ] {
        let mut bff = BffProcess::start_at(bff, &services.addresses).await?;
        // Otherwise nothing below would get past the door, and nobody could log what stands behind it.
        let url = format!("{}{path}", bff.base);
        let welcome = http.request(Method::GET, &url).bearer_auth(token);
        let welcome = welcome.send().await?.status();
        ensure!(welcome != 401 && welcome != 403, "{url}: {welcome}");
        let path = path.split('?').next().unwrap_or(path);
        let mut lines = 0;
        for request in requests(&http, &bff.base, path, token) {
            // Whatever the answer is. Some are no requests at all for the client.
            if let Ok(response) = request.send().await {
                let refused = response.status().is_client_error();
                let body = response.text().await?;
                // `instance` says the path, which is nothing that the log could have from there.
                let mut body: Value = serde_json::from_str(&body).unwrap_or_default();
                if let Some(problem) = body.as_object_mut() {
                    problem.remove("instance");
                }
                echoed += usize::from(refused && body.to_string().contains(CANARY));
                lines += 1;
            }
        }
        ensure!(lines > 20, "only {lines} requests could be sent");
        bff.process.signal(rustix::process::Signal::TERM)?;
        bff.process
            .ends_within(ftgo_tests::system::PATIENCE)
            .await?;
        let what = "the log is complete";
        bff.process
            .logs(what, |line| line["message"] == "ended")
            .await?;
        let written = bff.process.log();
        let access = written.iter().filter(|line| line["target"] == "access");
        ensure!(access.count() >= lines, "requests are missing in the log");
        for line in written {
            ensure!(!line.to_string().contains(CANARY), "logged: {line}");
        }
        let printed = bff.process.printed();
        ensure!(
            !printed.contains(CANARY) && !printed.contains(token),
            "printed"
        );
    }
    // Clients are told what of theirs was wrong: those texts were there to be logged.
    ensure!(echoed >= 2, "only {echoed} answers quote what was sent");
    services.stop().await?;
    let written = fs::read_to_string(&log)?;
    for line in written.lines() {
        ensure!(
            !line.contains(CANARY) && !line.contains(&token),
            "logged: {line}"
        );
    }
    Ok(())
}
