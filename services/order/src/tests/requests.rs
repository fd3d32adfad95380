//! The HTTP surface: what is accepted, what is refused and how, repeated requests, preconditions.
//! Not here: how a saga goes on after its request (`sagas`).

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::world::{World, restaurant, usd, usual_order};

async fn body(response: Response) -> Value {
    response.json().await.unwrap()
}

/// The pointers of a 422.
async fn pointers(response: Response) -> Vec<String> {
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let body = body(response).await;
    let errors = body["errors"].as_array().unwrap().clone();
    errors
        .iter()
        .map(|error| error["pointer"].as_str().unwrap().to_owned())
        .collect()
}

fn with(pointer: &str, value: Value) -> Value {
    let mut order = usual_order();
    *order.pointer_mut(pointer).unwrap() = value;
    order
}

#[tokio::test]
async fn a_placed_order_is_accepted_and_can_be_read() {
    let world = World::new().await;
    world.detach("consumer");
    let mut request = usual_order();
    let delivery_time = (Utc::now() + TimeDelta::hours(3))
        .format("%Y-%m-%dT%H:%M:%S+02:00")
        .to_string();
    request["deliveryTime"] = json!(delivery_time);
    let response = world.post("/orders").json(&request).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let accepted = body(response).await;
    let id = accepted["orderId"].as_str().unwrap();
    assert_eq!(location, format!("/orders/{id}"));
    assert_eq!(accepted["state"], "APPROVAL_PENDING");

    let response = world.get(&location).await;
    assert_eq!(response.headers()["etag"], "\"v1\"");
    let mut order = body(response).await;
    let taken: chrono::DateTime<Utc> =
        serde_json::from_value(order["deliveryTime"].take()).unwrap();
    assert_eq!(
        taken,
        delivery_time.parse::<chrono::DateTime<Utc>>().unwrap()
    );
    assert_eq!(order["createdAt"], order["updatedAt"]);
    let created = order["createdAt"].take();
    order["updatedAt"].take();
    assert!(created.as_str().unwrap().ends_with('Z'), "{created}");
    let line = json!({"menuItemId": "vindaloo", "name": "Chicken Vindaloo", "price": usd("12.34"), "quantity": 5});
    assert_eq!(
        order,
        json!({
            "id": id, "consumerId": "consumer-1", "restaurantId": "restaurant-1", "restaurantName": "Ajanta",
            "state": "APPROVAL_PENDING", "version": 1, "lineItems": [line], "total": usd("61.70"),
            "deliveryAddress": usual_order()["deliveryAddress"], "deliveryTime": null, "rejectionReason": null,
            "createdAt": null, "updatedAt": null,
        })
    );
}

#[tokio::test]
async fn an_unchanged_order_is_not_sent_again() {
    let world = World::new().await;
    let id = world.approved().await;
    let path = format!("/orders/{id}");
    let conditional = |tag: &'static str| {
        world
            .request("GET", &path)
            .header("If-None-Match", tag)
            .send()
    };
    let same = conditional("\"v2\"").await.unwrap();
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(same.headers()["etag"], "\"v2\"");
    assert_eq!(same.text().await.unwrap(), "");
    assert_eq!(
        conditional("\"v1\"").await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn several_orders_come_in_the_order_of_their_ids_and_unknown_ones_are_missing() {
    let world = World::new().await;
    let (first, second) = (world.place().await, world.place().await);
    let page = world
        .json(&format!("/orders?ids={second},nobody,{first},{second}"))
        .await;
    let ids: Vec<&Value> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|order| &order["id"])
        .collect();
    assert_eq!(ids, [&json!(second), &json!(first)]);
    assert_eq!(world.json("/orders?ids=").await, json!({"items": []}));
    let too_many: Vec<String> = (0..201).map(|id| id.to_string()).collect();
    for path in ["/orders", &format!("/orders?ids={}", too_many.join(","))] {
        assert_eq!(
            world.get(path).await.status(),
            StatusCode::BAD_REQUEST,
            "{path}"
        );
    }
}

