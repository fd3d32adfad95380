//! What becomes of the events of others, over a real database and the real consumer; no HTTP.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::{DateTime, TimeDelta, Utc};
use ftgo_messaging::Receipt;
use serde_json::{Value, json};

use crate::clock;
use crate::courier::Courier;
use crate::delivery::{CarriedItem, DeliveryState};
use crate::dispatch;
use crate::fixtures::{
    DeliveryService, RESTAURANT_AT, courier_at, order_event, restaurant_created, ticket_event,
};
use crate::store::{couriers, deliveries};

async fn service() -> DeliveryService {
    let service = DeliveryService::open().await;
    service.receive(&restaurant_created()).await;
    service
}

fn soon() -> DateTime<Utc> {
    clock::now() + TimeDelta::minutes(30)
}

fn carried(name: &str, quantity: u32) -> CarriedItem {
    CarriedItem {
        name: name.to_owned(),
        quantity,
    }
}

async fn state(service: &DeliveryService) -> DeliveryState {
    service.delivery("order-1").await.unwrap().state
}

#[tokio::test]
async fn an_order_gets_a_delivery_and_an_accepted_ticket_a_courier() {
    let service = service().await;
    service.add(&courier_at("courier-1", RESTAURANT_AT)).await;
    service
        .receive(&order_event("OrderCreated", "order-1"))
        .await;
    let delivery = service.delivery("order-1").await.unwrap();
    assert_eq!(delivery.state, DeliveryState::Pending);
    assert_eq!(delivery.pickup_address.street1, "1 Main Street");
    assert_eq!(delivery.delivery_address.street1, "9 Amazing View");
    assert_eq!(delivery.line_items, [carried("Samosas", 2)]);
    assert_eq!(service.said().await, []);

    let ready_by = soon();
    service
        .receive(&ticket_event("TicketAccepted", "order-1", ready_by))
        .await;
    let said = service.said().await;
    let [event] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert_eq!(event.topic, "delivery.events");
    assert_eq!(event.kind, "DeliveryScheduled");
    assert_eq!(event.subject, "order-1");
    assert_eq!(event.data["deliveryId"], "order-1");
    assert_eq!(event.data["orderId"], "order-1");
    assert_eq!(event.data["state"], "SCHEDULED");
    assert_eq!(event.data["courierId"], "courier-1");
    assert_eq!(event.data["courierName"], "Kim");
    assert_eq!(event.data["scheduledPickupTime"], json!(ready_by));
    assert_ne!(event.data["scheduledDeliveryTime"], Value::Null);
    assert_eq!(event.aggregateversion, Some(3));

    // What was scheduled is found again as it was decided.
    let delivery = service.delivery("order-1").await.unwrap();
    assert_eq!(delivery.scheduled_pickup_time, Some(ready_by));
    assert_eq!(delivery.courier.unwrap().id, "courier-1");
}

#[tokio::test]
async fn a_revised_order_is_carried_as_it_is_now() {
    let service = service().await;
    service.add(&courier_at("courier-1", RESTAURANT_AT)).await;
    let revised = |name: &str| {
        let mut message = order_event("OrderRevised", "order-1");
        message.data["lineItems"] = json!([{"menuItemId": "item-2", "name": name, "quantity": 7}]);
        message
    };
    // Of an order that is not known here nothing is kept.
    service.receive(&revised("Naan")).await;
    service
        .receive(&order_event("OrderCreated", "order-1"))
        .await;
    service.receive(&revised("Rice")).await;
    let delivery = service.delivery("order-1").await.unwrap();
    assert_eq!(delivery.line_items, [carried("Rice", 7)]);

    let accepted = ticket_event("TicketAccepted", "order-1", soon());
    service.receive(&accepted).await;
    let mut tx = service.database.write().await.unwrap();
    let mut located = deliveries::find(&mut *tx, "order-1")
        .await
        .unwrap()
        .unwrap();
    located.delivery.pick_up("courier-1", clock::now()).unwrap();
    deliveries::save(&mut tx, &located.delivery).await.unwrap();
    tx.commit().await.unwrap();
    // What is on the road stays as it was packed.
    service.receive(&revised("Soup")).await;
    let delivery = service.delivery("order-1").await.unwrap();
    assert_eq!(delivery.line_items, [carried("Rice", 7)]);
}

#[tokio::test]
async fn an_order_for_a_restaurant_that_is_not_here_yet_is_offered_again() {
    let service = DeliveryService::open().await;
    let created = order_event("OrderCreated", "order-1");
    assert!(
        service
            .refuses(&created)
            .await
            .contains("not known here yet")
    );
    service.receive(&restaurant_created()).await;
    assert_eq!(service.receive(&created).await, Receipt::Committed);
    assert_eq!(state(&service).await, DeliveryState::Pending);
}

