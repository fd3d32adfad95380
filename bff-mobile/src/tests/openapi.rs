//! The document of the mobile API: what is committed is what is served, and what services answer fits it.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use gateway_core::testkit::{TestGateway, without_examples};
use http::Method;
use serde_json::Value;

use super::fake::SETUP;

/// `INSTA_UPDATE=always` writes a document that was changed on purpose; clients read it, too.
#[tokio::test]
async fn the_document_is_what_was_agreed() {
    let setup = gateway_core::testkit::Setup {
        // The policies as they are shipped: scopes and roles are in the document.
        config: &[include_str!("../../../config/mobile.toml")],
        keys: &[],
        ..SETUP
    };
    let world = TestGateway::start(&setup, |_| None).await;
    let request = || world.anonymous(Method::GET, "/openapi.json");
    let response = request().send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    let etag = response.headers()["etag"].clone();
    let document: Value = response.json().await.unwrap();
    insta::assert_json_snapshot!("openapi", document);
    assert_eq!(without_examples(&document), [""; 0]);

    let again = request()
        .header("if-none-match", etag)
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 304);
}
