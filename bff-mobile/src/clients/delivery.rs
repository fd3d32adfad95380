//! delivery: where an order's food is.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::encode::segment;
use gateway_core::error::UpstreamError;
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use serde::Deserialize;

use crate::tags;
use crate::values::{Location, Timestamp};

#[derive(Clone)]
pub(crate) struct DeliveryClient {
    upstream: UpstreamClient,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) state: String,
    /// Nobody yet, until the delivery is scheduled.
    pub(crate) courier: Option<Courier>,
    pub(crate) scheduled_pickup_time: Option<Timestamp>,
    pub(crate) scheduled_delivery_time: Option<Timestamp>,
    pub(crate) picked_up_at: Option<Timestamp>,
    pub(crate) delivered_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Courier {
    pub(crate) name: String,
    /// Unknown until the courier has reported it.
    pub(crate) location: Option<Location>,
}

impl DeliveryClient {
    pub(super) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            upstream: upstreams.client("delivery")?,
        })
    }

    /// The delivery of an order; it has the order's id.
    pub(crate) async fn delivery(
        &self,
        context: RequestContext,
        order_id: &str,
    ) -> Result<Delivery, UpstreamError> {
        self.upstream
            .get(context, format!("/deliveries/{}", segment(order_id)))
            .cached(Lifetime::seconds(2))
            .tagged([tags::order(order_id)])
            .json_answer()
            .await
    }
}
