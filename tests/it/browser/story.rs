//! The storefront as people use it: one orders in a page, another cooks in another, and the first sees it happen. What they
//! press and look for is `tests/web/browser/story.mjs`; pictures of every view are in `target/browser/story`.

use anyhow::{Context, Result};
use ftgo_runner::service::Service;
use ftgo_tests::System;
use ftgo_tests::chromium::Chromium;
use serde_json::{Value, json};

/// On the demo's own: which staff works for a restaurant.
fn staff_of(restaurant: &str) -> &'static str {
    match restaurant {
        "restaurant-1" | "restaurant-2" | "restaurant-3" => "staff-1",
        _ => "staff-2",
    }
}

fn text<'a>(answer: &'a Value, name: &str) -> Result<&'a str> {
    answer[name]
        .as_str()
        .with_context(|| format!("no {name} in {answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_moves_before_the_eyes_of_whoever_placed_it() -> Result<()> {
    let chromium = Chromium::start("story")?;
    let system = System::start().await?;
    let origin = system.web_url("");
    let (consumer, cook) = ("consumer", "cook");
    chromium
        .sign_in(consumer, &origin, "consumer-1", "/")
        .await?;

    // One orders with the keyboard alone; the kitchen is open while the order comes.
    let token = system.token("consumer-1").await?;
    let open = system.open_restaurant(&token).await?;
    let restaurant = text(&open, "id")?;
    let kitchen = format!("/kitchen/{restaurant}");
    chromium
        .sign_in(cook, &origin, staff_of(restaurant), &kitchen)
        .await?;
    chromium.step("live", cook, json!({})).await?;
    let with =
        json!({"origin": origin, "restaurant": restaurant, "keyboard": true, "pictures": true});
    let placed = chromium.step("order", consumer, with).await?;
    let order = text(&placed, "order")?;
    let follows = async |step: &str, pictures: bool| {
        let with = json!({"step": step, "pictures": pictures});
        chromium.step("follows", consumer, with).await
    };
    let ticket = async |state: &str, pictures: bool| {
        let with = json!({"order": order, "state": state, "pictures": pictures});
        chromium.step("ticket", cook, with).await
    };
    follows("approved", true).await?;
    ticket("AWAITING_ACCEPTANCE", true).await?;

    // What was ordered is changed, and the kitchen sees it.
    let count = chromium.step("revises", consumer, json!({})).await?;
    let with = json!({"order": order, "count": count});
    chromium.step("ticketSays", cook, with).await?;
    for (button, state, step) in [
        ("Accept", "ACCEPTED", "accepted"),
        ("Start preparing", "PREPARING", "preparing"),
        ("Ready for pickup", "READY_FOR_PICKUP", "ready"),
    ] {
        let with = json!({"order": order, "button": button, "keyboard": step == "preparing"});
        chromium.step("moves", cook, with).await?;
        ticket(state, step == "ready").await?;
        assert_eq!(follows(step, step == "ready").await?, "live", "{step}");
    }

    // A part that cannot be had is said, where it would be; and it comes back.
    for (service, name, there) in [
        (Service::Delivery, "Delivery", ["Kitchen", "Bill"]),
        (Service::Kitchen, "Kitchen", ["Delivery", "Bill"]),
        (Service::Accounting, "Bill", ["Delivery", "Kitchen"]),
    ] {
        system.services.stop_service(service).await?;
        let with = json!({"name": name, "there": there, "pictures": true});
        let said = chromium.step("part", consumer, with).await?;
        let said = said.as_str().unwrap_or_default();
        assert!(said.contains("UPSTREAM_"), "{name}: {said}");
        system.services.start_service(service).await?;
        chromium
            .step("again", consumer, json!({"name": name}))
            .await?;
    }
    // So is a whole view.
    system.services.stop_service(Service::OrderHistory).await?;
    for path in ["/", "/orders"] {
        let with = json!({"url": format!("{origin}{path}")});
        let said = chromium.step("failure", consumer, with).await?;
        let said = said.as_str().unwrap_or_default();
        assert!(said.contains("UPSTREAM_"), "{path}: {said}");
    }
    system.services.start_service(Service::OrderHistory).await?;

    // Another orders on a phone, and thinks better of it.
    let small = json!({"origin": origin, "subject": "consumer-2", "returnUrl": "/",
        "viewport": {"width": 390, "height": 844}, "hasTouch": true});
    chromium.step("signIn", "phone", small).await?;
    let with = json!({"origin": origin});
    chromium.step("order", "phone", with).await?;
    let with = json!({"step": "approved"});
    chromium.step("follows", "phone", with).await?;
    chromium.step("cancels", "phone", json!({})).await?;

    // The session ends behind the page's back: the person is told, signs in again, and has kept the cart.
    let with = json!({"url": format!("{origin}/restaurants/restaurant-1")});
    chromium.step("takesOne", consumer, with).await?;
    let with = json!({"origin": origin});
    chromium.step("endsElsewhere", consumer, with).await?;
    chromium
        .step("signsInAgain", consumer, json!({"subject": "consumer-1"}))
        .await?;
    let of_order = json!({"url": format!("{origin}/orders/{order}")});
    chromium
        .step("losesLive", consumer, of_order.clone())
        .await?;
    chromium.step("breaks", consumer, of_order).await?;
    let next = json!({"origin": origin, "subject": "consumer-3"});
    chromium.step("leavesNothing", consumer, next).await?;
    let graphiql = json!({"url": format!("{origin}/graphiql"), "name": "graphiql"});
    chromium.step("shows", consumer, graphiql).await?;
    chromium.end().await
}
