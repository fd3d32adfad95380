//! Who is chosen, and what becomes of deliveries for which there is nobody; no storage, no HTTP.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::TimeDelta;
use ftgo_chassis::GeoPoint;

use super::{Candidate, CourierStrategy, NearestAvailable, schedule_waiting};
use crate::delivery::{Delivery, DeliveryEvent, DeliveryState};
use crate::fixtures::{RESTAURANT_AT, courier_at, delivery, noon};

fn near(degrees: f64) -> GeoPoint {
    GeoPoint {
        lat: RESTAURANT_AT.lat,
        lng: RESTAURANT_AT.lng + degrees,
    }
}

fn candidate(id: &str, degrees: f64, deliveries: usize) -> Candidate {
    Candidate {
        courier: courier_at(id, near(degrees)),
        deliveries,
    }
}

fn waiting(id: &str) -> Delivery {
    let mut delivery = delivery(id);
    delivery
        .await_courier(noon() + TimeDelta::minutes(30), noon())
        .unwrap();
    delivery
}

#[test]
fn the_nearest_available_courier_comes_first() {
    let mut candidates = [
        candidate("courier-1", 0.03, 0),
        candidate("courier-2", -0.01, 7),
        candidate("courier-3", 0.02, 0),
    ];
    let choose = |candidates: &[Candidate]| NearestAvailable.choose(RESTAURANT_AT, candidates);
    assert_eq!(choose(&candidates), Some(1));
    candidates[1].courier.available = false;
    assert_eq!(choose(&candidates), Some(2));
    candidates[2].courier.location = None;
    assert_eq!(choose(&candidates), Some(0));
    candidates[0].courier.available = false;
    assert_eq!(choose(&candidates), None);
    assert_eq!(choose(&[]), None);
}

#[test]
fn couriers_at_one_place_share_the_work() {
    let mut candidates = [
        candidate("courier-2", 0.0, 0),
        candidate("courier-1", 0.0, 0),
    ];
    let mut deliveries = [waiting("a"), waiting("b"), waiting("c")];
    schedule_waiting(&NearestAvailable, &mut deliveries, &mut candidates, noon()).unwrap();
    let ids: Vec<_> = deliveries
        .iter()
        .map(|delivery| delivery.courier.as_ref().unwrap().id.as_str())
        .collect();
    assert_eq!(ids, ["courier-1", "courier-2", "courier-1"]);
}

#[test]
fn without_a_courier_deliveries_go_on_waiting_and_one_who_appears_gets_them() {
    let mut off_duty = candidate("courier-1", 0.0, 0);
    off_duty.courier.available = false;
    let mut candidates = [off_duty];
    let mut deliveries = [waiting("a"), delivery("not accepted yet"), waiting("b")];
    let before = deliveries.clone();

    let nothing = schedule_waiting(&NearestAvailable, &mut deliveries, &mut candidates, noon());
    assert_eq!(nothing.unwrap(), []);
    assert_eq!(deliveries, before);

    candidates[0].courier.set_available(true);
    let scheduled = schedule_waiting(&NearestAvailable, &mut deliveries, &mut candidates, noon());
    assert_eq!(
        scheduled.unwrap(),
        [(0, DeliveryEvent::Scheduled), (2, DeliveryEvent::Scheduled)]
    );
    assert_eq!(deliveries[1].state, DeliveryState::Pending);
    assert_eq!(candidates[0].deliveries, 2);
}
