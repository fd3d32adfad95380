//! The kitchen's part in the sagas of the order service, and its ear for restaurant events. Deduplication, transactions
//! and retries are the consumer's work (ftgo-messaging), the rules are the ticket's; neither is here.
//!
//! A command that the business refuses is answered with a failure reply, which commits like any other answer. An error
//! is what may be different a moment later (the command is offered again), or what nobody can make sense of (the
//! consumer buries it and answers in our place).

#[cfg(test)]
mod tests;

use chrono::{DateTime, TimeDelta, Utc};
use ftgo_messaging::{HandlerError, Message, MessageHandler, Outcome, outbox};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use sqlx::SqliteConnection;

use crate::clock;
use crate::events::{self, PublishError};
use crate::replica::{self, RestaurantSnapshot};
use crate::store;
use crate::ticket::{Moved, Ticket, TicketLineItem, TicketState};

/// How long a command may wait for the event that makes its restaurant known here.
const PATIENCE: TimeDelta = TimeDelta::seconds(10);

#[derive(Debug)]
pub struct Participant {
    /// Since when this process listens.
    since: DateTime<Utc>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateTicket {
    /// Not in commands from before tickets knew it.
    consumer_id: Option<String>,
    restaurant_id: String,
    line_items: Vec<TicketLineItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BeginReviseTicket {
    line_items: Vec<TicketLineItem>,
}

#[derive(Debug, thiserror::Error)]
#[error("restaurant {0} is not known here yet")]
struct RestaurantNotHere(String);

#[derive(Debug, thiserror::Error)]
#[error("the kitchen knows no command {0:?}")]
struct UnknownCommand(String);

impl From<PublishError> for HandlerError {
    fn from(error: PublishError) -> HandlerError {
        match error {
            PublishError::Encode(_) => HandlerError::permanent(error),
            PublishError::Outbox(_) => HandlerError::transient(error),
        }
    }
}

impl MessageHandler for Participant {
    fn handle<'a>(
        &'a self,
        tx: &'a mut SqliteConnection,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        Box::pin(async move {
            if message.topic == "restaurant.events" {
                return hear_of_restaurant(tx, message).await;
            }
            let outcome = self.execute(tx, message).await?;
            outbox::publish(tx, &Message::reply_to(message, &outcome)).await?;
            Ok(())
        })
    }
}

async fn hear_of_restaurant(
    tx: &mut SqliteConnection,
    message: &Message,
) -> Result<(), HandlerError> {
    // By its content and not by its kind: every restaurant event carries the whole restaurant, also kinds to come.
    let restaurant: RestaurantSnapshot = message.decode()?;
    replica::remember(tx, &restaurant).await?;
    Ok(())
}

impl Participant {
    #[must_use]
    pub fn listening() -> Participant {
        Participant::listening_since(clock::now())
    }

    fn listening_since(since: DateTime<Utc>) -> Participant {
        Participant { since }
    }

    /// Executes a command for the ticket that the message's subject names; orders and tickets share their ids.
    ///
    /// The orchestrator's messages about one order arrive in the order in which they were sent, so a compensation
    /// never overtakes the step that it takes back: "no such ticket" means that the step never happened.
    async fn execute(
        &self,
        tx: &mut SqliteConnection,
        message: &Message,
    ) -> Result<Outcome, HandlerError> {
        let now = clock::now();
        if message.kind == "CreateTicket" {
            return self.create(tx, message, now).await;
        }
        let Some(command) = TicketCommand::named(&message.kind) else {
            return Err(HandlerError::permanent(UnknownCommand(
                message.kind.clone(),
            )));
        };
        let Some(mut ticket) = store::find(&mut *tx, &message.subject).await? else {
            return Ok(if command.is_compensation() {
                Outcome::success()
            } else {
                let detail = format!("there is no ticket {}", message.subject);
                Outcome::failure("TICKET_NOT_FOUND", detail)
            });
        };
        if command.has_no_work_left(&ticket) {
            return Ok(Outcome::success());
        }
        match command.apply(&mut ticket, message, now)? {
            Ok(event) => {
                store::save(tx, &ticket).await?;
                if let Some(event) = event {
                    events::publish(tx, event, &ticket).await?;
                }
                Ok(Outcome::success())
            }
            Err(refusal) => Ok(Outcome::failure(
                command.refusal_code(),
                refusal.to_string(),
            )),
        }
    }

