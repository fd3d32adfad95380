//! SIGKILL at every step of the Create Order saga, before and after its commit: after a restart the order ends, and nothing
//! was done twice.

use std::path::Path;

use anyhow::{Context, Result};
use ftgo_runner::service::Service;
use ftgo_tests::process::Services;
use ftgo_tests::system::eventually;
use futures_util::future::try_join_all;
use serde_json::{Value, json};

/// An order that every service agrees with.
const FINE: u32 = 5;
/// An order above the account's limit: accounting refuses it, and the saga goes back.
const TOO_MUCH: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_leaves_no_order_behind() -> Result<()> {
    let steps = [
        "order.CreateOrder",
        "consumer.ValidateOrder",
        "kitchen.CreateTicket",
        "accounting.AuthorizeCard",
        "kitchen.ConfirmTicket",
        "order.ApproveOrder",
    ];
    for step in steps {
        let sides = ["before-commit", "after-commit"]
            .map(|side| crash_at(format!("{step}.{side}"), FINE, "APPROVED"));
        try_join_all(sides).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_going_back_ends_in_rejection() -> Result<()> {
    for step in ["kitchen.CancelCreateTicket", "order.RejectOrder"] {
        let sides = ["before-commit", "after-commit"]
            .map(|side| crash_at(format!("{step}.{side}"), TOO_MUCH, "REJECTED"));
        try_join_all(sides).await?;
    }
    Ok(())
}

async fn crash_at(point: String, quantity: u32, end: &str) -> Result<()> {
    run(&point, quantity, end)
        .await
        .with_context(|| format!("crash at {point}"))
}

async fn run(point: &str, quantity: u32, end: &str) -> Result<()> {
    gateway_core::install_crypto();
    let data = tempfile::tempdir()?;
    let http = reqwest::Client::new();

    let mut doomed = Services::start(data.path(), &["--crash-at", point]).await?;
    // The answer may be lost with the process; the client then does what clients do: it asks again with the same key.
    let first_try = place(&http, &doomed, quantity).await;
    let status = doomed.ended().await.context("the process did not crash")?;
    assert!(!status.success(), "it was to be killed: {status}");
    drop(doomed);

    let services = Services::start(data.path(), &[]).await?;
    let placed = place(&http, &services, quantity).await?;
    let id = placed["orderId"].as_str().context("no orderId")?;
    if let Ok(first) = first_try {
        assert_eq!(first["orderId"], placed["orderId"], "one key, two orders");
    }
    let order = eventually(&format!("the order ends {end}"), async || {
        let order: Value = http
            .get(services.url(Service::Order, &format!("/orders/{id}"))?)
            .send()
            .await?
            .json()
            .await?;
        let state = order["state"].as_str().unwrap_or("");
        Ok(matches!(state, "APPROVED" | "REJECTED").then(|| order.clone()))
    })
    .await?;
    assert_eq!(order["state"], end);
    nothing_twice(&http, &services, data.path(), id, end).await?;
    let status = services.stop().await?;
    assert!(status.success(), "the services end in order: {status}");
    Ok(())
}

async fn place(http: &reqwest::Client, services: &Services, quantity: u32) -> Result<Value> {
    let order = json!({
        "consumerId": "consumer-1",
        "restaurantId": "restaurant-1",
        "deliveryAddress": {"street1": "1 Main Library", "city": "Oakland", "state": "CA", "zip": "94612"},
        "lineItems": [{"menuItemId": "restaurant-1-item-1", "quantity": quantity}],
    });
    let url = services.url(Service::Order, "/orders")?;
    let response = http
        .post(url)
        .header("idempotency-key", "the-one")
        .json(&order)
        .send()
        .await?;
    Ok(response.error_for_status()?.json().await?)
}

/// One order, one ticket, one authorization at most: read from the services and from their databases.
async fn nothing_twice(
    http: &reqwest::Client,
    services: &Services,
    data: &Path,
    id: &str,
    end: &str,
) -> Result<()> {
    let tickets: Value = http
        .get(services.url(Service::Kitchen, "/tickets?restaurantId=restaurant-1")?)
        .send()
        .await?
        .json()
        .await?;
    let tickets = tickets["items"].as_array().context("no tickets")?;
    assert_eq!(tickets.len(), 1, "{tickets:?}");
    assert_eq!(tickets[0]["id"], id);
    let expected = if end == "APPROVED" {
        "AWAITING_ACCEPTANCE"
    } else {
        "CREATE_CANCELLED"
    };
    assert_eq!(tickets[0]["state"], expected);

    let authorizations = ftgo_tests::books::authorizations(&data.join("accounting.db"), id).await?;
    assert_eq!(
        authorizations,
        usize::from(end == "APPROVED"),
        "authorizations of the card"
    );
    let orders = ftgo_tests::books::rows(&data.join("order.db"), "orders").await?;
    assert_eq!(orders, 1, "orders");
    Ok(())
}
