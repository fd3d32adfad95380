//! A caller sees and touches its own orders only: another's do not exist for it.

use anyhow::Result;
use ftgo_tests::System;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn anothers_order_does_not_exist() -> Result<()> {
    let system = System::start().await?;
    let owner = system.token("consumer-1").await?;
    let stranger = system.token("consumer-2").await?;
    let id = system.approved_order(&owner).await?;

    let details = system
        .http
        .get(&system.mobile_url(&format!("/orders/{id}")), &stranger)
        .await?;
    let nothing = system
        .http
        .get(&system.mobile_url("/orders/no-such-order"), &stranger)
        .await?;
    assert_eq!(details.status, 404);
    assert_eq!(nothing.status, 404);
    // Nothing tells the two apart but the id that the stranger sent.
    assert_eq!(details.body["type"], nothing.body["type"]);
    assert_eq!(details.body["title"], nothing.body["title"]);
    assert_eq!(details.body["detail"], nothing.body["detail"]);

    for action in ["cancel", "revise"] {
        let body = json!({"lineItems": [{"menuItemId": "restaurant-1-item-1", "quantity": 5}]});
        let touched = system
            .http
            .post(
                &system.mobile_url(&format!("/orders/{id}/{action}")),
                &stranger,
                &body,
            )
            .await?;
        assert_eq!(touched.status, 404, "{action}");
    }
    system.order_becomes(&owner, &id, "APPROVED").await?;

    let listed = system
        .http
        .get(&system.mobile_url("/orders"), &stranger)
        .await?;
    assert_eq!(listed.body["items"], json!([]));

    let web = system.token("consumer-2").await?;
    let query =
        json!({"query": "query($id: ID!) { order(id: $id) { id } }", "variables": {"id": id}});
    let answer = system
        .http
        .post(&system.web_url("/graphql"), &web, &query)
        .await?;
    assert!(answer.body["data"]["order"].is_null(), "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_courier_has_no_orders_to_read() -> Result<()> {
    let system = System::start().await?;
    let courier = system.token("courier-1").await?;
    let answer = system
        .http
        .get(&system.mobile_url("/orders"), &courier)
        .await?;
    assert_eq!(answer.status, 403);
    Ok(())
}
