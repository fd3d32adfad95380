//! order-history: the restaurants that can deliver somewhere, and a consumer account's orders.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::encode::{query_value, with_parameters};
use gateway_core::error::Error;
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use serde::Deserialize;

use super::{Address, Location, Money};
use crate::error::of_search;
use crate::tags;

#[derive(Clone)]
pub(crate) struct OrderHistoryClient {
    upstream: UpstreamClient,
}

/// Which restaurants: those that deliver to a place at a time.
#[derive(Debug)]
pub(crate) struct RestaurantSearch<'a> {
    pub(crate) lat: f64,
    pub(crate) lng: f64,
    /// Metres.
    pub(crate) radius: f64,
    /// RFC 3339; now when absent.
    pub(crate) at: Option<&'a str>,
    pub(crate) cuisine: Option<&'a str>,
    pub(crate) cursor: Option<&'a str>,
    pub(crate) limit: u32,
}

/// Which of an account's orders; `None` restricts nothing.
#[derive(Debug)]
pub(crate) struct OrderSearch<'a> {
    pub(crate) status: Option<&'a str>,
    pub(crate) keyword: Option<&'a str>,
    /// RFC 3339.
    pub(crate) since: Option<&'a str>,
    pub(crate) cursor: Option<&'a str>,
    pub(crate) limit: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderPage {
    pub(crate) items: Vec<PastOrder>,
    pub(crate) next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PastOrder {
    pub(crate) id: String,
    pub(crate) restaurant_id: String,
    pub(crate) restaurant_name: String,
    pub(crate) state: String,
    pub(crate) total: Money,
    pub(crate) created_at: String,
    pub(crate) updated_at: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RestaurantPage {
    pub(crate) items: Vec<AvailableRestaurant>,
    pub(crate) next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AvailableRestaurant {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) location: Location,
    pub(crate) cuisine: String,
    /// Metres from the place that was asked for.
    pub(crate) distance: f64,
    pub(crate) open_until: Option<String>,
    pub(crate) order_minimum: Money,
}

impl OrderHistoryClient {
    pub(super) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            upstream: upstreams.client("order-history")?,
        })
    }

    /// The restaurants that deliver to a place, nearest first.
    ///
    /// # Errors
    /// 400 when the service does not understand a parameter or the cursor.
    pub(crate) async fn available_restaurants(
        &self,
        context: RequestContext,
        search: &RestaurantSearch<'_>,
    ) -> Result<RestaurantPage, Error> {
        let RestaurantSearch {
            lat,
            lng,
            radius,
            limit,
            ..
        } = search;
        let all =
            format!("/restaurants/available?lat={lat}&lng={lng}&radius={radius}&pageSize={limit}");
        let found = with_parameters(
            all,
            [
                ("at", search.at),
                ("cuisine", search.cuisine),
                ("cursor", search.cursor),
            ],
        );
        self.upstream
            // Whether one is open changes with the time of day, of which no event tells.
            .get(context.for_everybody(), found)
            .cached(Lifetime::seconds(5))
            .tagged([tags::RESTAURANTS])
            .json_answer()
            .await
            .map_err(of_search)
    }

    /// The orders of the account `consumer`, newest first.
    ///
    /// # Errors
    /// As [`available_restaurants`](Self::available_restaurants).
    pub(crate) async fn orders_of(
        &self,
        context: RequestContext,
        consumer: &str,
        search: &OrderSearch<'_>,
    ) -> Result<OrderPage, Error> {
        let all = format!(
            "/orders?consumerId={}&pageSize={}",
            query_value(consumer),
            search.limit
        );
        let found = with_parameters(
            all,
            [
                ("status", search.status),
                ("keyword", search.keyword),
                ("since", search.since),
                ("cursor", search.cursor),
            ],
        );
        let call = self.upstream.get(context, found);
        call.json_answer().await.map_err(of_search)
    }
}
