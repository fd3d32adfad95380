//! The Delivery aggregate: how one order gets from the restaurant to the door, its states and the moves between them.
//! Which courier carries it is chosen elsewhere (`scheduling`); storage, messages, HTTP and clocks are not here.

#[cfg(test)]
mod tests;

use std::fmt;

use chrono::{DateTime, Utc};
use ftgo_chassis::{Address, GeoPoint};
use serde::{Deserialize, Serialize};

use crate::courier::Courier;
use crate::travel;

/// Where a delivery stands. On the wire and in the database the names are `SCREAMING_SNAKE_CASE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeliveryState {
    /// Waits for the kitchen's promise, then for a courier.
    Pending,
    Scheduled,
    PickedUp,
    Delivered,
    Cancelled,
}

impl DeliveryState {
    pub const ALL: [DeliveryState; 5] = [
        DeliveryState::Pending,
        DeliveryState::Scheduled,
        DeliveryState::PickedUp,
        DeliveryState::Delivered,
        DeliveryState::Cancelled,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Pending => "PENDING",
            DeliveryState::Scheduled => "SCHEDULED",
            DeliveryState::PickedUp => "PICKED_UP",
            DeliveryState::Delivered => "DELIVERED",
            DeliveryState::Cancelled => "CANCELLED",
        }
    }

    /// The state with this name, if there is one.
    #[must_use]
    pub fn parse(name: &str) -> Option<DeliveryState> {
        DeliveryState::ALL
            .into_iter()
            .find(|state| state.as_str() == name)
    }

    /// Whether a courier is on it.
    #[must_use]
    pub fn is_under_way(self) -> bool {
        matches!(self, DeliveryState::Scheduled | DeliveryState::PickedUp)
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The event that a move publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryEvent {
    Scheduled,
    PickedUp,
    Delivered,
    Cancelled,
}

impl DeliveryEvent {
    /// The CloudEvents `type`.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            DeliveryEvent::Scheduled => "DeliveryScheduled",
            DeliveryEvent::PickedUp => "DeliveryPickedUp",
            DeliveryEvent::Delivered => "DeliveryDelivered",
            DeliveryEvent::Cancelled => "DeliveryCancelled",
        }
    }
}

/// Why a delivery refused a move. It is unchanged then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    #[error("a delivery that is {state} cannot {action}")]
    IllegalMove {
        state: DeliveryState,
        action: &'static str,
    },
    #[error("the delivery is not assigned to courier {courier_id}")]
    NotAssigned { courier_id: String },
    #[error(
        "the delivery needs the time at which the kitchen is ready before a courier can be sent"
    )]
    NotReadyToSchedule,
}

/// The courier on a delivery, with the name that the consumer sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedCourier {
    pub id: String,
    pub name: String,
}

/// Something that is carried. Prices are not the courier's business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedItem {
    pub name: String,
    pub quantity: u32,
}

/// A delivery shares the id of its order. `version` starts at 1 and grows by one with every move.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub id: String,
    /// Whose order it is; not known of old deliveries.
    pub consumer_id: Option<String>,
    pub restaurant_id: String,
    pub state: DeliveryState,
    pub version: i64,
    pub pickup_address: Address,
    pub pickup_location: GeoPoint,
    pub delivery_address: Address,
    /// Empty when the order did not say.
    pub line_items: Vec<CarriedItem>,
    /// When the kitchen wants to be ready. Set while `PENDING` means: waiting for a courier.
    pub ready_by: Option<DateTime<Utc>>,
    pub courier: Option<AssignedCourier>,
    pub scheduled_pickup_time: Option<DateTime<Utc>>,
    pub scheduled_delivery_time: Option<DateTime<Utc>>,
    pub picked_up_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// From where to where, for whom, and what.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub consumer_id: Option<String>,
    pub restaurant_id: String,
    pub pickup_address: Address,
    pub pickup_location: GeoPoint,
    pub delivery_address: Address,
    pub line_items: Vec<CarriedItem>,
}

impl Delivery {
    /// A new delivery in `PENDING`.
    #[must_use]
    pub fn create(id: String, route: Route, now: DateTime<Utc>) -> Delivery {
        Delivery {
            id,
            consumer_id: route.consumer_id,
            restaurant_id: route.restaurant_id,
            state: DeliveryState::Pending,
            version: 1,
            pickup_address: route.pickup_address,
            pickup_location: route.pickup_location,
            delivery_address: route.delivery_address,
            line_items: route.line_items,
            ready_by: None,
            courier: None,
            scheduled_pickup_time: None,
            scheduled_delivery_time: None,
            picked_up_at: None,
            delivered_at: None,
            created_at: now,
            updated_at: now,
        }
    }

