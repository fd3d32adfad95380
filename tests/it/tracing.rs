//! Traces as a collector sees them: one trace from the client through the gateway into the services, as often as callers
//! and configuration want, and no request that notices a collector that is away.

use anyhow::{Context, Result};
use ftgo_tests::collector::{Collector, Kind, Span};
use ftgo_tests::fleet::overlay;
use ftgo_tests::process::{Process, shipped_file};
use ftgo_tests::system::{SECTIONS, eventually};
use ftgo_tests::upstream::Upstream;
use ftgo_tests::{Answer, Client, System};
use reqwest::Method;
use rustix::process::Signal;

const CALLER: &str = "00f067aa0ba902b7";

/// Asks for the details of an order as part of a trace.
async fn details(system: &System, token: &str, id: &str, traceparent: &str) -> Result<Answer> {
    let url = system.mobile_url(&format!(
        "/orders/{id}?fields=order,ticket,delivery,bill,restaurant"
    ));
    let request = system
        .http
        .request(Method::GET, &url)
        .bearer_auth(token)
        .header("traceparent", traceparent);
    system.http.send(request).await
}

fn children<'a>(spans: &'a [Span], parent: &'a Span) -> impl Iterator<Item = &'a Span> {
    spans.iter().filter(|span| span.parent == parent.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_go_on_after_a_reload() -> Result<()> {
    let (collector, upstream) = (Collector::start().await?, Upstream::start().await?);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("overlay.toml");
    let write = |path: &str| {
        let route = format!(
            "tracing.endpoint = \"{}\"\n[[routes]]\nname = \"open\"\npath = \"{path}\"\n\
             upstream = \"order\"\naccess = \"public\"\n",
            collector.endpoint
        );
        std::fs::write(&file, overlay(upstream.address, &route))
    };
    write("/x/before")?;
    let file = file.to_str().context("an odd path")?;
    let arguments = ["--config", &shipped_file("mobile"), "--config", file];
    let process = Process::start("bff-mobile", &arguments)?;
    let line = process
        .logs("it listens", |line| line["message"] == "listening")
        .await?;
    let address = line["address"].as_str().context("no address")?;
    let client = Client::new()?;
    let ask = async |path: &str, trace: &str| -> Result<u16> {
        let url = format!("http://{address}{path}");
        let request = client
            .request(Method::GET, &url)
            .header("traceparent", format!("00-{trace}-{CALLER}-01"));
        Ok(request.send().await?.status().as_u16())
    };
    let traces = [
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "4bf92f3577b34da6a3ce929d0e0e4737",
    ];
    assert_eq!(ask("/x/before", traces[0]).await?, 200);
    collector.complete(traces[0], 2).await?;
    write("/x/after")?;
    process.signal(Signal::HUP)?;
    eventually("the other route is there", async || {
        // Not recorded: without a trace of the caller's.
        let url = format!("http://{address}/x/after");
        let status = client.get_raw(&url).await?.status();
        Ok((status == 200).then_some(()))
    })
    .await?;
    assert_eq!(ask("/x/after", traces[1]).await?, 200);
    let spans = collector.complete(traces[1], 2).await?;
    assert!(spans.iter().any(|span| span.kind == Kind::Server));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_spans_gateway_and_services() -> Result<()> {
    let collector = Collector::start().await?;
    let system = System::start_traced(&collector.endpoint).await?;
    let token = system.token("consumer-1").await?;
    let id = system.approved_order(&token).await?;

    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let answer = details(&system, &token, &id, &format!("00-{trace}-{CALLER}-01")).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    // The edge; and for each section its part, the call, and the service that was called.
    let spans = collector.complete(trace, 1 + 3 * SECTIONS.len()).await?;
    assert_eq!(spans.len(), 1 + 3 * SECTIONS.len(), "{spans:#?}");

    let edge = spans
        .iter()
        .find(|span| span.parent == CALLER)
        .context("no span continues the caller's")?;
    assert_eq!(
        (edge.service.as_str(), edge.kind),
        ("bff-mobile", Kind::Server)
    );
    assert_eq!(edge.name, "GET /orders/{id}");
    for (name, expected) in [
        ("http.route", "/orders/{id}"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.path", format!("/orders/{id}").as_str()),
        ("server.address", "127.0.0.1"),
        ("gateway.principal", "token"),
    ] {
        assert_eq!(
            edge.attributes.get(name).map(String::as_str),
            Some(expected),
            "{edge:#?}"
        );
    }
    assert_eq!(children(&spans, edge).count(), SECTIONS.len(), "{spans:#?}");
    for (section, service) in
        SECTIONS
            .into_iter()
            .zip(["order", "kitchen", "delivery", "accounting", "restaurant"])
    {
        let part = children(&spans, edge)
            .find(|span| span.name == format!("part {section}"))
            .with_context(|| format!("no part {section}: {spans:#?}"))?;
        assert_eq!(part.kind, Kind::Internal);
        let required = (section == "order").to_string();
        assert_eq!(part.attributes["gateway.part.required"], required);
        let call = children(&spans, part)
            .next()
            .context("a part without a call")?;
        assert_eq!(
            (call.service.as_str(), call.kind),
            ("bff-mobile", Kind::Client)
        );
        assert_eq!(call.attributes["peer.service"], service);
        let server = children(&spans, call)
            .next()
            .context("a call without a service")?;
        assert_eq!(
            (server.service.as_str(), server.kind),
            (service, Kind::Server)
        );
        if service == "accounting" {
            assert_eq!(call.name, server.name);
            assert_eq!(server.attributes["rpc.method"], "GetBill");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_part_is_a_failed_span() -> Result<()> {
    use ftgo_runner::service::Service;

    let collector = Collector::start().await?;
    let system = System::start_traced(&collector.endpoint).await?;
    let token = system.token("consumer-1").await?;
    let id = system.approved_order(&token).await?;
    system.services.stop_service(Service::Kitchen).await?;

    let trace = "4bf92f3577b34da6a3ce929d0e0e4737";
    let answer = details(&system, &token, &id, &format!("00-{trace}-{CALLER}-01")).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let spans = collector.complete(trace, 3 * SECTIONS.len()).await?;
    let failed: Vec<_> = spans
        .iter()
        .filter(|span| span.failed)
        .map(|span| (span.kind, span.attributes["error.type"].as_str()))
        .collect();
    let expected = [
        (Kind::Internal, "unreachable"),
        (Kind::Client, "unreachable"),
    ];
    assert!(
        failed.len() >= expected.len() && expected.iter().all(|one| failed.contains(one)),
        "{failed:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_decide_what_is_recorded() -> Result<()> {
    let collector = Collector::start().await?;
    let system = System::start_traced(&collector.endpoint).await?;
    let token = system.token("consumer-1").await?;
    let id = system.approved_order(&token).await?;

    let unwanted = "4bf92f3577b34da6a3ce929d0e0e4738";
    let wanted = "4bf92f3577b34da6a3ce929d0e0e4739";
    for (trace, flag) in [(unwanted, "00"), (wanted, "01")] {
        let parent = format!("00-{trace}-{CALLER}-{flag}");
        let answer = details(&system, &token, &id, &parent).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    collector.complete(wanted, 1 + 3 * SECTIONS.len()).await?;
    assert_eq!(collector.trace(unwanted), []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_notices_that_the_collector_is_away() -> Result<()> {
    // Nobody listens there any more.
    let gone = Collector::start().await?;
    let endpoint = gone.endpoint.clone();
    drop(gone);
    let system = System::start_traced(&endpoint).await?;
    let token = system.token("consumer-1").await?;
    let id = system.approved_order(&token).await?;
    for number in 0..20_u32 {
        let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e{number:04x}-{CALLER}-01");
        let answer = details(&system, &token, &id, &parent).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let url = format!("http://{}/metrics", system.mobile.admin_address());
    eventually("dropped spans are counted", async || {
        let text = system.http.get_raw(&url).await?.text().await?;
        let dropped = text
            .lines()
            .filter(|line| line.starts_with("gateway_trace_spans_dropped_total"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>();
        Ok((dropped >= 20.0).then_some(()))
    })
    .await
}
