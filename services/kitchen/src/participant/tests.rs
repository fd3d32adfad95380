//! The saga commands over a real database and the real consumer; no HTTP and no orchestrator.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::TimeDelta;
use ftgo_messaging::{Message, Receipt};
use serde_json::{Value, json};

use super::{PATIENCE, Participant};
use crate::clock;
use crate::fixtures::{Kitchen, command, create_ticket, line_items, restaurant_created};
use crate::store;
use crate::ticket::TicketState;

async fn kitchen() -> Kitchen {
    let kitchen = Kitchen::open(Participant::listening()).await;
    kitchen.receive(&restaurant_created("restaurant-1")).await;
    kitchen
}

/// A kitchen with a ticket that awaits acceptance.
async fn kitchen_with_ticket() -> Kitchen {
    let kitchen = kitchen().await;
    kitchen
        .receive(&create_ticket("order-1", "restaurant-1"))
        .await;
    assert_eq!(order(&kitchen, "ConfirmTicket").await, succeeded());
    kitchen
}

async fn order(kitchen: &Kitchen, kind: &str) -> Value {
    kitchen
        .ask(kind, "order-1", json!({"orderId": "order-1"}))
        .await
}

async fn state(kitchen: &Kitchen) -> TicketState {
    kitchen.ticket("order-1").await.unwrap().state
}

async fn accept(kitchen: &Kitchen) {
    let mut tx = kitchen.database.write().await.unwrap();
    let mut ticket = store::find(&mut *tx, "order-1").await.unwrap().unwrap();
    let now = clock::now();
    ticket.accept(now + TimeDelta::minutes(20), now).unwrap();
    store::save(&mut tx, &ticket).await.unwrap();
    tx.commit().await.unwrap();
}

fn succeeded() -> Value {
    json!({"outcome": "success"})
}

#[tokio::test]
async fn a_ticket_is_created_unseen_and_published_when_confirmed() {
    let kitchen = kitchen().await;
    let create = create_ticket("order-1", "restaurant-1");
    assert_eq!(kitchen.receive(&create).await, Receipt::Committed);
    assert_eq!(state(&kitchen).await, TicketState::CreatePending);

    let said = kitchen.said().await;
    let [reply] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert_eq!(reply.topic, "order.replies");
    assert_eq!(reply.subject, "order-1");
    assert_eq!(reply.sagaid.as_deref(), Some("saga-1"));
    assert_eq!(reply.data, succeeded());

    assert_eq!(order(&kitchen, "ConfirmTicket").await, succeeded());
    assert_eq!(state(&kitchen).await, TicketState::AwaitingAcceptance);
    let said = kitchen.said().await;
    let event = said
        .iter()
        .find(|message| message.kind == "TicketCreated")
        .unwrap();
    assert_eq!(event.topic, "ticket.events");
    assert_eq!(event.subject, "order-1");
    assert_eq!(event.aggregateversion, Some(2));
    assert_eq!(event.data["ticketId"], "order-1");
    assert_eq!(event.data["orderId"], "order-1");
    assert_eq!(event.data["restaurantId"], "restaurant-1");
    assert_eq!(event.data["state"], "AWAITING_ACCEPTANCE");
    assert_eq!(
        event.data["lineItems"],
        json!([{"menuItemId": "restaurant-1-item-1", "name": "Chicken Vindaloo", "quantity": 1}])
    );
    assert_eq!(event.data["readyBy"], Value::Null);

    assert_eq!(order(&kitchen, "ConfirmTicket").await, succeeded());
    assert_eq!(kitchen.events().await, ["TicketCreated"], "confirmed once");
}

