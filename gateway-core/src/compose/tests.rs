//! The verbs of composition against calls that answer, fail and hang. Over real sockets they are tested in `tests/`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod wire;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Mutex;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http_body_util::BodyExt;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Batches, Composition, Required, Section};
use crate::context::RequestContext;
use crate::error::{ClientError, Error, GatewayError};
use crate::upstream::{UpstreamError, UpstreamErrorKind};
use crate::waterfall::PartOutcome;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Widget {
    widget: Required<u32>,
    in_stock: Section<u32>,
    maker: Section<u32>,
}

async fn request(query: &str, if_none_match: Option<&str>) -> Result<Composition<Widget>, Error> {
    let mut request = http::Request::builder().uri(format!("/widgets/1{query}"));
    if let Some(tag) = if_none_match {
        request = request.header("if-none-match", tag);
    }
    composition(request).await
}

async fn composition(request: http::request::Builder) -> Result<Composition<Widget>, Error> {
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    parts
        .extensions
        .insert(RequestContext::for_tests(Duration::from_secs(1)));
    Composition::from_request_parts(&mut parts, &()).await
}

async fn page() -> Composition<Widget> {
    request("", None).await.unwrap()
}

async fn ok(value: u32) -> Result<u32, UpstreamError> {
    Ok(value)
}

async fn failed<T>(kind: UpstreamErrorKind) -> Result<T, UpstreamError> {
    Err(UpstreamError::new("stock", kind))
}

fn unreachable() -> Error {
    UpstreamError::new("stock", UpstreamErrorKind::Unreachable).into()
}

async fn show(
    page: &Composition<Widget>,
    stock: impl Future<Output = Result<u32, UpstreamError>> + Send,
) -> Response {
    let (widget, in_stock) = page
        .all((
            page.required("widget", |_| ok(1)),
            page.optional(["inStock", "maker"], |_| stock),
        ))
        .await
        .unwrap();
    let maker = page.optional_from("maker", &in_stock, |_, in_stock| ok(in_stock + 1));
    let maker = maker.await;
    page.answer(Widget {
        widget,
        in_stock,
        maker,
    })
    .into_response()
}

async fn body(response: Response) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_complete_answer_has_a_validator_and_is_private() {
    let response = show(&page().await, ok(2)).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "private, no-cache");
    let etag = response.headers()["etag"].to_str().unwrap().to_owned();
    assert!(etag.starts_with("W/\""));
    let section = |data: u32| json!({"status": "ok", "data": data});
    assert_eq!(
        body(response).await,
        json!({"widget": section(1), "inStock": section(2), "maker": section(3)})
    );

    let again = show(&request("", Some(&etag)).await.unwrap(), ok(2)).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let changed = show(&request("", Some(&etag)).await.unwrap(), ok(3)).await;
    assert_eq!(changed.status(), StatusCode::OK);
    // The client's tags may come in several lines.
    let lines = http::Request::builder()
        .header("if-none-match", "\"other\"")
        .header("if-none-match", &etag);
    let again = show(&composition(lines).await.unwrap(), ok(2)).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_command_is_given_whatever_the_client_has() {
    let command = http::Request::builder()
        .method("POST")
        .header("if-none-match", "*");
    let response = show(&composition(command).await.unwrap(), ok(2)).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "private, no-store");
    assert!(!response.headers().contains_key("etag"));
}

