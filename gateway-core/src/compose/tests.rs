//! The verbs of composition against calls that answer, fail and hang. Over real sockets they are tested in `tests/`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use serde::Serialize;
use tokio::time::Instant;

use super::{Composition, Required, Screen, Section};
use crate::context::RequestContext;
use crate::error::Error;
use crate::upstream::{UpstreamError, UpstreamErrorKind};
use crate::waterfall::PartOutcome;

#[derive(Serialize)]
struct Widget {
    #[serde(skip_serializing_if = "Required::is_omitted")]
    widget: Required<u32>,
    #[serde(skip_serializing_if = "Section::is_omitted")]
    stock: Section<u32>,
}

impl Screen for Widget {
    const SECTIONS: &'static [&'static str] = &["widget", "stock"];
}

async fn composition(query: &str, if_none_match: Option<&str>) -> Composition {
    use axum::extract::FromRequestParts;
    let mut request = http::Request::builder().uri(format!("/widgets/1{query}"));
    if let Some(tag) = if_none_match {
        request = request.header("if-none-match", tag);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    parts
        .extensions
        .insert(RequestContext::for_tests(Duration::from_secs(1)));
    Composition::from_request_parts(&mut parts, &())
        .await
        .unwrap()
        .of::<Widget>()
        .unwrap()
}

async fn ok(value: u32) -> Result<u32, UpstreamError> {
    Ok(value)
}

async fn show(
    page: &Composition,
    stock: impl Future<Output = Result<u32, UpstreamError>>,
) -> axum::response::Response {
    let (widget, stock) = tokio::join!(
        page.required("widget", |_| async { ok(1).await.map_err(Error::from) }),
        page.optional("stock", |_| stock),
    );
    page.answer(&Widget {
        widget: widget.unwrap(),
        stock,
    })
}

async fn body(response: axum::response::Response) -> serde_json::Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_complete_answer_has_a_validator_and_is_private() {
    let response = show(&composition("", None).await, ok(2)).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "private, no-cache");
    let etag = response.headers()["etag"].to_str().unwrap().to_owned();
    assert!(etag.starts_with("W/\""));
    assert_eq!(
        body(response).await,
        serde_json::json!({"widget": {"status": "ok", "data": 1}, "stock": {"status": "ok", "data": 2}})
    );

    let again = show(&composition("", Some(&etag)).await, ok(2)).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let changed = show(&composition("", Some(&etag)).await, ok(3)).await;
    assert_eq!(changed.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_failed_part_says_why_and_the_answer_is_stored_by_nobody() {
    let failed = async { Err(UpstreamError::new("stock", UpstreamErrorKind::Unreachable)) };
    let response = show(&composition("", None).await, failed).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "private, no-store");
    assert!(!response.headers().contains_key("etag"));
    assert_eq!(
        body(response).await["stock"],
        serde_json::json!({"status": "unavailable", "reason": "unreachable"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_hanging_part_is_given_up_before_the_deadline() {
    let began = Instant::now();
    let response = show(&composition("", None).await, std::future::pending()).await;
    assert_eq!(began.elapsed(), Duration::from_millis(900));
    assert_eq!(body(response).await["stock"]["reason"], "timeout");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_picked_is_neither_fetched_nor_shown() {
    let page = composition("?fields=widget", None).await;
    let section: Section<u32> = page
        .optional("stock", |_| async {
            panic!("a part that nobody asked for was fetched")
        })
        .await;
    assert!(section.is_omitted());
    let response = show(&composition("?fields=stock", None).await, ok(2)).await;
    assert_eq!(
        body(response).await,
        serde_json::json!({"stock": {"status": "ok", "data": 2}})
    );
}

#[tokio::test]
async fn picking_an_unknown_section_is_a_bad_request() {
    use axum::extract::FromRequestParts;
    let (mut parts, ()) = http::Request::builder()
        .uri("/?fields=nothing")
        .body(())
        .unwrap()
        .into_parts();
    parts
        .extensions
        .insert(RequestContext::for_tests(Duration::from_secs(1)));
    let page = Composition::from_request_parts(&mut parts, &())
        .await
        .unwrap();
    assert!(matches!(page.of::<Widget>(), Err(Error::Client(_))));
}

#[tokio::test(start_paused = true)]
async fn every_part_is_noted_however_it_ends() {
    let page = composition("", None).await;
    let context = page.context().clone();
    show(&page, std::future::pending()).await;
    let gone = page.required("maker", |_| std::future::pending::<Result<u32, Error>>());
    assert!(
        tokio::time::timeout(Duration::from_millis(5), gone)
            .await
            .is_err()
    );
    let noted = context.take_waterfall();
    let noted: Vec<_> = noted
        .parts
        .iter()
        .map(|part| (part.name, part.required, part.outcome, part.took))
        .collect();
    assert_eq!(
        noted,
        [
            ("widget", true, PartOutcome::Ok, Duration::ZERO),
            (
                "stock",
                false,
                PartOutcome::Unavailable("timeout"),
                Duration::from_millis(900)
            ),
            (
                "maker",
                true,
                PartOutcome::Cancelled,
                Duration::from_millis(5)
            ),
        ]
    );
}
