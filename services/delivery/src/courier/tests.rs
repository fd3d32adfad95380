//! What a courier announces and plans, by example; no storage, no HTTP.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::TimeDelta;
use ftgo_chassis::GeoPoint;

use super::{ActionKind, Announcement, plan};
use crate::fixtures::{RESTAURANT_AT, courier_at, delivery, noon};

fn at(step: f64) -> GeoPoint {
    GeoPoint {
        lat: RESTAURANT_AT.lat + step / 1000.0,
        lng: RESTAURANT_AT.lng,
    }
}

#[test]
fn a_burst_of_locations_is_announced_by_its_first_and_its_last() {
    let mut courier = courier_at("courier-1", at(0.0));
    assert_eq!(courier.announce(noon()), None, "nobody moved");

    courier.move_to(at(1.0), noon());
    let first = Announcement {
        location: at(1.0),
        at: noon(),
    };
    assert_eq!(courier.announce(noon()), Some(first));

    for step in 2..=9 {
        let now = noon() + TimeDelta::milliseconds(100 * step);
        courier.move_to(at(f64::from(i32::try_from(step).unwrap())), now);
        assert_eq!(courier.announce(now), None, "too soon");
    }
    let later = noon() + TimeDelta::seconds(1);
    let last = Announcement {
        location: at(9.0),
        at: noon() + TimeDelta::milliseconds(900),
    };
    assert_eq!(courier.announce(later), Some(last));
    assert_eq!(courier.announce(later + TimeDelta::seconds(5)), None);
}

#[test]
fn a_clock_that_is_set_back_silences_nobody() {
    let mut courier = courier_at("courier-1", at(0.0));
    courier.move_to(at(1.0), noon());
    assert!(courier.announce(noon()).is_some());
    let earlier = noon() - TimeDelta::hours(1);
    courier.move_to(at(2.0), earlier);
    assert!(courier.announce(earlier).is_some());
}

#[test]
fn the_plan_holds_what_is_left_to_do_in_the_order_of_time() {
    let courier = courier_at("courier-1", RESTAURANT_AT);
    let mut deliveries = Vec::new();
    for (id, minutes) in [("late", 50), ("early", 10), ("carried", 5), ("done", 1)] {
        let mut delivery = delivery(id);
        delivery
            .await_courier(noon() + TimeDelta::minutes(minutes), noon())
            .unwrap();
        delivery.schedule(&courier, noon()).unwrap();
        deliveries.push(delivery);
    }
    deliveries[2].pick_up("courier-1", noon()).unwrap();
    deliveries[3].pick_up("courier-1", noon()).unwrap();
    deliveries[3].drop_off("courier-1", noon()).unwrap();

    let actions = plan(&deliveries);
    let summary: Vec<_> = actions
        .iter()
        .map(|action| (action.kind, action.delivery_id.as_str()))
        .collect();
    assert_eq!(
        summary,
        [
            (ActionKind::Pickup, "early"),
            (ActionKind::Dropoff, "carried"),
            (ActionKind::Dropoff, "early"),
            (ActionKind::Pickup, "late"),
            (ActionKind::Dropoff, "late"),
        ]
    );
    assert!(actions.is_sorted_by_key(|action| action.time));
    assert_eq!(actions[0].address, deliveries[1].pickup_address);
    assert_eq!(actions[1].address, deliveries[2].delivery_address);
}
