//! The schema in front of services that answer as each test says, over real sockets.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod fake;
mod matrix;
mod pages;
mod schema;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_graphql::SDLExportOptions;
use gateway_core::testkit::{Seen, eventually};
use serde_json::{Value, json};
use tokio::time::timeout;

use fake::{Answer, As, World};

fn as_usual(_: &str) -> Option<Answer> {
    None
}

fn codes(answer: &Value) -> Vec<(&str, &str)> {
    let errors = answer["errors"].as_array().map_or(&[][..], Vec::as_slice);
    let mut codes: Vec<_> = errors
        .iter()
        .map(|error| {
            assert!(error["extensions"]["requestId"].is_string(), "{error}");
            let field = error["path"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_str)
                .next_back();
            (
                field.unwrap(),
                error["extensions"]["code"].as_str().unwrap(),
            )
        })
        .collect();
    codes.sort_unstable();
    codes
}

const SCREEN: &str = "query Screen($id: ID!) {
    order(id: $id) {
        id state rejectionReason restaurantName total { amount currency }
        lineItems { menuItemId name quantity price { amount currency } }
        deliveryAddress { street1 street2 city state zip } deliveryTime createdAt updatedAt
        ticket { id state readyBy pickedUpAt }
        delivery { id state courier { name location { lat lng } } scheduledPickupTime }
        consumer { firstName lastName email } bill { state amount { amount currency } authorizedAt }
        restaurant {
            id name cuisine address { city } location { lat } orderMinimum { amount }
            menu { items { id name description price { amount } } }
        }
    }
    me { id roles scopes consumer { firstName lastName email } }
}";

#[test]
fn the_schema_is_what_was_agreed() {
    insta::assert_snapshot!(
        "schema",
        crate::graphql::sdl(SDLExportOptions::new().sorted_fields())
    );
}

#[tokio::test]
async fn an_order_comes_with_everything_around_it() {
    let world = World::start(as_usual).await;
    let answer = world
        .ask(As::Consumer, SCREEN, json!({"id": "order-1"}))
        .await;
    assert_eq!(answer.get("errors"), None, "{answer}");
    insta::assert_json_snapshot!("order", answer["data"]);
    let calls = [
        "GET /consumers?ids=consumer-1",
        "GET /deliveries?ids=order-1",
        "GET /orders?ids=order-1",
        "GET /restaurants?ids=restaurant-1",
        "GET /tickets?ids=order-1",
        "POST /ftgo.accounting.v1.Accounting/ListBills",
    ];
    // The consumer is asked for on two levels: once, when the first answer is there before the second question.
    let mut made = world.calls();
    made.dedup();
    assert_eq!(made, calls);
}

#[tokio::test]
async fn fifty_orders_cost_one_call_for_each_service_and_level() {
    let world = World::start(as_usual).await;
    let query = "{ orders(first: 50) { nodes {
        id deliveryAddress { city } lineItems { price { amount } }
        restaurant { name } ticket { state } delivery { state } consumer { firstName } bill { state }
    } } }";
    let answer = world.ask(As::Consumer, query, Value::Null).await;
    assert_eq!(answer.get("errors"), None, "{answer}");
    let nodes = answer["data"]["orders"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 50);
    for (number, node) in nodes.iter().enumerate() {
        assert_eq!(node["id"], format!("order-{number:02}"));
        assert_eq!(node["ticket"]["state"], "ACCEPTED");
        assert_eq!(node["lineItems"][0]["price"]["amount"], "12.34");
        assert_eq!(node["bill"]["state"], "AUTHORIZED");
        assert_eq!(node["consumer"]["firstName"], "Consumer");
    }
    let calls = world.calls();
    let services: Vec<_> = calls
        .iter()
        .map(|call| call.split('?').next().unwrap())
        .collect();
    let once = [
        "GET /consumers",
        "GET /deliveries",
        "GET /orders",
        "GET /orders",
        "GET /restaurants",
        "GET /tickets",
        "POST /ftgo.accounting.v1.Accounting/ListBills",
    ];
    assert_eq!(services, once, "{calls:?}");
    // In the same order whenever they are asked for: who asks for the same shares the call, and what is stored is found.
    for ids in calls.iter().filter_map(|call| call.split_once("ids=")) {
        let ids: Vec<_> = ids.1.split(',').collect();
        assert!(ids.is_sorted(), "{ids:?}");
    }

    // What the list has is not asked for again.
    world
        .ask(
            As::Consumer,
            "{ orders { nodes { id state total { amount } lineItems { name } } } }",
            Value::Null,
        )
        .await;
    assert_eq!(world.calls().len(), once.len() + 1);
}

