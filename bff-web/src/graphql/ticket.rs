//! The kitchen's side of an order.

use std::sync::Arc;

use async_graphql::{Enum, ID, Object};

use super::values::{DateTime, of_word};
use crate::clients::kitchen;

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum TicketState {
    CreatePending,
    CreateCancelled,
    AwaitingAcceptance,
    Accepted,
    Preparing,
    ReadyForPickup,
    PickedUp,
    CancelPending,
    Cancelled,
    RevisionPending,
    /// A state that this schema does not know yet.
    Unknown,
}

pub(super) struct Ticket(pub(super) Arc<kitchen::Ticket>);

/// What the kitchen is to prepare for an order.
#[Object]
impl Ticket {
    async fn id(&self) -> ID {
        ID::from(&self.0.id)
    }

    async fn state(&self) -> TicketState {
        of_word(&self.0.state, TicketState::Unknown)
    }

    /// When the kitchen means to be done; it says so when it accepts the ticket.
    async fn ready_by(&self) -> Option<DateTime> {
        self.0.ready_by.clone().map(DateTime)
    }

    async fn accepted_at(&self) -> Option<DateTime> {
        self.0.accepted_at.clone().map(DateTime)
    }

    async fn preparing_at(&self) -> Option<DateTime> {
        self.0.preparing_at.clone().map(DateTime)
    }

    async fn ready_for_pickup_at(&self) -> Option<DateTime> {
        self.0.ready_for_pickup_at.clone().map(DateTime)
    }

    async fn picked_up_at(&self) -> Option<DateTime> {
        self.0.picked_up_at.clone().map(DateTime)
    }
}
