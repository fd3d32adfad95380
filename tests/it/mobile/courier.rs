//! A courier's shift: taking work, the plan, the road, both stops; and everybody else, for whom none of it is there.

use anyhow::{Context, Result};
use ftgo_tests::System;
use reqwest::Method;
use serde_json::{Value, json};

use super::scene::scheduled_order;

#[tokio::test(flavor = "multi_thread")]
async fn a_courier_brings_an_order_to_the_door() -> Result<()> {
    let system = System::start().await?;
    let consumer = system.token("consumer-1").await?;
    let (id, assigned) = scheduled_order(&system, &consumer).await?;
    let courier = system.token(&assigned).await?;

    let plan_url = system.mobile_url("/courier/plan");
    let plan = system.http.get(&plan_url, &courier).await?;
    assert_eq!(plan.status, 200, "{plan:?}");
    assert_eq!(plan.body["courierId"], json!(assigned));
    let actions: Vec<&Value> = plan.body["actions"]
        .as_array()
        .context("actions")?
        .iter()
        .filter(|action| action["orderId"] == json!(id))
        .collect();
    let kinds: Vec<_> = actions.iter().map(|action| &action["type"]).collect();
    assert_eq!(kinds, ["PICKUP", "DROPOFF"]);
    let of = |section: &str, id: &Value| -> Value {
        let items = plan.body[section]["data"].as_array();
        let mut items = items.into_iter().flatten();
        items
            .find(|item| item["id"] == *id)
            .cloned()
            .unwrap_or_default()
    };
    let delivery = of("deliveries", &json!(id));
    assert_eq!(delivery["lineItems"][0]["quantity"], 5, "{plan:?}");
    let restaurant = of("restaurants", &actions[0]["restaurantId"]);
    assert_eq!(restaurant["address"], actions[0]["address"], "{plan:?}");
    // The same plan again is no news.
    let etag = plan.header("etag").context("no ETag")?;
    let again = system
        .http
        .request(Method::GET, &plan_url)
        .bearer_auth(&courier)
        .header("if-none-match", etag);
    assert_eq!(system.http.send(again).await?.status, 304);

    // To others the delivery does not exist, couriers or not.
    let stranger = if assigned == "courier-1" {
        "courier-2"
    } else {
        "courier-1"
    };
    let stranger = system.token(stranger).await?;
    let stop = |name: &str| system.mobile_url(&format!("/courier/deliveries/{id}/{name}"));
    for name in ["pickup", "dropoff"] {
        let refused = system.http.post(&stop(name), &stranger, &json!({})).await?;
        assert_eq!(refused.status, 404, "{refused:?}");
        let refused = system.http.post(&stop(name), &consumer, &json!({})).await?;
        assert_eq!(refused.status, 403, "{refused:?}");
    }

    let place = json!({"lat": 37.8123, "lng": -122.2611});
    let located = system
        .http
        .request(Method::PUT, &system.mobile_url("/courier/location"))
        .bearer_auth(&courier)
        .json(&place);
    let located = system.http.send(located).await?;
    assert_eq!((located.status, &located.body["location"]), (200, &place));
    let off = system
        .http
        .post(
            &system.mobile_url("/courier/availability"),
            &courier,
            &json!({"available": false}),
        )
        .await?;
    assert_eq!((off.status, &off.body["available"]), (200, &json!(false)));

    // Not before it was picked up.
    let early = system
        .http
        .post(&stop("dropoff"), &courier, &json!({}))
        .await?;
    assert_eq!(early.status, 409, "{early:?}");
    let picked_up = system
        .http
        .post(&stop("pickup"), &courier, &json!({}))
        .await?;
    assert_eq!(
        (picked_up.status, &picked_up.body["state"]),
        (200, &json!("PICKED_UP"))
    );
    let details = system.mobile_url(&format!("/orders/{id}?fields=delivery"));
    let seen = system.http.get(&details, &consumer).await?;
    assert_eq!(
        seen.body["delivery"]["data"]["courier"]["location"], place,
        "{seen:?}"
    );
    let delivered = system
        .http
        .post(&stop("dropoff"), &courier, &json!({}))
        .await?;
    assert_eq!(
        (delivered.status, &delivered.body["state"]),
        (200, &json!("DELIVERED"))
    );

    let plan = system.http.get(&plan_url, &courier).await?;
    let left = plan.body["actions"].as_array().context("actions")?;
    assert!(left.iter().all(|action| action["orderId"] != json!(id)));
    assert_eq!(plan.body["available"], false);
    let refused = system.http.get(&plan_url, &consumer).await?;
    assert_eq!(refused.status, 403, "{refused:?}");
    Ok(())
}
