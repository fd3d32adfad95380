//! order: whole orders by their ids, and placing, cancelling and revising one. Lists of a consumer's orders are order-history's view.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::encode::segment;
use gateway_core::error::UpstreamError;
use gateway_core::idempotency::{IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED};
use gateway_core::upstream::{Call, UnknownUpstream, UpstreamClient, Upstreams};
use http::HeaderValue;
use serde::{Deserialize, Serialize};

use super::{Found, by_ids};
use crate::tags;

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

/// Decimal digits in text, and an ISO 4217 code.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Money {
    pub(crate) amount: String,
    pub(crate) currency: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) street1: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) street2: Option<String>,
    pub(crate) city: String,
    pub(crate) state: String,
    pub(crate) zip: String,
}

/// An order to be placed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderRequest<'a> {
    pub(crate) consumer_id: &'a str,
    pub(crate) restaurant_id: &'a str,
    pub(crate) delivery_address: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivery_time: Option<String>,
    pub(crate) line_items: Vec<Quantity>,
}

/// The whole order as it should become.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Revision<'a> {
    line_items: &'a [Quantity],
}

/// So many of a menu item.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Quantity {
    pub(crate) menu_item_id: String,
    pub(crate) quantity: i32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Accepted {
    pub(crate) order_id: String,
    pub(crate) state: String,
    /// Whether the service says again what came of the same request before.
    #[serde(skip)]
    pub(crate) replayed: bool,
}

impl OrderClient {
    pub(super) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            upstream: upstreams.client("order")?,
        })
    }

    /// Orders of anybody: who may see them is decided where they are resolved.
    pub(crate) async fn orders(
        &self,
        context: RequestContext,
        ids: &[String],
    ) -> Result<Vec<Order>, UpstreamError> {
        let found: Found<Order> = self
            .upstream
            .get(context, by_ids("/orders", ids))
            .cached(Lifetime::seconds(2))
            .tagged(ids.iter().map(|id| tags::order(id)))
            .json_answer()
            .await?;
        Ok(found.items)
    }

    pub(crate) async fn place(
        &self,
        context: RequestContext,
        request: &OrderRequest<'_>,
        key: Option<HeaderValue>,
    ) -> Result<Accepted, UpstreamError> {
        command(self.upstream.post(context, "/orders", request), key).await
    }

    pub(crate) async fn cancel(
        &self,
        context: RequestContext,
        id: &str,
        key: Option<HeaderValue>,
    ) -> Result<Accepted, UpstreamError> {
        let path = format!("/orders/{}/cancel", segment(id));
        let call = self.upstream.post(context, path, &serde_json::json!({}));
        command(call.tagged([tags::order(id)]), key).await
    }

    pub(crate) async fn revise(
        &self,
        context: RequestContext,
        id: &str,
        line_items: &[Quantity],
        key: Option<HeaderValue>,
    ) -> Result<Accepted, UpstreamError> {
        let path = format!("/orders/{}/revise", segment(id));
        let call = self.upstream.post(context, path, &Revision { line_items });
        command(call.tagged([tags::order(id)]), key).await
    }
}

/// Sends what a saga will finish.
async fn command(mut call: Call, key: Option<HeaderValue>) -> Result<Accepted, UpstreamError> {
    if let Some(key) = key {
        call = call.header(IDEMPOTENCY_KEY, key);
    }
    let (headers, accepted) = call.json_response::<Accepted>().await?;
    let replayed = headers
        .get(&IDEMPOTENT_REPLAYED)
        .is_some_and(|value| value == "true");
    Ok(Accepted {
        replayed,
        ..accepted
    })
}
