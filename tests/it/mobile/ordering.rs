//! Placing orders on a bad network: what is sent again is the same order.

use anyhow::{Context, Result, ensure};
use ftgo_tests::bff::Bff;
use ftgo_tests::process::BffProcess;
use ftgo_tests::{Answer, System};
use reqwest::Method;
use serde_json::Value;

async fn place(
    system: &System,
    base: &str,
    token: &str,
    key: &str,
    body: &Value,
) -> Result<Answer> {
    let request = system
        .http
        .request(Method::POST, &format!("{base}/orders"))
        .bearer_auth(token)
        .header("idempotency-key", key)
        .json(body);
    system.http.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_sent_again_is_the_same_also_after_a_restart() -> Result<()> {
    let system = System::start().await?;
    let token = system.token("consumer-1").await?;
    let restaurant = system.open_restaurant(&token).await?;
    let order = System::order_for(&restaurant);
    let first = BffProcess::start(Bff::Mobile, &system).await?;
    let placed = place(&system, &first.base, &token, "key-1", &order).await?;
    ensure!(placed.status == 202, "{placed:?}");
    assert_eq!(placed.header("retry-after"), Some("1"));
    let id = &placed.body["orderId"];
    let location = format!("/orders/{}", id.as_str().context("no orderId")?);
    assert_eq!(placed.header("location"), Some(location.as_str()));
    assert_eq!(placed.header("idempotent-replayed"), None);
    drop(first);

    // Another process, and the key in its other form.
    let second = BffProcess::start(Bff::Mobile, &system).await?;
    for key in ["key-1", "\"key-1\""] {
        let again = place(&system, &second.base, &token, key, &order).await?;
        assert_eq!(
            (again.status, &again.body["orderId"]),
            (202, id),
            "{again:?}"
        );
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
    }
    // Another order under the same key is none.
    let mut other = order.clone();
    other["lineItems"][0]["quantity"] = 6.into();
    let refused = place(&system, &second.base, &token, "key-1", &other).await?;
    assert_eq!(refused.status, 422, "{refused:?}");
    // Another's key is another key.
    let stranger = system.token("consumer-2").await?;
    let theirs = place(&system, &second.base, &stranger, "key-1", &order).await?;
    assert_eq!(theirs.status, 202);
    assert_ne!(&theirs.body["orderId"], id);
    Ok(())
}