#[tokio::test]
async fn with_no_courier_available_a_delivery_waits_until_one_appears() {
    let service = service().await;
    let mut courier = courier_at("courier-1", RESTAURANT_AT);
    courier.set_available(false);
    service.add(&courier).await;
    for order_id in ["order-1", "order-2"] {
        service
            .receive(&order_event("OrderCreated", order_id))
            .await;
        let accepted = ticket_event("TicketAccepted", order_id, soon());
        assert_eq!(service.receive(&accepted).await, Receipt::Committed);
    }
    assert_eq!(state(&service).await, DeliveryState::Pending);
    let waiting = deliveries::waiting_for_courier(service.database.read(), 10)
        .await
        .unwrap();
    assert_eq!(waiting.len(), 2);

    let mut tx = service.database.write().await.unwrap();
    assert_eq!(
        dispatch::schedule_waiting(&mut tx, clock::now())
            .await
            .unwrap(),
        0
    );
    courier.set_available(true);
    couriers::save(&mut tx, &courier).await.unwrap();
    assert_eq!(
        dispatch::schedule_waiting(&mut tx, clock::now())
            .await
            .unwrap(),
        2
    );
    tx.commit().await.unwrap();
    assert_eq!(state(&service).await, DeliveryState::Scheduled);
    assert_eq!(service.said().await.len(), 2);
}

#[tokio::test]
async fn a_promise_that_overtakes_its_order_is_kept_for_it() {
    let service = service().await;
    service.add(&courier_at("courier-1", RESTAURANT_AT)).await;
    service
        .receive(&ticket_event("TicketAccepted", "order-1", soon()))
        .await;
    assert_eq!(service.delivery("order-1").await, None);
    service
        .receive(&order_event("OrderCreated", "order-1"))
        .await;
    assert_eq!(state(&service).await, DeliveryState::Scheduled);
}

#[tokio::test]
async fn cancellations_are_heard_once_from_whoever_tells_first() {
    for (first, second) in [
        (
            order_event("OrderCancelled", "order-1"),
            ticket_event("TicketCancelled", "order-1", soon()),
        ),
        (
            ticket_event("TicketCancelled", "order-1", soon()),
            order_event("OrderCancelled", "order-1"),
        ),
        (
            order_event("OrderRejected", "order-1"),
            ticket_event("TicketAccepted", "order-1", soon()),
        ),
    ] {
        let service = service().await;
        service.add(&courier_at("courier-1", RESTAURANT_AT)).await;
        service
            .receive(&order_event("OrderCreated", "order-1"))
            .await;
        service
            .receive(&ticket_event("TicketAccepted", "order-1", soon()))
            .await;
        let planned = deliveries::under_way(service.database.read(), "courier-1")
            .await
            .unwrap();
        assert_eq!(planned.len(), 1);

        service.receive(&first).await;
        assert_eq!(service.receive(&second).await, Receipt::Committed);
        assert_eq!(state(&service).await, DeliveryState::Cancelled);
        let planned = deliveries::under_way(service.database.read(), "courier-1")
            .await
            .unwrap();
        assert_eq!(planned, []);
        let kinds: Vec<_> = service
            .said()
            .await
            .into_iter()
            .map(|message| message.kind)
            .collect();
        assert_eq!(kinds, ["DeliveryScheduled", "DeliveryCancelled"]);
    }
}

#[tokio::test]
async fn food_on_the_road_is_not_called_back() {
    let service = service().await;
    service.add(&courier_at("courier-1", RESTAURANT_AT)).await;
    service
        .receive(&order_event("OrderCreated", "order-1"))
        .await;
    service
        .receive(&ticket_event("TicketAccepted", "order-1", soon()))
        .await;
    let mut delivery = service.delivery("order-1").await.unwrap();
    delivery.pick_up("courier-1", clock::now()).unwrap();
    let mut tx = service.database.write().await.unwrap();
    deliveries::save(&mut tx, &delivery).await.unwrap();
    tx.commit().await.unwrap();

    let cancelled = order_event("OrderCancelled", "order-1");
    assert_eq!(service.receive(&cancelled).await, Receipt::Committed);
    assert_eq!(state(&service).await, DeliveryState::PickedUp);
}

#[tokio::test]
async fn what_means_nothing_here_is_ignored() {
    let service = service().await;
    for message in [
        order_event("OrderAuthorized", "order-1"),
        order_event("OrderCancelled", "order-1"),
        ticket_event("TicketPreparing", "order-1", soon()),
    ] {
        assert_eq!(service.receive(&message).await, Receipt::Committed);
    }
    assert_eq!(service.delivery("order-1").await, None);
}

#[tokio::test]
async fn of_two_couriers_the_nearer_one_goes() {
    let service = service().await;
    let mut far = RESTAURANT_AT;
    far.lat += 0.02;
    let stranger = Courier::new(
        "courier-0".to_owned(),
        "Courier Zero".to_owned(),
        true,
        None,
    );
    for courier in [
        stranger,
        courier_at("courier-1", far),
        courier_at("courier-2", RESTAURANT_AT),
    ] {
        service.add(&courier).await;
    }
    service
        .receive(&order_event("OrderCreated", "order-1"))
        .await;
    service
        .receive(&ticket_event("TicketAccepted", "order-1", soon()))
        .await;
    let delivery = service.delivery("order-1").await.unwrap();
    assert_eq!(delivery.courier.unwrap().id, "courier-2");
}
