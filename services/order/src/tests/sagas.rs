//! The three sagas from the request to their end, with every refusal a participant can give.
//! Not here: what happens in a crash (`crash`).

use serde_json::json;

use super::world::{Answer, Script, World, usd};

fn refusing(kind: &'static str, times: u32) -> Script {
    Script::from([(kind, Answer::Refuse(times))])
}

#[tokio::test]
async fn an_order_that_nobody_refuses_is_approved() {
    let world = World::new().await;
    let id = world.place().await;
    let order = world.reaches(&id, "APPROVED").await;
    assert_eq!(order["rejectionReason"], json!(null));
    assert_eq!(order["version"], 2);
    assert_eq!(
        world.command_kinds(&id),
        [
            "ValidateOrder",
            "CreateTicket",
            "AuthorizeCard",
            "ConfirmTicket"
        ]
    );
    let saga = world.saga(&id).await;
    assert_eq!(
        (&saga["kind"], &saga["state"]),
        (&json!("CreateOrder"), &json!("COMPLETED"))
    );
    assert_eq!(
        (&saga["step"], &saga["compensating"]),
        (&json!("ApproveOrder"), &json!(false))
    );
}

#[tokio::test]
async fn commands_carry_what_their_participants_need() {
    let world = World::new().await;
    let id = world.approved().await;
    let data: Vec<_> = world
        .commands(&id)
        .into_iter()
        .map(|command| command.data)
        .collect();
    let lines = json!([{"menuItemId": "vindaloo", "name": "Chicken Vindaloo", "quantity": 5}]);
    assert_eq!(
        data,
        [
            json!({"orderId": id, "consumerId": "consumer-1", "orderTotal": usd("61.70")}),
            json!({"orderId": id, "consumerId": "consumer-1", "restaurantId": "restaurant-1", "lineItems": lines}),
            json!({"orderId": id, "consumerId": "consumer-1", "amount": usd("61.70")}),
            json!({"orderId": id}),
        ]
    );
}

