//! order-history: the views that are fed by events: a consumer's orders, and the restaurants that can deliver somewhere.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::encode::query_value;
use gateway_core::error::UpstreamError;
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use serde::Deserialize;

use super::delivery::Location;
use super::order::{Address, Money};
use super::{Page, add};
use crate::tags;

#[derive(Clone)]
pub(crate) struct OrderHistoryClient {
    upstream: UpstreamClient,
}

/// Which of a consumer's orders; `None` restricts nothing.
#[derive(Debug)]
pub(crate) struct OrderSearch<'a> {
    pub(crate) consumer_id: &'a str,
    pub(crate) status: Option<&'a str>,
    pub(crate) keyword: Option<&'a str>,
    pub(crate) since: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PastOrder {
    pub(crate) id: String,
    pub(crate) restaurant_id: String,
    pub(crate) restaurant_name: String,
    pub(crate) state: String,
    pub(crate) total: Money,
    pub(crate) line_items: Vec<PastLineItem>,
    pub(crate) created_at: String,
    pub(crate) updated_at: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PastLineItem {
    pub(crate) menu_item_id: String,
    pub(crate) name: String,
    pub(crate) quantity: u32,
}

/// Which restaurants: those that deliver to a place at a time.
#[derive(Debug)]
pub(crate) struct RestaurantSearch<'a> {
    pub(crate) lat: f64,
    pub(crate) lng: f64,
    /// Metres.
    pub(crate) radius: f64,
    pub(crate) at: Option<&'a str>,
    pub(crate) cuisine: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AvailableRestaurant {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) cuisine: String,
    pub(crate) address: Address,
    pub(crate) location: Location,
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

    /// A consumer's orders, newest first.
    pub(crate) async fn orders(
        &self,
        context: RequestContext,
        search: &OrderSearch<'_>,
        cursor: Option<&str>,
        size: usize,
    ) -> Result<Page<PastOrder>, UpstreamError> {
        let mut uri = format!(
            "/orders?consumerId={}&pageSize={size}",
            query_value(search.consumer_id)
        );
        add(&mut uri, "status", search.status);
        add(&mut uri, "keyword", search.keyword);
        add(&mut uri, "since", search.since);
        add(&mut uri, "cursor", cursor);
        self.upstream.get(context, uri).json_answer().await
    }

    /// The restaurants that deliver to a place, nearest first.
    pub(crate) async fn available_restaurants(
        &self,
        context: RequestContext,
        search: &RestaurantSearch<'_>,
        cursor: Option<&str>,
        size: usize,
    ) -> Result<Page<AvailableRestaurant>, UpstreamError> {
        let RestaurantSearch {
            lat, lng, radius, ..
        } = search;
        let mut uri =
            format!("/restaurants/available?lat={lat}&lng={lng}&radius={radius}&pageSize={size}");
        add(&mut uri, "at", search.at);
        add(&mut uri, "cuisine", search.cuisine);
        add(&mut uri, "cursor", cursor);
        // Whether one is open changes with the time of day, of which no event tells.
        self.upstream
            .get(context.for_everybody(), uri)
            .cached(Lifetime::seconds(5))
            .tagged([tags::RESTAURANTS])
            .json_answer()
            .await
    }
}
