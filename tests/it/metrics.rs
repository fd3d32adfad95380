//! Metrics as Prometheus and Grafana take them: the scrape of a gateway after traffic, alert rules, and the dashboard.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use ftgo_tests::System;
use ftgo_tests::bff::Bff;
use ftgo_tests::openmetrics;
use ftgo_tests::promtool::{promtool, repository_file};
use ftgo_tests::system::eventually;
use gateway_core::RunningGateway;
use serde_json::{Value, json};

const RULES: &str = "deploy/prometheus/alerts.yaml";
const DASHBOARD: &str = "deploy/grafana/ftgo-gateway.json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn scrape(
    system: &System,
    gateway: &RunningGateway,
    accept: &str,
) -> Result<(String, String)> {
    let url = format!("http://{}/metrics", gateway.admin_address());
    let response = system
        .http
        .request(reqwest::Method::GET, &url)
        .header("accept", accept)
        .send()
        .await?;
    let media_type = response
        .headers()
        .get("content-type")
        .context("no media type")?
        .to_str()?
        .to_owned();
    Ok((media_type, response.text().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_and_a_strict_parser_accept_the_metrics_of_gateways_after_traffic() -> Result<()> {
    let system = System::start().await?;
    let token = system.token("consumer-1").await?;
    let id = system.approved_order(&token).await?;
    let details = system
        .http
        .get(&system.mobile_url(&format!("/orders/{id}")), &token)
        .await?;
    assert_eq!(details.status, 200);
    for url in [
        system.mobile_url("/orders"),
        system.web_url("/nowhere"),
        system.public_url("/v1/nothing"),
    ] {
        // With a trace that is recorded, so that there are exemplars.
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let request = system.http.request(reqwest::Method::GET, &url);
        let answer = request.header("traceparent", trace).send().await?;
        answer.bytes().await?;
    }

    for (bff, gateway) in [
        (Bff::Mobile, &system.mobile),
        (Bff::Web, &system.web),
        (Bff::Public, &system.public),
    ] {
        let (media_type, text) = scrape(&system, gateway, "text/plain").await?;
        assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
        let (content, said) = promtool(&["check", "metrics"], &text).await?;
        assert!(content && said.trim().is_empty(), "{bff:?}: {said}");
        let (media_type, text_of_now) = scrape(&system, gateway, OPEN_METRICS).await?;
        assert_eq!(media_type, OPEN_METRICS);
        let families = openmetrics::read(&text_of_now)
            .await
            .with_context(|| format!("{bff:?}"))?;
        let family = |name: &str| families.iter().find(|family| family.name == name);
        // Named as OpenMetrics has it, and not less than what stands in the older form.
        for (name, kind, unit) in [
            ("gateway_requests", "counter", ""),
            ("gateway_request_duration_seconds", "histogram", "seconds"),
            ("gateway_key_set_age_seconds", "gauge", "seconds"),
            ("process_cpu_seconds", "counter", "seconds"),
            ("gateway_build", "info", ""),
        ] {
            let family = family(name).with_context(|| format!("{bff:?}: no {name}"))?;
            assert_eq!((family.kind.as_str(), family.unit.as_str()), (kind, unit));
            assert!(family.samples > 0, "{name}");
        }
        let described = text.lines().filter(|line| line.starts_with("# TYPE "));
        assert_eq!(families.len(), described.count());
        let seconds = family("gateway_request_duration_seconds").context("no durations")?;
        assert!(!seconds.exemplars.is_empty(), "{bff:?}: {seconds:?}");
        for exemplar in &seconds.exemplars {
            assert_eq!(exemplar.keys().collect::<Vec<_>>(), ["trace_id"]);
        }
        // The parser is one that refuses.
        let cut = text_of_now.trim_end_matches("# EOF\n");
        assert!(openmetrics::read(cut).await.is_err());

        for name in [
            "gateway_build_info",
            "process_cpu_seconds_total",
            "gateway_key_set_age_seconds",
        ] {
            assert!(
                text.contains(&format!("\n# TYPE {name} ")),
                "{bff:?}: {name}"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_leads_to_the_trace_of_a_request_that_fell_into_it() -> Result<()> {
    let system = System::start().await?;
    let token = system.token("consumer-1").await?;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let answer = system
        .http
        .request(reqwest::Method::GET, &system.mobile_url("/orders"))
        .bearer_auth(&token)
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .send()
        .await?;
    assert_eq!(answer.status(), 200);
    answer.bytes().await?;

    eventually("the exemplar is there", async || {
        let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        let (media_type, text) = scrape(&system, &system.mobile, accept).await?;
        assert_eq!(media_type, OPEN_METRICS);
        assert!(text.ends_with("\n# EOF\n"));
        let found = text.lines().any(|line| {
            line.starts_with("gateway_request_duration_seconds_bucket{route=\"order-history\"")
                && line.contains(&format!("# {{trace_id=\"{trace}\"}} "))
        });
        Ok(found.then_some(()))
    })
    .await
}

#[tokio::test]
async fn promtool_accepts_the_alert_rules_and_their_tests() -> Result<()> {
    for arguments in [
        ["check", "rules", RULES],
        ["check", "config", "deploy/prometheus/prometheus.yml"],
        ["test", "rules", "deploy/prometheus/alerts_test.yaml"],
    ] {
        let file = repository_file(arguments[2]);
        let file = file.to_str().context("an odd path")?;
        let (content, said) = promtool(&[arguments[0], arguments[1], file], "").await?;
        assert!(content, "{arguments:?}: {said}");
    }
    Ok(())
}

/// Names of metrics that stand in `text`.
fn names(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("gateway_") || word.starts_with("process_"))
        .collect()
}

/// `docs/operations.md` explains exactly the metrics that there are: `gateway-core` tests it.
#[test]
fn dashboard_and_rules_name_metrics_that_exist() -> Result<()> {
    let documented = fs::read_to_string(repository_file("docs/operations.md"))?;
    let documented = names(&documented);
    for file in [RULES, DASHBOARD, "deploy/prometheus/alerts_test.yaml"] {
        let text = fs::read_to_string(repository_file(file))?;
        let named = names(&text);
        assert!(named.len() >= 10, "{file} names only {named:?}");
        for name in named {
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap_or(name);
            assert!(
                documented.contains(family),
                "{file} names {name}, which does not exist"
            );
        }
    }
    Ok(())
}

#[test]
fn every_alert_says_what_to_do_and_is_tested() -> Result<()> {
    let rules = fs::read_to_string(repository_file(RULES))?;
    let tests = fs::read_to_string(repository_file("deploy/prometheus/alerts_test.yaml"))?;
    let documented = fs::read_to_string(repository_file("docs/operations.md"))?;
    let mut alerts = 0;
    for line in rules.lines() {
        let Some(alert) = line.trim().strip_prefix("- alert: ") else {
            continue;
        };
        alerts += 1;
        assert!(
            documented.contains(&format!("| `{alert}` |")),
            "docs/operations.md: {alert}"
        );
        assert!(
            tests.contains(&format!("alertname: {alert}\n")),
            "no test of {alert}"
        );
    }
    assert!(alerts >= 10, "only {alerts} alerts were found");
    Ok(())
}

#[tokio::test]
async fn the_dashboard_is_whole_and_its_expressions_are_good() -> Result<()> {
    let text = fs::read_to_string(repository_file(DASHBOARD))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let mut ids = BTreeSet::new();
    let mut rules = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().context("a panel without a title")?;
        assert!(ids.insert(panel["id"].as_u64()), "{title}: its id is taken");
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().context("no targets")?;
        assert!(!targets.is_empty(), "{title} shows nothing");
        for target in targets {
            let expression = target["expr"].as_str().context("no expression")?;
            assert!(
                expression.contains("job=~\"$job\""),
                "{title}: for all gateways? {expression}"
            );
            // What Grafana fills in.
            let expression = expression.replace("$__rate_interval", "1m");
            rules.push(json!({"record": format!("panel:{}", rules.len()), "expr": expression}));
        }
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("expressions.yaml");
    // JSON is YAML, too.
    let rules = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(&file, rules.to_string())?;
    let file = file.to_str().context("an odd path")?;
    let (content, said) = promtool(&["check", "rules", file], "").await?;
    assert!(content, "{said}");
    Ok(())
}
