//! The kitchen's side of an order.

use std::sync::Arc;

use async_graphql::{Enum, ID, Object, SimpleObject};

use super::values::{DateTime, of_word, word};
use crate::clients::kitchen;

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(super) enum TicketState {
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

impl TicketState {
    /// The service's word for this state.
    pub(super) fn word(self) -> &'static str {
        word(self)
    }
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

    async fn restaurant_id(&self) -> ID {
        ID::from(&self.0.restaurant_id)
    }

    async fn line_items(&self) -> Vec<TicketLineItem> {
        let items = self.0.line_items.iter();
        items
            .map(|item| TicketLineItem {
                menu_item_id: ID::from(&item.menu_item_id),
                name: item.name.clone(),
                quantity: item.quantity,
            })
            .collect()
    }

    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at.clone())
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

/// So many of a menu item, to be prepared.
#[derive(SimpleObject)]
struct TicketLineItem {
    menu_item_id: ID,
    name: String,
    quantity: u32,
}
