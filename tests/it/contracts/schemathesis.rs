//! Schemathesis reads both documents and tries whatever they allow and forbid on the running system: all its checks, in all its
//! phases. What it is told besides is `schemathesis.toml`, and nothing here.

use anyhow::{Context, Result};
use ftgo_tests::System;
use ftgo_tests::bff::partner_key;
use ftgo_tests::promtool::repository_file;
use ftgo_tests::receiver::Receiver;
use ftgo_tests::tools::{python, run};
use reqwest::Method;
use serde_json::json;

/// Requests of each kind for each operation. With the seed it is the same every time; more by hand: docs/contracts.md.
const EXAMPLES: &str = "25";
const SEED: &str = "1";

/// As fast as it likes: what is over a limit is another test's.
const LIMITS: &str = "[plans.scale]\nrate = \"20000/s\"\nburst = 20000\n";

/// Everything below `base`, with these credentials; of the operations those whose path fits `only`.
async fn passes(base: &str, credential: &str, only: Option<&str>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = repository_file("schemathesis.toml").canonicalize()?;
    let mut command = python()?;
    command
        .args([
            "-c",
            "from schemathesis.cli import schemathesis; schemathesis()",
        ])
        .arg("--config-file")
        .arg(config)
        .args(["run", &format!("{base}/openapi.json")])
        .args(["--header", &format!("Authorization: Bearer {credential}")])
        .args(["--max-examples", EXAMPLES, "--seed", SEED])
        .args([
            "--generation-database",
            "none",
            "--no-color",
            "--continue-on-failure",
        ])
        // It leaves notes where it is run.
        .current_dir(folder.path());
    if let Some(only) = only {
        command.args(["--include-path-regex", only]);
    }
    let said = run(command).await?;
    // It is content, too, when there was nothing to try.
    for phase in ["Coverage", "Fuzzing", "Stateful"] {
        let passed = said
            .lines()
            .any(|line| line.contains('✅') && line.contains(phase));
        anyhow::ensure!(passed, "{phase}: {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apps_api_is_what_its_document_says() -> Result<()> {
    let system = System::start_with("").await?;
    let consumer = system.token("consumer-1").await?;
    let courier = system.token("courier-1").await?;
    system.approved_order(&consumer).await?;
    passes(&system.mobile_url(""), &consumer, None).await?;
    passes(&system.mobile_url(""), &courier, Some("^/courier")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_partners_api_is_what_its_document_says() -> Result<()> {
    let system = System::start_with("").await?;
    let gateway = system.gateway(ftgo_tests::bff::Bff::Public, LIMITS).await?;
    let base = format!("http://{}", gateway.address());
    let key = &partner_key().secret;
    // Something to be found.
    system
        .approved_order(&system.token("consumer-3").await?)
        .await?;
    let receiver = Receiver::start().await?;
    let webhook = system
        .http
        .request(Method::POST, &format!("{base}/v2/webhooks"))
        .bearer_auth(key)
        .json(&json!({"url": receiver.url("/hook")}));
    let webhook = system.http.send(webhook).await?;
    let id = webhook.body["id"].as_str().context("no webhook")?;
    let test = format!("{base}/v2/webhooks/{id}/test");
    let test = system.http.request(Method::POST, &test).bearer_auth(key);
    system.http.send(test).await?;
    passes(&base, key, None).await
}

/// What Schemathesis 4.32 accepts by itself, by check.
const ACCEPTED: [(&str, &str); 3] = [
    (
        "positive_data_acceptance",
        r#""2xx", "3xx", "401", "403", "404", "409", "429", "5xx""#,
    ),
    (
        "negative_data_rejection",
        r#""400", "401", "403", "404", "405", "406", "409", "415", "422", "428", "429", "5xx""#,
    ),
    (
        "missing_required_header",
        r#""400", "401", "403", "406", "415", "422""#,
    ),
];

/// What is added stands behind it, as numbers.
#[test]
fn schemathesis_is_told_of_three_statuses_and_nothing_else() -> Result<()> {
    let text = std::fs::read_to_string(repository_file("schemathesis.toml"))?;
    let mut lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    while let Some(line) = lines.next() {
        let known = ACCEPTED
            .iter()
            .find(|(check, _)| line == format!("[checks.{check}]"));
        let (_, accepted) = known.with_context(|| format!("something else: {line}"))?;
        let statuses = lines.next().unwrap_or_default();
        let added = statuses
            .strip_prefix(&format!("expected-statuses = [{accepted}, "))
            .and_then(|rest| rest.strip_suffix(']'))
            .with_context(|| format!("not what is accepted anyway, and more: {statuses}"))?;
        for status in added.split(", ") {
            assert!(["412", "422", "428"].contains(&status), "{statuses}");
        }
    }
    Ok(())
}
