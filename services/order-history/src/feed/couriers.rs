//! Where each courier is, for whoever watches now: the latest location only, however many came. Not here: the log, which
//! has no locations.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use ftgo_messaging::Message;

/// More couriers than will ever ride at once; beyond it those who have not moved for longest are forgotten.
const COURIERS: usize = 10_000;

/// The latest location of each courier.
#[derive(Default)]
pub(super) struct Couriers(Mutex<State>);

#[derive(Default)]
struct State {
    /// Counts locations; each one gets the next number.
    stamp: u64,
    latest: HashMap<String, Location>,
}

struct Location {
    stamp: u64,
    time: DateTime<Utc>,
    /// The CloudEvents envelope in JSON.
    event: Arc<str>,
}

impl Couriers {
    /// Takes over a location unless a later one is there.
    pub(super) fn moved(&self, message: &Message) {
        let Ok(event) = serde_json::to_string(message) else {
            return;
        };
        let mut state = self.lock();
        if state
            .latest
            .get(&message.subject)
            .is_some_and(|known| known.time > message.time)
        {
            return;
        }
        state.stamp += 1;
        let location = Location {
            stamp: state.stamp,
            time: message.time,
            event: event.into(),
        };
        state.latest.insert(message.subject.clone(), location);
        if state.latest.len() > COURIERS {
            let stillest = state
                .latest
                .iter()
                .min_by_key(|(_, location)| location.stamp)
                .map(|(courier, _)| courier.clone());
            if let Some(courier) = stillest {
                state.latest.remove(&courier);
            }
        }
    }

    /// The number of the last location.
    pub(super) fn latest(&self) -> u64 {
        self.lock().stamp
    }

    /// The latest location of every courier who has moved after `stamp`, in the order of their moves, and the number of
    /// the last one.
    pub(super) fn changed_since(&self, stamp: u64) -> (u64, Vec<Arc<str>>) {
        let state = self.lock();
        if state.stamp == stamp {
            return (stamp, Vec::new());
        }
        let mut changed = state
            .latest
            .values()
            .filter(|location| location.stamp > stamp)
            .map(|location| (location.stamp, location.event.clone()))
            .collect::<Vec<_>>();
        changed.sort_unstable_by_key(|(stamp, _)| *stamp);
        let events = changed.into_iter().map(|(_, event)| event).collect();
        (state.stamp, events)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use ftgo_messaging::Message;
    use serde_json::json;

    use super::{COURIERS, Couriers};

    fn location(courier: &str, lat: f64) -> Message {
        let data = json!({"courierId": courier, "location": {"lat": lat, "lng": 0.0}});
        Message::event(
            "delivery",
            "delivery.events",
            "CourierLocationChanged",
            courier,
            1,
            data,
        )
        .unwrap()
    }

    fn places(couriers: &Couriers, stamp: u64) -> Vec<f64> {
        let (_, events) = couriers.changed_since(stamp);
        let event = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        events
            .iter()
            .map(|text| event(text)["data"]["location"]["lat"].as_f64().unwrap())
            .collect()
    }

    #[test]
    fn only_the_latest_location_of_each_courier_counts() {
        let couriers = Couriers::default();
        let late = location("courier-1", 9.0);
        couriers.moved(&location("courier-1", 1.0));
        let seen = couriers.latest();
        couriers.moved(&location("courier-2", 2.0));
        couriers.moved(&location("courier-1", 3.0));
        couriers.moved(&location("courier-2", 4.0));
        // overtaken on its way
        let late = Message {
            time: late.time - chrono::Duration::seconds(1),
            ..late
        };
        couriers.moved(&late);
        assert_eq!(places(&couriers, seen), [3.0, 4.0]);
        assert_eq!(places(&couriers, couriers.latest()), [0.0; 0]);
    }

    #[test]
    fn the_memory_is_bounded() {
        let couriers = Couriers::default();
        for number in 0..COURIERS + 3 {
            couriers.moved(&location(&format!("courier-{number}"), 0.0));
        }
        assert_eq!(places(&couriers, 0).len(), COURIERS);
    }
}
