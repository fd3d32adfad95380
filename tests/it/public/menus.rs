//! Menus: read by everybody, written by the partner whose restaurant it is, never unseen.

use anyhow::{Context, Result};
use ftgo_tests::bff::partner_key;
use ftgo_tests::{Answer, System};
use reqwest::Method;
use serde_json::{Value, json};

const OWN: &str = "/v2/restaurants/restaurant-1/menu";
const FOREIGN: &str = "/v2/restaurants/restaurant-3/menu";

async fn put(system: &System, path: &str, etag: Option<&str>, items: &Value) -> Result<Answer> {
    let request = system.http.request(Method::PUT, &system.public_url(path));
    let mut request = request.bearer_auth(&partner_key().secret);
    if let Some(etag) = etag {
        request = request.header("if-match", etag);
    }
    system
        .http
        .send(request.json(&json!({"items": items})))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_menu_is_written_once_for_each_version_that_was_seen() -> Result<()> {
    let system = System::start().await?;
    let key = &partner_key().secret;
    let seen = system.http.get(&system.public_url(OWN), key).await?;
    assert_eq!(seen.status, 200, "{seen:?}");
    let etag = seen.header("etag").context("no ETag")?.to_owned();
    assert!(etag.starts_with('"'), "it is strong: {etag}");
    let mut items = seen.body["items"].clone();
    items[0]["name"] = json!("Lamb Vindaloo");

    assert_eq!(put(&system, OWN, None, &items).await?.status, 428);
    let written = put(&system, OWN, Some(&etag), &items).await?;
    assert_eq!(written.status, 200, "{written:?}");
    let next = written.header("etag").context("no ETag")?.to_owned();
    assert_ne!(next, etag);
    let read = system.http.get(&system.public_url(OWN), key).await?;
    assert_eq!(
        (read.header("etag"), &read.body),
        (Some(next.as_str()), &written.body)
    );
    assert_eq!(read.body["items"][0]["name"], "Lamb Vindaloo");
    let late = put(&system, OWN, Some(&etag), &items).await?;
    assert_eq!(late.status, 412, "{late:?}");

    items[0]["price"]["amount"] = json!("-1.00");
    let wrong = put(&system, OWN, Some(&next), &items).await?;
    assert_eq!(wrong.status, 422, "{wrong:?}");
    assert_eq!(wrong.body["errors"][0]["pointer"], "/items/0/price");

    // Everybody reads any menu, or could order nothing; to write, another's does not exist.
    let foreign = system.http.get(&system.public_url(FOREIGN), key).await?;
    assert_eq!(foreign.status, 200, "{foreign:?}");
    let tag = foreign.header("etag").map(str::to_owned);
    let stolen = put(&system, FOREIGN, tag.as_deref(), &foreign.body["items"]).await?;
    assert_eq!(stolen.status, 404, "{stolen:?}");

    let own = system
        .http
        .get(&system.public_url("/v2/restaurants"), key)
        .await?;
    let ids: Vec<_> = own.body["items"]
        .as_array()
        .context("no page")?
        .iter()
        .map(|r| &r["id"])
        .collect();
    assert_eq!(ids, ["restaurant-1", "restaurant-2"], "{own:?}");
    Ok(())
}