#[tokio::test]
async fn one_order_never_has_two_tickets() {
    let kitchen = kitchen().await;
    let create = create_ticket("order-1", "restaurant-1");
    assert_eq!(kitchen.receive(&create).await, Receipt::Committed);
    assert_eq!(kitchen.receive(&create).await, Receipt::Duplicate);

    // The same command once more, under a new id.
    assert_eq!(
        kitchen
            .ask("CreateTicket", "order-1", create.data.clone())
            .await,
        succeeded()
    );
    let mut other = create.data.clone();
    other["lineItems"] = line_items(5);
    let reply = kitchen.ask("CreateTicket", "order-1", other).await;
    assert_eq!(reply["code"], "TICKET_ALREADY_EXISTS");

    order(&kitchen, "CancelCreateTicket").await;
    let reply = kitchen.ask("CreateTicket", "order-1", create.data).await;
    assert_eq!(reply["code"], "TICKET_ALREADY_EXISTS");
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM ticket")
        .fetch_one(kitchen.database.read())
        .await
        .unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn a_restaurant_whose_event_is_late_is_waited_for() {
    let kitchen = Kitchen::open(Participant::listening()).await;
    let create = create_ticket("order-1", "restaurant-1");
    assert!(
        kitchen
            .refuses(&create)
            .await
            .contains("not known here yet")
    );
    assert_eq!(kitchen.said().await, []);

    kitchen.receive(&restaurant_created("restaurant-1")).await;
    assert_eq!(kitchen.receive(&create).await, Receipt::Committed);
    assert_eq!(state(&kitchen).await, TicketState::CreatePending);
}

#[tokio::test]
async fn a_restaurant_that_never_comes_fails_the_saga() {
    let long_ago = clock::now() - PATIENCE - TimeDelta::seconds(1);
    let old = Message {
        time: long_ago,
        ..create_ticket("order-1", "restaurant-1")
    };

    // A kitchen that has just started has not had the chance to hear of the restaurant, however old the command is.
    let fresh = Kitchen::open(Participant::listening()).await;
    fresh.refuses(&old).await;

    let kitchen = Kitchen::open(Participant::listening_since(long_ago)).await;
    assert_eq!(kitchen.receive(&old).await, Receipt::Committed);
    assert_eq!(kitchen.said().await[0].data["code"], "RESTAURANT_NOT_FOUND");
    assert_eq!(kitchen.ticket("order-1").await, None);
}

#[tokio::test]
async fn compensations_tolerate_what_never_happened() {
    let kitchen = kitchen().await;
    for kind in ["CancelCreateTicket", "UndoCancelTicket", "UndoReviseTicket"] {
        assert_eq!(order(&kitchen, kind).await, succeeded(), "{kind}");
    }
    assert_eq!(kitchen.ticket("order-1").await, None);
    for kind in ["ConfirmTicket", "BeginCancelTicket", "ConfirmCancelTicket"] {
        assert_eq!(
            order(&kitchen, kind).await["code"],
            "TICKET_NOT_FOUND",
            "{kind}"
        );
    }

    kitchen
        .receive(&create_ticket("order-1", "restaurant-1"))
        .await;
    for _ in 0..2 {
        assert_eq!(order(&kitchen, "CancelCreateTicket").await, succeeded());
        assert_eq!(state(&kitchen).await, TicketState::CreateCancelled);
    }
    assert_eq!(
        order(&kitchen, "ConfirmTicket").await["code"],
        "ILLEGAL_TICKET_STATE"
    );
    assert_eq!(kitchen.events().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_cancellation_is_undone_or_confirmed() {
    let kitchen = kitchen_with_ticket().await;
    accept(&kitchen).await;
    assert_eq!(order(&kitchen, "BeginCancelTicket").await, succeeded());
    assert_eq!(state(&kitchen).await, TicketState::CancelPending);
    for _ in 0..2 {
        assert_eq!(order(&kitchen, "UndoCancelTicket").await, succeeded());
        assert_eq!(state(&kitchen).await, TicketState::Accepted);
    }

    order(&kitchen, "BeginCancelTicket").await;
    for _ in 0..2 {
        assert_eq!(order(&kitchen, "ConfirmCancelTicket").await, succeeded());
        assert_eq!(state(&kitchen).await, TicketState::Cancelled);
    }
    assert_eq!(kitchen.events().await, ["TicketCreated", "TicketCancelled"]);

    let reply = order(&kitchen, "BeginCancelTicket").await;
    assert_eq!(reply["outcome"], "failure");
    assert_eq!(reply["code"], "TICKET_NOT_CANCELLABLE");
    assert_eq!(
        reply["detail"],
        "a ticket that is CANCELLED cannot be cancelled"
    );
}

#[tokio::test]
async fn a_revision_is_undone_or_confirmed() {
    let kitchen = kitchen_with_ticket().await;
    let revision = json!({"orderId": "order-1", "lineItems": line_items(3)});
    let quantity = async || kitchen.ticket("order-1").await.unwrap().line_items[0].quantity;

    let reply = kitchen
        .ask("BeginReviseTicket", "order-1", revision.clone())
        .await;
    assert_eq!(reply, succeeded());
    assert_eq!(state(&kitchen).await, TicketState::RevisionPending);
    assert_eq!(order(&kitchen, "UndoReviseTicket").await, succeeded());
    assert_eq!(state(&kitchen).await, TicketState::AwaitingAcceptance);
    assert_eq!(quantity().await, 1);

    kitchen
        .ask("BeginReviseTicket", "order-1", revision.clone())
        .await;
    let reply = kitchen.ask("BeginReviseTicket", "order-1", revision).await;
    assert_eq!(reply["code"], "TICKET_NOT_REVISABLE");
    assert_eq!(order(&kitchen, "ConfirmReviseTicket").await, succeeded());
    assert_eq!(state(&kitchen).await, TicketState::AwaitingAcceptance);
    assert_eq!(quantity().await, 3);
    assert_eq!(kitchen.events().await, ["TicketCreated", "TicketRevised"]);
}

#[tokio::test]
async fn what_makes_no_sense_becomes_a_dead_letter_and_fails_its_saga() {
    let kitchen = kitchen().await;
    for message in [
        command(
            "CreateTicket",
            "order-1",
            json!({"lineItems": "all of them"}),
        ),
        command("BurnTicket", "order-1", json!({})),
    ] {
        assert_eq!(kitchen.receive(&message).await, Receipt::DeadLetter);
        let reply = kitchen.said().await.pop().unwrap();
        assert_eq!(reply.data["outcome"], "failure");
    }
}

#[tokio::test]
async fn an_older_restaurant_event_changes_nothing() {
    let kitchen = kitchen().await;
    let mut newer = restaurant_created("restaurant-1");
    newer.data["name"] = json!("Ajanta Deluxe");
    newer.data["version"] = json!(2);
    kitchen.receive(&newer).await;
    kitchen.receive(&restaurant_created("restaurant-1")).await;
    let mut tx = kitchen.database.write().await.unwrap();
    let name = crate::replica::name_of(&mut tx, "restaurant-1")
        .await
        .unwrap();
    assert_eq!(name.as_deref(), Some("Ajanta Deluxe"));
}
