//! Tickets in the kitchen's own database: insert, find, save, page. Rules of tickets are not here, and no transaction
//! begins or ends here: whoever calls knows what has to commit together.

use chrono::{DateTime, Utc};
use ftgo_chassis::IdList;
use sqlx::types::Json;
use sqlx::{Executor, FromRow, Sqlite, SqliteConnection};

use crate::ticket::{Ticket, TicketLineItem, TicketState};

/// A part of a restaurant's tickets in the order of their creation, and where the next part begins.
#[derive(Debug)]
pub struct TicketPage {
    pub items: Vec<Ticket>,
    /// The position after which the next page begins; `None` when there was nothing more.
    pub next: Option<i64>,
}

/// Which tickets a page is cut from.
#[derive(Debug)]
pub struct TicketFilter<'a> {
    pub restaurant_id: &'a str,
    pub state: Option<TicketState>,
}

/// Adds a ticket that does not exist yet; `false` when there is one with this id already, which stays as it is.
pub async fn insert(tx: &mut SqliteConnection, ticket: &Ticket) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO ticket (id, consumer_id, restaurant_id, state, previous_state, version, line_items, proposed_line_items, \
         ready_by, accepted_at, preparing_at, ready_for_pickup_at, picked_up_at, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&ticket.id)
    .bind(&ticket.consumer_id)
    .bind(&ticket.restaurant_id)
    .bind(ticket.state.as_str())
    .bind(ticket.previous_state.map(TicketState::as_str))
    .bind(ticket.version)
    .bind(Json(&ticket.line_items))
    .bind(ticket.proposed_line_items.as_ref().map(Json))
    .bind(ticket.ready_by)
    .bind(ticket.accepted_at)
    .bind(ticket.preparing_at)
    .bind(ticket.ready_for_pickup_at)
    .bind(ticket.picked_up_at)
    .bind(ticket.created_at)
    .bind(ticket.updated_at)
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes what a move changed. The ticket was read in the same (immediate) transaction, so no other writer came between.
pub async fn save(tx: &mut SqliteConnection, ticket: &Ticket) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE ticket SET state = ?, previous_state = ?, version = ?, line_items = ?, proposed_line_items = ?, \
         ready_by = ?, accepted_at = ?, preparing_at = ?, ready_for_pickup_at = ?, picked_up_at = ?, updated_at = ? \
         WHERE id = ?",
    )
    .bind(ticket.state.as_str())
    .bind(ticket.previous_state.map(TicketState::as_str))
    .bind(ticket.version)
    .bind(Json(&ticket.line_items))
    .bind(ticket.proposed_line_items.as_ref().map(Json))
    .bind(ticket.ready_by)
    .bind(ticket.accepted_at)
    .bind(ticket.preparing_at)
    .bind(ticket.ready_for_pickup_at)
    .bind(ticket.picked_up_at)
    .bind(ticket.updated_at)
    .bind(&ticket.id)
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn find<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
    id: &str,
) -> Result<Option<Ticket>, sqlx::Error> {
    let row: Option<TicketRow> = sqlx::query_as("SELECT * FROM ticket WHERE id = ?")
        .bind(id)
        .fetch_optional(executor)
        .await?;
    row.map(Ticket::try_from).transpose()
}

/// The tickets among `ids` that exist, in the order of their creation.
pub async fn find_all<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
    ids: &IdList,
) -> Result<Vec<Ticket>, sqlx::Error> {
    let rows: Vec<TicketRow> = sqlx::query_as(
        "SELECT * FROM ticket WHERE id IN (SELECT value FROM json_each(?)) ORDER BY position",
    )
    .bind(ids.to_json())
    .fetch_all(executor)
    .await?;
    rows.into_iter().map(Ticket::try_from).collect()
}

/// At most `size` tickets that come after the position `after`, oldest first. Positions only grow, so rows that are
/// added while somebody pages come at the end: nothing is skipped and nothing is shown twice.
pub async fn page<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
    filter: &TicketFilter<'_>,
    after: Option<i64>,
    size: u32,
) -> Result<TicketPage, sqlx::Error> {
    // One row more than asked for tells whether there is a next page.
    let limit = i64::from(size) + 1;
    let after = after.unwrap_or(0);
    let query = match filter.state {
        None => sqlx::query_as(
            "SELECT * FROM ticket WHERE restaurant_id = ? AND position > ? ORDER BY position LIMIT ?",
        )
        .bind(filter.restaurant_id),
        Some(state) => sqlx::query_as(
            "SELECT * FROM ticket WHERE restaurant_id = ? AND state = ? AND position > ? ORDER BY position LIMIT ?",
        )
        .bind(filter.restaurant_id)
        .bind(state.as_str()),
    };
    let mut rows: Vec<TicketRow> = query.bind(after).bind(limit).fetch_all(executor).await?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let more = rows.len() > size;
    rows.truncate(size);
    let next = rows.last().filter(|_| more).map(|row| row.position);
    let items = rows
        .into_iter()
        .map(Ticket::try_from)
        .collect::<Result<_, _>>()?;
    Ok(TicketPage { items, next })
}

#[derive(FromRow)]
struct TicketRow {
    position: i64,
    id: String,
    consumer_id: Option<String>,
    restaurant_id: String,
    state: String,
    previous_state: Option<String>,
    version: i64,
    line_items: Json<Vec<TicketLineItem>>,
    proposed_line_items: Option<Json<Vec<TicketLineItem>>>,
    ready_by: Option<DateTime<Utc>>,
    accepted_at: Option<DateTime<Utc>>,
    preparing_at: Option<DateTime<Utc>>,
    ready_for_pickup_at: Option<DateTime<Utc>>,
    picked_up_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no state of a ticket")]
struct UnknownState(String);

impl TryFrom<TicketRow> for Ticket {
    type Error = sqlx::Error;

    fn try_from(row: TicketRow) -> Result<Ticket, sqlx::Error> {
        Ok(Ticket {
            state: state(row.state)?,
            previous_state: row.previous_state.map(state).transpose()?,
            id: row.id,
            consumer_id: row.consumer_id,
            restaurant_id: row.restaurant_id,
            version: row.version,
            line_items: row.line_items.0,
            proposed_line_items: row.proposed_line_items.map(|items| items.0),
            ready_by: row.ready_by,
            accepted_at: row.accepted_at,
            preparing_at: row.preparing_at,
            ready_for_pickup_at: row.ready_for_pickup_at,
            picked_up_at: row.picked_up_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

fn state(name: String) -> Result<TicketState, sqlx::Error> {
    TicketState::parse(&name).ok_or_else(|| sqlx::Error::Decode(Box::new(UnknownState(name))))
}
