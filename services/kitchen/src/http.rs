//! The kitchen's HTTP surface: tickets one by one, by ids, or a restaurant's page by page, and the moves that staff make.
//! Which moves are legal is the ticket's business.
//!
//! Staff see and move the tickets of their own restaurants only; to them another's does not exist. A ticket does not know
//! whose order it is for, so that one whose id somebody else knows can be read: the gateway has checked the order, whose
//! id is the ticket's. Lists of a restaurant and moves are the staff's alone.

mod cursor;
mod document;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use ftgo_chassis::etag::{IfMatch, IfNoneMatch, etag};
use ftgo_chassis::{Caller, IdList, Json, Query, ServiceError};
use ftgo_messaging::Database;
use http::StatusCode;
use http::header::ETAG;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::events::{self, TicketResource};
use crate::store::{self, TicketFilter};
use crate::ticket::{Moved, Ticket, TicketError, TicketState};

pub use document::document;

const PAGE_SIZE: u32 = 20;
const LARGEST_PAGE: u32 = 100;

pub fn routes(database: Database) -> Router {
    Router::new()
        .route("/tickets", get(list))
        .route("/tickets/{id}", get(show))
        .route("/tickets/{id}/accept", post(accept))
        .route("/tickets/{id}/preparing", post(preparing))
        .route("/tickets/{id}/ready", post(ready))
        .route("/tickets/{id}/picked-up", post(picked_up))
        .with_state(database)
}

/// Either `ids`, or a restaurant and how its tickets are cut into pages.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListParameters {
    ids: Option<IdList>,
    restaurant_id: Option<String>,
    state: Option<TicketState>,
    page_size: Option<u32>,
    cursor: Option<String>,
}

/// Some tickets; `next_cursor` only where they are a page.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TicketList<'a> {
    items: Vec<TicketResource<'a>>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Acceptance {
    ready_by: DateTime<Utc>,
}

impl From<TicketError> for ServiceError {
    fn from(error: TicketError) -> ServiceError {
        match &error {
            TicketError::IllegalMove { .. } => {
                ServiceError::conflict("ILLEGAL_TICKET_STATE", error.to_string())
            }
            TicketError::ReadyByNotInFuture { .. } => {
                ServiceError::invalid("/readyBy", error.to_string())
            }
        }
    }
}

async fn show(
    State(database): State<Database>,
    caller: Caller,
    Path(id): Path<String>,
    known: IfNoneMatch,
) -> Result<Response, ServiceError> {
    let ticket = store::find(database.read(), &id)
        .await?
        .filter(|ticket| may_read(&caller, ticket))
        .ok_or(ServiceError::NotFound)?;
    if known.has(ticket.version) {
        let tag = [(ETAG, etag(ticket.version))];
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    Ok(resource(&ticket))
}

async fn list(
    State(database): State<Database>,
    caller: Caller,
    Query(parameters): Query<ListParameters>,
) -> Result<Response, ServiceError> {
    match (&parameters.ids, &parameters.restaurant_id) {
        (Some(ids), None) => {
            let mut tickets = store::find_all(database.read(), ids).await?;
            tickets.retain(|ticket| may_read(&caller, ticket));
            Ok(tickets_answer(&tickets, None))
        }
        (None, Some(restaurant_id)) => {
            if !caller.works_for(restaurant_id) {
                return Err(ServiceError::NotFound);
            }
            let size = parameters.page_size.unwrap_or(PAGE_SIZE);
            if !(1..=LARGEST_PAGE).contains(&size) {
                let detail = format!("pageSize must be within 1 and {LARGEST_PAGE}");
                return Err(ServiceError::BadRequest(detail));
            }
            let after = parameters.cursor.as_deref().map(cursor::read).transpose()?;
            let filter = TicketFilter {
                restaurant_id,
                state: parameters.state,
            };
            let page = store::page(database.read(), &filter, after, size).await?;
            Ok(tickets_answer(&page.items, page.next.map(cursor::write)))
        }
        (Some(_), Some(_)) | (None, None) => Err(ServiceError::BadRequest(
            "the query needs either ids or restaurantId".to_owned(),
        )),
    }
}

async fn accept(
    State(database): State<Database>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
    Json(acceptance): Json<Acceptance>,
) -> Result<Response, ServiceError> {
    play(&database, &caller, &id, &if_match, |ticket, now| {
        ticket.accept(acceptance.ready_by, now)
    })
    .await
}

async fn preparing(
    State(database): State<Database>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
) -> Result<Response, ServiceError> {
    play(&database, &caller, &id, &if_match, Ticket::start_preparing).await
}

async fn ready(
    State(database): State<Database>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
) -> Result<Response, ServiceError> {
    play(&database, &caller, &id, &if_match, Ticket::finish_preparing).await
}

async fn picked_up(
    State(database): State<Database>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
) -> Result<Response, ServiceError> {
    play(&database, &caller, &id, &if_match, Ticket::pick_up).await
}

/// Makes a move and tells the world of it, in one transaction. Answers the ticket as it is afterwards.
async fn play(
    database: &Database,
    caller: &Caller,
    id: &str,
    if_match: &IfMatch,
    action: impl FnOnce(&mut Ticket, DateTime<Utc>) -> Moved,
) -> Result<Response, ServiceError> {
    let mut tx = database.write().await?;
    let mut ticket = store::find(&mut *tx, id)
        .await?
        .filter(|ticket| caller.works_for(&ticket.restaurant_id))
        .ok_or(ServiceError::NotFound)?;
    if_match.check(ticket.version)?;
    let event = action(&mut ticket, clock::now())?;
    store::save(&mut tx, &ticket).await?;
    if let Some(event) = event {
        events::publish(&mut tx, event, &ticket)
            .await
            .map_err(ServiceError::internal)?;
    }
    tx.commit().await?;
    Ok(resource(&ticket))
}

/// Those who work in the restaurant, and the consumer whose order it is.
fn may_read(caller: &Caller, ticket: &Ticket) -> bool {
    let consumer = ticket.consumer_id.as_deref();
    caller.works_for(&ticket.restaurant_id) || consumer.is_some_and(|id| caller.is_consumer(id))
}

fn resource(ticket: &Ticket) -> Response {
    let tag = [(ETAG, etag(ticket.version))];
    (tag, Json(TicketResource::from(ticket))).into_response()
}

fn tickets_answer(tickets: &[Ticket], next_cursor: Option<String>) -> Response {
    Json(TicketList {
        items: tickets.iter().map(TicketResource::from).collect(),
        next_cursor,
    })
    .into_response()
}