#[tokio::test]
async fn ids_that_name_nothing_are_404() {
    let world = World::new().await;
    for (method, path) in [
        ("GET", "/orders/nobody"),
        ("POST", "/orders/nobody/cancel"),
        ("GET", "/sagas/nobody"),
        ("GET", "/elsewhere"),
    ] {
        let response = world.request(method, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{method} {path}");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
    }
    let revision = json!({"lineItems": [{"menuItemId": "naan", "quantity": 9}]});
    let response = world
        .post("/orders/nobody/revise")
        .json(&revision)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    for order in [
        with("/restaurantId", json!("nobody")),
        with("/lineItems/0/menuItemId", json!("caviar")),
    ] {
        let response = world.post("/orders").json(&order).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{order}");
    }
}

#[tokio::test]
async fn bodies_that_do_not_fit_are_422_with_a_pointer() {
    let world = World::new().await;
    let line = |id: &str, quantity: Value| json!({"menuItemId": id, "quantity": quantity});
    let many: Vec<Value> = (0..51)
        .map(|index| line(&index.to_string(), json!(1)))
        .collect();
    let past = Utc::now() - TimeDelta::minutes(1);
    let mut in_the_past = usual_order();
    in_the_past["deliveryTime"] = json!(past);
    let mut no_time = usual_order();
    no_time["deliveryTime"] = json!("tomorrow");
    for (order, expected) in [
        (
            with("/lineItems/0/quantity", json!(0)),
            "/lineItems/0/quantity",
        ),
        (
            with("/lineItems/0/quantity", json!(-1)),
            "/lineItems/0/quantity",
        ),
        (
            with("/lineItems/0/quantity", json!(101)),
            "/lineItems/0/quantity",
        ),
        (
            with("/lineItems/0/quantity", json!(1.5)),
            "/lineItems/0/quantity",
        ),
        (
            with("/lineItems/0/quantity", json!("5")),
            "/lineItems/0/quantity",
        ),
        (
            with("/lineItems/0/quantity", json!(u64::MAX)),
            "/lineItems/0/quantity",
        ),
        (with("/lineItems", json!([])), "/lineItems"),
        (with("/lineItems", json!(many)), "/lineItems"),
        (
            with(
                "/lineItems",
                json!([line("naan", json!(9)), line("naan", json!(1))]),
            ),
            "/lineItems/1/menuItemId",
        ),
        (with("/lineItems/0/quantity", json!(1)), "/lineItems"),
        (
            with("/deliveryAddress/city", json!(" ")),
            "/deliveryAddress/city",
        ),
        (
            with("/deliveryAddress", json!({"street1": "1 Main Street"})),
            "/deliveryAddress",
        ),
        (with("/consumerId", json!("")), "/consumerId"),
        (with("/consumerId", json!(7)), "/consumerId"),
        (in_the_past, "/deliveryTime"),
        (no_time, "/deliveryTime"),
        (json!({}), ""),
        (json!([]), ""),
    ] {
        let response = world.post("/orders").json(&order).send().await.unwrap();
        assert_eq!(pointers(response).await, [expected], "{order}");
    }
    let several = json!({
        "consumerId": "", "restaurantId": "restaurant-1",
        "deliveryAddress": {"street1": "", "city": "Oakland", "state": "CA", "zip": "94612"},
        "lineItems": [line("naan", json!(0))],
    });
    let response = world.post("/orders").json(&several).send().await.unwrap();
    assert_eq!(
        pointers(response).await,
        [
            "/deliveryAddress/street1",
            "/consumerId",
            "/lineItems/0/quantity"
        ]
    );
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_400_and_415() {
    let world = World::new().await;
    let send = |kind: &'static str, text: &'static str| {
        world
            .post("/orders")
            .header("content-type", kind)
            .body(text)
            .send()
    };
    let broken = send("application/json", "{\"consumerId\":").await.unwrap();
    assert_eq!(broken.status(), StatusCode::BAD_REQUEST);
    assert!(
        body(broken).await["detail"]
            .as_str()
            .unwrap()
            .contains("line 1 column 14")
    );
    let plain = send("text/plain", "{}").await.unwrap();
    assert_eq!(plain.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let patch = world.request("PATCH", "/orders").send().await.unwrap();
    assert_eq!(patch.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_restaurant_and_a_menu_item_that_are_on_their_way_are_waited_for() {
    let world = World::new().await;
    let mut newer = restaurant("restaurant-1", 2, "Ajanta");
    newer.data["menu"]["items"][1]["id"] = json!("korma");
    newer.data["menu"]["items"][1]["price"] = usd("30.00");
    for (order, arrival) in [
        (
            with("/restaurantId", json!("restaurant-2")),
            restaurant("restaurant-2", 1, "Montclair Egg Shop"),
        ),
        (with("/lineItems/0/menuItemId", json!("korma")), newer),
    ] {
        let request = world.post("/orders").json(&order).send();
        let arrival = async {
            // Not a wait for anything: the request is to be there first, and passes either way.
            tokio::time::sleep(Duration::from_millis(100)).await;
            world.tell(&arrival).await;
        };
        let (response, ()) = tokio::join!(request, arrival);
        assert_eq!(response.unwrap().status(), StatusCode::ACCEPTED);
    }
}

#[tokio::test]
async fn a_repeated_request_is_done_once_and_answered_alike() {
    let mut world = World::new().await;
    let first = world
        .post("/orders")
        .header("Idempotency-Key", "k-1")
        .json(&usual_order())
        .send()
        .await
        .unwrap();
    assert_eq!(first.headers().get("idempotent-replayed"), None);
    let location = first.headers()["location"].clone();
    let accepted = body(first).await;
    world
        .reaches(accepted["orderId"].as_str().unwrap(), "APPROVED")
        .await;
    world.restart_service().await;
    for key in ["k-1", "\"k-1\""] {
        let repeated = world
            .post("/orders")
            .header("Idempotency-Key", key)
            .json(&usual_order())
            .send()
            .await
            .unwrap();
        assert_eq!(repeated.status(), StatusCode::ACCEPTED);
        assert_eq!(repeated.headers()["idempotent-replayed"], "true");
        assert_eq!(repeated.headers()["location"], location);
        assert_eq!(
            body(repeated).await,
            accepted,
            "the first answer, though the order has moved on"
        );
    }
    let other = with("/lineItems/0/quantity", json!(6));
    let reused = world
        .post("/orders")
        .header("Idempotency-Key", "k-1")
        .json(&other)
        .send()
        .await
        .unwrap();
    assert_eq!(reused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let someone_else = with("/consumerId", json!("consumer-2"));
    let theirs = world
        .post("/orders")
        .header("Idempotency-Key", "k-1")
        .json(&someone_else)
        .send()
        .await
        .unwrap();
    assert_eq!(theirs.status(), StatusCode::ACCEPTED);
    assert_eq!(theirs.headers().get("idempotent-replayed"), None);
    assert_ne!(body(theirs).await, accepted);
    let malformed = world
        .post("/orders")
        .header("Idempotency-Key", "")
        .json(&usual_order())
        .send()
        .await
        .unwrap();
    assert_eq!(malformed.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_refused_request_does_not_use_up_its_key() {
    let world = World::new().await;
    let cheap = with("/lineItems/0/quantity", json!(1));
    let refused = world
        .post("/orders")
        .header("Idempotency-Key", "k-1")
        .json(&cheap)
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let accepted = world
        .post("/orders")
        .header("Idempotency-Key", "k-1")
        .json(&usual_order())
        .send()
        .await
        .unwrap();
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn the_same_request_many_times_at_once_places_one_order() {
    let world = World::new().await;
    let requests = (0..10).map(|_| {
        world
            .post("/orders")
            .header("Idempotency-Key", "k-1")
            .json(&usual_order())
            .send()
    });
    let responses = futures_util::future::join_all(requests).await;
    let mut ids = Vec::new();
    let mut replayed = 0;
    for response in responses {
        let response = response.unwrap();
        replayed += usize::from(response.headers().contains_key("idempotent-replayed"));
        ids.push(body(response).await["orderId"].clone());
    }
    ids.dedup();
    assert_eq!((ids.len(), replayed), (1, 9));
}

#[tokio::test]
async fn cancel_and_revise_are_idempotent_by_key_and_refused_in_the_wrong_state() {
    let world = World::new().await;
    let id = world.approved().await;
    let path = format!("/orders/{id}/cancel");
    let cancel = || world.post(&path).header("Idempotency-Key", "c-1").send();
    let first = body(cancel().await.unwrap()).await;
    world.reaches(&id, "CANCELLED").await;
    let repeated = cancel().await.unwrap();
    assert_eq!(repeated.headers()["idempotent-replayed"], "true");
    assert_eq!(body(repeated).await, first);
    let again = world.post(&path).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::CONFLICT);
    assert_eq!(body(again).await["code"], "ILLEGAL_STATE");
    let revision = json!({"lineItems": [{"menuItemId": "naan", "quantity": 9}]});
    let revise = world
        .post(&format!("/orders/{id}/revise"))
        .json(&revision)
        .send()
        .await
        .unwrap();
    assert_eq!(revise.status(), StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_precondition_that_fails_changes_nothing() {
    let world = World::new().await;
    let id = world.approved().await;
    let revision = json!({"lineItems": [{"menuItemId": "naan", "quantity": 9}]});
    let cancel = world
        .post(&format!("/orders/{id}/cancel"))
        .header("If-Match", "\"v1\"");
    assert_eq!(
        cancel.send().await.unwrap().status(),
        StatusCode::PRECONDITION_FAILED
    );
    let revise = world
        .post(&format!("/orders/{id}/revise"))
        .header("If-Match", "\"v1\"")
        .json(&revision);
    assert_eq!(
        revise.send().await.unwrap().status(),
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(world.order(&id).await["version"], 2);
    let cancel = world
        .post(&format!("/orders/{id}/cancel"))
        .header("If-Match", "\"v2\"");
    assert_eq!(cancel.send().await.unwrap().status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn of_revisions_at_the_same_time_one_is_taken_and_the_minimum_holds() {
    let world = World::new().await;
    let id = world.approved().await;
    world.detach("kitchen");
    let path = format!("/orders/{id}/revise");
    let revise = |line: Value| world.post(&path).json(&json!({"lineItems": [line]})).send();
    // Each alone keeps the minimum of 20.00; both together, as differences, would not.
    let (first, second) = tokio::join!(
        revise(json!({"menuItemId": "vindaloo", "quantity": 2})),
        revise(json!({"menuItemId": "naan", "quantity": 8})),
    );
    let mut statuses = [first.unwrap().status(), second.unwrap().status()];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::ACCEPTED, StatusCode::CONFLICT]);
    let below = revise(json!({"menuItemId": "vindaloo", "quantity": 1}))
        .await
        .unwrap();
    assert_eq!(
        below.status(),
        StatusCode::CONFLICT,
        "its state comes first"
    );
    world.attach("kitchen");
    let order = world.reaches(&id, "APPROVED").await;
    assert!(
        order["total"] == usd("24.68") || order["total"] == usd("20.00"),
        "{}",
        order["total"]
    );
    let below = revise(json!({"menuItemId": "vindaloo", "quantity": 1}))
        .await
        .unwrap();
    assert_eq!(pointers(below).await, ["/lineItems"]);
}

#[tokio::test]
async fn the_document_lists_routes_that_exist() {
    let world = World::new().await;
    let document = world.json("/openapi.json").await;
    let mut listed = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let response = world
                .request(&method.to_uppercase(), &path.replace("{id}", "nobody"))
                .send()
                .await
                .unwrap();
            assert_ne!(
                response.status(),
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            let body: Value = response.json().await.unwrap();
            assert_ne!(
                body["detail"], "there is nothing at this path",
                "{method} {path}"
            );
            listed += 1;
        }
    }
    assert_eq!(listed, 6);
}
