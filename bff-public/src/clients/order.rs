//! order: one order of a consumer account, and placing one.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::encode::segment;
use gateway_core::error::Error;
use gateway_core::idempotency::{IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED};
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use http::HeaderValue;
use serde::{Deserialize, Serialize};

use super::{Address, Money};
use crate::error::{of_command, of_lookup};
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
    pub(crate) rejection_reason: Option<String>,
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

/// An order to be placed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewOrder {
    pub(crate) consumer_id: String,
    pub(crate) restaurant_id: String,
    pub(crate) delivery_address: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivery_time: Option<String>,
    pub(crate) line_items: Vec<Quantity>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Quantity {
    pub(crate) menu_item_id: String,
    pub(crate) quantity: u32,
}

/// An order whose saga is under way.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pending {
    pub(crate) order_id: String,
    pub(crate) state: String,
}

#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) pending: Pending,
    /// The service has done it before, under the same key.
    pub(crate) is_repeated: bool,
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
        let order: Order = self
            .upstream
            .get(context, format!("/orders/{}", segment(id)))
            .cached(Lifetime::seconds(2))
            .tagged([tags::order(id)])
            .json_answer()
            .await
            .map_err(of_lookup)?;
        if order.consumer_id == consumer {
            Ok(order)
        } else {
            Err(Error::not_found())
        }
    }

    /// Places an order, once for each `key`.
    pub(crate) async fn place(
        &self,
        context: RequestContext,
        order: &NewOrder,
        key: HeaderValue,
    ) -> Result<Placed, Error> {
        let (headers, pending) = self
            .upstream
            .post(context, "/orders", order)
            .header(IDEMPOTENCY_KEY, key)
            .json_response()
            .await
            .map_err(of_command)?;
        Ok(Placed {
            pending,
            is_repeated: headers
                .get(&IDEMPOTENT_REPLAYED)
                .is_some_and(|value| value == "true"),
        })
    }
}
