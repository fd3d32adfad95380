//! The BFFs as processes: exit codes, and an end that loses nothing.

use std::time::Duration;

use anyhow::{Context, Result};
use ftgo_runner::service::Service;
use ftgo_tests::System;
use ftgo_tests::bff::Bff;
use ftgo_tests::process::{BffProcess, binary, shipped_file};
use ftgo_tests::system::eventually;
use rustix::process::Signal;
use serde_json::json;

#[tokio::test]
async fn shipped_configurations_are_good() -> Result<()> {
    for bff in Bff::ALL {
        let name = bff.binary().trim_start_matches("bff-");
        let output = tokio::process::Command::new(binary(bff.binary())?)
            .args(["--config", &shipped_file(name), "--check-config"])
            .output()
            .await?;
        assert!(
            output.status.success(),
            "{bff:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_configuration_is_reported_whole_and_ends_with_64() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let bad = folder.path().join("bad.toml");
    std::fs::write(
        &bad,
        "[server]\nadress = \"127.0.0.1:0\"\nworkers = \"many\"\n[policies.nothing]\naccess = \"public\"\n",
    )?;
    let output = tokio::process::Command::new(binary("bff-mobile")?)
        .args([
            "--config",
            &shipped_file("mobile"),
            "--config",
            bad.to_str().context("an odd path")?,
            "--check-config",
        ])
        .output()
        .await?;
    assert_eq!(output.status.code(), Some(64));
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in ["server.adress", "address", "server.workers"] {
        assert!(report.contains(part), "{part} is missing in: {report}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_running_request_finish() -> Result<()> {
    let system = System::start().await?;
    let token = system.token("consumer-1").await?;
    let id = system.approved_order(&token).await?;
    let mut bff = BffProcess::start(Bff::Mobile, &system).await?;

    system
        .fault(
            Service::Kitchen,
            &json!([{"path": "/", "kind": "latency", "milliseconds": 700}]),
        )
        .await?;
    let url = format!("{}/orders/{id}", bff.base);
    let metrics = format!("{}/metrics", bff.admin);
    let running = system.http.get(&url, &token);
    let ending = async {
        eventually("the request is under way", async || {
            let text = system.http.get_raw(&metrics).await?.text().await?;
            Ok(text
                .lines()
                .any(|line| line == "gateway_requests_in_flight 1")
                .then_some(()))
        })
        .await?;
        bff.process.signal(Signal::TERM)
    };
    let (answer, signalled) = tokio::join!(running, ending);
    signalled?;
    let answer = answer?;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["ticket"]["status"], "ok", "{answer:?}");
    let status = bff.process.ends_within(Duration::from_secs(8)).await?;
    assert!(status.success(), "{status}");
    assert!(system.http.get_raw(&url).await.is_err(), "it still listens");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reloads_and_does_not_end_the_process() -> Result<()> {
    let system = System::start().await?;
    let token = system.token("consumer-1").await?;
    let bff = BffProcess::start(Bff::Mobile, &system).await?;
    let orders = format!("{}/orders", bff.base);
    for generation in 2..=4 {
        bff.process.signal(Signal::HUP)?;
        bff.process
            .logs("the reload", |line| {
                line["message"] == "configuration reloaded" && line["generation"] == generation
            })
            .await?;
        // Its keys were kept: the token is good at once.
        assert_eq!(system.http.get(&orders, &token).await?.status, 200);
    }
    let report = system
        .http
        .get_raw(&format!("{}/config", bff.admin))
        .await?;
    let report: serde_json::Value = serde_json::from_str(&report.text().await?)?;
    assert_eq!(report["lastReload"]["trigger"], "signal", "{report}");
    Ok(())
}
