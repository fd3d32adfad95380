//! What partners see of version 2, in front of services that answer as each test says, over real sockets.

use gateway_core::testkit::{Answer, Key, Setup, TestGateway};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{BOUND, PARTNERS, SETUP, UNBOUND, get, start};

const MENU: &str = "/v2/restaurants/restaurant-1/menu";

fn order() -> Value {
    json!({
        "restaurantId": "restaurant-1",
        "deliveryAddress": {"street1": "1 Main Library", "city": "Oakland", "state": "CA", "zip": "94612"},
        "lineItems": [{"menuItemId": "item-1", "quantity": 5}],
    })
}

async fn place(world: &TestGateway, key: Option<&str>, body: &Value) -> reqwest::Response {
    let mut request = world.request(Method::POST, "/v2/orders", BOUND).json(body);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.send().await.unwrap()
}

async fn put_menu(
    world: &TestGateway,
    path: &str,
    if_match: Option<&str>,
    body: &Value,
) -> reqwest::Response {
    let mut request = world.request(Method::PUT, path, BOUND).json(body);
    if let Some(tag) = if_match {
        request = request.header("if-match", tag);
    }
    request.send().await.unwrap()
}

fn menu() -> Value {
    let price = json!({"amount": "12.34", "currency": "USD"});
    json!({"items": [{"id": "item-1", "name": "Chicken Vindaloo", "price": price}]})
}

#[tokio::test]
async fn every_answer_has_its_shape() {
    let world = start().await;
    for (name, path) in [
        ("order", "/v2/orders/order-1"),
        ("orders", "/v2/orders"),
        ("restaurants", "/v2/restaurants?lat=37.8&lng=-122.27"),
        ("own_restaurants", "/v2/restaurants"),
        ("menu", MENU),
    ] {
        let response = get(&world, path, BOUND).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert!(response.headers().get("deprecation").is_none(), "{path}");
        // The partner's own list is nobody else's, whoever may read what is on it.
        if name == "own_restaurants" {
            assert_eq!(response.headers()["cache-control"], "private, no-cache");
        }
        let body: Value = response.json().await.unwrap();
        insta::assert_json_snapshot!(format!("v2_{name}"), body);
    }
}

/// More than the service answers for in one call.
#[tokio::test]
async fn a_partner_may_have_many_restaurants() {
    let ids: Vec<_> = (1..=250)
        .map(|number| format!("restaurant-{number}"))
        .collect();
    let partners = PARTNERS.replace("restaurant-1 restaurant-2", &ids.join(" "));
    let config = SETUP.config.iter().map(|text| match *text {
        PARTNERS => &*partners.clone().leak(),
        text => text,
    });
    let setup = Setup {
        config: config.collect::<Vec<_>>().leak(),
        ..SETUP
    };
    let world = TestGateway::start(&setup, |_| None).await;
    let response = get(&world, "/v2/restaurants", BOUND).await;
    assert_eq!(response.status(), StatusCode::OK);
    let asked = world.seen();
    let asked: Vec<_> = asked
        .iter()
        .filter_map(|seen| seen.parameter("ids"))
        .collect();
    assert!(
        asked.iter().all(|ids| ids.split("%2C").count() <= 100),
        "{asked:?}"
    );
    assert_eq!(asked.join("%2C"), ids.join("%2C"));
}

#[tokio::test]
async fn pages_say_where_the_others_are() {
    let world = start().await;
    let link = |response: &reqwest::Response| {
        let link = response.headers()["link"].to_str().unwrap();
        link.to_owned()
    };
    let first = get(&world, "/v2/orders?limit=1&status=APPROVED", BOUND).await;
    assert_eq!(
        link(&first),
        "</v2/orders?limit=1&status=APPROVED&cursor=orders%3D2>; rel=\"next\", \
         </v2/orders?limit=1&status=APPROVED>; rel=\"first\""
    );
    let body: Value = first.json().await.unwrap();
    assert_eq!(body["nextCursor"], "orders=2");
    let last = get(&world, "/v2/orders?limit=1&cursor=orders%3D2", BOUND).await;
    assert_eq!(link(&last), "</v2/orders?limit=1>; rel=\"first\"");
    let body: Value = last.json().await.unwrap();
    assert_eq!(body["nextCursor"], Value::Null);
}

