//! Signing in at a provider of another site, in a browser that knows what that means for cookies.

use anyhow::{Context, Result};
use ftgo_tests::chromium::Chromium;
use ftgo_tests::web::Echo;
use serde_json::{Value, json};

use crate::session::certified::Certified;

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_from_another_site_is_signed_in() -> Result<()> {
    let echo = Echo::start().await?;
    let (certified, web) = Certified::web(&echo).await?;
    let chromium = Chromium::start("elsewhere")?;
    let with = json!({"origin": web.origin, "name": "ann", "returnUrl": "/api/orders/7"});
    let landed = chromium.step("signInElsewhere", "ann", with).await?;
    assert_eq!(landed["url"], web.url("/api/orders/7"), "{landed}");
    let url = json!({"url": web.url("/bff/user")});
    let user = chromium.step("go", "ann", url).await?;
    let user: Value = serde_json::from_str(user["text"].as_str().context("no text")?)?;
    assert_eq!(user["sub"], "ann", "{landed}");

    // It was another site, and the cookies of both kept apart; scripts see none of ours.
    let way = landed["way"].as_array().context("no way")?;
    let strange = |url: &&Value| {
        url.as_str()
            .is_some_and(|url| url.starts_with(&certified.issuer))
    };
    assert!(way.iter().any(|url| strange(&url)), "{landed}");
    let cookies = landed["cookies"].as_array().context("no cookies")?;
    let ours: Vec<_> = cookies
        .iter()
        .filter(|cookie| cookie["domain"] == "127.0.0.1")
        .collect();
    let session = json!({"name": "__Host-ftgo", "domain": "127.0.0.1", "httpOnly": true, "secure": true, "sameSite": "Lax"});
    assert_eq!(ours, [&session], "{landed}");
    assert_eq!(landed["scripts"], "");
    chromium.end().await
}