#[tokio::test]
async fn anothers_order_is_as_good_as_none() {
    let world = World::start(as_usual).await;
    let query = "{ foreign: order(id: \"foreign\") { id } none: order(id: \"none\") { id } own: order(id: \"a,b\") { id } }";
    let answer = world.ask(As::Consumer, query, Value::Null).await;
    assert_eq!(
        answer,
        json!({"data": {"foreign": null, "none": null, "own": null}}),
        "{answer}"
    );
    assert_eq!(world.calls().len(), 1, "{:?}", world.calls());
}

#[tokio::test]
async fn orders_need_credentials_that_allow_them_and_restaurants_need_none() {
    let world = World::start(as_usual).await;
    let query = "{
        order(id: \"order-1\") { id } orders { nodes { id } } restaurant(id: \"restaurant-1\") { name }
        restaurants(near: {lat: 37.8, lng: -122.27}) { nodes { name restaurant { name } } } me { id }
    }";
    let answer = world.ask(As::Nobody, query, Value::Null).await;
    assert_eq!(
        codes(&answer),
        [("order", "UNAUTHENTICATED"), ("orders", "UNAUTHENTICATED")]
    );
    let nodes = json!([{"name": "Ajanta", "restaurant": {"name": "Ajanta"}}]);
    let data = json!({
        "order": null, "orders": null, "restaurant": {"name": "Ajanta"}, "restaurants": {"nodes": nodes}, "me": null,
    });
    assert_eq!(answer["data"], data);

    let answer = world.ask(As::Narrow, query, Value::Null).await;
    assert_eq!(
        codes(&answer),
        [("order", "FORBIDDEN"), ("orders", "FORBIDDEN")]
    );
    assert_eq!(answer["data"]["me"]["id"], "consumer-1");
    for (who, code) in [(As::Nobody, "UNAUTHENTICATED"), (As::Narrow, "FORBIDDEN")] {
        let answer = world.ask(who, PLACE, json!({"input": order()})).await;
        assert_eq!(codes(&answer), [("placeOrder", code)]);
    }
    assert!(
        world.calls().iter().all(|call| !call.contains("order")),
        "{:?}",
        world.calls()
    );
}

#[tokio::test]
async fn a_service_that_fails_costs_its_fields_only() {
    let world = World::start(|call| match call.split('?').next()? {
        "GET /tickets" => Some((503, json!({"detail": "stack trace"}))),
        "GET /deliveries" => Some((200, json!({"unexpected": true}))),
        _ => None,
    })
    .await;
    let answer = world
        .ask(As::Consumer, SCREEN, json!({"id": "order-1"}))
        .await;
    assert_eq!(answer["data"]["order"]["state"], "APPROVED");
    assert_eq!(answer["data"]["order"]["restaurant"]["name"], "Ajanta");
    assert_eq!(answer["data"]["order"]["ticket"], Value::Null);
    assert_eq!(
        codes(&answer),
        [
            ("delivery", "BAD_UPSTREAM_ANSWER"),
            ("ticket", "BAD_UPSTREAM_ANSWER")
        ]
    );
    let reasons: Vec<_> = [0, 1]
        .map(|index| answer["errors"][index]["extensions"]["reason"].as_str())
        .into();
    assert!(
        reasons.contains(&Some("upstream_error")) && reasons.contains(&Some("invalid_response")),
        "{answer}"
    );
    assert!(!answer.to_string().contains("stack trace"), "{answer}");
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_calls_with_it() {
    let world = World::start(as_usual).await;
    let query = "/graphql?query=%7Brestaurant(id:%22hang%22)%7Bname%7D%7D";
    let client = tokio::spawn(world.get(query).send());
    eventually("the service is asked", || world.under_way() == 1).await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    assert_eq!(world.calls(), ["GET /restaurants?ids=hang"]);
    // The call itself would have a minute.
    eventually("the call was given up", || world.under_way() == 0).await;
}

const PLACE: &str = "mutation($input: PlaceOrderInput!) {
    placeOrder(input: $input) { state orderId replayed order { id total { amount } } }
}";

