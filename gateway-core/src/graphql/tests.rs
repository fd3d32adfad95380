//! The transport against a small schema: media types, statuses, methods, field order, error codes. The audits of
//! GraphQL over HTTP run against a BFF, in `tests/`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use async_graphql::{Context, EmptySubscription, Object, Schema};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{Limits, error, serve};
use crate::context::RequestContext;
use crate::error::{ClientError, Error};
use crate::upstream::{UpstreamError, UpstreamErrorKind};

struct Query;

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

struct Mutation;

#[Object]
impl Mutation {
    async fn change(&self) -> Widget {
        Widget {
            name: "changed".to_owned(),
        }
    }
}

async fn send(request: Request<Body>) -> Response {
    send_with(
        request,
        Limits {
            introspection: true,
            ..Limits::default()
        },
    )
    .await
}

async fn send_with(mut request: Request<Body>, limits: Limits) -> Response {
    let schema = limits
        .apply(Schema::build(Query, Mutation, EmptySubscription))
        .finish();
    request
        .extensions_mut()
        .insert(RequestContext::for_tests(Duration::from_secs(1)));
    match serve(&schema, request, |_, execution| execution).await {
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
