//! The document of the partners' API: what is committed is what is served.

use gateway_core::testkit::{Setup, TestGateway, without_examples};
use http::Method;
use serde_json::Value;

use super::SETUP;

/// `INSTA_UPDATE=always` writes a document that was changed on purpose; partners read it, too.
#[tokio::test]
async fn the_document_is_what_was_agreed() {
    let setup = Setup {
        config: &[include_str!("../../../config/public.toml")],
        keys: &[],
        ..SETUP
    };
    let world = TestGateway::start(&setup, |_| None).await;
    let response = world.anonymous(Method::GET, "/openapi.json").send().await;
    let response = response.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    let document: Value = response.json().await.unwrap();
    insta::assert_json_snapshot!("openapi", document);
    assert_eq!(without_examples(&document), [""; 0]);
}
