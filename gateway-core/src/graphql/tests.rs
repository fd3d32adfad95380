//! The transport against a small schema: media types, statuses, methods, field order, error codes. The audits of
//! GraphQL over HTTP run against a BFF, in `tests/`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use async_graphql::{Context, Object, Schema, Subscription};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{Documents, Limits, Settings, Transport, error};
use crate::context::RequestContext;
use crate::error::{ClientError, Error};
use crate::upstream::{UpstreamError, UpstreamErrorKind};

pub(super) struct Query;

#[Object]
impl Query {
    async fn quick(&self) -> i32 {
        1
    }

    async fn slow(&self) -> i32 {
        tokio::task::yield_now().await;
        2
    }

    async fn widget(&self, name: Option<String>) -> Widget {
        tokio::task::yield_now().await;
        Widget {
            name: name.unwrap_or_default(),
        }
    }

    async fn widgets(&self) -> Vec<Widget> {
        ["a", "b"]
            .map(|name| Widget {
                name: name.to_owned(),
            })
            .into()
    }

    async fn late(&self) -> Option<Result<i32, async_graphql::Error>> {
        Some(Err(error(
            &UpstreamError::new("stock", UpstreamErrorKind::Timeout).into(),
        )))
    }

    async fn forbidden(&self) -> Option<Result<i32, async_graphql::Error>> {
        Some(Err(error(&ClientError::Forbidden("Not for you.").into())))
    }

    async fn time_left(&self, context: &Context<'_>) -> async_graphql::Result<bool> {
        Ok(!context.data::<RequestContext>()?.deadline().has_passed())
    }
}

struct Widget {
    name: String,
}

#[Object]
impl Widget {
    async fn name(&self) -> &str {
        tokio::task::yield_now().await;
        &self.name
    }

    async fn size(&self) -> usize {
        self.name.len()
    }

    async fn inner(&self) -> Self {
        tokio::task::yield_now().await;
        Self {
            name: format!("{}!", self.name),
        }
    }
}

pub(super) struct Mutation;

#[Object]
impl Mutation {
    async fn change(&self) -> Widget {
        Widget {
            name: "changed".to_owned(),
        }
    }
}

pub(super) struct Follow;

#[Subscription]
impl Follow {
    /// Counts to `to`, and then waits for ever.
    async fn count(&self, to: i32) -> impl Stream<Item = Tick> {
        stream::iter(1..=to).map(Tick).chain(stream::pending())
    }

    /// Counts to `to`, and ends.
    async fn finite(&self, to: i32) -> impl Stream<Item = i32> {
        stream::iter(1..=to)
    }

    async fn refused(&self) -> async_graphql::Result<stream::Pending<i32>> {
        Err(error(&Error::not_found()))
    }

    async fn broken(&self) -> impl Stream<Item = i32> {
        stream::once(async { panic!("a bug") })
    }
}

struct Tick(i32);

#[Object]
impl Tick {
    async fn number(&self) -> i32 {
        self.0
    }

    async fn later(&self) -> i32 {
        tokio::task::yield_now().await;
        0
    }

    /// How often something was shared by then; each event shares something of its own.
    async fn shared(&self, context: &Context<'_>) -> async_graphql::Result<i32> {
        Ok(context.data::<Share>()?.0)
    }
}

struct Share(i32);

pub(super) type Widgets = Schema<Query, Mutation, Follow>;

pub(super) fn transport(settings: &Settings) -> Transport<Widgets> {
    let count = AtomicI32::new(0);
    Transport::new(
        settings,
        &Documents::new(settings),
        || Schema::build(Query, Mutation, Follow),
        move |_, data| data.insert(Share(count.fetch_add(1, Ordering::Relaxed))),
    )
}

pub(super) fn open() -> Settings {
    let mut settings = Settings::default();
    settings.limits.introspection = true;
    settings
}

async fn send(request: Request<Body>) -> Response {
    send_to(&transport(&open()), request).await
}

async fn send_with(request: Request<Body>, limits: Limits) -> Response {
    let settings = Settings {
        limits,
        ..Settings::default()
    };
    send_to(&transport(&settings), request).await
}