#[tokio::test]
async fn every_event_carries_the_whole_order() {
    let world = World::new().await;
    let id = world.place().await;
    let order = world.reaches(&id, "APPROVED").await;
    let events = world.events(&id, &order["version"]).await;
    let kinds: Vec<(&str, Option<i64>)> = events
        .iter()
        .map(|event| (event.kind.as_str(), event.aggregateversion))
        .collect();
    assert_eq!(
        kinds,
        [("OrderCreated", Some(1)), ("OrderAuthorized", Some(2))]
    );
    let mut expected = order.clone();
    expected["orderId"] = expected["id"].take();
    for name in ["id", "version", "rejectionReason"] {
        expected.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(events[1].data, expected);
    assert_eq!(events[0].data["state"], "APPROVAL_PENDING");
}

#[tokio::test]
async fn a_refusal_at_any_step_undoes_the_steps_before_it_and_rejects_the_order() {
    for (refused, expected) in [
        ("ValidateOrder", vec!["ValidateOrder"]),
        ("CreateTicket", vec!["ValidateOrder", "CreateTicket"]),
        (
            "AuthorizeCard",
            vec![
                "ValidateOrder",
                "CreateTicket",
                "AuthorizeCard",
                "CancelCreateTicket",
            ],
        ),
    ] {
        let world = World::with(refusing(refused, 1)).await;
        let id = world.place().await;
        let order = world.reaches(&id, "REJECTED").await;
        assert_eq!(order["rejectionReason"], "REFUSED");
        assert_eq!(world.command_kinds(&id), expected);
        let saga = world.saga(&id).await;
        assert_eq!(
            (&saga["state"], &saga["reason"]),
            (&json!("COMPENSATED"), &json!("REFUSED"))
        );
        let events = world.events(&id, &order["version"]).await;
        assert_eq!(events[1].kind, "OrderRejected");
        assert_eq!(events[1].data["reason"], "REFUSED");
    }
}

#[tokio::test]
async fn a_compensation_is_repeated_until_it_succeeds() {
    let mut script = refusing("AuthorizeCard", 1);
    script.insert("CancelCreateTicket", Answer::Refuse(3));
    let world = World::with(script).await;
    let id = world.place().await;
    world.reaches(&id, "REJECTED").await;
    let kinds = world.command_kinds(&id);
    assert_eq!(kinds[3..], ["CancelCreateTicket"; 4]);
    let saga = world.saga(&id).await;
    assert_eq!(saga["reason"], "REFUSED");
    assert_eq!(saga["lastError"], "REFUSED: no CancelCreateTicket today");
}

#[tokio::test]
async fn a_step_after_the_pivot_is_repeated_until_it_succeeds() {
    let world = World::with(refusing("ConfirmTicket", 3)).await;
    let id = world.place().await;
    world.reaches(&id, "APPROVED").await;
    assert_eq!(world.command_kinds(&id)[3..], ["ConfirmTicket"; 4]);
}

#[tokio::test]
async fn a_poisonous_command_rejects_the_order_and_leaves_the_others_alone() {
    let world = World::with(Script::from([("AuthorizeCard", Answer::Break)])).await;
    for _ in 0..2 {
        let id = world.place().await;
        let order = world.reaches(&id, "REJECTED").await;
        assert_eq!(order["rejectionReason"], "UNPROCESSABLE_COMMAND");
        assert_eq!(
            world.command_kinds(&id).last().unwrap(),
            "CancelCreateTicket"
        );
    }
}

#[tokio::test]
async fn a_saga_waits_for_a_participant_that_is_away_also_across_a_restart() {
    let mut world = World::new().await;
    world.detach("accounting");
    let id = world.place().await;
    super::world::eventually("the saga comes to accounting", async || {
        world.saga(&id).await["step"] == "AuthorizeCard"
    })
    .await;
    world.restart_service().await;
    assert_eq!(world.order(&id).await["state"], "APPROVAL_PENDING");
    world.attach("accounting");
    world.reaches(&id, "APPROVED").await;
    assert_eq!(world.command_kinds(&id).len(), 4, "nothing is done twice");
}

#[tokio::test]
async fn a_wait_between_two_attempts_survives_a_restart() {
    let mut world = World::with(refusing("ConfirmTicket", 2)).await;
    let id = world.place().await;
    world.restart_service().await;
    world.reaches(&id, "APPROVED").await;
    assert_eq!(world.command_kinds(&id)[3..], ["ConfirmTicket"; 3]);
}

#[tokio::test]
async fn many_orders_run_beside_each_other() {
    let world = World::new().await;
    let ids = futures_util::future::join_all((0..20).map(|_| world.place())).await;
    for id in &ids {
        world.reaches(id, "APPROVED").await;
        assert_eq!(world.command_kinds(id).len(), 4);
    }
}

#[tokio::test]
async fn a_cancelled_order_gives_the_money_back_and_ends_its_ticket() {
    let world = World::new().await;
    let id = world.approved().await;
    let response = world
        .post(&format!("/orders/{id}/cancel"))
        .send()
        .await
        .unwrap();
    let body: serde_json::Value = response.json().await.unwrap();
    assert_eq!(body, json!({"orderId": id, "state": "CANCEL_PENDING"}));
    let order = world.reaches(&id, "CANCELLED").await;
    assert_eq!(
        world.command_kinds(&id)[4..],
        [
            "BeginCancelTicket",
            "ReverseAuthorization",
            "ConfirmCancelTicket"
        ]
    );
    let events = world.events(&id, &order["version"]).await;
    let kinds: Vec<&str> = events[2..]
        .iter()
        .map(|event| event.kind.as_str())
        .collect();
    assert_eq!(kinds, ["OrderCancelRequested", "OrderCancelled"]);
}

#[tokio::test]
async fn a_cancellation_that_is_refused_leaves_the_order_approved() {
    for (refused, expected) in [
        ("BeginCancelTicket", vec!["BeginCancelTicket"]),
        (
            "ReverseAuthorization",
            vec![
                "BeginCancelTicket",
                "ReverseAuthorization",
                "UndoCancelTicket",
            ],
        ),
    ] {
        let world = World::with(refusing(refused, 1)).await;
        let id = world.approved().await;
        world
            .post(&format!("/orders/{id}/cancel"))
            .send()
            .await
            .unwrap();
        let order = world.reaches(&id, "APPROVED").await;
        assert_eq!(world.command_kinds(&id)[4..], expected);
        let events = world.events(&id, &order["version"]).await;
        assert_eq!(events.last().unwrap().kind, "OrderCancelRejected");
        assert_eq!(events.last().unwrap().data["state"], "APPROVED");
        let again = world
            .post(&format!("/orders/{id}/cancel"))
            .send()
            .await
            .unwrap();
        assert_eq!(again.status(), 202, "it may be tried again");
        world.reaches(&id, "CANCELLED").await;
        let kinds: Vec<_> = world
            .sagas(&id)
            .await
            .iter()
            .map(|saga| saga["state"].clone())
            .collect();
        assert_eq!(kinds, ["COMPLETED", "COMPENSATED", "COMPLETED"]);
    }
}

#[tokio::test]
async fn a_revision_takes_effect_when_everyone_agreed() {
    let world = World::new().await;
    let id = world.approved().await;
    let revision = json!({"lineItems": [{"menuItemId": "vindaloo", "quantity": 1}, {"menuItemId": "naan", "quantity": 4}]});
    let response = world
        .post(&format!("/orders/{id}/revise"))
        .json(&revision)
        .send()
        .await
        .unwrap();
    let body: serde_json::Value = response.json().await.unwrap();
    assert_eq!(body, json!({"orderId": id, "state": "REVISION_PENDING"}));
    let order = world.reaches(&id, "APPROVED").await;
    assert_eq!(order["total"], usd("22.34"));
    let commands = world.commands(&id);
    let kinds: Vec<&str> = commands[4..]
        .iter()
        .map(|command| command.kind.as_str())
        .collect();
    assert_eq!(
        kinds,
        [
            "BeginReviseTicket",
            "ReviseAuthorization",
            "ConfirmReviseTicket"
        ]
    );
    assert_eq!(
        commands[4].data["lineItems"][1],
        json!({"menuItemId": "naan", "name": "Naan", "quantity": 4})
    );
    assert_eq!(commands[5].data["amount"], usd("22.34"));
    let events = world.events(&id, &order["version"]).await;
    let kinds: Vec<&str> = events[2..]
        .iter()
        .map(|event| event.kind.as_str())
        .collect();
    assert_eq!(kinds, ["OrderRevisionProposed", "OrderRevised"]);
    assert_eq!(events[2].data["proposedTotal"], usd("22.34"));
    assert_eq!(events[2].data["total"], usd("61.70"), "not in effect yet");
    assert_eq!(events[3].data["total"], usd("22.34"));
    assert_eq!(events[3].data.get("proposedTotal"), None);
}

#[tokio::test]
async fn a_revision_that_is_refused_leaves_the_order_as_it_was() {
    for (refused, expected) in [
        ("BeginReviseTicket", vec!["BeginReviseTicket"]),
        (
            "ReviseAuthorization",
            vec![
                "BeginReviseTicket",
                "ReviseAuthorization",
                "UndoReviseTicket",
            ],
        ),
    ] {
        let world = World::with(refusing(refused, 1)).await;
        let id = world.approved().await;
        let before = world.order(&id).await;
        let revision = json!({"lineItems": [{"menuItemId": "naan", "quantity": 9}]});
        world
            .post(&format!("/orders/{id}/revise"))
            .json(&revision)
            .send()
            .await
            .unwrap();
        let order = world.reaches(&id, "APPROVED").await;
        assert_eq!(order["lineItems"], before["lineItems"]);
        assert_eq!(world.command_kinds(&id)[4..], expected);
        let events = world.events(&id, &order["version"]).await;
        assert_eq!(events.last().unwrap().kind, "OrderRevisionRejected");
        assert_eq!(events.last().unwrap().data["state"], "APPROVED");
    }
}