#[tokio::test]
async fn parameters_are_checked() {
    let world = start().await;
    for path in [
        "/v2/orders?limit=0",
        "/v2/orders?limit=x",
        "/v2/orders?since=noon",
        "/v2/orders?cursor=made-up",
        "/v2/restaurants?lat=NaN&lng=0",
        "/v2/restaurants?lat=0&lng=181",
        "/v2/restaurants?lat=0&lng=0&radius=50001",
        "/v2/restaurants?lat=0&lng=0&at=noon",
    ] {
        let response = get(&world, path, BOUND).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
    }
    // Each of them is right, and together they are not.
    for path in ["/v2/restaurants?lat=37.8", "/v2/restaurants?cursor=r00"] {
        let response = get(&world, path, BOUND).await;
        assert_eq!(
            response.status(),
            StatusCode::UNPROCESSABLE_ENTITY,
            "{path}"
        );
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["type"], "/problems/parameters-disagree");
    }
}

#[tokio::test]
async fn a_menu_has_a_strong_validator_and_is_not_written_over_unseen() {
    let world = start().await;
    let read = world.request(Method::GET, MENU, BOUND);
    let read = read.header("accept-encoding", "gzip, br, zstd");
    let read = read.send().await.unwrap();
    assert_eq!(read.headers()["etag"], "\"v4\"");
    assert!(read.headers().get("content-encoding").is_none());
    let known = world.request(Method::GET, MENU, BOUND);
    let known = known
        .header("if-none-match", "\"v4\"")
        .send()
        .await
        .unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);

    for (path, if_match, body, status) in [
        (MENU, Some("\"v4\""), menu(), 200),
        (MENU, Some("\"v3\""), menu(), 412),
        (MENU, Some("W/\"v4\""), menu(), 412),
        (MENU, None, menu(), 428),
        (MENU, Some("\"v4\""), json!({"items": [{}]}), 422),
        // Another's, and one that there is not: the same, whatever else is wrong.
        (
            "/v2/restaurants/restaurant-3/menu",
            Some("\"v4\""),
            menu(),
            404,
        ),
        ("/v2/restaurants/none/menu", None, json!(5), 404),
    ] {
        let response = put_menu(&world, path, if_match, &body).await;
        assert_eq!(response.status(), status, "{path} {if_match:?}");
        if status == 200 {
            assert_eq!(response.headers()["etag"], "\"v4\"");
        }
    }
    let unbound = world.request(Method::PUT, MENU, UNBOUND);
    let unbound = unbound.header("if-match", "\"v4\"").json(&menu());
    assert_eq!(unbound.send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn an_order_is_placed_once_for_each_key() {
    let world = start().await;
    assert_eq!(place(&world, None, &order()).await.status(), 400);
    assert_eq!(place(&world, Some(""), &order()).await.status(), 400);

    let first = place(&world, Some("one"), &order()).await;
    assert_eq!(first.status(), 202);
    assert_eq!(first.headers()["location"], "/v2/orders/order-9");
    assert!(first.headers().get("idempotent-replayed").is_none());
    let first = first.text().await.unwrap();
    // The quoted form is the same key.
    for key in ["one", "\"one\""] {
        let again = place(&world, Some(key), &order()).await;
        assert_eq!(again.status(), 202);
        assert_eq!(again.headers()["idempotent-replayed"], "true");
        assert_eq!(again.headers()["location"], "/v2/orders/order-9");
        assert_eq!(again.text().await.unwrap(), first);
    }
    let mut other = order();
    other["lineItems"][0]["quantity"] = json!(6);
    let reused = place(&world, Some("one"), &other).await;
    assert_eq!(reused.status(), 422);
    let reused: Value = reused.json().await.unwrap();
    assert_eq!(reused["type"], "/problems/idempotency-key-reused");

    let placed: Vec<_> = world.seen().into_iter().collect();
    assert_eq!(placed.len(), 1, "the service was asked once");
    let forwarded = placed[0].headers["idempotency-key"].to_str().unwrap();
    assert!(forwarded.len() == 64 && forwarded != "one");
    assert_eq!(placed[0].body["consumerId"], "consumer-3");
    assert_eq!(place(&world, Some("two"), &order()).await.status(), 202);
    assert_eq!(world.seen().len(), 2);
}

#[tokio::test]
async fn a_media_type_is_judged_before_a_key_and_a_caller_before_both() {
    let world = start().await;
    let send = async |caller: usize, media_type: &str, key: &str| {
        let request = world.request(Method::POST, "/v2/orders", caller);
        let request = request.header("content-type", media_type);
        let request = request.header("idempotency-key", key).body("{}");
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(send(BOUND, "text/plain", "\"open").await, 415);
    assert_eq!(send(BOUND, "application/json", "\"open").await, 400);
    assert_eq!(send(BOUND, "application/json", "good").await, 422);
    // Who may place nothing does not learn what else is wrong.
    for (media_type, key) in [("text/plain", "\"open"), ("application/json", "good")] {
        assert_eq!(send(UNBOUND, media_type, key).await, 403, "{media_type}");
    }
    assert!(world.seen().is_empty());
}

#[tokio::test]
async fn a_member_that_nobody_reads_is_a_part_of_the_payload() {
    let world = start().await;
    let noted = |note: Value| {
        let mut order = order();
        order["note"] = note;
        order
    };
    let first = place(&world, Some("one"), &noted(json!("ring twice"))).await;
    assert_eq!(first.status(), 202);
    let again = place(&world, Some("one"), &noted(json!("ring twice"))).await;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    for other in [noted(json!("do not ring")), noted(Value::Null), order()] {
        assert_eq!(place(&world, Some("one"), &other).await.status(), 422);
    }
    assert_eq!(world.seen().len(), 1);
}

#[tokio::test]
async fn faults_of_the_body_are_told_before_anything_is_remembered() {
    let world = start().await;
    for (body, status) in [
        (json!({}), 422),
        (
            json!({"restaurantId": "", "deliveryAddress": {"street1": "", "city": "", "state": "", "zip": ""}, "lineItems": []}),
            422,
        ),
    ] {
        assert_eq!(place(&world, Some("one"), &body).await.status(), status);
    }
    assert_eq!(place(&world, Some("one"), &order()).await.status(), 202);
    assert_eq!(world.seen().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_given_again_and_a_failure_is_not() {
    let world = TestGateway::start(&SETUP, |seen| match seen.call.as_str() {
        "POST /orders" if seen.body["restaurantId"] == "none" => {
            let detail = json!({"detail": "There is no such restaurant."});
            Some(Answer::refused(404, "not-found", detail))
        }
        "POST /orders" => Some(Answer::json(500, &json!({}))),
        _ => None,
    })
    .await;
    let mut unknown = order();
    unknown["restaurantId"] = json!("none");
    for replayed in [None, Some("true")] {
        let refused = place(&world, Some("refused"), &unknown).await;
        assert_eq!(refused.status(), 404);
        let header = refused.headers().get("idempotent-replayed");
        assert_eq!(header.map(|value| value.to_str().unwrap()), replayed);
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["detail"], "There is no such restaurant.");
    }
    assert_eq!(world.seen().len(), 1);
    for _ in 0..2 {
        assert_eq!(place(&world, Some("failed"), &order()).await.status(), 502);
    }
    let keys: Vec<_> = world
        .seen()
        .into_iter()
        .skip(1)
        .map(|seen| seen.headers["idempotency-key"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(keys.len(), 2, "a failure is tried again");
    assert_eq!(keys[0], keys[1], "with the same key");
}

#[tokio::test]
async fn who_takes_no_json_is_told_before_anything_is_done_and_version_1_does_not_ask() {
    let world = start().await;
    let ask = async |method: Method, path: &str, accept: &str| {
        let request = world.request(method, path, BOUND).header("accept", accept);
        let request = request.header("idempotency-key", "one").json(&order());
        request.send().await.unwrap()
    };
    for path in [
        "/v2/usage",
        "/v2/orders",
        "/v2/orders/order-1",
        "/v2/webhooks",
    ] {
        let refused = ask(Method::GET, path, "text/csv").await;
        assert_eq!(refused.status(), 406, "{path}");
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["type"], "/problems/not-acceptable");
        let taken = ask(Method::GET, path, "text/csv, */*;q=0.1").await;
        assert_eq!(taken.status(), 200, "{path}");
    }
    let before = world.seen().len();
    let refused = ask(Method::POST, "/v2/orders", "text/csv").await;
    assert_eq!(refused.status(), 406);
    assert_eq!(world.seen().len(), before);
    let frozen = ask(Method::GET, "/v1/orders/order-1", "text/csv").await;
    assert_eq!(frozen.status(), 200);
}

#[tokio::test]
async fn usage_says_what_is_left_of_the_plan() {
    let world = start().await;
    let first: Value = get(&world, "/v2/usage", BOUND).await.json().await.unwrap();
    assert_eq!(first["plan"], "scale");
    assert_eq!(
        first["rate"],
        json!({"requests": 200, "seconds": 1.0, "burst": 200})
    );
    assert_eq!(first["day"]["limit"], 1_000_000);
    assert_eq!(first["day"]["used"], 1);
    let response = get(&world, "/v2/usage", BOUND).await;
    let headers = response.headers().clone();
    let second: Value = response.json().await.unwrap();
    assert_eq!(
        (&second["day"]["used"], &second["day"]["remaining"]),
        (&json!(2), &json!(999_998))
    );
    let policy = headers["ratelimit-policy"].to_str().unwrap();
    assert!(
        policy.contains("\"plan\";q=200;w=1") && policy.contains("\"quota\";q=1000000;w=86400"),
        "{policy}"
    );
    let limit = headers["ratelimit"].to_str().unwrap();
    assert!(limit.contains("\"quota\";r=999998;t="), "{limit}");
}

#[tokio::test]
async fn a_plan_has_its_pace() {
    let world = start().await;
    let mut statuses = Vec::new();
    for _ in 0..40 {
        let response = get(&world, "/v2/usage", UNBOUND).await;
        assert!(response.headers().contains_key("ratelimit"));
        if response.status() == 429 {
            assert!(response.headers().contains_key("retry-after"));
        }
        statuses.push(response.status().as_u16());
        // The other partner is not in its way.
        assert_eq!(get(&world, "/v2/usage", BOUND).await.status(), 200);
    }
    assert!(
        statuses[..5].iter().all(|status| *status == 200),
        "{statuses:?}"
    );
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn who_is_no_partner_is_bound_to_nothing_whatever_the_credentials_say() {
    const STRANGER: Setup = Setup {
        keys: &[Key {
            owner: "stranger",
            scopes: SETUP.keys[BOUND].scopes,
            attributes: &[
                ("consumer", "consumer-3"),
                ("restaurant_ids", "restaurant-1"),
            ],
        }],
        ..SETUP
    };
    let world = TestGateway::start(&STRANGER, |_| None).await;
    for path in ["/v2/orders", "/v2/orders/order-1", "/v1/orders/order-1"] {
        assert_eq!(get(&world, path, 0).await.status(), 403, "{path}");
    }
    assert_eq!(place(&world, Some("one"), &order()).await.status(), 403);
    let menu = put_menu(&world, MENU, Some("\"v4\""), &menu()).await;
    assert_eq!(menu.status(), 403);
    assert!(world.seen().is_empty());
}
