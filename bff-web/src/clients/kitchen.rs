//! kitchen: the tickets of orders.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::error::UpstreamError;
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use serde::Deserialize;

use super::{Found, by_ids};
use crate::tags;

#[derive(Clone)]
pub(crate) struct KitchenClient {
    upstream: UpstreamClient,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ticket {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) ready_by: Option<String>,
    pub(crate) accepted_at: Option<String>,
    pub(crate) preparing_at: Option<String>,
    pub(crate) ready_for_pickup_at: Option<String>,
    pub(crate) picked_up_at: Option<String>,
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
}
