//! kitchen: the tickets of orders, and what the staff of a restaurant does with them.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::encode::{query_value, segment};
use gateway_core::error::UpstreamError;
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use serde::{Deserialize, Serialize};

use super::{Found, Page, add, by_ids};
use crate::tags;

#[derive(Clone)]
pub(crate) struct KitchenClient {
    upstream: UpstreamClient,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ticket {
    pub(crate) id: String,
    pub(crate) restaurant_id: String,
    pub(crate) state: String,
    pub(crate) line_items: Vec<TicketLineItem>,
    pub(crate) created_at: String,
    pub(crate) ready_by: Option<String>,
    pub(crate) accepted_at: Option<String>,
    pub(crate) preparing_at: Option<String>,
    pub(crate) ready_for_pickup_at: Option<String>,
    pub(crate) picked_up_at: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TicketLineItem {
    pub(crate) menu_item_id: String,
    pub(crate) name: String,
    pub(crate) quantity: u32,
}

/// What staff says of a ticket.
#[derive(Debug)]
pub(crate) enum Move<'a> {
    /// It will be ready by then (RFC 3339).
    Accept {
        ready_by: &'a str,
    },
    Preparing,
    Ready,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MoveBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ready_by: Option<&'a str>,
}

impl KitchenClient {
    pub(super) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            upstream: upstreams.client("kitchen")?,
        })
    }

    /// The tickets of these orders; a ticket has its order's id.
    pub(crate) async fn tickets(
        &self,
        context: RequestContext,
        order_ids: &[String],
    ) -> Result<Vec<Ticket>, UpstreamError> {
        let found: Found<Ticket> = self
            .upstream
            .get(context, by_ids("/tickets", order_ids))
            .cached(Lifetime::seconds(2))
            .tagged(order_ids.iter().map(|id| tags::order(id)))
            .json_answer()
            .await?;
        Ok(found.items)
    }

    /// A restaurant's tickets, oldest first. The kitchen knows none of a restaurant that the caller does not work for.
    pub(crate) async fn of_restaurant(
        &self,
        context: RequestContext,
        restaurant_id: &str,
        state: Option<&str>,
        cursor: Option<&str>,
        size: usize,
    ) -> Result<Page<Ticket>, UpstreamError> {
        let mut uri = format!(
            "/tickets?restaurantId={}&pageSize={size}",
            query_value(restaurant_id)
        );
        add(&mut uri, "state", state);
        add(&mut uri, "cursor", cursor);
        self.upstream
            .get(context, uri)
            // It is not stored; who reads it after an event does not join who asked before.
            .tagged([tags::tickets(restaurant_id)])
            .json_answer()
            .await
    }

    /// The ticket as it is after the move.
    pub(crate) async fn make(
        &self,
        context: RequestContext,
        ticket_id: &str,
        what: &Move<'_>,
    ) -> Result<Ticket, UpstreamError> {
        let (verb, ready_by) = match what {
            Move::Accept { ready_by } => ("accept", Some(*ready_by)),
            Move::Preparing => ("preparing", None),
            Move::Ready => ("ready", None),
        };
        let path = format!("/tickets/{}/{verb}", segment(ticket_id));
        self.upstream
            .post(context, path, &MoveBody { ready_by })
            .tagged([tags::order(ticket_id)])
            .json_answer()
            .await
    }
}
