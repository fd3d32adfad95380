//! Bad input at every door: the status that the API names, a problem body, one line in the log, and nothing lost.

use anyhow::{Context, Result};
use ftgo_tests::System;
use ftgo_tests::bff::Bff;
use ftgo_tests::process::BffProcess;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// One thing that a client does wrong, and the status for it.
struct Case {
    name: &'static str,
    request: RequestBuilder,
    status: u16,
}

struct Door<'a> {
    system: &'a System,
    base: String,
    token: String,
}

impl Door<'_> {
    fn plain(&self, method: Method, path: &str) -> RequestBuilder {
        self.system
            .http
            .request(method, &format!("{}{path}", self.base))
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.plain(Method::GET, path).bearer_auth(&self.token)
    }

    fn post(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> RequestBuilder {
        self.plain(Method::POST, path)
            .bearer_auth(&self.token)
            .header("content-type", content_type)
            .body(body)
    }
}

const JSON: &str = "application/json";

/// The members of an order in the order of their declaration, as a serializer without names would write them.
fn as_array(order: &Value) -> String {
    let members = [
        "restaurantId",
        "deliveryAddress",
        "deliveryTime",
        "lineItems",
    ];
    let values: Vec<&Value> = members.iter().map(|name| &order[name]).collect();
    json!(values).to_string()
}

