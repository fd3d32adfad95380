//! delivery: the deliveries of orders.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::error::UpstreamError;
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use serde::Deserialize;

use super::{Found, by_ids};
use crate::tags;

#[derive(Clone)]
pub(crate) struct DeliveryClient {
    upstream: UpstreamClient,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) courier: Option<Courier>,
    pub(crate) scheduled_pickup_time: Option<String>,
    pub(crate) scheduled_delivery_time: Option<String>,
    pub(crate) picked_up_at: Option<String>,
    pub(crate) delivered_at: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Courier {
    pub(crate) name: String,
    pub(crate) location: Option<Location>,
}

/// WGS 84, in degrees.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Location {
    pub(crate) lat: f64,
    pub(crate) lng: f64,
}

impl DeliveryClient {
    pub(super) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            upstream: upstreams.client("delivery")?,
        })
    }

    /// The deliveries of these orders; a delivery has its order's id.
    pub(crate) async fn deliveries(
        &self,
        context: RequestContext,
        order_ids: &[String],
    ) -> Result<Vec<Delivery>, UpstreamError> {
        let found: Found<Delivery> = self
            .upstream
            .get(context, by_ids("/deliveries", order_ids))
            .cached(Lifetime::seconds(2))
            .tagged(order_ids.iter().map(|id| tags::order(id)))
            .json_answer()
            .await?;
        Ok(found.items)
    }
}
