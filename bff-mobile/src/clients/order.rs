//! order: the caller's own orders, and what can be done with them. Lists of orders are order-history's view.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::encode::segment;
use gateway_core::error::{Error, UpstreamError};
use gateway_core::idempotency::{IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED};
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use http::HeaderValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::caller;
use crate::error::{of_command, of_lookup};
use crate::tags;
use crate::values::{Address, Money, Timestamp};

#[derive(Clone)]
pub(crate) struct OrderClient {
    upstream: UpstreamClient,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) consumer_id: String,
    pub(crate) restaurant_id: String,
    pub(crate) restaurant_name: String,
    pub(crate) state: String,
    pub(crate) version: i64,
    pub(crate) line_items: Vec<LineItem>,
    pub(crate) total: Money,
    pub(crate) delivery_address: Address,
    pub(crate) delivery_time: Option<Timestamp>,
    pub(crate) rejection_reason: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
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
pub(crate) struct OrderRequest<'a> {
    pub(crate) consumer_id: &'a str,
    pub(crate) restaurant_id: &'a str,
    pub(crate) delivery_address: &'a Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivery_time: Option<&'a str>,
    pub(crate) line_items: &'a [Quantity],
}

/// So many of a menu item.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Quantity {
    #[schemars(length(min = 1))]
    pub(crate) menu_item_id: String,
    #[schemars(range(min = 1))]
    pub(crate) quantity: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Revision<'a> {
    line_items: &'a [Quantity],
}

/// An order whose saga is under way.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pending {
    pub(crate) order_id: String,
    pub(crate) state: String,
}

/// Whether the service has done the work now, or says again what came of it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    First,
    Replayed,
}

impl OrderClient {
    pub(super) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            upstream: upstreams.client("order")?,
        })
    }

    /// The caller's order.
    ///
    /// # Errors
    /// 404 also when the order is somebody else's: that it exists is nobody's business.
    pub(crate) async fn own(&self, context: RequestContext, id: &str) -> Result<Order, Error> {
        let path = format!("/orders/{}", segment(id));
        let order: Order = self
            .upstream
            .get(context.clone(), path)
            .cached(Lifetime::seconds(2))
            .tagged([tags::order(id)])
            .json_answer()
            .await
            .map_err(of_lookup)?;
        if order.consumer_id == caller::consumer(&context)? {
            Ok(order)
        } else {
            Err(Error::not_found())
        }
    }

    pub(crate) async fn place(
        &self,
        context: RequestContext,
        request: &OrderRequest<'_>,
        key: Option<HeaderValue>,
    ) -> Result<(Attempt, Pending), Error> {
        let mut call = self.upstream.post(context, "/orders", request);
        if let Some(key) = key {
            call = call.header(IDEMPOTENCY_KEY, key);
        }
        let (headers, accepted) = call.json_response().await.map_err(of_command)?;
        let replayed = headers
            .get(&IDEMPOTENT_REPLAYED)
            .is_some_and(|value| value == "true");
        Ok((
            if replayed {
                Attempt::Replayed
            } else {
                Attempt::First
            },
            accepted,
        ))
    }

    pub(crate) async fn cancel(&self, context: RequestContext, id: &str) -> Result<Pending, Error> {
        self.command(context, id, "cancel", &serde_json::json!({}))
            .await
            .map_err(of_command)
    }

    pub(crate) async fn revise(
        &self,
        context: RequestContext,
        id: &str,
        line_items: &[Quantity],
    ) -> Result<Pending, Error> {
        self.command(context, id, "revise", &Revision { line_items })
            .await
            .map_err(of_command)
    }

    async fn command(
        &self,
        context: RequestContext,
        id: &str,
        verb: &str,
        body: &impl Serialize,
    ) -> Result<Pending, UpstreamError> {
        self.upstream
            .post(context, format!("/orders/{}/{verb}", segment(id)), body)
            .tagged([tags::order(id)])
            .json_answer()
            .await
    }
}
