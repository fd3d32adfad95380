//! The courier's side of an order.

use std::sync::Arc;

use async_graphql::{Enum, ID, Object, SimpleObject};

use super::values::{DateTime, Location, of_word};
use crate::clients::delivery;

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum DeliveryState {
    Pending,
    Scheduled,
    PickedUp,
    Delivered,
    Cancelled,
    /// A state that this schema does not know yet.
    Unknown,
}

pub(super) struct Delivery(pub(super) Arc<delivery::Delivery>);

/// The way of an order from the restaurant to its consumer.
#[Object]
impl Delivery {
    async fn id(&self) -> ID {
        ID::from(&self.0.id)
    }

    async fn state(&self) -> DeliveryState {
        of_word(&self.0.state, DeliveryState::Unknown)
    }

    /// Absent until a courier is found.
    async fn courier(&self) -> Option<Courier> {
        self.0.courier.clone().map(|courier| Courier {
            name: courier.name,
            location: courier.location.map(Location::from),
        })
    }

    async fn scheduled_pickup_time(&self) -> Option<DateTime> {
        self.0.scheduled_pickup_time.clone().map(DateTime)
    }

    async fn scheduled_delivery_time(&self) -> Option<DateTime> {
        self.0.scheduled_delivery_time.clone().map(DateTime)
    }

    async fn picked_up_at(&self) -> Option<DateTime> {
        self.0.picked_up_at.clone().map(DateTime)
    }

    async fn delivered_at(&self) -> Option<DateTime> {
        self.0.delivered_at.clone().map(DateTime)
    }
}

/// Who brings the food.
#[derive(SimpleObject)]
struct Courier {
    name: String,
    /// Absent until the courier has reported it.
    location: Option<Location>,
}
