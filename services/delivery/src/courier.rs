//! The Courier aggregate: whether they take deliveries, where they are, and the plan of what they do next.
//! The deliveries themselves and the choice between couriers are not here.

#[cfg(test)]
mod tests;

use chrono::{DateTime, TimeDelta, Utc};
use ftgo_chassis::{Address, GeoPoint};
use serde::Serialize;

use crate::delivery::{Delivery, DeliveryState};

/// The world hears of a courier's location at most this often.
pub const LOCATION_INTERVAL: TimeDelta = TimeDelta::seconds(1);

/// A courier is known by a first name. `version` starts at 1 and grows by one with every change.
#[derive(Clone, Debug, PartialEq)]
pub struct Courier {
    pub id: String,
    pub name: String,
    /// Whether they take new deliveries. What they carry already stays theirs.
    pub available: bool,
    pub location: Option<GeoPoint>,
    pub located_at: Option<DateTime<Utc>>,
    /// When a location was last announced.
    pub announced_at: Option<DateTime<Utc>>,
    /// Whether there is a location that was not announced.
    pub announcement_due: bool,
    pub version: i64,
}

impl Courier {
    #[must_use]
    pub fn new(id: String, name: String, available: bool, location: Option<GeoPoint>) -> Courier {
        Courier {
            id,
            name,
            available,
            location,
            located_at: None,
            announced_at: None,
            announcement_due: false,
            version: 1,
        }
    }

    pub fn set_available(&mut self, available: bool) {
        self.available = available;
        self.version += 1;
    }

    pub fn move_to(&mut self, location: GeoPoint, now: DateTime<Utc>) {
        self.location = Some(location);
        self.located_at = Some(now);
        self.announcement_due = true;
        self.version += 1;
    }

    /// The location to announce now, if there is one and the last announcement is long enough ago. Asked after every
    /// move and again by a timer, so that the last one of a burst is announced too, and the ones between never.
    pub fn announce(&mut self, now: DateTime<Utc>) -> Option<Announcement> {
        // A last announcement in the future is a clock that was set back: no reason to stay silent until then.
        let rested = self.announced_at.is_none_or(|last| {
            let since = now - last;
            since >= LOCATION_INTERVAL || since < TimeDelta::zero()
        });
        if !self.announcement_due || !rested {
            return None;
        }
        let announcement = Announcement {
            location: self.location?,
            at: self.located_at?,
        };
        self.announcement_due = false;
        self.announced_at = Some(now);
        Some(announcement)
    }
}

/// Where a courier was, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Announcement {
    pub location: GeoPoint,
    pub at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ActionKind {
    Pickup,
    Dropoff,
}

/// One thing to do, and when.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    #[serde(rename = "type")]
    pub kind: ActionKind,
    pub delivery_id: String,
    pub order_id: String,
    pub restaurant_id: String,
    pub address: Address,
    pub time: DateTime<Utc>,
}

/// What a courier does next, in the order of time. It follows from the deliveries on which the courier is, and is kept
/// nowhere: so a delivery that is cancelled or done cannot leave an action behind.
#[must_use]
pub fn plan<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>) -> Vec<Action> {
    let mut actions: Vec<Action> = deliveries.into_iter().flat_map(actions_of).collect();
    // The pickup stands before its drop-off also when both fall on one moment.
    actions.sort_by(|a, b| (a.time, &a.delivery_id, a.kind).cmp(&(b.time, &b.delivery_id, b.kind)));
    actions
}

fn actions_of(delivery: &Delivery) -> impl Iterator<Item = Action> {
    let action = |kind, address: &Address, time| Action {
        kind,
        delivery_id: delivery.id.clone(),
        order_id: delivery.id.clone(),
        restaurant_id: delivery.restaurant_id.clone(),
        address: address.clone(),
        time,
    };
    let pickup = delivery
        .scheduled_pickup_time
        .filter(|_| delivery.state == DeliveryState::Scheduled)
        .map(|time| action(ActionKind::Pickup, &delivery.pickup_address, time));
    let dropoff = delivery
        .scheduled_delivery_time
        .filter(|_| delivery.state.is_under_way())
        .map(|time| action(ActionKind::Dropoff, &delivery.delivery_address, time));
    pickup.into_iter().chain(dropoff)
}
