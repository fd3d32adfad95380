//! The app's screens and actions in front of services that answer as each test says, over real sockets.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod compression;
mod courier;
mod events;
mod fake;
mod matrix;
mod openapi;

use gateway_core::testkit::{Answer, Seen, TestGateway};
use http::StatusCode;
use serde_json::{Value, json};

use fake::SETUP;

fn as_usual(_: &Seen) -> Option<Answer> {
    None
}

async fn start(answers: fn(&Seen) -> Option<Answer>) -> TestGateway {
    TestGateway::start(&SETUP, answers).await
}

async fn shown(request: reqwest::RequestBuilder) -> Value {
    let response = request.send().await.unwrap();
    assert!(response.status().is_success(), "{response:?}");
    response.json().await.unwrap()
}

async fn problem(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json",
        "{response:?}"
    );
    (status, response.json().await.unwrap())
}

#[tokio::test]
async fn every_screen_has_its_shape() {
    let world = start(as_usual).await;
    for (name, path) in [
        ("home", "/home?lat=37.8&lng=-122.27"),
        ("order_details", "/orders/order-1"),
        ("order_history", "/orders"),
        ("restaurants", "/restaurants?lat=37.8&lng=-122.27"),
        ("restaurant", "/restaurants/restaurant-1"),
    ] {
        insta::assert_json_snapshot!(name, shown(world.get(path)).await);
    }
}

#[tokio::test]
async fn order_details_ask_each_service_once() {
    let world = start(as_usual).await;
    shown(world.get("/orders/order-1")).await;
    let details = [
        "GET /deliveries/order-1",
        "GET /orders/order-1",
        "GET /restaurants/restaurant-1",
        "GET /tickets/order-1",
        "POST /ftgo.accounting.v1.Accounting/GetBill",
    ];
    assert_eq!(world.calls(), details);
}

#[tokio::test]
async fn what_is_not_picked_is_not_asked_for() {
    let world = start(as_usual).await;
    let details = shown(world.get("/orders/order-1?fields=bill")).await;
    assert_eq!(
        details.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["bill"]
    );
    assert_eq!(
        world.calls(),
        [
            "GET /orders/order-1",
            "POST /ftgo.accounting.v1.Accounting/GetBill"
        ]
    );

    let home = shown(world.get("/home?lat=37.8&lng=-122.27&fields=recentOrders")).await;
    assert_eq!(
        home.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["recentOrders"]
    );
    assert_eq!(world.seen().len(), 3, "{:?}", world.calls());
}

#[tokio::test]
async fn anothers_order_is_not_there_and_nothing_of_it_is_shown() {
    let world = start(|seen| {
        (seen.call == "GET /orders/order-1").then(|| {
            Answer::ok(&json!({
                "id": "order-1", "consumerId": "consumer-2", "restaurantId": "restaurant-1",
                "restaurantName": "Secret", "state": "APPROVED", "version": 1, "lineItems": [],
                "total": {"amount": "1.00", "currency": "USD"}, "deliveryTime": null,
                "deliveryAddress": {"street1": "s", "city": "c", "state": "CA", "zip": "1"},
                "createdAt": "2030-01-01T18:00:00Z", "updatedAt": "2030-01-01T18:00:00Z",
            }))
        })
    })
    .await;
    let (status, body) = problem(world.get("/orders/order-1")).await;
    let (unknown_status, unknown) = problem(world.get("/orders/no-such-order")).await;
    assert_eq!((status, unknown_status), (404, 404));
    for member in ["type", "title", "detail"] {
        assert_eq!(body[member], unknown[member]);
    }
    for action in ["cancel", "revise"] {
        // The body is malformed, too, and that is not for a stranger to learn.
        let (status, _) =
            problem(world.post(&format!("/orders/order-1/{action}"), &json!([]))).await;
        assert_eq!(status, 404, "{action}");
    }
    assert!(
        world
            .seen()
            .iter()
            .all(|seen| !seen.call.ends_with("cancel") && !seen.call.ends_with("revise"))
    );
}