    async fn create(
        &self,
        tx: &mut SqliteConnection,
        message: &Message,
        now: DateTime<Utc>,
    ) -> Result<Outcome, HandlerError> {
        let command: CreateTicket = message.decode()?;
        if let Some(existing) = store::find(&mut *tx, &message.subject).await? {
            return Ok(created_before(&existing, &command));
        }
        if replica::name_of(tx, &command.restaurant_id)
            .await?
            .is_none()
        {
            // The order service found this restaurant in its own replica. So the restaurant exists, and most likely its
            // event is only on its way to us: the command is offered again. Not for ever, since it holds up what else
            // its order sends us; and the clock starts with this process, as an old command says nothing about the
            // event when we are the ones who were away.
            if now - message.time.max(self.since) < PATIENCE {
                return Err(HandlerError::transient(RestaurantNotHere(
                    command.restaurant_id,
                )));
            }
            let detail = format!("there is no restaurant {}", command.restaurant_id);
            return Ok(Outcome::failure("RESTAURANT_NOT_FOUND", detail));
        }
        let ticket = Ticket::create(
            message.subject.clone(),
            command.consumer_id,
            command.restaurant_id,
            command.line_items,
            now,
        );
        store::insert(tx, &ticket).await?;
        Ok(Outcome::success())
    }
}

/// The inbox recognises a message that comes twice; this is a second command for the same order.
fn created_before(existing: &Ticket, command: &CreateTicket) -> Outcome {
    let same = existing.state == TicketState::CreatePending
        && existing.restaurant_id == command.restaurant_id
        && existing.line_items == command.line_items;
    if same {
        Outcome::success()
    } else {
        let detail = format!(
            "there is a ticket {} that is {}",
            existing.id, existing.state
        );
        Outcome::failure("TICKET_ALREADY_EXISTS", detail)
    }
}

/// The commands for a ticket that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TicketCommand {
    CancelCreate,
    Confirm,
    BeginCancel,
    UndoCancel,
    ConfirmCancel,
    BeginRevise,
    UndoRevise,
    ConfirmRevise,
}

impl TicketCommand {
    fn named(kind: &str) -> Option<TicketCommand> {
        Some(match kind {
            "CancelCreateTicket" => TicketCommand::CancelCreate,
            "ConfirmTicket" => TicketCommand::Confirm,
            "BeginCancelTicket" => TicketCommand::BeginCancel,
            "UndoCancelTicket" => TicketCommand::UndoCancel,
            "ConfirmCancelTicket" => TicketCommand::ConfirmCancel,
            "BeginReviseTicket" => TicketCommand::BeginRevise,
            "UndoReviseTicket" => TicketCommand::UndoRevise,
            "ConfirmReviseTicket" => TicketCommand::ConfirmRevise,
            _ => return None,
        })
    }

    fn is_compensation(self) -> bool {
        matches!(
            self,
            TicketCommand::CancelCreate | TicketCommand::UndoCancel | TicketCommand::UndoRevise
        )
    }

    /// What is taken back never happened, or what is asked for is so already: compensations and the steps after the
    /// pivot are repeated until they succeed, so they have to.
    fn has_no_work_left(self, ticket: &Ticket) -> bool {
        match self {
            TicketCommand::CancelCreate => ticket.state == TicketState::CreateCancelled,
            TicketCommand::Confirm => !matches!(
                ticket.state,
                TicketState::CreatePending | TicketState::CreateCancelled
            ),
            TicketCommand::UndoCancel => ticket.state != TicketState::CancelPending,
            TicketCommand::ConfirmCancel => ticket.state == TicketState::Cancelled,
            TicketCommand::UndoRevise => ticket.state != TicketState::RevisionPending,
            TicketCommand::BeginCancel
            | TicketCommand::BeginRevise
            | TicketCommand::ConfirmRevise => false,
        }
    }

    fn apply(
        self,
        ticket: &mut Ticket,
        message: &Message,
        now: DateTime<Utc>,
    ) -> Result<Moved, HandlerError> {
        Ok(match self {
            TicketCommand::CancelCreate => ticket.cancel_create(now),
            TicketCommand::Confirm => ticket.confirm_create(now),
            TicketCommand::BeginCancel => ticket.begin_cancel(now),
            TicketCommand::UndoCancel => ticket.undo_cancel(now),
            TicketCommand::ConfirmCancel => ticket.confirm_cancel(now),
            TicketCommand::BeginRevise => {
                let revision: BeginReviseTicket = message.decode()?;
                ticket.begin_revise(revision.line_items, now)
            }
            TicketCommand::UndoRevise => ticket.undo_revise(now),
            TicketCommand::ConfirmRevise => ticket.confirm_revise(now),
        })
    }

    fn refusal_code(self) -> &'static str {
        match self {
            TicketCommand::BeginCancel => "TICKET_NOT_CANCELLABLE",
            TicketCommand::BeginRevise => "TICKET_NOT_REVISABLE",
            TicketCommand::CancelCreate
            | TicketCommand::Confirm
            | TicketCommand::UndoCancel
            | TicketCommand::ConfirmCancel
            | TicketCommand::UndoRevise
            | TicketCommand::ConfirmRevise => "ILLEGAL_TICKET_STATE",
        }
    }
}
