//! kitchen: how far an order's food is.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::encode::segment;
use gateway_core::error::UpstreamError;
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use serde::Deserialize;

use crate::tags;
use crate::values::Timestamp;

#[derive(Clone)]
pub(crate) struct KitchenClient {
    upstream: UpstreamClient,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ticket {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) version: i64,
    pub(crate) updated_at: Timestamp,
    /// When the kitchen means to be done; it says so when it accepts the ticket.
    pub(crate) ready_by: Option<Timestamp>,
    pub(crate) accepted_at: Option<Timestamp>,
    pub(crate) preparing_at: Option<Timestamp>,
    pub(crate) ready_for_pickup_at: Option<Timestamp>,
    pub(crate) picked_up_at: Option<Timestamp>,
}

impl KitchenClient {
    pub(super) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            upstream: upstreams.client("kitchen")?,
        })
    }

    /// The ticket of an order; it has the order's id.
    pub(crate) async fn ticket(
        &self,
        context: RequestContext,
        order_id: &str,
    ) -> Result<Ticket, UpstreamError> {
        self.upstream
            .get(context, format!("/tickets/{}", segment(order_id)))
            .cached(Lifetime::seconds(2))
            .tagged([tags::order(order_id)])
            .json_answer()
            .await
    }
}
