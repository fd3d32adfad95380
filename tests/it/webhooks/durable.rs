//! What is left of deliveries when the process is killed: everything; and when it ends in order: nothing that was sent.

use std::collections::HashSet;

use anyhow::{Context, Result};
use ftgo_tests::System;
use ftgo_tests::bff::{Bff, partner_key};
use ftgo_tests::process::BffProcess;
use ftgo_tests::receiver::{Received, Receiver, Reply};
use ftgo_tests::system::{PATIENCE, eventually};
use rustix::process::Signal;
use serde_json::json;

use super::delivery::first;
use super::{Partner, QUICK, hears};

const ENDPOINTS: usize = 10;
const ORDERS: usize = 25;

#[tokio::test(flavor = "multi_thread")]
async fn of_five_hundred_deliveries_none_is_lost_in_a_crash() -> Result<()> {
    let system = System::start().await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store.db");
    let config = format!("[store]\npath = {:?}\n{QUICK}", path.display().to_string());
    let receiver = Receiver::start().await?;
    let mut doomed = BffProcess::start_with(Bff::Public, &system, &config).await?;
    hears(&system, &doomed.admin).await?;
    let partner = Partner {
        system: &system,
        base: doomed.base.clone(),
        credential: partner_key().secret.clone(),
    };
    for number in 0..ENDPOINTS {
        let url = receiver.url(&format!("/{number}"));
        let kinds = json!(["order.placed", "order.approved"]);
        partner
            .add(json!({"url": url, "events": kinds, "ordered": number % 2 == 0}))
            .await?;
    }
    let mut orders = Vec::new();
    for number in 0..ORDERS {
        orders.push(partner.place(&format!("order-{number}")).await?);
        // In the middle: some are delivered, some are under way, some have not been heard of.
        if number == ORDERS / 2 {
            eventually("some are delivered", async || {
                Ok((receiver.count() >= 100).then_some(()))
            })
            .await?;
        }
    }
    doomed.process.signal(Signal::KILL)?;
    doomed.process.ends_within(PATIENCE).await?;
    let before = receiver.count();

    let again = BffProcess::start_with(Bff::Public, &system, &config).await?;
    let expected: HashSet<(String, String)> = orders
        .iter()
        .flat_map(|order| {
            ["order.placed", "order.approved"].map(|kind| (order.clone(), kind.to_owned()))
        })
        .collect();
    let mut ids = HashSet::new();
    for number in 0..ENDPOINTS {
        let path = format!("/{number}");
        let received = eventually(&format!("everything has come to {path}"), async || {
            let received = receiver.at(&path);
            let seen: Result<HashSet<(String, String)>> = received
                .iter()
                .map(|one| {
                    let body = one.json()?;
                    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
                    let order = text(&body["data"]["orderId"]).context("no orderId")?;
                    Ok((order, text(&body["type"]).context("no type")?))
                })
                .collect();
            Ok((seen? == expected).then_some(received))
        })
        .await?;
        // A duplicate has the id that it had.
        let messages: HashSet<&str> = received.iter().map(Received::id).collect();
        assert_eq!(messages.len(), expected.len(), "{path}");
        ids.extend(messages.into_iter().map(str::to_owned));
        if number % 2 == 0 {
            in_order(&received, &orders)?;
        }
    }
    assert_eq!(ids.len(), expected.len());
    assert!(
        before < ENDPOINTS * expected.len(),
        "{before} were delivered before the crash: it came too late to show anything"
    );
    drop(again);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_at_an_orderly_end_does_not_come_twice() -> Result<()> {
    let system = System::start().await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store.db");
    let config = format!("[store]\npath = {:?}\n{QUICK}", path.display().to_string());
    let receiver = Receiver::start().await?;
    receiver.answer("/hook", Reply::Held);
    let ending = system.gateway(Bff::Public, &config).await?;
    let partner = first(&system, &ending);
    let webhook = partner.add(json!({"url": receiver.url("/hook")})).await?;
    let path = format!("/v2/webhooks/{}", webhook.id);
    for _ in 0..6 {
        let sent = partner.post(&format!("{path}/test")).await?;
        assert_eq!(sent.status, 202, "{sent:?}");
    }
    // As many as may be under way to one endpoint.
    receiver.wait("/hook", 4).await?;
    let ready = format!("http://{}/ready", ending.admin_address());
    let ended = tokio::spawn(ending.drain());
    eventually("it drains", async || {
        let ready = system.http.get_raw(&ready).await;
        Ok(ready
            .map_or(true, |ready| ready.status() != 200)
            .then_some(()))
    })
    .await?;
    receiver.release();
    tokio::time::timeout(PATIENCE, ended).await??;
    assert_eq!(receiver.count(), 4, "nothing more is begun");

    let again = system.gateway(Bff::Public, &config).await?;
    let partner = first(&system, &again);
    let log = eventually("everything is delivered", async || {
        let log = partner.get(&format!("{path}/deliveries")).await?;
        let items = log["items"].as_array().cloned().unwrap_or_default();
        let delivered = items.iter().all(|one| one["state"] == "DELIVERED");
        Ok((delivered && items.len() == 6).then_some(items))
    })
    .await?;
    assert!(log.iter().all(|one| one["attempts"] == 1), "{log:?}");
    let received = receiver.at("/hook");
    let messages: HashSet<&str> = received.iter().map(Received::id).collect();
    assert_eq!((received.len(), messages.len()), (6, 6));
    Ok(())
}

/// Of each order the placing comes first, however often it comes.
fn in_order(received: &[Received], orders: &[String]) -> Result<()> {
    for order in orders {
        let mut approved = false;
        for one in received
            .iter()
            .filter(|one| one.body.contains(order.as_str()))
        {
            match one.json()?["type"].as_str() {
                Some("order.approved") => approved = true,
                _ => assert!(!approved, "{order} was placed after it was approved"),
            }
        }
    }
    Ok(())
}