#[tokio::test(start_paused = true)]
async fn a_failed_part_says_why_and_so_does_what_needs_it() {
    let response = show(&page().await, failed(UpstreamErrorKind::Unreachable)).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "private, no-store");
    assert!(!response.headers().contains_key("etag"));
    let body = body(response).await;
    assert_eq!(
        body["inStock"],
        json!({"status": "unavailable", "reason": "unreachable"})
    );
    assert_eq!(
        body["maker"],
        json!({"status": "unavailable", "reason": "dependency_failed"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_hanging_part_is_given_up_before_the_deadline() {
    let began = Instant::now();
    let response = show(&page().await, pending()).await;
    assert_eq!(began.elapsed(), Duration::from_millis(900));
    assert_eq!(body(response).await["inStock"]["reason"], "timeout");
}

#[tokio::test(start_paused = true)]
async fn a_doomed_part_is_not_asked_for() {
    let page = page().await;
    sleep(Duration::from_millis(900)).await;
    let late: Section<u32> = page
        .optional("inStock", |_| async {
            panic!("a call that nobody can wait for was made")
        })
        .await;
    assert_eq!(late, Section::unavailable("timeout"));

    // A required part has the whole of the request's time, and no more.
    sleep(Duration::from_millis(100)).await;
    let late = page.required("widget", |_| async {
        panic!("a call that nobody can wait for was made");
        #[expect(unreachable_code, reason = "it says what it would have come to")]
        ok(1).await
    });
    assert!(matches!(
        late.await.unwrap_err(),
        Error::Gateway(GatewayError::DeadlineExceeded)
    ));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_picked_is_neither_fetched_nor_shown() {
    let page = request("?fields=widget", None).await.unwrap();
    let nobody = |_| async { panic!("a part that nobody asked for was fetched") };
    assert!(
        page.optional::<u32, _>("inStock", nobody)
            .await
            .is_omitted()
    );
    let each = page
        .for_each("inStock", [1], SINGLY, |_, _| async {
            panic!("parts that nobody asked for were fetched");
            #[expect(unreachable_code, reason = "it says what it would have come to")]
            Ok(Vec::<(u32, u32)>::new())
        })
        .await;
    assert!(each.of(&1).is_omitted());

    let response = show(&request("?fields=inStock", None).await.unwrap(), ok(2)).await;
    assert_eq!(
        body(response).await,
        json!({"inStock": {"status": "ok", "data": 2}})
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_for_several_sections_is_made_when_one_of_them_is_picked() {
    let page = request("?fields=maker", None).await.unwrap();
    let both = page.optional(["inStock", "maker"], |_| ok(4)).await;
    assert_eq!(both, Section::Ok(4));
    let widget = page.required("widget", |_| ok(1)).await.unwrap();
    let answer = page.answer(Widget {
        widget,
        in_stock: both.clone(),
        maker: both,
    });
    assert_eq!(
        body(answer.into_response()).await,
        json!({"maker": {"status": "ok", "data": 4}})
    );
}

#[tokio::test]
async fn picking_an_unknown_section_is_a_bad_request() {
    for query in [
        "?fields=nothing",
        "?fields=widget%2Cwidgets",
        "?fields=",
        "?fields=widget,",
    ] {
        let Err(Error::Client(ClientError::BadRequest(detail))) = request(query, None).await else {
            panic!("{query} was not refused");
        };
        assert!(
            detail.ends_with("there are inStock, maker, widget."),
            "{detail}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_does_not_pass_for_what_a_service_says() {
    let page = page().await;
    let fallback = || 7;
    let call = |_| failed(UpstreamErrorKind::Timeout);
    let in_stock = page.with_fallback("inStock", call, fallback).await;
    let maker = page.with_fallback("maker", |_| ok(2), fallback).await;
    assert_eq!(maker, Section::Ok(2));
    let widget = page.required("widget", |_| ok(1)).await.unwrap();
    let answer = page.answer(Widget {
        widget,
        in_stock,
        maker,
    });
    let response = answer.into_response();
    assert_eq!(response.headers()["cache-control"], "private, no-store");
    assert_eq!(
        body(response).await["inStock"],
        json!({"status": "stale", "data": 7, "reason": "timeout"})
    );
}

const SINGLY: Batches = Batches {
    size: 1,
    at_once: 1,
};

#[tokio::test(start_paused = true)]
async fn many_are_asked_for_in_batches_and_each_says_what_became_of_it() {
    let page = page().await;
    let calls = Mutex::new(Vec::new());
    let at_once = Mutex::new((0, 0));
    let batches = Batches {
        size: 2,
        at_once: 2,
    };
    let keys = [1, 2, 3, 4, 5, 1, 2];
    let each = page
        .for_each("inStock", keys, batches, async |_, ids| {
            calls.lock().unwrap().push(ids.len());
            {
                let mut at_once = at_once.lock().unwrap();
                at_once.0 += 1;
                at_once.1 = at_once.0.max(at_once.1);
            }
            sleep(Duration::from_millis(10)).await;
            at_once.lock().unwrap().0 -= 1;
            if ids.contains(&3) {
                return failed(UpstreamErrorKind::Unreachable).await;
            }
            let known = ids.into_iter().filter(|id| *id != 5);
            Ok(known.map(|id| (id, id * 10)).collect::<Vec<_>>())
        })
        .await;
    let mut sizes = calls.into_inner().unwrap();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2, 2]);
    assert_eq!(at_once.into_inner().unwrap(), (0, 2));

    let sections: BTreeMap<u32, Section<&u32>> = (1..=5).map(|key| (key, each.of(&key))).collect();
    assert_eq!(sections[&3], Section::unavailable("unreachable"));
    // 4 shared the call of 3; 5 is not known to anybody.
    assert_eq!(sections[&4], Section::unavailable("unreachable"));
    assert_eq!(sections[&5], Section::unavailable("not_found"));
    assert_eq!(
        (&sections[&1], &sections[&2]),
        (&Section::Ok(&10), &Section::Ok(&20))
    );
    assert!(each.whole().data().is_none());
}
#[tokio::test(start_paused = true)]
async fn one_for_each_shares_the_time_of_one_part() {
    let page = page().await;
    let began = Instant::now();
    let each = page
        .for_each("inStock", 0..10, SINGLY, async |_, ids: Vec<u32>| {
            sleep(Duration::from_millis(200)).await;
            Ok([(ids[0], 1)])
        })
        .await;
    assert_eq!(began.elapsed(), Duration::from_millis(900));
    let there = (0..10).filter(|key| each.of(key).data().is_some());
    assert_eq!(there.count(), 4);
    let late = (0..10).filter(|key| each.of(key) == Section::unavailable("timeout"));
    assert_eq!(late.count(), 6);
}

async fn after<T>(milliseconds: u64, result: Result<T, Error>) -> Result<T, Error> {
    sleep(Duration::from_millis(milliseconds)).await;
    result
}

fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::Client(ClientError::NotFound))
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_request_ends_everything_at_once() {
    let page = page().await;
    let began = Instant::now();
    let parts = page.all((
        page.optional("inStock", |_| pending::<Result<u32, _>>()),
        page.required("widget", |_| after(10, Err::<u32, _>(Error::not_found()))),
        page.required("more", |_| pending::<Result<u32, Error>>()),
    ));
    let error = parts.await.unwrap_err();
    assert!(is_not_found(&error));
    assert_eq!(began.elapsed(), Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_more_than_an_upstreams_failure_whichever_came_first() {
    for (failure_after, refusal_after) in [(0, 50), (50, 0), (20, 20)] {
        let page = page().await;
        let parts = page.all((
            page.required("widget", |_| {
                after(failure_after, Err::<u32, _>(unreachable()))
            }),
            page.required("more", |_| {
                after(refusal_after, Err::<u32, _>(Error::not_found()))
            }),
        ));
        assert!(is_not_found(&parts.await.unwrap_err()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstreams_failure_waits_only_a_moment_for_the_others() {
    let page = page().await;
    let began = Instant::now();
    let dropped = Dropped(Mutex::new(None));
    let parts = page.all((
        page.optional("inStock", |_| async {
            let _noted = NotesDrop(&dropped);
            pending::<Result<u32, UpstreamError>>().await
        }),
        page.required("widget", |_| after(10, Err::<u32, _>(unreachable()))),
        page.required("more", |_| pending::<Result<u32, Error>>()),
    ));
    assert!(matches!(parts.await.unwrap_err(), Error::Upstream(_)));
    // 100 ms is the reserve of a request that has a second.
    assert_eq!(began.elapsed(), Duration::from_millis(110));
    let dropped_after = dropped.0.into_inner().unwrap().unwrap() - began;
    assert_eq!(dropped_after, Duration::from_millis(10));
}

struct Dropped(Mutex<Option<Instant>>);

struct NotesDrop<'a>(&'a Dropped);

impl Drop for NotesDrop<'_> {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap() = Some(Instant::now());
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_failures_that_say_as_much_the_first_part_speaks() {
    for (first, second) in [(0, 50), (50, 0)] {
        let page = page().await;
        let late = UpstreamError::new("late", UpstreamErrorKind::Timeout);
        let parts = page.all((
            page.required("widget", |_| after(first, Err::<u32, _>(unreachable()))),
            page.required("more", |_| after(second, Err::<u32, _>(late.into()))),
        ));
        let Error::Upstream(error) = parts.await.unwrap_err() else {
            panic!("not an upstream's failure");
        };
        assert_eq!(error.upstream, "stock");
    }
}

#[test]
fn the_schema_says_how_each_section_can_be() {
    let schema = serde_json::to_value(
        schemars::generate::SchemaSettings::draft2020_12()
            .for_serialize()
            .into_generator()
            .into_root_schema_for::<Widget>(),
    )
    .unwrap();
    let statuses = |section: &str| -> Vec<Value> {
        let kinds = schema["properties"][section]["oneOf"].as_array().unwrap();
        let status = |kind: &Value| kind["properties"]["status"]["const"].clone();
        kinds.iter().map(status).collect()
    };
    assert_eq!(statuses("widget"), ["ok", "stale"]);
    assert_eq!(statuses("inStock"), ["ok", "stale", "unavailable"]);
}

/// What a section may give as its reason is written in two places: where failures are put into words, and in the list that
/// clients see.
#[test]
fn every_reason_of_an_upstream_error_is_in_the_schema() {
    let code = include_str!("../upstream/error.rs");
    let reasons = code.split("fn reason").nth(1).unwrap();
    let reasons = reasons.split("\n    }\n").next().unwrap();
    let words: Vec<_> = reasons.split('"').skip(1).step_by(2).collect();
    assert!(words.len() >= 5, "{words:?}");
    for word in words {
        assert!(super::REASONS.contains(&word), "{word} is not in REASONS");
    }
}

#[tokio::test(start_paused = true)]
async fn every_part_is_noted_however_it_ends() {
    let page = page().await;
    let context = page.context().clone();
    show(&page, pending()).await;
    let gone = page.required("maker", |_| pending::<Result<u32, Error>>());
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
                "inStock",
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