#[tokio::test]
async fn a_service_that_fails_costs_its_section_only() {
    let world = start(|seen| match seen.call.as_str() {
        "GET /tickets/order-1" => Some(Answer::refused(
            500,
            "internal",
            json!({"detail": "stack trace"}),
        )),
        "GET /deliveries/order-1" => Some(Answer::ok(&json!({"unexpected": true}))),
        "POST /ftgo.accounting.v1.Accounting/GetBill" => Some(Answer::grpc_refused(5)),
        _ => None,
    })
    .await;
    let response = world.get("/orders/order-1").send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "private, no-store");
    let details: Value = response.json().await.unwrap();
    assert_eq!(details["order"]["status"], "ok");
    assert_eq!(details["restaurant"]["status"], "ok");
    let unavailable = |reason: &str| json!({"status": "unavailable", "reason": reason});
    assert_eq!(details["ticket"], unavailable("upstream_error"));
    assert_eq!(details["delivery"], unavailable("invalid_response"));
    assert_eq!(details["bill"], unavailable("not_found"));
}

#[tokio::test]
async fn states_that_contradict_each_other_are_shown_and_flagged() {
    let world = start(|seen| {
        let usual = (fake::SETUP.usual)(seen);
        match seen.call.as_str() {
            "GET /orders/order-1" => Some(usual.changed("/state", &json!("CANCELLED"))),
            "GET /tickets/order-1" => Some(usual.changed("/state", &json!("PREPARING"))),
            _ => None,
        }
    })
    .await;
    let contradictions = json!([
        {"sections": ["order", "ticket"], "detail": "The order is CANCELLED, and the ticket is PREPARING."},
        {"sections": ["order", "delivery"], "detail": "The order is CANCELLED, and the delivery is SCHEDULED."},
    ]);
    for path in [
        "/orders/order-1?fields=order,ticket,delivery",
        "/orders/order-1/events",
    ] {
        let answer = shown(world.get(path)).await;
        // Both as their services have them, with what tells which is the later word.
        assert_eq!(answer["order"]["data"]["state"], "CANCELLED");
        assert_eq!(answer["ticket"]["data"]["state"], "PREPARING");
        assert_eq!(answer["ticket"]["data"]["version"], 2);
        assert_eq!(
            answer["ticket"]["data"]["updatedAt"],
            "2030-01-01T18:02:00Z"
        );
        assert_eq!(answer["inconsistent"], true, "{path}");
        assert_eq!(answer["inconsistencies"], contradictions, "{path}");
    }
    let consistent = shown(self::start(as_usual).await.get("/orders/order-1")).await;
    assert_eq!(consistent.get("inconsistent"), None);
}

#[tokio::test]
async fn lists_flag_contradictions_and_say_which_versions_they_are_between() {
    let world = start(|seen| {
        let usual = (fake::SETUP.usual)(seen);
        (seen.call == "GET /orders").then(|| {
            usual
                .changed("/items/0/state", &json!("APPROVED"))
                .changed("/items/0/version", &json!(2))
                .changed("/items/0/ticketState", &json!("CANCELLED"))
                .changed("/items/0/ticketVersion", &json!(5))
        })
    })
    .await;
    let history = shown(world.get("/orders")).await;
    let home = shown(world.get("/home?lat=37.8&lng=-122.27")).await;
    for orders in [
        &history["items"],
        &home["activeOrders"]["data"],
        &home["recentOrders"]["data"],
    ] {
        let [first, others @ ..] = &orders.as_array().unwrap()[..] else {
            panic!("{orders}");
        };
        assert_eq!(first["inconsistent"], true, "{first}");
        assert_eq!(
            (&first["state"], &first["version"]),
            (&json!("APPROVED"), &json!(2))
        );
        assert_eq!(
            (&first["ticketState"], &first["ticketVersion"]),
            (&json!("CANCELLED"), &json!(5))
        );
        assert!(others.iter().all(|order| order["inconsistent"] == false));
    }
}

#[tokio::test]
async fn an_order_that_ends_while_home_is_read_has_ended() {
    let world = start(|seen| {
        let active = seen.call == "GET /orders" && seen.parameter("active") == Some("true");
        // As it was a moment before those that have ended were read.
        let before = || json!(fake::past_orders(None));
        active.then(|| (fake::SETUP.usual)(seen).changed("/items", &before()))
    })
    .await;
    let home = shown(world.get("/home?lat=37.8&lng=-122.27")).await;
    let ids = |section: &str| -> Vec<Value> {
        let orders = home[section]["data"].as_array().unwrap();
        orders.iter().map(|order| order["id"].clone()).collect()
    };
    assert_eq!(ids("activeOrders"), ["order-1"]);
    assert_eq!(ids("recentOrders"), ["order-0", "order-00"]);
}

