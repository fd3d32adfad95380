//! Names that look like markup are shown and not run (XSS): in the storefront, in the kitchen, in GraphiQL. And if markup did
//! find its way into a page, the page's policy would keep it from running.

use anyhow::{Context, Result};
use ftgo_tests::System;
use ftgo_tests::chromium::Chromium;
use serde_json::{Value, json};

const EVIL: &str = "<img src=x onerror=\"ran='dish'\"><script>ran='script'</script>";
const STREET: &str = "1 \"><svg onload=\"ran='street'\">{{7*7}}";

#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_like_markup_are_names() -> Result<()> {
    let chromium = Chromium::start("markup")?;
    let system = System::start().await?;
    let origin = system.web_url("");
    let url = system.web_url("/graphql");

    // The staff of a restaurant means harm.
    let staff = system.token("staff-1").await?;
    let menu = json!({"query": "{ restaurant(id: \"restaurant-1\") { version menu { items { id name description price { amount currency } } } } }"});
    let menu = system.http.post(&url, &staff, &menu).await?.body;
    let menu = &menu["data"]["restaurant"];
    let mut items = menu["menu"]["items"].clone();
    items[0]["name"] = EVIL.into();
    items[0]["description"] = EVIL.into();
    let input = json!({"restaurantId": "restaurant-1", "version": menu["version"], "items": items});
    let revise = "mutation($input: ReviseMenuInput!) { reviseMenu(input: $input) { version } }";
    let revise = json!({"query": revise, "variables": {"input": input}});
    let revised = system.http.post(&url, &staff, &revise).await?;
    assert!(revised.body["errors"].is_null(), "{revised:?}");

    let (guest, cook) = ("guest", "cook");
    for who in [guest, cook] {
        chromium.step("notices", who, json!({})).await?;
    }
    chromium.sign_in(guest, &origin, "consumer-1", "/").await?;
    chromium
        .sign_in(cook, &origin, "staff-1", "/kitchen/restaurant-1")
        .await?;
    let nothing = json!({"ran": null, "stopped": []});
    let page = |path: &str| json!({"url": format!("{origin}{path}"), "text": EVIL});
    let menu = page("/restaurants/restaurant-1");
    let shown = chromium.step("shownAsText", guest, menu).await?;
    assert_eq!(shown, nothing, "the menu");
    let with = json!({"origin": origin, "restaurant": "restaurant-1", "street": STREET});
    let placed = chromium.step("order", guest, with).await?;
    chromium
        .step("follows", guest, json!({"step": "approved"}))
        .await?;
    for text in [EVIL, STREET] {
        let shown = chromium
            .step("shownAsText", guest, json!({"text": text}))
            .await?;
        assert_eq!(shown, nothing, "the order");
    }
    let with = json!({"order": placed["order"], "state": "AWAITING_ACCEPTANCE"});
    chromium.step("ticket", cook, with).await?;
    let shown = chromium
        .step("shownAsText", cook, json!({"text": EVIL}))
        .await?;
    assert_eq!(shown, nothing, "the kitchen");
    let query = "{ restaurant(id: \"restaurant-1\") { menu { items { name } } } }";
    let with = json!({"origin": origin, "query": query, "text": "ran='script'"});
    let shown = chromium.step("graphiql", guest, with).await?;
    assert_eq!(shown["ran"], Value::Null, "GraphiQL: {shown}");

    // Markup in the page itself: stopped by the policy, and by nothing else.
    for (path, written) in [("/", "TypeError"), ("/graphiql", "written")] {
        let with = json!({"url": format!("{origin}{path}")});
        let seen = chromium.step("planted", guest, with).await?;
        let kept = &seen["kept"];
        assert_eq!(kept["ran"], Value::Null, "{path}: {seen}");
        assert_eq!(kept["written"], written, "{path}: {seen}");
        let stopped = kept["stopped"].as_array().context("no list")?;
        for directive in ["script-src-elem inline", "script-src-attr inline"] {
            assert!(stopped.iter().any(|one| one == directive), "{path}: {seen}");
        }
        assert_ne!(seen["dropped"]["ran"], Value::Null, "{path}: {seen}");
        assert_eq!(seen["dropped"]["stopped"], json!([]), "{path}: {seen}");
    }
    chromium.end().await
}
