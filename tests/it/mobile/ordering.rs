//! Placing orders on a bad network, and paging through them while there come to be more.

use anyhow::{Context, Result, ensure};
use ftgo_runner::service::Service;
use ftgo_tests::bff::Bff;
use ftgo_tests::process::BffProcess;
use ftgo_tests::redis::Redis;
use ftgo_tests::system::{PATIENCE, eventually};
use ftgo_tests::{Answer, System};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

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

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_key_is_the_gateways_own_after_a_crash_and_in_all_replicas() -> Result<()> {
    let system = System::start().await?;
    let redis = Redis::start().await?;
    let token = system.token("consumer-1").await?;
    let order = System::order_for(&system.open_restaurant(&token).await?);
    let services = system.services.addresses();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("store.db").display().to_string();
    let stores = [
        format!("[store]\npath = {file:?}\n"),
        format!("[redis]\nurl = \"{}\"\nreplicas = 2\n", redis.url()),
    ];
    for (store, key) in stores.iter().zip(["in the file", "in Redis"]) {
        let mut first = BffProcess::start_as(Bff::Mobile, &services, store).await?;
        let placed = place(&system, &first.base, &token, key, &order).await?;
        assert_eq!(placed.status, 202, "{placed:?}");
        first.process.signal(Signal::KILL)?;
        first.process.ends_within(PATIENCE).await?;

        let second = BffProcess::start_as(Bff::Mobile, &services, store).await?;
        // The service is not needed for it.
        let down = json!([{"path": "/orders", "kind": "error", "status": 503}]);
        system.fault(Service::Order, &down).await?;
        let again = place(&system, &second.base, &token, key, &order).await?;
        assert_eq!(
            (again.status, &again.body),
            (202, &placed.body),
            "{again:?}"
        );
        for header in ["location", "retry-after"] {
            assert_eq!(again.header(header), placed.header(header));
        }
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        let mut other = order.clone();
        other["lineItems"][0]["quantity"] = 6.into();
        let refused = place(&system, &second.base, &token, key, &other).await?;
        assert_eq!(refused.body["type"], "/problems/idempotency-key-reused");
        system.no_faults(Service::Order).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_stay_right_while_orders_are_added() -> Result<()> {
    let system = System::start().await?;
    let token = system.token("consumer-1").await?;
    // Only what is placed from here on: seeded orders come to the list by themselves.
    let first = system.approved_order(&token).await?;
    let details = system.mobile_url(&format!("/orders/{first}"));
    let details = system.http.get(&details, &token).await?;
    let since = details.body["order"]["data"]["createdAt"].clone();
    let since = since.as_str().context("no createdAt")?;
    let page = async |cursor: Option<&str>| -> Result<(Vec<String>, Option<String>)> {
        let more = cursor.map_or(String::new(), |cursor| format!("&cursor={cursor}"));
        let url = system.mobile_url(&format!("/orders?limit=2&since={since}{more}"));
        let page = system.http.get(&url, &token).await?;
        ensure!(page.status == 200, "{page:?}");
        let items = page.body["items"].as_array().context("items")?;
        let ids = items.iter().filter_map(|item| item["id"].as_str());
        let next = page.body["nextCursor"].as_str().map(str::to_owned);
        Ok((ids.map(str::to_owned).collect(), next))
    };
    let all = async || -> Result<Vec<String>> {
        let (mut ids, mut next) = page(None).await?;
        while let Some(cursor) = next {
            let (more, after) = page(Some(&cursor)).await?;
            ids.extend(more);
            next = after;
        }
        Ok(ids)
    };
    for _ in 0..4 {
        system.approved_order(&token).await?;
    }
    let before = eventually("all five are listed", async || {
        let before = all().await?;
        Ok((before.len() == 5).then_some(before))
    })
    .await?;

    // The same again, with a new order after each page.
    let (mut seen, mut next) = page(None).await?;
    let mut added = Vec::new();
    while let Some(cursor) = next {
        let id = system.approved_order(&token).await?;
        eventually("the new order is listed", async || {
            Ok(page(None).await?.0.contains(&id).then_some(()))
        })
        .await?;
        added.push(id);
        let (more, after) = page(Some(&cursor)).await?;
        seen.extend(more);
        next = after;
    }
    assert_eq!(seen, before);
    added.reverse();
    assert_eq!(all().await?, [added, before].concat());
    Ok(())
}