    /// Whether all that is missing is a courier.
    #[must_use]
    pub fn is_waiting_for_courier(&self) -> bool {
        self.state == DeliveryState::Pending && self.ready_by.is_some()
    }

    /// The kitchen promised to be ready: from now on the delivery waits for a courier.
    pub fn await_courier(
        &mut self,
        ready_by: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), DeliveryError> {
        self.require("wait for a courier", &[DeliveryState::Pending])?;
        self.ready_by = Some(ready_by);
        self.enter(DeliveryState::Pending, now);
        Ok(())
    }

    /// Assigns a courier, who is at the restaurant when the kitchen is ready, or later if the way there is longer.
    pub fn schedule(
        &mut self,
        courier: &Courier,
        now: DateTime<Utc>,
    ) -> Result<DeliveryEvent, DeliveryError> {
        self.require("be scheduled", &[DeliveryState::Pending])?;
        let ready_by = self.ready_by.ok_or(DeliveryError::NotReadyToSchedule)?;
        let at_restaurant = courier.location.map_or(now, |location| {
            travel::after(now, travel::time_between(location, self.pickup_location))
        });
        let pickup = ready_by.max(at_restaurant);
        self.courier = Some(AssignedCourier {
            id: courier.id.clone(),
            name: courier.name.clone(),
        });
        self.scheduled_pickup_time = Some(pickup);
        self.scheduled_delivery_time = Some(travel::after(pickup, travel::TO_THE_DOOR));
        self.enter(DeliveryState::Scheduled, now);
        Ok(DeliveryEvent::Scheduled)
    }

    /// The assigned courier has the food. The estimate of the arrival starts again from here.
    pub fn pick_up(
        &mut self,
        courier_id: &str,
        now: DateTime<Utc>,
    ) -> Result<DeliveryEvent, DeliveryError> {
        self.require("be picked up", &[DeliveryState::Scheduled])?;
        self.require_courier(courier_id)?;
        self.picked_up_at = Some(now);
        self.scheduled_delivery_time = Some(travel::after(now, travel::TO_THE_DOOR));
        self.enter(DeliveryState::PickedUp, now);
        Ok(DeliveryEvent::PickedUp)
    }

    pub fn drop_off(
        &mut self,
        courier_id: &str,
        now: DateTime<Utc>,
    ) -> Result<DeliveryEvent, DeliveryError> {
        self.require("be dropped off", &[DeliveryState::PickedUp])?;
        self.require_courier(courier_id)?;
        self.delivered_at = Some(now);
        self.enter(DeliveryState::Delivered, now);
        Ok(DeliveryEvent::Delivered)
    }

    /// The order was revised. What is on the road already stays as it was packed.
    pub fn revise(
        &mut self,
        line_items: Vec<CarriedItem>,
        now: DateTime<Utc>,
    ) -> Result<(), DeliveryError> {
        self.require(
            "be revised",
            &[DeliveryState::Pending, DeliveryState::Scheduled],
        )?;
        self.line_items = line_items;
        self.enter(self.state, now);
        Ok(())
    }

    /// The order is off. The courier is free of it from here on; food that is on the road is not called back.
    pub fn cancel(&mut self, now: DateTime<Utc>) -> Result<DeliveryEvent, DeliveryError> {
        self.require(
            "be cancelled",
            &[DeliveryState::Pending, DeliveryState::Scheduled],
        )?;
        self.courier = None;
        self.scheduled_pickup_time = None;
        self.scheduled_delivery_time = None;
        self.enter(DeliveryState::Cancelled, now);
        Ok(DeliveryEvent::Cancelled)
    }

    fn require(&self, action: &'static str, from: &[DeliveryState]) -> Result<(), DeliveryError> {
        if from.contains(&self.state) {
            return Ok(());
        }
        Err(DeliveryError::IllegalMove {
            state: self.state,
            action,
        })
    }

    fn require_courier(&self, courier_id: &str) -> Result<(), DeliveryError> {
        if self.courier.as_ref().is_some_and(|c| c.id == courier_id) {
            return Ok(());
        }
        Err(DeliveryError::NotAssigned {
            courier_id: courier_id.to_owned(),
        })
    }

    fn enter(&mut self, state: DeliveryState, now: DateTime<Utc>) {
        self.state = state;
        self.version += 1;
        self.updated_at = now;
    }
}