fn order() -> Value {
    json!({
        "restaurantId": "restaurant-1",
        "deliveryAddress": {"street1": "1 Main Library", "city": "Oakland", "state": "CA", "zip": "94612"},
        "deliveryTime": "2030-01-01T20:00:00Z",
        "lineItems": [{"menuItemId": "item-1", "quantity": 5}],
    })
}

#[tokio::test]
async fn an_order_is_placed_for_the_caller() {
    let world = World::start(as_usual).await;
    let mut input = order();
    input["idempotencyKey"] = json!("key-1");
    let answer = world
        .ask(As::Consumer, PLACE, json!({"input": input}))
        .await;
    let placed = json!({"placeOrder": {
        "state": "APPROVAL_PENDING", "orderId": "order-2", "replayed": false,
        "order": {"id": "order-2", "total": {"amount": "61.70"}},
    }});
    assert_eq!(answer, json!({"data": placed}));
    let sent = &world.seen()[0];
    assert_eq!(sent.body["consumerId"], "consumer-1");
    assert_eq!(
        sent.body["lineItems"],
        json!([{"menuItemId": "item-1", "quantity": 5}])
    );
    assert!(
        !sent.headers["idempotency-key"]
            .to_str()
            .unwrap()
            .contains("key-1")
    );
}

#[tokio::test]
async fn what_the_service_refuses_is_said_with_a_code() {
    let world = World::start(|call| {
        let errors = json!([{"pointer": "/lineItems/0/quantity", "detail": "too many"}]);
        let problem = json!({"type": "/problems/order-minimum-not-met", "detail": "Too little.", "errors": errors});
        (call == "POST /orders").then_some((422, problem))
    })
    .await;
    let answer = world
        .ask(As::Consumer, PLACE, json!({"input": order()}))
        .await;
    assert_eq!(codes(&answer), [("placeOrder", "ORDER_MINIMUM_NOT_MET")]);
    assert_eq!(answer["errors"][0]["message"], "Too little.");
    assert_eq!(
        answer["errors"][0]["extensions"]["errors"][0]["pointer"],
        "/lineItems/0/quantity"
    );
    assert_eq!(answer["data"]["placeOrder"], Value::Null);

    let mut input = order();
    input["deliveryTime"] = json!("tomorrow");
    let answer = world
        .ask(As::Consumer, PLACE, json!({"input": input}))
        .await;
    assert_eq!(answer.get("data"), None, "{answer}");
}

#[tokio::test]
async fn an_order_is_cancelled_and_revised_by_its_consumer() {
    let world = World::start(as_usual).await;
    let query = "mutation { cancelOrder(id: \"order-1\", idempotencyKey: \"key-1\") { orderId state order { state } } }";
    let answer = world.ask(As::Consumer, query, Value::Null).await;
    let cancelled =
        json!({"orderId": "order-1", "state": "CANCEL_PENDING", "order": {"state": "APPROVED"}});
    assert_eq!(answer, json!({"data": {"cancelOrder": cancelled}}));
    // What was read before the command is read again after it.
    let calls: Vec<_> = world.seen().iter().map(|seen| seen.call.clone()).collect();
    assert_eq!(
        calls,
        ["GET /orders", "POST /orders/order-1/cancel", "GET /orders"]
    );
    assert!(world.seen()[1].headers.contains_key("idempotency-key"));

    let query = "mutation($input: ReviseOrderInput!) { reviseOrder(input: $input) { state } }";
    let items = json!([{"menuItemId": "item-1", "quantity": 2}]);
    let input = json!({"orderId": "order-1", "lineItems": items});
    let answer = world
        .ask(As::Consumer, query, json!({"input": input}))
        .await;
    assert_eq!(answer["data"]["reviseOrder"]["state"], "REVISION_PENDING");
    assert_eq!(
        world.seen().last().unwrap().body,
        json!({"lineItems": items})
    );

    let query = "mutation { cancelOrder(id: \"foreign\") { orderId } }";
    let answer = world.ask(As::Consumer, query, Value::Null).await;
    assert_eq!(codes(&answer), [("cancelOrder", "NOT_FOUND")]);
    let sent = world.calls();
    assert!(!sent.contains(&"POST /orders/foreign/cancel".to_owned()));
}