async fn cases(door: &Door<'_>) -> Result<Vec<Case>> {
    let system = door.system;
    let expired = system.token_with("consumer-1", "&expires_in=-600").await?;
    let elsewhere = system.token_with("consumer-1", "&aud=ftgo-public").await?;
    let narrow = system
        .token_with("consumer-1", "&scope=restaurants:read")
        .await?;
    let with = |token: &str| door.plain(Method::GET, "/orders").bearer_auth(token);
    let order = System::order_for(&system.open_restaurant(&door.token).await?);
    let changed = |pointer: &str, value: Value| {
        let mut order = order.clone();
        if let Some(place) = order.pointer_mut(pointer) {
            *place = value;
        }
        order.to_string()
    };
    let huge = changed("/deliveryAddress/street1", Value::from("x".repeat(2 << 20)));
    let case = |name, request, status| Case {
        name,
        request,
        status,
    };
    Ok(vec![
        case("unknown path", door.get("/nothing/here"), 404),
        case(
            "unknown path, no token",
            door.plain(Method::GET, "/nothing/here"),
            404,
        ),
        case(
            "wrong method",
            door.plain(Method::DELETE, "/orders")
                .bearer_auth(&door.token),
            405,
        ),
        case("TRACE", door.plain(Method::TRACE, "/orders"), 405),
        case("no token", door.plain(Method::GET, "/orders"), 401),
        case(
            "no token, broken body",
            door.plain(Method::POST, "/orders").body("{"),
            401,
        ),
        case("not a token", with("garbage"), 401),
        case("expired token", with(&expired), 401),
        case("token for another audience", with(&elsewhere), 401),
        case(
            "two credentials",
            with(&door.token).header("x-api-key", "ftgo_test_x"),
            400,
        ),
        case("token without the scope", with(&narrow), 403),
        case(
            "malformed JSON",
            door.post("/orders", JSON, "{\"restaurantId\": "),
            400,
        ),
        case(
            "malformed JSON that does not fit either",
            door.post("/orders", JSON, "{\"restaurantId\": 5, \"x\": "),
            400,
        ),
        case(
            "an array for an object",
            door.post("/orders", JSON, as_array(&order)),
            422,
        ),
        case(
            "an array for an object in it",
            door.post(
                "/orders",
                JSON,
                changed("/lineItems/0", json!(["item-1", 1])),
            ),
            422,
        ),
        case("empty body", door.post("/orders", JSON, ""), 400),
        case(
            "not JSON by its type",
            door.post("/orders", "text/plain", order.to_string()),
            415,
        ),
        case(
            "wrong type",
            door.post(
                "/orders",
                JSON,
                changed("/lineItems/0/quantity", json!("five")),
            ),
            422,
        ),
        case(
            "a negative quantity",
            door.post("/orders", JSON, changed("/lineItems/0/quantity", json!(-5))),
            422,
        ),
        case(
            "no line items",
            door.post("/orders", JSON, changed("/lineItems", json!([]))),
            422,
        ),
        case("missing members", door.post("/orders", JSON, "{}"), 422),
        case(
            "unknown restaurant",
            door.post("/orders", JSON, changed("/restaurantId", json!("nowhere"))),
            404,
        ),
        case(
            "unknown dish",
            door.post(
                "/orders",
                JSON,
                changed("/lineItems/0/menuItemId", json!("none")),
            ),
            404,
        ),
        case(
            "oversized, and not JSON by its type",
            door.post("/orders", "text/plain", huge.clone()),
            415,
        ),
        case(
            "oversized, and of an order that is not there",
            door.post("/orders/no-such-order/revise", JSON, huge.clone()),
            404,
        ),
        case("oversized body", door.post("/orders", JSON, huge), 413),
        case("an order id that is no text", door.get("/orders/%ff"), 400),
        case("unknown order", door.get("/orders/no-such-order"), 404),
        case(
            "an order id with a slash in it",
            door.get("/orders/a%2Fb"),
            400,
        ),
        case(
            "an order id with a backslash in it",
            door.get("/orders/a%5Cb"),
            400,
        ),
        case(
            "unknown section",
            door.get("/orders/no-such-order?fields=nothing"),
            400,
        ),
        case("bad cursor", door.get("/orders?cursor=%21%21"), 400),
        case("bad limit", door.get("/orders?limit=many"), 400),
        case(
            "a radius too large",
            door.get("/restaurants?lat=37.8&lng=-122.27&radius=50001"),
            400,
        ),
        case(
            "a place that is none",
            door.get("/restaurants?lat=91&lng=0"),
            400,
        ),
        case("no place at all", door.get("/restaurants"), 400),
        case(
            "unknown restaurant's page",
            door.get("/restaurants/nowhere"),
            404,
        ),
        case(
            "a URI too long",
            door.get(&format!("/orders?keyword={}", "x".repeat(9_000))),
            414,
        ),
        case(
            "a deadline that is none",
            door.get("/orders").header("request-timeout", "soon"),
            400,
        ),
        case(
            "a deadline that is none, no token",
            door.plain(Method::GET, "/orders")
                .header("request-timeout", "soon"),
            401,
        ),
        case(
            "cancel an unknown order",
            door.post("/orders/no-such-order/cancel", JSON, "{}"),
            404,
        ),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_has_its_status_a_problem_and_one_line() -> Result<()> {
    let system = System::start().await?;
    // The binary, since the log is part of the claim.
    let bff = BffProcess::start(Bff::Mobile, &system).await?;
    let process = &bff.process;
    let door = Door {
        system: &system,
        base: bff.base.clone(),
        token: system.token("consumer-1").await?,
    };
    for Case {
        name,
        request,
        status,
    } in cases(&door).await?
    {
        let id = format!("case-{}", name.replace([' ', ','], "-").replace('\'', ""));
        let answer = system
            .http
            .send(request.header("x-request-id", &id))
            .await
            .context(name)?;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert_eq!(answer.header("x-request-id"), Some(id.as_str()), "{name}");
        match status {
            401 => assert!(answer.header("www-authenticate").is_some(), "{name}"),
            405 => assert!(answer.header("allow").is_some(), "{name}"),
            422 => assert!(
                answer.body["errors"][0]["pointer"].is_string(),
                "{name}: {answer:?}"
            ),
            _ => {}
        }
        let mine = |line: &Value| line["target"] == "access" && line["request_id"] == id.as_str();
        let line = process
            .logs(&format!("a log line for {name}"), mine)
            .await?;
        assert_eq!(line["status"], status, "{name}");
        assert_eq!(line["error_source"], "client", "{name}: {line}");
        assert_eq!(
            process.log().iter().filter(|line| mine(line)).count(),
            1,
            "{name}: more than one line"
        );
    }

    let malformed = door.post("/orders", JSON, "{\n  \"restaurantId\" 1}");
    let malformed = system.http.send(malformed).await?;
    let detail = malformed.body["detail"].as_str().context("no detail")?;
    assert!(
        detail.contains("line 2"),
        "the position is missing: {detail}"
    );

    // Nothing of all this has become an order, and the next good request is served.
    let orders = system.http.send(door.get("/orders")).await?;
    assert_eq!(orders.body["items"], json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_claims_about_itself_is_not_believed() -> Result<()> {
    let system = System::start().await?;
    let url = system.web_url("/api/restaurants/restaurant-1");
    let request = system
        .http
        .request(Method::GET, &url)
        .header("x-forwarded-for", "203.0.113.7")
        .header("x-request-id", "not a token\u{e9}")
        .header("connection", "x-internal-token")
        .header("x-internal-token", "forged");
    let answer = system.http.send(request).await?;
    assert_eq!(answer.status, 200);
    let id = answer.header("x-request-id").context("no id")?;
    assert_eq!(id.len(), 36, "an id of ours: {id}");
    Ok(())
}
