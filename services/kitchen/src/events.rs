//! How a ticket looks to others: the resource of the HTTP surface and the event that carries it. Which move publishes
//! which event is decided by the ticket, not here.

use chrono::{DateTime, Utc};
use ftgo_messaging::{Message, outbox};
use serde::Serialize;
use sqlx::SqliteConnection;

use crate::NAME;
use crate::ticket::{Ticket, TicketEvent, TicketLineItem, TicketState};

pub const TOPIC: &str = "ticket.events";

/// The ticket as others see it. What a saga has only proposed is its own affair and stays out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketResource<'a> {
    pub id: &'a str,
    pub order_id: &'a str,
    pub restaurant_id: &'a str,
    pub state: TicketState,
    pub version: i64,
    pub line_items: &'a [TicketLineItem],
    pub ready_by: Option<DateTime<Utc>>,
    pub accepted_at: Option<DateTime<Utc>>,
    pub preparing_at: Option<DateTime<Utc>>,
    pub ready_for_pickup_at: Option<DateTime<Utc>>,
    pub picked_up_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl<'a> From<&'a Ticket> for TicketResource<'a> {
    fn from(ticket: &'a Ticket) -> TicketResource<'a> {
        TicketResource {
            id: &ticket.id,
            order_id: &ticket.id,
            restaurant_id: &ticket.restaurant_id,
            state: ticket.state,
            version: ticket.version,
            line_items: &ticket.line_items,
            ready_by: ticket.ready_by,
            accepted_at: ticket.accepted_at,
            preparing_at: ticket.preparing_at,
            ready_for_pickup_at: ticket.ready_for_pickup_at,
            picked_up_at: ticket.picked_up_at,
            created_at: ticket.created_at,
            updated_at: ticket.updated_at,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TicketEventData<'a> {
    ticket_id: &'a str,
    #[serde(flatten)]
    ticket: TicketResource<'a>,
}

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the ticket cannot be written as JSON")]
    Encode(#[from] serde_json::Error),
    #[error("the event cannot be put into the outbox")]
    Outbox(#[from] sqlx::Error),
}

/// Puts the event into the outbox: it becomes known when, and only when, `tx` commits.
pub async fn publish(
    tx: &mut SqliteConnection,
    event: TicketEvent,
    ticket: &Ticket,
) -> Result<(), PublishError> {
    let data = TicketEventData {
        ticket_id: &ticket.id,
        ticket: TicketResource::from(ticket),
    };
    let message = Message::event(NAME, TOPIC, event.kind(), &ticket.id, ticket.version, &data)?;
    outbox::publish(tx, &message).await?;
    Ok(())
}
