//! order: one order of a consumer account.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::encode::segment;
use gateway_core::error::Error;
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use serde::Deserialize;

use super::{Address, Money};
use crate::tags;

#[derive(Clone)]
pub(crate) struct OrderClient {
    upstream: UpstreamClient,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Order {
    pub(crate) id: String,
    consumer_id: String,
    pub(crate) restaurant_id: String,
    pub(crate) restaurant_name: String,
    pub(crate) state: String,
    pub(crate) line_items: Vec<LineItem>,
    pub(crate) total: Money,
    pub(crate) delivery_address: Address,
    pub(crate) delivery_time: Option<String>,
    pub(crate) created_at: String,
    pub(crate) updated_at: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LineItem {
    pub(crate) menu_item_id: String,
    pub(crate) name: String,
    pub(crate) price: Money,
    pub(crate) quantity: u32,
}

impl OrderClient {
    pub(super) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            upstream: upstreams.client("order")?,
        })
    }

    /// An order of the account `consumer`.
    ///
    /// # Errors
    /// 404 also when the order is another account's: that it exists is nobody's business.
    pub(crate) async fn order_of(
        &self,
        context: RequestContext,
        consumer: &str,
        id: &str,
    ) -> Result<Order, Error> {
        match self
            .upstream
            .get(context, format!("/orders/{}", segment(id)))
            .cached(Lifetime::seconds(2))
            .tagged([tags::order(id)])
            .json_answer::<Order>()
            .await
        {
            Ok(order) if order.consumer_id == consumer => Ok(order),
            Ok(_) => Err(Error::not_found()),
            Err(error) if error.is_not_found() => Err(Error::not_found()),
            Err(error) => Err(Error::Upstream(error)),
        }
    }
}
