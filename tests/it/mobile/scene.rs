//! What scenes of the app have in common: the kitchen at work, and a courier on the way.

use anyhow::{Context, Result, ensure};
use ftgo_runner::service::Service;
use ftgo_tests::System;
use ftgo_tests::bff::gateway_key;
use ftgo_tests::system::eventually;
use reqwest::Method;
use serde_json::{Value, json};

/// Something that FTGO does by itself, at a service of its own.
pub(super) async fn internal(
    system: &System,
    method: Method,
    service: Service,
    path: &str,
    body: &Value,
) -> Result<Value> {
    let url = format!("http://{}{path}", system.address(service)?);
    let token = gateway_key().signer().for_itself(service.name())?;
    let request = system.http.request(method, &url);
    let answer = request
        .header("x-internal-token", token)
        .json(body)
        .send()
        .await?;
    ensure!(answer.status().is_success(), "{path}: {answer:?}");
    Ok(answer.json().await?)
}

/// The kitchen does this with an order's ticket.
pub(super) async fn kitchen(system: &System, id: &str, verb: &str) -> Result<()> {
    let body = match verb {
        "accept" => json!({"readyBy": "2099-01-01T00:00:00Z"}),
        _ => json!({}),
    };
    let path = format!("/tickets/{id}/{verb}");
    internal(system, Method::POST, Service::Kitchen, &path, &body).await?;
    Ok(())
}

/// An order on which a courier is; the id of the order and of the courier.
pub(super) async fn scheduled_order(system: &System, token: &str) -> Result<(String, String)> {
    let id = system.approved_order(token).await?;
    kitchen(system, &id, "accept").await?;
    let path = format!("/deliveries/{id}");
    let courier = eventually("a courier is on it", async || {
        let delivery =
            internal(system, Method::GET, Service::Delivery, &path, &Value::Null).await?;
        Ok(delivery["courier"]["id"].as_str().map(str::to_owned))
    });
    Ok((id, courier.await.context("no courier")?))
}
