//! The courier's app in front of a delivery service that answers as each test says.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use gateway_core::testkit::{Answer, TestGateway};
use http::Method;
use serde_json::{Value, json};

use super::fake::{COURIER, SETUP};
use super::{as_usual, problem, shown, start};

fn get(world: &TestGateway, path: &str) -> reqwest::RequestBuilder {
    world.request(Method::GET, path, COURIER)
}

fn post(world: &TestGateway, path: &str) -> reqwest::RequestBuilder {
    world.request(Method::POST, path, COURIER)
}

#[tokio::test]
async fn a_plan_has_its_shape_and_asks_for_each_thing_once() {
    let world = start(as_usual).await;
    let plan = shown(get(&world, "/courier/plan")).await;
    insta::assert_json_snapshot!("courier_plan", plan);
    assert_eq!(
        world.calls(),
        [
            "GET /couriers/courier-1/plan",
            "GET /deliveries?ids=order-1",
            "GET /restaurants?ids=restaurant-1"
        ]
    );
    // What is no section is there whatever was picked.
    let picked = shown(get(&world, "/courier/plan?fields=restaurants")).await;
    assert_eq!(picked["actions"], plan["actions"]);
    assert_eq!(picked["restaurants"], plan["restaurants"]);
    assert_eq!(picked["deliveries"], Value::Null);
}

#[tokio::test]
async fn who_has_nothing_to_do_asks_nobody_else() {
    let world = start(|seen| {
        let idle =
            json!({"courierId": "courier-1", "available": false, "location": null, "actions": []});
        seen.call.ends_with("/plan").then(|| Answer::ok(&idle))
    })
    .await;
    let plan = shown(get(&world, "/courier/plan")).await;
    let nothing = json!({"status": "ok", "data": []});
    assert_eq!(
        (&plan["deliveries"], &plan["restaurants"]),
        (&nothing, &nothing)
    );
    assert_eq!(world.calls().len(), 1);
}

#[tokio::test]
async fn a_courier_reports_what_it_carries_itself() {
    let world = start(as_usual).await;
    for (stop, state) in [("pickup", "PICKED_UP"), ("dropoff", "DELIVERED")] {
        let path = format!("/courier/deliveries/order-1/{stop}");
        let delivery = shown(post(&world, &path)).await;
        assert_eq!(delivery["state"], state);
        let report = world.seen().last().unwrap().clone();
        assert_eq!(report.call, format!("POST /deliveries/order-1/{stop}"));
        assert_eq!(report.body, json!({"courierId": "courier-1"}));
    }
    // Neither another's nor one without a courier is there.
    for courier in [
        json!({"id": "courier-2", "name": "Kim", "location": null}),
        Value::Null,
    ] {
        let world = TestGateway::start(&SETUP, move |seen| {
            let body = json!({"id": "order-1", "state": "SCHEDULED", "version": 1, "updatedAt": "2030-01-01T18:00:00Z", "courier": courier});
            (seen.call == "GET /deliveries/order-1").then(|| Answer::ok(&body))
        })
        .await;
        for stop in ["pickup", "dropoff"] {
            let path = format!("/courier/deliveries/order-1/{stop}");
            let (status, _) = problem(post(&world, &path)).await;
            assert_eq!(status, 404);
        }
        assert!(
            world
                .seen()
                .iter()
                .all(|seen| seen.call.starts_with("GET "))
        );
    }
}

#[tokio::test]
async fn what_the_state_does_not_allow_is_said() {
    let world = start(|seen| {
        let detail = json!({"detail": "a delivery that is DELIVERED cannot be picked up"});
        let refused = seen.call == "POST /deliveries/order-1/pickup";
        refused.then(|| Answer::refused(409, "conflict", detail))
    })
    .await;
    let (status, body) = problem(post(&world, "/courier/deliveries/order-1/pickup")).await;
    assert_eq!(status, 409);
    assert!(body["detail"].as_str().unwrap().contains("DELIVERED"));
}

#[tokio::test]
async fn where_a_courier_is_and_whether_it_works_goes_to_the_service() {
    let world = start(as_usual).await;
    let off = json!({"available": false});
    shown(post(&world, "/courier/availability").json(&off)).await;
    assert_eq!(world.seen().last().unwrap().body, off);
    let place = json!({"lat": 37.8, "lng": -122.27});
    let put = |body: &Value| {
        world
            .request(Method::PUT, "/courier/location", COURIER)
            .json(body)
    };
    let courier = shown(put(&place)).await;
    assert_eq!(courier["id"], "courier-1");
    let seen = world.seen().last().unwrap().clone();
    assert_eq!(
        (seen.call.as_str(), seen.body),
        ("PUT /couriers/courier-1/location", place)
    );

    let before = world.seen().len();
    for (request, pointer) in [
        (
            post(&world, "/courier/availability").json(&json!({"available": "no"})),
            "/available",
        ),
        (put(&json!({"lat": "north", "lng": 0})), "/lat"),
        (put(&json!({"lat": 91, "lng": 0})), "/lat"),
        (put(&json!({"lat": 0, "lng": -180.5})), "/lng"),
    ] {
        let (status, body) = problem(request).await;
        assert_eq!(
            (status, &body["errors"][0]["pointer"]),
            (422, &json!(pointer))
        );
    }
    assert_eq!(world.seen().len(), before);
}