#[tokio::test]
async fn orders_under_way_and_orders_that_ended_are_asked_for_by_themselves() {
    let world = start(|seen| {
        let ended = seen.call == "GET /orders" && seen.parameter("active") == Some("false");
        ended.then(|| Answer::refused(500, "internal", json!({})))
    })
    .await;
    let home = shown(world.get("/home?lat=37.8&lng=-122.27")).await;
    assert_eq!(home["activeOrders"]["data"][0]["id"], "order-1");
    assert_eq!(home["recentOrders"]["reason"], "upstream_error");
    let targets: Vec<_> = world.seen().iter().map(Seen::target).collect();
    for target in [
        "/orders?consumerId=consumer-1&pageSize=100&active=true",
        "/orders?consumerId=consumer-1&pageSize=10&active=false",
    ] {
        assert!(targets.contains(&target.to_owned()), "{targets:?}");
    }
}

#[tokio::test]
async fn polling_ends_when_nothing_moves_any_more() {
    let world = start(|seen| {
        let usual = (fake::SETUP.usual)(seen);
        match seen.call.as_str() {
            "GET /orders/order-1" => {
                Some(usual.changed("/createdAt", &json!("2020-01-01T18:00:00Z")))
            }
            "GET /deliveries/order-1" => Some(Answer::refused(500, "internal", json!({}))),
            _ => None,
        }
    })
    .await;
    for (path, after) in [
        ("/orders/order-1?fields=order", None),
        ("/orders/order-1", None),
        ("/orders/order-1/events", None),
        ("/orders/order-1?fields=ticket", Some("5")),
    ] {
        let response = world.get(path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let told = response.headers().get("retry-after");
        assert_eq!(told.map(|told| told.to_str().unwrap()), after, "{path}");
    }
}

#[tokio::test]
async fn an_app_that_is_too_old_is_told_where_to_get_a_newer_one() {
    let world = start(as_usual).await;
    let ask = |version: &str| world.get("/orders").header("app-version", version);
    let (status, body) = problem(ask("0.9.9")).await;
    assert_eq!(status, 403);
    let kind = body["type"].as_str().unwrap();
    assert!(kind.ends_with("/app-version-unsupported"), "{body}");
    assert_eq!(body["storeUrl"], "https://ftgo.example/app");
    assert!(world.seen().is_empty());
    // Who nobody knows hears of the credentials first, and a public route has the same gate.
    let anonymous = |path: &str| {
        let request = world.anonymous(http::Method::GET, path);
        problem(request.header("app-version", "0.1"))
    };
    assert_eq!(anonymous("/orders").await.0, 401);
    assert_eq!(anonymous("/openapi.json").await.0, 403);

    for (version, recommended) in [
        ("1.0.0", Some("1.2.0")),
        ("1.1", Some("1.2.0")),
        ("1.2.0", None),
        ("2", None),
        ("nonsense", None),
        ("", None),
    ] {
        let response = ask(version).send().await.unwrap();
        assert_eq!(response.status(), 200, "{version}");
        let told = response.headers().get("app-version-recommended");
        assert_eq!(
            told.map(|told| told.to_str().unwrap()),
            recommended,
            "{version}"
        );
    }
    // Also beside what went wrong.
    let wrong = world.get("/orders?limit=0").header("app-version", "1.1");
    let wrong = wrong.send().await.unwrap();
    assert_eq!(
        (
            wrong.status().as_u16(),
            &wrong.headers()["app-version-recommended"]
        ),
        (400, &"1.2.0".parse().unwrap())
    );
}

fn order() -> Value {
    json!({
        "restaurantId": "restaurant-1",
        "deliveryAddress": {"street1": "1 Main Library", "city": "Oakland", "state": "CA", "zip": "94612"},
        "deliveryTime": "2030-01-01T12:00:00-08:00",
        "lineItems": [{"menuItemId": "item-1", "quantity": 5}],
        "unknown": "ignored",
    })
}

#[tokio::test]
async fn placing_sends_the_callers_order_and_answers_before_it_is_approved() {
    let world = start(as_usual).await;
    let response = world.post("/orders", &order()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(response.headers()["location"], "/orders/order-2");
    assert!(!response.headers().contains_key("idempotent-replayed"));
    let accepted: Value = response.json().await.unwrap();
    assert_eq!(
        accepted,
        json!({"orderId": "order-2", "state": "APPROVAL_PENDING"})
    );

    let sent = &world.seen()[0];
    assert_eq!(sent.call, "POST /orders");
    assert!(!sent.headers.contains_key("idempotency-key"));
    insta::assert_json_snapshot!("place_order_upstream", sent.body);
}

#[tokio::test]
async fn an_idempotency_key_is_the_callers_own_in_either_form() {
    let world = start(|seen| {
        seen.headers.contains_key("idempotency-key").then(|| {
            let placed = json!({"orderId": "order-2", "state": "APPROVED"});
            Answer::json(202, &placed).header("idempotent-replayed", "true")
        })
    })
    .await;
    for key in ["key-1", "\"key-1\"", "key-2"] {
        let placed = world
            .post("/orders", &order())
            .header("idempotency-key", key)
            .send()
            .await
            .unwrap();
        assert_eq!(placed.headers()["idempotent-replayed"], "true");
    }
    let sent: Vec<_> = world
        .seen()
        .iter()
        .map(|seen| seen.headers["idempotency-key"].clone())
        .collect();
    // The second one was the first one's in its other form: the gateway knew the answer.
    let [first, other] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_ne!(first, other);
    assert!(
        !first.to_str().unwrap().contains("key-1"),
        "what the client chose does not leave the gateway"
    );

    let (status, _) = problem(
        world
            .post("/orders", &order())
            .header("idempotency-key", "\"open"),
    )
    .await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_media_type_is_judged_before_a_key_and_a_payload_is_all_that_was_sent() {
    let world = start(as_usual).await;
    let place = |key: &str, body: &Value| {
        let request = world.post("/orders", body);
        request.header("idempotency-key", key)
    };
    let text = world.request(http::Method::POST, "/orders", 0);
    let text = text.header("content-type", "text/plain").body("{}");
    let (status, _) = problem(text.header("idempotency-key", "\"open")).await;
    assert_eq!(status, 415);
    let (status, _) = problem(place("\"open", &json!({}))).await;
    assert_eq!(status, 400);

    shown(place("key-1", &order())).await;
    let mut other = order();
    other["unknown"] = json!("still ignored, and another word");
    let (status, reused) = problem(place("key-1", &other)).await;
    assert_eq!(status, 422);
    let kind = reused["type"].as_str().unwrap();
    assert!(kind.ends_with("/idempotency-key-reused"), "{reused}");
    assert_eq!(world.seen().len(), 1);
}

#[tokio::test]
async fn what_the_service_says_of_an_order_is_passed_on() {
    let world = start(|seen| {
        let name = seen.body["restaurantId"].as_str()?;
        Some(match name {
            "closed" => Answer::refused(
                409,
                "restaurant-closed",
                json!({"detail": "The restaurant is closed."}),
            ),
            "nowhere" => Answer::refused(
                404,
                "restaurant-not-found",
                json!({"detail": "There is no such restaurant."}),
            ),
            "small" => {
                let errors = json!([{"pointer": "/lineItems", "detail": "below the minimum"}]);
                Answer::refused(422, "unprocessable", json!({"errors": errors}))
            }
            "odd" => Answer::refused(418, "teapot", json!({"detail": "internal words"})),
            _ => return None,
        })
    })
    .await;
    let place = |restaurant: &str| {
        let mut body = order();
        body["restaurantId"] = json!(restaurant);
        problem(world.post("/orders", &body))
    };
    let (status, closed) = place("closed").await;
    assert_eq!(
        (status, &closed["detail"]),
        (409, &json!("The restaurant is closed."))
    );
    let (status, nowhere) = place("nowhere").await;
    assert_eq!(
        (status, &nowhere["detail"]),
        (404, &json!("There is no such restaurant."))
    );
    let (status, small) = place("small").await;
    assert_eq!(
        (status, &small["errors"][0]["pointer"]),
        (422, &json!("/lineItems"))
    );
    // What nobody has foreseen is the service's failure, and its words stay inside.
    let (status, odd) = place("odd").await;
    assert_eq!(status, 502);
    assert!(!odd.to_string().contains("internal words"), "{odd}");
}

#[tokio::test]
async fn an_order_of_no_sensible_shape_is_pointed_at_and_not_sent() {
    let world = start(as_usual).await;
    for (pointer, value) in [
        ("/restaurantId", json!("")),
        ("/restaurantId", json!(7)),
        ("/deliveryAddress/city", json!(" ")),
        ("/deliveryTime", json!("tomorrow")),
        ("/lineItems", json!([])),
        ("/lineItems/0/quantity", json!(0)),
        ("/lineItems/0/quantity", json!(-1)),
        ("/lineItems/0/quantity", json!(1.5)),
        ("/lineItems/0/menuItemId", json!("")),
    ] {
        let mut body = order();
        *body.pointer_mut(pointer).unwrap() = value;
        let (status, answer) = problem(world.post("/orders", &body)).await;
        assert_eq!(
            (status, &answer["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{answer}"
        );
    }
    assert!(world.seen().is_empty());
}

#[tokio::test]
async fn changes_go_to_the_callers_own_order() {
    let world = start(as_usual).await;
    let cancelled = world
        .post("/orders/order-1/cancel", &json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(cancelled.status(), StatusCode::ACCEPTED);
    assert_eq!(
        cancelled.json::<Value>().await.unwrap(),
        json!({"orderId": "order-1", "state": "CANCEL_PENDING"})
    );

    let items = json!({"lineItems": [{"menuItemId": "item-1", "quantity": 7}]});
    let revised = world
        .post("/orders/order-1/revise", &items)
        .send()
        .await
        .unwrap();
    assert_eq!(revised.status(), StatusCode::ACCEPTED);
    assert_eq!(world.seen().last().unwrap().body, items);

    let (status, answer) =
        problem(world.post("/orders/order-1/revise", &json!({"lineItems": []}))).await;
    assert_eq!(
        (status, &answer["errors"][0]["pointer"]),
        (422, &json!("/lineItems"))
    );
}

#[tokio::test]
async fn parameters_reach_the_service_as_they_were_meant() {
    let world = start(as_usual).await;
    shown(world.get(
        "/orders?status=APPROVED&keyword=a%26b%20c&since=2030-01-01T00:00:00Z&cursor=c%3D&limit=7",
    ))
    .await;
    shown(world.get(
        "/restaurants?lat=37.8&lng=-122.27&radius=100&cuisine=Thai%20food&at=2030-01-01T00:00:00Z",
    ))
    .await;
    problem(world.get("/orders/a%20b%3Fc%23d")).await;
    let targets: Vec<_> = world.seen().iter().map(Seen::target).collect();
    assert_eq!(
        targets[0],
        "/orders?consumerId=consumer-1&pageSize=7&status=APPROVED&keyword=a%26b%20c\
         &since=2030-01-01T00%3A00%3A00Z&cursor=c%3D"
    );
    assert_eq!(
        targets[1],
        "/restaurants/available?lat=37.8&lng=-122.27&radius=100&pageSize=20\
         &at=2030-01-01T00%3A00%3A00Z&cuisine=Thai%20food"
    );
    assert!(
        targets[2..].contains(&"/orders/a%20b%3Fc%23d".to_owned()),
        "{targets:?}"
    );
}

#[tokio::test]
async fn bad_parameters_are_the_clients_fault() {
    let world = start(|seen| {
        let bad = seen.query.contains("cursor=made-up");
        bad.then(|| {
            Answer::refused(
                400,
                "bad-request",
                json!({"detail": "cursor: not one of this list"}),
            )
        })
    })
    .await;
    for path in [
        "/orders?limit=0",
        "/orders?limit=101",
        "/orders?limit=many",
        "/orders?since=yesterday",
        "/orders?cursor=made-up",
        "/restaurants",
        "/restaurants?lat=37.8",
        "/restaurants?lat=x&lng=1",
        "/restaurants?lat=NaN&lng=1",
        "/restaurants?lat=91&lng=0",
        "/restaurants?lat=0&lng=-181",
        "/restaurants?lat=0&lng=0&radius=50001",
        "/restaurants?lat=0&lng=0&radius=0",
        "/restaurants?lat=0&lng=0&radius=NaN",
        "/restaurants?lat=0&lng=0&at=noon",
        "/home?lat=37.8",
        "/home?lat=37.8&lng=-122.27&fields=nothing",
        "/orders/order-1?fields=nothing",
    ] {
        let (status, body) = problem(world.get(path)).await;
        assert_eq!(status, 400, "{path}: {body}");
    }
}
