//! The Ticket aggregate: what the kitchen of a restaurant does for one order, its states and the moves between them.
//! Storage, messages and HTTP are not here, and no clock: every move is told the time.

#[cfg(test)]
mod tests;

use std::fmt;

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};

/// Where a ticket stands. On the wire and in the database the names are `SCREAMING_SNAKE_CASE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TicketState {
    /// Created by a saga that may still fail; not for the eyes of the kitchen yet.
    CreatePending,
    AwaitingAcceptance,
    Accepted,
    Preparing,
    ReadyForPickup,
    PickedUp,
    /// The saga failed before the ticket was confirmed. Final.
    CreateCancelled,
    /// A saga wants to cancel; undone or confirmed later.
    CancelPending,
    Cancelled,
    /// A saga wants other line items; undone or confirmed later.
    RevisionPending,
}

impl TicketState {
    pub const ALL: [TicketState; 10] = [
        TicketState::CreatePending,
        TicketState::AwaitingAcceptance,
        TicketState::Accepted,
        TicketState::Preparing,
        TicketState::ReadyForPickup,
        TicketState::PickedUp,
        TicketState::CreateCancelled,
        TicketState::CancelPending,
        TicketState::Cancelled,
        TicketState::RevisionPending,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            TicketState::CreatePending => "CREATE_PENDING",
            TicketState::AwaitingAcceptance => "AWAITING_ACCEPTANCE",
            TicketState::Accepted => "ACCEPTED",
            TicketState::Preparing => "PREPARING",
            TicketState::ReadyForPickup => "READY_FOR_PICKUP",
            TicketState::PickedUp => "PICKED_UP",
            TicketState::CreateCancelled => "CREATE_CANCELLED",
            TicketState::CancelPending => "CANCEL_PENDING",
            TicketState::Cancelled => "CANCELLED",
            TicketState::RevisionPending => "REVISION_PENDING",
        }
    }

    /// The state with this name, if there is one.
    #[must_use]
    pub fn parse(name: &str) -> Option<TicketState> {
        TicketState::ALL
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}

impl fmt::Display for TicketState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What to cook: a menu item, how it is called, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketLineItem {
    pub menu_item_id: String,
    pub name: String,
    pub quantity: u32,
}

/// The event that a move published, if the world is to hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketEvent {
    Created,
    Accepted,
    Preparing,
    ReadyForPickup,
    PickedUp,
    Cancelled,
    Revised,
}

impl TicketEvent {
    /// The CloudEvents `type`.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            TicketEvent::Created => "TicketCreated",
            TicketEvent::Accepted => "TicketAccepted",
            TicketEvent::Preparing => "TicketPreparing",
            TicketEvent::ReadyForPickup => "TicketReadyForPickup",
            TicketEvent::PickedUp => "TicketPickedUp",
            TicketEvent::Cancelled => "TicketCancelled",
            TicketEvent::Revised => "TicketRevised",
        }
    }
}

/// Why a ticket refused a move. It is unchanged then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    #[error("a ticket that is {state} cannot {action}")]
    IllegalMove {
        state: TicketState,
        action: &'static str,
    },
    #[error("readyBy {ready_by} does not lie in the future")]
    ReadyByNotInFuture { ready_by: DateTime<Utc> },
}

/// A ticket shares the id of its order. `version` starts at 1 and grows by one with every move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub id: String,
    /// Whose order it is; not known of old tickets.
    pub consumer_id: Option<String>,
    pub restaurant_id: String,
    pub state: TicketState,
    /// Where an undo leads back to; set exactly while a cancellation or revision is pending.
    pub previous_state: Option<TicketState>,
    pub version: i64,
    pub line_items: Vec<TicketLineItem>,
    /// What a pending revision would put in place of `line_items`.
    pub proposed_line_items: Option<Vec<TicketLineItem>>,
    pub ready_by: Option<DateTime<Utc>>,
    pub accepted_at: Option<DateTime<Utc>>,
    pub preparing_at: Option<DateTime<Utc>>,
    pub ready_for_pickup_at: Option<DateTime<Utc>>,
    pub picked_up_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What a move answers: the event to publish, or nothing when the move concerns only its saga.
pub type Moved = Result<Option<TicketEvent>, TicketError>;

impl Ticket {
    /// A new ticket in `CREATE_PENDING`, which its saga confirms or cancels.
    #[must_use]
    pub fn create(
        id: String,
        consumer_id: Option<String>,
        restaurant_id: String,
        line_items: Vec<TicketLineItem>,
        now: DateTime<Utc>,
    ) -> Ticket {
        Ticket {
            id,
            consumer_id,
            restaurant_id,
            state: TicketState::CreatePending,
            previous_state: None,
            version: 1,
            line_items,
            proposed_line_items: None,
            ready_by: None,
            accepted_at: None,
            preparing_at: None,
            ready_for_pickup_at: None,
            picked_up_at: None,
            created_at: now,
            updated_at: now,
        }
    }

