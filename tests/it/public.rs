//! What partners' servers see of `bff-public`, with FTGO's real services behind it.

mod golden;
mod menus;
mod orders;
mod partners;
mod plans;

use anyhow::Result;
use ftgo_tests::bff::{any_key, partner_key};
use ftgo_tests::{Answer, System};
use reqwest::Method;

async fn with_key(system: &System, path: &str, key: &str) -> Result<Answer> {
    let request = system.http.request(Method::GET, &system.public_url(path));
    system.http.send(request.header("x-api-key", key)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_reads_its_own_orders_with_its_key() -> Result<()> {
    let system = System::start().await?;
    let key = &partner_key().secret;
    let own = system.token("consumer-3").await?;
    let foreign = system.token("consumer-1").await?;
    let own_order = system.approved_order(&own).await?;
    let foreign_order = system.approved_order(&foreign).await?;

    let order = with_key(&system, &format!("/v1/orders/{own_order}"), key).await?;
    assert_eq!(order.status, 200, "{order:?}");
    assert_eq!(order.body["id"], own_order.as_str());
    assert_eq!(order.body["state"], "APPROVED");
    assert!(
        order.header("deprecation").is_some() && order.header("sunset").is_some(),
        "{order:?}"
    );
    let bearer = system
        .http
        .get(&system.public_url(&format!("/v1/orders/{own_order}")), key)
        .await?;
    assert_eq!(bearer.body, order.body);

    let foreign = with_key(&system, &format!("/v1/orders/{foreign_order}"), key).await?;
    assert_eq!(foreign.status, 404, "{foreign:?}");

    let restaurants = with_key(&system, "/v1/restaurants?lat=37.80&lng=-122.27", key).await?;
    assert_eq!(restaurants.status, 200, "{restaurants:?}");
    assert!(
        restaurants.body["items"]
            .as_array()
            .is_some_and(|items| items.len() >= 3)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_one_is_refused() -> Result<()> {
    let system = System::start().await?;
    let key = &partner_key().secret;
    let mut mistyped = key.clone();
    mistyped.replace_range(12..13, if &key[12..13] == "a" { "b" } else { "a" });
    let stranger = any_key().secret;
    for wrong in ["", "ftgo_test_x", &mistyped, &stranger] {
        let refused = with_key(&system, "/v1/restaurants?lat=37.80&lng=-122.27", wrong).await?;
        assert_eq!(refused.status, 401, "{wrong:?}: {refused:?}");
    }
    let nobody = system
        .http
        .send(
            system
                .http
                .request(Method::GET, &system.public_url("/v1/orders/x")),
        )
        .await?;
    assert_eq!(nobody.status, 401);
    let twice = system
        .http
        .request(Method::GET, &system.public_url("/v1/orders/x"));
    let both = system
        .http
        .send(twice.header("x-api-key", key).bearer_auth(key))
        .await?;
    assert_eq!(both.status, 400);
    Ok(())
}