#[tokio::test]
async fn staff_works_on_the_tickets_and_menus_of_its_restaurants() {
    let world = World::start(as_usual).await;
    let query = "{
        me { restaurantIds restaurants { id name } }
        tickets(restaurantId: \"restaurant-1\", state: AWAITING_ACCEPTANCE, first: 1) {
            nodes { id restaurantId state createdAt lineItems { name quantity } } pageInfo { hasNextPage } }
        others: tickets(restaurantId: \"restaurant-9\") { nodes { id } }
        ticket(id: \"order-1\") { state } foreign: ticket(id: \"foreign\") { id }
    }";
    let answer = world.ask(As::Staff, query, Value::Null).await;
    assert_eq!(answer.get("errors"), None, "{answer}");
    insta::assert_json_snapshot!("staff", answer["data"]);
    assert!(
        world.calls().contains(
            &"GET /tickets?restaurantId=restaurant-1&pageSize=1&state=AWAITING_ACCEPTANCE"
                .to_owned()
        ),
        "{:?}",
        world.calls()
    );

    let query = "mutation {
        acceptTicket(id: \"order-1\", readyBy: \"2030-01-01T18:30:00Z\") { state readyBy }
        markPreparing(id: \"order-1\") { state } markReady(id: \"order-1\") { state }
        foreign: markReady(id: \"foreign\") { state }
        reviseMenu(input: {restaurantId: \"restaurant-1\", version: 4, items: [
            {id: \"item-1\", name: \"Naan\", price: {amount: \"3.00\", currency: \"USD\"}}]}) { version }
        other: reviseMenu(input: {restaurantId: \"restaurant-9\", version: 1, items: []}) { version }
    }";
    let answer = world.ask(As::Staff, query, Value::Null).await;
    assert_eq!(
        codes(&answer),
        [("foreign", "NOT_FOUND"), ("other", "NOT_FOUND")]
    );
    let data = json!({
        "acceptTicket": {"state": "ACCEPTED", "readyBy": "2030-01-01T18:30:00Z"},
        "markPreparing": {"state": "PREPARING"}, "markReady": {"state": "READY_FOR_PICKUP"}, "foreign": null,
        "reviseMenu": {"version": 4}, "other": null,
    });
    assert_eq!(answer["data"], data);
    let seen = world.seen();
    let sent = |call: &str| seen.iter().find(|seen| seen.call == call).unwrap();
    assert_eq!(
        sent("POST /tickets/order-1/accept").body,
        json!({"readyBy": "2030-01-01T18:30:00Z"})
    );
    let menu = sent("PUT /restaurants/restaurant-1/menu");
    assert_eq!(menu.headers["if-match"], "\"v4\"");
    assert_eq!(menu.body["items"][0]["price"]["amount"], "3.00");

    for (who, code) in [(As::Nobody, "UNAUTHENTICATED"), (As::Consumer, "FORBIDDEN")] {
        let query = "{ tickets(restaurantId: \"restaurant-1\") { nodes { id } } ticket(id: \"order-1\") { id } }";
        let answer = world.ask(who, query, Value::Null).await;
        assert_eq!(codes(&answer), [("ticket", code), ("tickets", code)]);
    }
}

#[tokio::test]
async fn a_list_that_is_read_after_a_ticket_changed_was_asked_for_after_that() {
    let is_first = AtomicBool::new(true);
    let held =
        move |seen: &Seen| seen.call == "GET /tickets" && is_first.swap(false, Ordering::SeqCst);
    let world = Arc::new(World::holding(held, as_usual).await);
    let list = "{ tickets(restaurantId: \"restaurant-1\") { nodes { id } } }";
    let before = {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.ask(As::Staff, list, Value::Null).await })
    };
    eventually("the list was asked for", || world.calls().len() == 1).await;
    // As the event does.
    let purge = format!("http://{}/purge", world.gateway().admin_address());
    let purge = reqwest::Client::new().post(purge);
    let purged = purge.json(&json!({"tags": ["tickets:restaurant-1"]}));
    assert!(purged.send().await.unwrap().status().is_success());
    let after = world.ask(As::Staff, list, Value::Null);
    // The one before has a minute, and its end would end the wait for it.
    let after = timeout(Duration::from_secs(20), after).await.unwrap();
    assert_eq!(
        after["data"]["tickets"]["nodes"],
        json!([{"id": "order-1"}]),
        "{after}"
    );
    before.abort();
}

/// The ids on a page, the cursor of each, and whether there is more.
async fn page(world: &World, first: usize, after: Option<&str>) -> (Vec<(String, String)>, bool) {
    let query = "query($first: Int, $after: String) { orders(first: $first, after: $after) {
        edges { cursor node { id } } pageInfo { hasNextPage endCursor } } }";
    let answer = world
        .ask(As::Consumer, query, json!({"first": first, "after": after}))
        .await;
    assert_eq!(answer.get("errors"), None, "{answer}");
    let orders = &answer["data"]["orders"];
    let edges = orders["edges"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let edges: Vec<_> = edges
        .map(|edge| (text(&edge["node"]["id"]), text(&edge["cursor"])))
        .collect();
    assert_eq!(
        orders["pageInfo"]["endCursor"].as_str(),
        edges.last().map(|(_, cursor)| cursor.as_str())
    );
    (edges, orders["pageInfo"]["hasNextPage"].as_bool().unwrap())
}

#[tokio::test]
async fn a_list_goes_on_behind_any_of_its_edges() {
    let world = World::start(as_usual).await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let (edges, more) = page(&world, 7, after.as_deref()).await;
        after = edges.last().map(|(_, cursor)| cursor.clone());
        seen.extend(edges);
        if !more {
            break;
        }
    }
    let ids: Vec<_> = seen.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(
        ids,
        (0..60)
            .map(|number| format!("order-{number:02}"))
            .collect::<Vec<_>>()
    );
    for start in [0, 3, 6, 7, 41, 58, 59] {
        let (edges, _) = page(&world, 5, Some(&seen[start].1)).await;
        let found: Vec<_> = edges.into_iter().map(|(id, _)| id).collect();
        assert_eq!(found, ids[start + 1..(start + 6).min(60)], "behind {start}");
    }
}

#[tokio::test]
async fn bad_arguments_are_the_clients_fault() {
    let world = World::start(|call| {
        call.contains("status=APPROVED%2CUNKNOWN")
            .then(|| (400, json!({"detail": "status: no"})))
    })
    .await;
    for query in [
        "{ orders(first: 0) { nodes { id } } }",
        "{ orders(first: 101) { nodes { id } } }",
        "{ orders(after: \"made-up\") { nodes { id } } }",
        "{ orders(filter: {status: [APPROVED, UNKNOWN]}) { nodes { id } } }",
        "{ orders: restaurants(near: {lat: 91, lng: 0}) { nodes { id } } }",
        "{ orders: restaurants(near: {lat: 0, lng: 0}, radius: 50001) { nodes { id } } }",
    ] {
        let answer = world.ask(As::Consumer, query, Value::Null).await;
        assert_eq!(
            codes(&answer),
            [("orders", "BAD_REQUEST")],
            "{query}: {answer}"
        );
        assert_eq!(answer["data"], json!({"orders": null}));
    }
    let greedy = "{ orders(first: 100) { nodes { restaurant { menu { items { price { amount } } } } ticket { id } } }
        more: orders(first: 100) { nodes { lineItems { price { amount } } delivery { courier { location { lat } } } } }
        yet: orders(first: 100) { nodes { id a: id b: id c: id d: id e: id f: id g: id h: id i: id j: id k: id l: id
            m: id n: id o: id p: id q: id r: id s: id t: id u: id v: id w: id x: id y: id z: id ab: id ac: id ad: id
            ae: id af: id ag: id ah: id ai: id aj: id ak: id al: id am: id an: id ao: id ap: id aq: id ar: id } } }";
    let answer = world.ask(As::Consumer, greedy, Value::Null).await;
    assert_eq!(answer.get("data"), None, "{answer}");
}
