//! Clients that go away: what they only wanted to read is given up, what they told us to do is done, and the log knows.

use std::time::Duration;

use anyhow::{Context, Result};
use ftgo_runner::service::Service;
use ftgo_tests::System;
use ftgo_tests::bff::Bff;
use ftgo_tests::process::BffProcess;
use ftgo_tests::system::eventually;
use reqwest::Method;
use serde_json::{Value, json};

/// How long the clients of these tests wait: long enough to be sent, much shorter than the services take.
const IMPATIENCE: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_done_although_its_client_has_gone() -> Result<()> {
    let system = System::start().await?;
    let token = system.token("consumer-1").await?;
    let order = System::order_for(&system.open_restaurant(&token).await?);
    let bff = BffProcess::start(Bff::Mobile, &system).await?;
    let slow = json!([{"path": "/", "kind": "latency", "milliseconds": 2_000}]);
    system.fault(Service::Order, &slow).await?;

    let left = system
        .http
        .request(Method::POST, &format!("{}/orders", bff.base))
        .bearer_auth(&token)
        .header("x-request-id", "gone-away")
        .timeout(IMPATIENCE)
        .json(&order)
        .send()
        .await;
    assert!(
        left.is_err_and(|error| error.is_timeout()),
        "it was to go away"
    );

    let line = bff
        .process
        .logs("the departure is logged", |line| {
            line["target"] == "access" && line["request_id"] == "gone-away"
        })
        .await?;
    assert_eq!(line["status"], 499, "{line}");
    assert_eq!(line["complete"], false);
    system.no_faults(Service::Order).await?;
    eventually("the order was placed", async || {
        let page = system
            .http
            .get(&system.mobile_url("/orders"), &token)
            .await?;
        let count = page.body["items"].as_array().context("no items")?.len();
        Ok((count == 1).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_given_up_with_its_client() -> Result<()> {
    let system = System::start().await?;
    let token = system.token("consumer-1").await?;
    let id = system.approved_order(&token).await?;
    let bff = BffProcess::start(Bff::Mobile, &system).await?;
    let hang = json!([{"path": "/", "kind": "hang"}]);
    system.fault(Service::Kitchen, &hang).await?;

    let left = system
        .http
        .request(Method::GET, &format!("{}/orders/{id}", bff.base))
        .bearer_auth(&token)
        .header("x-request-id", "gone-away")
        .timeout(IMPATIENCE)
        .send()
        .await;
    assert!(
        left.is_err_and(|error| error.is_timeout()),
        "it was to go away"
    );

    let mine = |line: &Value| line["target"] == "access" && line["request_id"] == "gone-away";
    let line = bff.process.logs("the departure is logged", mine).await?;
    assert_eq!(line["status"], 499, "{line}");
    let calls = line["upstream_calls"].as_str().context("no calls")?;
    assert!(calls.contains("order=ok"), "{calls}");
    // The call that hangs ended with its client, far from its deadline.
    assert!(
        line["duration_ms"]
            .as_f64()
            .is_some_and(|took| took < 1_450.0),
        "{line}"
    );
    let metrics = format!("{}/metrics", bff.admin);
    eventually("the call is given up", async || {
        let text = system.http.get_raw(&metrics).await?.text().await?;
        let cancelled = r#"gateway_upstream_calls_total{upstream="kitchen",outcome="cancelled"} 1"#;
        Ok(text.lines().any(|line| line == cancelled).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_the_body() -> Result<()> {
    let system = System::start().await?;
    let token = system.token("consumer-1").await?;
    let id = system.approved_order(&token).await?;
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build()?;
    for client in [reqwest::Client::new(), http2] {
        let url = system.mobile_url(&format!("/orders/{id}"));
        let get = client.get(&url).bearer_auth(&token).send().await?;
        let head = client.head(&url).bearer_auth(&token).send().await?;
        assert_eq!(head.status(), 200);
        assert_eq!(head.headers()["etag"], get.headers()["etag"]);
        assert_eq!(
            head.headers()["content-length"],
            get.headers()["content-length"]
        );
        assert!(head.bytes().await?.is_empty());

        let nothing = client
            .head(system.mobile_url("/nothing"))
            .bearer_auth(&token)
            .send()
            .await?;
        assert_eq!(nothing.status(), 404);
        assert!(nothing.bytes().await?.is_empty());
    }
    Ok(())
}
