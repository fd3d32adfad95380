//! The rules of a delivery by example; no storage, no messages, no HTTP.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::{DateTime, TimeDelta, Utc};
use ftgo_chassis::GeoPoint;

use super::{Delivery, DeliveryError, DeliveryEvent, DeliveryState};
use crate::courier::Courier;
use crate::fixtures::{RESTAURANT_AT, courier_at, delivery, noon};
use crate::travel;

fn scheduled() -> (Delivery, Courier) {
    let courier = courier_at("courier-1", RESTAURANT_AT);
    let mut delivery = delivery("order-1");
    delivery
        .await_courier(noon() + TimeDelta::minutes(30), noon())
        .unwrap();
    assert_eq!(
        delivery.schedule(&courier, noon()),
        Ok(DeliveryEvent::Scheduled)
    );
    (delivery, courier)
}

#[test]
fn the_way_of_a_delivery() {
    let (mut delivery, courier) = scheduled();
    let ready_by = noon() + TimeDelta::minutes(30);
    assert_eq!(delivery.state, DeliveryState::Scheduled);
    assert_eq!(delivery.scheduled_pickup_time, Some(ready_by));
    assert_eq!(
        delivery.scheduled_delivery_time,
        Some(ready_by + travel::TO_THE_DOOR)
    );

    let picked_up = noon() + TimeDelta::minutes(40);
    assert_eq!(
        delivery.pick_up(&courier.id, picked_up),
        Ok(DeliveryEvent::PickedUp)
    );
    assert_eq!(
        delivery.scheduled_delivery_time,
        Some(picked_up + travel::TO_THE_DOOR)
    );

    let delivered = noon() + TimeDelta::minutes(55);
    assert_eq!(
        delivery.drop_off(&courier.id, delivered),
        Ok(DeliveryEvent::Delivered)
    );
    assert_eq!(delivery.state, DeliveryState::Delivered);
    assert_eq!(delivery.picked_up_at, Some(picked_up));
    assert_eq!(delivery.delivered_at, Some(delivered));
    assert_eq!(delivery.version, 5);
}

#[test]
fn a_courier_far_away_cannot_be_there_when_the_kitchen_is_ready() {
    let far = GeoPoint {
        lat: RESTAURANT_AT.lat + 0.1,
        lng: RESTAURANT_AT.lng,
    };
    let mut delivery = delivery("order-1");
    let ready_by = noon() + TimeDelta::minutes(5);
    delivery.await_courier(ready_by, noon()).unwrap();
    delivery
        .schedule(&courier_at("courier-1", far), noon())
        .unwrap();
    // A tenth of a degree of latitude is 11.1 km, at 4 m/s a little more than 46 minutes.
    let pickup = delivery.scheduled_pickup_time.unwrap();
    let minutes = (pickup - noon()).num_minutes();
    assert!((46..=47).contains(&minutes), "{minutes} minutes");
}

#[test]
fn it_is_not_scheduled_before_the_kitchen_promised_a_time() {
    let mut delivery = delivery("order-1");
    assert!(!delivery.is_waiting_for_courier());
    assert_eq!(
        delivery.schedule(&courier_at("courier-1", RESTAURANT_AT), noon()),
        Err(DeliveryError::NotReadyToSchedule)
    );
    assert_eq!(delivery.version, 1);
}

#[test]
fn only_the_assigned_courier_picks_up_and_drops_off() {
    let (mut delivery, courier) = scheduled();
    let stranger = Err(DeliveryError::NotAssigned {
        courier_id: "courier-2".to_owned(),
    });
    assert_eq!(delivery.pick_up("courier-2", noon()), stranger);
    delivery.pick_up(&courier.id, noon()).unwrap();
    assert_eq!(delivery.drop_off("courier-2", noon()), stranger);
    assert_eq!(delivery.state, DeliveryState::PickedUp);
}

#[test]
fn a_cancelled_delivery_frees_its_courier() {
    let (mut delivery, _) = scheduled();
    assert_eq!(delivery.cancel(noon()), Ok(DeliveryEvent::Cancelled));
    assert_eq!(delivery.courier, None);
    assert_eq!(delivery.scheduled_pickup_time, None);
    assert_eq!(crate::courier::plan([&delivery]), []);
}

/// Every move from every state: what FTGO's diagram has no arrow for is refused and changes nothing.
#[test]
fn illegal_moves_are_refused() {
    type Play = fn(&mut Delivery) -> Result<(), DeliveryError>;
    let moves: [(&str, Play, &[DeliveryState]); 5] = [
        (
            "await",
            |d| d.await_courier(noon(), noon()),
            &[DeliveryState::Pending],
        ),
        (
            "schedule",
            |d| {
                d.schedule(&courier_at("courier-1", RESTAURANT_AT), noon())
                    .map(drop)
            },
            &[DeliveryState::Pending],
        ),
        (
            "pick up",
            |d| d.pick_up("courier-1", noon()).map(drop),
            &[DeliveryState::Scheduled],
        ),
        (
            "drop off",
            |d| d.drop_off("courier-1", noon()).map(drop),
            &[DeliveryState::PickedUp],
        ),
        (
            "cancel",
            |d| d.cancel(noon()).map(drop),
            &[DeliveryState::Pending, DeliveryState::Scheduled],
        ),
    ];
    for state in DeliveryState::ALL {
        for (name, play, legal_from) in &moves {
            let (mut delivery, _) = scheduled();
            delivery.state = state;
            let before = delivery.clone();
            let result = play(&mut delivery);
            if legal_from.contains(&state) {
                assert_eq!(result, Ok(()), "{name} from {state}");
                assert_eq!(delivery.version, before.version + 1);
            } else {
                assert!(
                    matches!(result, Err(DeliveryError::IllegalMove { state: refused, .. }) if refused == state),
                    "{name} from {state}: {result:?}"
                );
                assert_eq!(delivery, before);
            }
        }
    }
}

#[test]
fn promises_at_the_end_of_time_stay_within_rfc_3339() {
    let last: DateTime<Utc> = "9999-12-31T23:59:59Z".parse().unwrap();
    let mut delivery = delivery("order-1");
    delivery.await_courier(last, noon()).unwrap();
    delivery
        .schedule(&courier_at("courier-1", RESTAURANT_AT), noon())
        .unwrap();
    assert_eq!(delivery.scheduled_delivery_time, Some(last));
}

#[test]
fn names_of_states_are_read_back() {
    for state in DeliveryState::ALL {
        assert_eq!(DeliveryState::parse(state.as_str()), Some(state));
        assert_eq!(
            serde_json::to_value(state).unwrap(),
            serde_json::Value::from(state.as_str())
        );
    }
    assert_eq!(DeliveryState::parse("pending"), None);
}
