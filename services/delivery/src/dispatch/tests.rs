//! What the background loops do on each of their turns, over a real database; no HTTP.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::TimeDelta;

use super::{announce_locations_once, retry_waiting_once};
use crate::clock;
use crate::delivery::DeliveryState;
use crate::fixtures::{
    DeliveryService, RESTAURANT_AT, courier_at, order_event, restaurant_created, ticket_event,
};
use crate::store::couriers;

#[tokio::test]
async fn what_waits_is_found_again_without_any_occasion() {
    let service = DeliveryService::open().await;
    service.receive(&restaurant_created()).await;
    retry_waiting_once(&service.database).await.unwrap();
    let ready_by = clock::now() + TimeDelta::minutes(30);
    for number in 0..60 {
        let order_id = format!("order-{number}");
        service
            .receive(&order_event("OrderCreated", &order_id))
            .await;
        service
            .receive(&ticket_event("TicketAccepted", &order_id, ready_by))
            .await;
    }
    retry_waiting_once(&service.database).await.unwrap();
    assert_eq!(service.said().await, []);

    // Nobody is told that this courier appears, and there is more to do than one turn takes on.
    service.add(&courier_at("courier-1", RESTAURANT_AT)).await;
    retry_waiting_once(&service.database).await.unwrap();
    assert_eq!(service.said().await.len(), 50);
    retry_waiting_once(&service.database).await.unwrap();
    assert_eq!(service.said().await.len(), 60);
    let delivery = service.delivery("order-59").await.unwrap();
    assert_eq!(delivery.state, DeliveryState::Scheduled);
}

#[tokio::test]
async fn a_location_that_a_former_process_left_is_announced() {
    let service = DeliveryService::open().await;
    let mut courier = courier_at("courier-1", RESTAURANT_AT);
    service.add(&courier).await;
    assert!(announce_locations_once(&service.database).await.unwrap());
    assert_eq!(service.said().await, []);

    let now = clock::now();
    courier.move_to(RESTAURANT_AT, now);
    courier.announced_at = Some(now - TimeDelta::minutes(1));
    let mut tx = service.database.write().await.unwrap();
    couriers::save(&mut tx, &courier).await.unwrap();
    tx.commit().await.unwrap();
    assert!(announce_locations_once(&service.database).await.unwrap());
    assert!(announce_locations_once(&service.database).await.unwrap());
    let said = service.said().await;
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].kind, "CourierLocationChanged");
    assert_eq!(said[0].data["orderIds"], serde_json::json!([]));
}