async fn send_to(transport: &Transport<Widgets>, mut request: Request<Body>) -> Response {
    request
        .extensions_mut()
        .insert(RequestContext::for_tests(Duration::from_secs(1)));
    match transport.serve(request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

fn post(body: impl ToString) -> Request<Body> {
    Request::post("/graphql")
        .header("content-type", "application/json")
        .header("accept", "application/graphql-response+json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

fn query(text: &str) -> Request<Body> {
    post(json!({ "query": text }))
}

async fn text(response: Response) -> String {
    String::from_utf8(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec(),
    )
    .unwrap()
}

async fn body(response: Response) -> Value {
    serde_json::from_str(&text(response).await).unwrap()
}

#[tokio::test]
async fn fields_come_in_the_order_of_the_query() {
    let asked = "query Q($no: Boolean = false) {
        slow quick
        ... on Query { widget(name: \"x\") { inner { name size } size ...Rest } }
        skipped: quick @include(if: $no) again: slow
        widget(name: \"x\") { name }
        widgets { name inner { size name } size }
    }
    fragment Rest on Widget { other: size @skip(if: true) inner { inner { size name } } other: size }";
    let answer = text(send(query(asked)).await).await;
    let expected = concat!(
        r#"{"data":{"slow":2,"quick":1,"#,
        r#""widget":{"inner":{"name":"x!","size":2,"inner":{"size":3,"name":"x!!"}},"size":1,"other":1,"name":"x"},"#,
        r#""again":2,"widgets":[{"name":"a","inner":{"size":2,"name":"a!"},"size":1},"#,
        r#"{"name":"b","inner":{"size":2,"name":"b!"},"size":1}]}}"#,
    );
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn the_media_type_that_is_wanted_decides_the_status_of_a_refused_document() {
    for refused in [
        "{ quick",
        "{ nothing }",
        "query A { quick } query B { slow }",
    ] {
        let response = send(query(refused)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{refused}");
        assert_eq!(
            response.headers()["content-type"],
            "application/graphql-response+json; charset=utf-8"
        );
        let answer = body(response).await;
        assert!(answer.get("data").is_none(), "{answer}");
        assert!(
            answer["errors"][0]["extensions"]["requestId"].is_string(),
            "{answer}"
        );

        let mut older = query(refused);
        older
            .headers_mut()
            .insert("accept", http::HeaderValue::from_static("application/json"));
        let response = send(older).await;
        assert_eq!(response.status(), StatusCode::OK, "{refused}");
        assert_eq!(
            response.headers()["content-type"],
            "application/json; charset=utf-8"
        );
        assert!(body(response).await.get("data").is_none());
    }
    let mut html = query("{ quick }");
    html.headers_mut()
        .insert("accept", http::HeaderValue::from_static("text/html"));
    assert_eq!(send(html).await.status(), StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn a_failed_field_is_null_and_says_why() {
    let response = send(query("{ quick late forbidden }")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let answer = body(response).await;
    assert_eq!(
        answer["data"],
        json!({"quick": 1, "late": null, "forbidden": null})
    );
    let codes = answer["errors"].as_array().unwrap().iter().map(|error| {
        assert!(error["extensions"]["requestId"].is_string(), "{error}");
        (
            error["path"][0].as_str().unwrap(),
            error["extensions"]["code"].as_str().unwrap(),
        )
    });
    let mut codes = codes.collect::<Vec<_>>();
    codes.sort_unstable();
    assert_eq!(
        codes,
        [("forbidden", "FORBIDDEN"), ("late", "UPSTREAM_TIMEOUT")]
    );
}

#[tokio::test]
async fn a_get_reads_and_never_writes() {
    let get = |uri: &str| Request::get(uri).body(Body::empty()).unwrap();
    let response = send(get("/graphql?query=%7Bquick%7D")).await;
    assert_eq!(body(response).await, json!({"data": {"quick": 1}}));
    let named = "/graphql?query=query%20A%7Bquick%7Dquery%20B($n:String)%7Bwidget(name:$n)%7Bname%7D%7D\
                 &operationName=B&variables=%7B%22n%22:%22y%22%7D";
    assert_eq!(
        body(send(get(named)).await).await,
        json!({"data": {"widget": {"name": "y"}}})
    );

    for method in ["GET", "HEAD"] {
        let mut write = get("/graphql?query=mutation%7Bchange%7Bname%7D%7D");
        *write.method_mut() = method.parse().unwrap();
        let response = send(write).await;
        assert_eq!(
            response.status(),
            StatusCode::METHOD_NOT_ALLOWED,
            "{method}"
        );
    }
    for malformed in ["/graphql", "/graphql?query=%7Bquick%7D&variables=%5B%5D"] {
        assert_eq!(
            send(get(malformed)).await.status(),
            StatusCode::BAD_REQUEST,
            "{malformed}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_no_graphql_request_is_refused() {
    let status = |request| async { send(request).await.status() };
    for malformed in [
        "{",
        "[]",
        "{}",
        r#"{"query": 1}"#,
        r#"{"query": "{quick}", "variables": "{}"}"#,
        r#"{"query": "{quick}", "operationName": 1}"#,
        r#"{"query": "{quick}", "extensions": []}"#,
    ] {
        assert_eq!(
            status(post(malformed)).await,
            StatusCode::BAD_REQUEST,
            "{malformed}"
        );
    }
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin1",
    ] {
        let mut request = query("{ quick }");
        request
            .headers_mut()
            .insert("content-type", http::HeaderValue::from_static(media_type));
        assert_eq!(
            status(request).await,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{media_type}"
        );
    }
    let with_nulls = r#"{"query": "{quick}", "variables": null, "operationName": null, "extensions": {}, "id": 7}"#;
    assert_eq!(status(post(with_nulls)).await, StatusCode::OK);
}

#[tokio::test]
async fn the_operation_is_the_one_that_is_named() {
    let two = "query A { quick } query B { slow }";
    let answer = body(send(post(json!({"query": two, "operationName": "B"}))).await).await;
    assert_eq!(answer, json!({"data": {"slow": 2}}));
    let unknown = send(post(json!({"query": two, "operationName": "C"}))).await;
    assert_eq!(unknown.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_mutation_is_never_run_twice_for_one_key() {
    let response = send(query(
        "mutation { change { name } ... on Mutation { change { size } } }",
    ))
    .await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let response = send(query("mutation { a: change { name } b: change { size } }")).await;
    assert_eq!(
        body(response).await,
        json!({"data": {"a": {"name": "changed"}, "b": {"size": 7}}})
    );
}

#[tokio::test]
async fn documents_over_the_limits_and_cyclic_ones_are_refused() {
    let deep = format!(
        "{{ widget {}size{} }}",
        "{ inner ".repeat(16),
        " }".repeat(16)
    )
    .replace("inner size", "size");
    assert_eq!(send(query(&deep)).await.status(), StatusCode::BAD_REQUEST);
    let cyclic = "mutation { ...A } fragment A on Mutation { ...B } fragment B on Mutation { ...A change { size } }";
    assert_eq!(send(query(cyclic)).await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_schema_is_closed_unless_it_is_opened() {
    let asked = "{ __schema { queryType { name } } }";
    let open = body(send(query(asked)).await).await;
    assert_eq!(open["data"]["__schema"]["queryType"]["name"], "Query");
    // As deep as the query of graphql-js, which tools send.
    let wrapped = format!("{}name{}", "ofType { ".repeat(9), " }".repeat(9));
    let tool =
        format!("{{ __schema {{ types {{ fields {{ args {{ type {{ {wrapped} }} }} }} }} }} }}");
    assert_eq!(send(query(&tool)).await.status(), StatusCode::OK);
    let closed = text(send_with(query(asked), Limits::default()).await).await;
    assert!(!closed.contains("\"Query\""), "{closed}");
    let suggested = text(send_with(query("{ quic }"), Limits::default()).await).await;
    assert!(!suggested.contains("quick"), "{suggested}");
}

#[tokio::test]
async fn resolvers_share_the_deadline_of_the_request() {
    assert_eq!(
        body(send(query("{ timeLeft }")).await).await,
        json!({"data": {"timeLeft": true}})
    );
}

#[tokio::test]
async fn a_fault_of_the_input_is_pointed_at() {
    let fault = crate::error::FieldError {
        pointer: "/size".to_owned(),
        detail: "too small".to_owned(),
    };
    let error = error(&Error::from(ClientError::Unprocessable(vec![fault])));
    let extensions = serde_json::to_value(error.extensions).unwrap();
    assert_eq!(
        extensions,
        json!({"code": "UNPROCESSABLE", "errors": [{"pointer": "/size", "detail": "too small"}]})
    );
}

fn stream_of(query: &str) -> Request<Body> {
    let mut request = post(json!({"query": query}));
    let accept = http::HeaderValue::from_static("text/event-stream");
    request.headers_mut().insert("accept", accept);
    request
}

#[tokio::test]
async fn results_are_events_for_who_reads_events() {
    let response = send(stream_of("subscription { finite(to: 2) }")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers()["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let next = |data: &str| format!("event: next\ndata: {{\"data\":{data}}}\n\n");
    let complete = "event: complete\ndata:\n\n";
    assert_eq!(
        text(response).await,
        [&next("{\"finite\":1}"), &next("{\"finite\":2}"), complete].concat()
    );
    let query = text(send(stream_of("{ quick }")).await).await;
    assert_eq!(query, [&next("{\"quick\":1}"), complete].concat());

    for refused in ["{ quick", "subscription { nothing }"] {
        let response = send(stream_of(refused)).await;
        assert_eq!(response.status(), StatusCode::OK);
        let text = text(response).await;
        assert!(
            text.starts_with("event: next\ndata: {\"errors\":[{"),
            "{text}"
        );
        assert!(text.ends_with(complete), "{text}");
    }
    let mut write = Request::get("/graphql?query=mutation%7Bchange%7Bname%7D%7D")
        .body(Body::empty())
        .unwrap();
    let accept = http::HeaderValue::from_static("text/event-stream");
    write.headers_mut().insert("accept", accept);
    assert_eq!(send(write).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    // There is one answer for who reads no events.
    let answer = send(query_of("subscription { finite(to: 2) }")).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

fn query_of(text: &str) -> Request<Body> {
    query(text)
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_shows_that_it_lives() {
    let response = send(stream_of("subscription { count(to: 1) { number } }")).await;
    let mut body = response.into_body().into_data_stream();
    let first = body.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: next\n"), "{first:?}");
    for _ in 0..3 {
        assert_eq!(body.next().await.unwrap().unwrap(), ":\n\n");
    }
}

fn sha256(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn persisted(hash: &str) -> Value {
    json!({"persistedQuery": {"version": 1, "sha256Hash": hash}})
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"]
        .as_str()
        .unwrap_or("none")
}

#[tokio::test]
async fn a_document_is_registered_once_and_then_asked_by_its_hash() {
    let transport = transport(&open());
    let ask = async |request: Value| body(send_to(&transport, post(request)).await).await;
    let asked = "{ quick }";
    let hash = sha256(asked);
    let by_hash = json!({"extensions": persisted(&hash)});
    assert_eq!(
        code(&ask(by_hash.clone()).await),
        "PERSISTED_QUERY_NOT_FOUND"
    );
    let other = json!({"query": "{ slow }", "extensions": persisted(&hash)});
    assert_eq!(code(&ask(other).await), "PERSISTED_QUERY_HASH_MISMATCH");
    let register = json!({"query": asked, "extensions": persisted(&hash)});
    assert_eq!(ask(register).await["data"]["quick"], 1);
    assert_eq!(ask(by_hash).await["data"]["quick"], 1);
    let by_id = json!({"documentId": format!("sha256:{hash}")});
    assert_eq!(ask(by_id).await["data"]["quick"], 1);
    let uri = format!(
        "/graphql?extensions=%7B%22persistedQuery%22:%7B%22version%22:1,%22sha256Hash%22:%22{hash}%22%7D%7D"
    );
    let get = Request::get(uri).body(Body::empty()).unwrap();
    assert_eq!(
        body(send_to(&transport, get).await).await["data"]["quick"],
        1
    );

    // What is not valid is not kept.
    let invalid = "{ nothing }";
    let hash = sha256(invalid);
    let register = json!({"query": invalid, "extensions": persisted(&hash)});
    assert_eq!(code(&ask(register).await), "GRAPHQL_VALIDATION_FAILED");
    let by_hash = json!({"extensions": persisted(&hash)});
    assert_eq!(code(&ask(by_hash).await), "PERSISTED_QUERY_NOT_FOUND");
    for malformed in [
        json!("x"),
        json!({"version": 2, "sha256Hash": hash}),
        json!({"version": 1, "sha256Hash": "+1"}),
    ] {
        let request = post(json!({"query": asked, "extensions": {"persistedQuery": malformed}}));
        let response = send_to(&transport, request).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn only_trusted_documents_are_executed_where_that_is_wanted() {
    let trusted = "query T { quick }";
    let hash = sha256(trusted);
    let list = json!({&hash: trusted, format!("sha256:{}", sha256("{ slow }")): "{ slow }"});
    let documents = super::TrustedDocuments::parse(list.to_string().as_bytes()).unwrap();
    let settings = Settings {
        persisted: super::Persisted::Trusted(documents.into()),
        ..open()
    };
    let transport = transport(&settings);
    let ask = async |request: Value| body(send_to(&transport, post(request)).await).await;
    assert_eq!(
        ask(json!({"extensions": persisted(&hash)})).await["data"]["quick"],
        1
    );
    assert_eq!(ask(json!({"documentId": hash})).await["data"]["quick"], 1);
    assert_eq!(ask(json!({"query": "{ slow }"})).await["data"]["slow"], 2);
    assert_eq!(
        code(&ask(json!({"query": "{ quick }"})).await),
        "DOCUMENT_NOT_TRUSTED"
    );
    let other = json!({"query": "{ quick }", "extensions": persisted(&sha256("{ quick }"))});
    assert_eq!(code(&ask(other).await), "DOCUMENT_NOT_TRUSTED");
    let unknown = json!({"documentId": sha256("{ quick }")});
    assert_eq!(code(&ask(unknown).await), "PERSISTED_QUERY_NOT_FOUND");

    for bad in [
        json!({"x": "{ quick }"}),
        json!({&hash: "{ quick }"}),
        json!({sha256("{"): "{"}),
        json!([]),
    ] {
        assert!(super::TrustedDocuments::parse(bad.to_string().as_bytes()).is_err());
    }
}

#[tokio::test]
async fn a_document_that_was_seen_before_is_judged_as_before() {
    let transport = transport(&open());
    let ask = async |query: &str, variables: Value| {
        let request = post(json!({"query": query, "variables": variables}));
        text(send_to(&transport, request).await).await
    };
    let asked = "query($n: String, $deep: Boolean = false) { widget(name: $n) { size name inner @include(if: $deep) { name } } quick }";
    for variables in [
        json!({"n": "ab"}),
        json!({"n": "ab", "deep": true}),
        json!({}),
        json!({"n": null}),
        json!({"n": 7}),
        json!({"n": ["x"]}),
        json!({"n": {"x": 1}}),
        json!({"deep": "yes"}),
    ] {
        let fresh = {
            let request = post(json!({"query": asked, "variables": variables}));
            text(send(request).await).await
        };
        let plain = |text: &str| {
            let mut value: Value = serde_json::from_str(text).unwrap();
            if let Some(errors) = value["errors"].as_array_mut() {
                for error in errors {
                    error["extensions"]["requestId"] = Value::Null;
                }
            }
            value.to_string()
        };
        ask(asked, json!({"n": "x"})).await;
        assert_eq!(
            plain(&ask(asked, variables.clone()).await),
            plain(&fresh),
            "{variables}"
        );
    }
}

#[tokio::test]
async fn batches_are_bounded_and_off_unless_they_are_wanted() {
    let batch = |count: usize| post(Value::from(vec![json!({"query": "{ quick }"}); count]));
    assert_eq!(send(batch(1)).await.status(), StatusCode::BAD_REQUEST);
    let mut settings = open();
    settings.limits.batch = 2;
    let transport = transport(&settings);
    let mixed = post(json!([{"query": "{ slow quick }"}, {"query": "{ nothing }"}]));
    let response = send_to(&transport, mixed).await;
    assert_eq!(response.status(), StatusCode::OK);
    let answer = body(response).await;
    assert_eq!(answer[0]["data"], json!({"slow": 2, "quick": 1}));
    assert_eq!(
        answer[1]["errors"][0]["extensions"]["code"],
        "GRAPHQL_VALIDATION_FAILED"
    );
    for count in [0, 3] {
        let response = send_to(&transport, batch(count)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{count}");
    }
}

/// So many names, each another one.
fn names(count: usize) -> String {
    (0..count).map(|number| format!("m{number} ")).collect()
}

/// Documents that are made to keep a server busy, each with the code of its refusal.
fn malicious() -> Vec<(&'static str, String, &'static str)> {
    let doubling: String = (0..40)
        .map(|number| {
            format!(
                "fragment F{number} on Widget {{ inner {{ ...F{0} }} inner {{ ...F{0} }} }} ",
                number + 1
            )
        })
        .collect();
    let flat: String = (0..30)
        .map(|number| {
            format!(
                "fragment F{number} on Widget {{ ...F{0} ...F{0} }} ",
                number + 1
            )
        })
        .collect();
    vec![
        ("deep", format!("{{ widget {} name {} }}", "{ inner ".repeat(60), "}".repeat(60)), "DEPTH_LIMIT_EXCEEDED"),
        ("brackets", format!("{{ widget(name: {}) }}", "[".repeat(30_000)), "DEPTH_LIMIT_EXCEEDED"),
        ("braces", "{a".repeat(1_000), "DEPTH_LIMIT_EXCEEDED"),
        ("wide", format!("{{ {} }}", "quick ".repeat(5_000)), "TOKEN_LIMIT_EXCEEDED"),
        ("aliased", (0..600).fold("{ ".to_owned(), |text, number| format!("{text} a{number}: quick")) + "}", "ALIAS_LIMIT_EXCEEDED"),
        ("doubling", format!("{{ widget {{ ...F0 }} }} {doubling} fragment F40 on Widget {{ name }}"), "COMPLEXITY_LIMIT_EXCEEDED"),
        ("spreads", format!("{{ widget {{ ...F0 }} }} {flat} fragment F30 on Widget {{ name }}"), "COMPLEXITY_LIMIT_EXCEEDED"),
        ("spreads of nothing", (0..28).fold("{ widget { ...F0 } } ".to_owned(), |text, number| format!("{text} fragment F{number} on Widget {{ ...F{0} ...F{0} }}", number + 1)) + " fragment F28 on Widget { ...Nothing }", "COMPLEXITY_LIMIT_EXCEEDED"),
        ("operations with the same fragments", (0..110).fold("fragment F on Query { ".to_owned() + &(0..100).map(|number| format!("...G{number} ")).collect::<String>() + "}", |text, number| format!("{text} query Q{number} {{ ...F }}")) + &(0..100).map(|number| format!(" fragment G{number} on Query {{ quick }}")).collect::<String>(), "COMPLEXITY_LIMIT_EXCEEDED"),
        ("cyclic", "{ widget { ...A ...A } } fragment A on Widget { ...B ...B } fragment B on Widget { ...A ...A }".to_owned(), "GRAPHQL_VALIDATION_FAILED"),
        ("directives", format!("{{ quick {} }}", "@include(if: true) ".repeat(200)), "DIRECTIVE_LIMIT_EXCEEDED"),
        ("list", format!("{{ widget(name: [{}]) {{ name }} }}", "1,".repeat(15_000)), "TOKEN_LIMIT_EXCEEDED"),
        ("tokens", "a ".repeat(500_000), "DOCUMENT_TOO_LARGE"),
        ("string", format!("{{ widget(name: \"{}", "\\\"".repeat(15_000)), "GRAPHQL_PARSE_FAILED"),
        ("same", format!("{{ {} }}", "quick ".repeat(1_900)), "none"),
        ("variables", format!("query({}) {{ quick }}", "$a: Int ".repeat(480)), "GRAPHQL_VALIDATION_FAILED"),
        ("mutations", format!("mutation {{ {} }}", names(1_900)), "GRAPHQL_VALIDATION_FAILED"),
        ("mutations by a fragment", format!("mutation {{ ...F }} fragment F on Mutation {{ {} }}", names(1_900)), "GRAPHQL_VALIDATION_FAILED"),
        ("mutations by fragments", (0..170).fold(String::new(), |text, number| format!("{text} fragment F{number} on Mutation {{ m{number} }}")) + "mutation { " + &(0..170).map(|number| format!("...F{number} ")).collect::<String>() + "}", "GRAPHQL_VALIDATION_FAILED"),
        ("one mutation", format!("mutation {{ {} }}", "change { name } ".repeat(480)), "BAD_REQUEST"),
        ("subscriptions", format!("subscription {{ {} }}", names(1_900)), "BAD_REQUEST"),
        ("one subscription", format!("subscription {{ {} }}", "finite(to: 1) ".repeat(320)), "BAD_REQUEST"),
        ("names that there are not", format!("{{ widget {{ {} }} }}", "nothing ".repeat(1_900)), "GRAPHQL_VALIDATION_FAILED"),
        ("names that are almost there", format!("{{ {} }}", (0..480).map(|number| format!("widget{number} {{ name }} ")).collect::<String>()), "GRAPHQL_VALIDATION_FAILED"),
        ("a long name", format!("{{ {} }}", "a".repeat(32_000)), "GRAPHQL_VALIDATION_FAILED"),
        ("a long string", format!("{{ widget(name: \"{}\") {{ nothing }} }}", "a".repeat(32_000)), "GRAPHQL_VALIDATION_FAILED"),
        ("comments", "#\n".repeat(16_000) + "{ quick }", "TOKEN_LIMIT_EXCEEDED"),
        ("differing arguments", format!("{{ {} }}", (0..215).map(|number| format!("widget(name: \"{number}\") {{ name }} ")).collect::<String>()), "GRAPHQL_VALIDATION_FAILED"),
        ("differing arguments by fragments", (0..15).fold("{ ...F0 } ".to_owned(), |text, number| format!("{text} fragment F{number} on Query {{ {} ...F{} }}", (0..13).map(|argument| format!("widget(name: \"{argument}\") {{ name }} ")).collect::<String>(), number + 1)) + "fragment F15 on Query { quick }", "GRAPHQL_VALIDATION_FAILED"),
        ("conditions", format!("query({}) {{ {} }}", (0..130).map(|number| format!("$v{number}: Boolean = true ")).collect::<String>(), (0..130).map(|number| format!("quick @include(if: $v{number}) ")).collect::<String>()), "none"),
        ("weighted", "{ widgets { inner { inner { inner { inner { name } } } } } }".to_owned(), "none"),
    ]
}

/// For how long one may keep its thread busy, also in a build in which only what parses and validates is optimised (Cargo.toml).
const MOST: Duration = Duration::from_millis(10);

#[tokio::test]
async fn malicious_documents_are_refused_with_a_code_and_without_work() {
    let shipped = transport(&Settings::default());
    // Names are suggested, too.
    let open = transport(&open());
    for (name, document, expected) in malicious() {
        for (transport, which) in [(&shipped, "as shipped"), (&open, "open")] {
            let mut least = Duration::MAX;
            for turn in 0..40 {
                if turn > 2 && least < MOST {
                    break;
                }
                // Never twice the same text, which might be known.
                let request = post(json!({"query": format!("{document}\n#{turn}")}));
                let before = busy();
                let answer = body(send_to(transport, request).await).await;
                // What it costs is the least of several: the machine is not ours alone.
                least = least.min(busy() - before);
                assert_eq!(code(&answer), expected, "{name}, {which}");
            }
            assert!(least < MOST, "{name}, {which}: busy for {least:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_is_not_much_longer_than_a_document_that_is_all_wrong() {
    let document = format!("{{ {} }}", names(1_900));
    let answer = body(send(query(&document)).await).await;
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 51);
    assert_eq!(
        errors[50]["message"],
        "1850 more things are wrong with the document."
    );
    assert!(errors.iter().all(|error| {
        error["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
            && error["extensions"]["requestId"].is_string()
    }));
}

/// How long this thread has been running.
fn busy() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.try_into().unwrap()
}