    pub fn cancel_create(&mut self, now: DateTime<Utc>) -> Moved {
        self.require("have its creation cancelled", &[TicketState::CreatePending])?;
        self.enter(TicketState::CreateCancelled, now);
        Ok(None)
    }

    pub fn confirm_create(&mut self, now: DateTime<Utc>) -> Moved {
        self.require("be confirmed", &[TicketState::CreatePending])?;
        self.enter(TicketState::AwaitingAcceptance, now);
        Ok(Some(TicketEvent::Created))
    }

    /// The restaurant takes the order on and promises it for `ready_by`.
    pub fn accept(&mut self, ready_by: DateTime<Utc>, now: DateTime<Utc>) -> Moved {
        self.require("be accepted", &[TicketState::AwaitingAcceptance])?;
        // RFC 3339 ends with the year 9999; chrono reads and would write on beyond it.
        if ready_by <= now || ready_by.year() > 9999 {
            return Err(TicketError::ReadyByNotInFuture { ready_by });
        }
        self.ready_by = Some(ready_by);
        self.accepted_at = Some(now);
        self.enter(TicketState::Accepted, now);
        Ok(Some(TicketEvent::Accepted))
    }

    pub fn start_preparing(&mut self, now: DateTime<Utc>) -> Moved {
        self.require("be prepared", &[TicketState::Accepted])?;
        self.preparing_at = Some(now);
        self.enter(TicketState::Preparing, now);
        Ok(Some(TicketEvent::Preparing))
    }

    pub fn finish_preparing(&mut self, now: DateTime<Utc>) -> Moved {
        self.require("become ready for pickup", &[TicketState::Preparing])?;
        self.ready_for_pickup_at = Some(now);
        self.enter(TicketState::ReadyForPickup, now);
        Ok(Some(TicketEvent::ReadyForPickup))
    }

    pub fn pick_up(&mut self, now: DateTime<Utc>) -> Moved {
        self.require("be picked up", &[TicketState::ReadyForPickup])?;
        self.picked_up_at = Some(now);
        self.enter(TicketState::PickedUp, now);
        Ok(Some(TicketEvent::PickedUp))
    }

    /// Cancelling is for as long as nobody cooks.
    pub fn begin_cancel(&mut self, now: DateTime<Utc>) -> Moved {
        self.require("be cancelled", BEFORE_COOKING)?;
        self.suspend(TicketState::CancelPending, now);
        Ok(None)
    }

    pub fn undo_cancel(&mut self, now: DateTime<Utc>) -> Moved {
        self.require(
            "have its cancellation undone",
            &[TicketState::CancelPending],
        )?;
        self.resume(now);
        Ok(None)
    }

    pub fn confirm_cancel(&mut self, now: DateTime<Utc>) -> Moved {
        self.require(
            "have its cancellation confirmed",
            &[TicketState::CancelPending],
        )?;
        self.previous_state = None;
        self.enter(TicketState::Cancelled, now);
        Ok(Some(TicketEvent::Cancelled))
    }

    /// Revising is for as long as nobody cooks; `line_items` replace the present ones when the saga confirms.
    pub fn begin_revise(&mut self, line_items: Vec<TicketLineItem>, now: DateTime<Utc>) -> Moved {
        self.require("be revised", BEFORE_COOKING)?;
        self.proposed_line_items = Some(line_items);
        self.suspend(TicketState::RevisionPending, now);
        Ok(None)
    }

    pub fn undo_revise(&mut self, now: DateTime<Utc>) -> Moved {
        self.require("have its revision undone", &[TicketState::RevisionPending])?;
        self.proposed_line_items = None;
        self.resume(now);
        Ok(None)
    }

    pub fn confirm_revise(&mut self, now: DateTime<Utc>) -> Moved {
        self.require(
            "have its revision confirmed",
            &[TicketState::RevisionPending],
        )?;
        if let Some(line_items) = self.proposed_line_items.take() {
            self.line_items = line_items;
        }
        self.resume(now);
        Ok(Some(TicketEvent::Revised))
    }

    fn require(&self, action: &'static str, from: &[TicketState]) -> Result<(), TicketError> {
        if from.contains(&self.state) {
            return Ok(());
        }
        Err(TicketError::IllegalMove {
            state: self.state,
            action,
        })
    }

    fn enter(&mut self, state: TicketState, now: DateTime<Utc>) {
        self.state = state;
        self.version += 1;
        self.updated_at = now;
    }

    fn suspend(&mut self, pending: TicketState, now: DateTime<Utc>) {
        self.previous_state = Some(self.state);
        self.enter(pending, now);
    }

    fn resume(&mut self, now: DateTime<Utc>) {
        if let Some(former) = self.previous_state.take() {
            self.enter(former, now);
        }
    }
}

const BEFORE_COOKING: &[TicketState] = &[TicketState::AwaitingAcceptance, TicketState::Accepted];
