//! order-history: the restaurants that can deliver somewhere.

use std::fmt::Write;

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::encode::query_value;
use gateway_core::error::{ClientError, Error};
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use http::StatusCode;
use serde::Deserialize;

use super::{Address, Location, Money};
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
        let mut uri =
            format!("/restaurants/available?lat={lat}&lng={lng}&radius={radius}&pageSize={limit}");
        for (name, value) in [
            ("at", search.at),
            ("cuisine", search.cuisine),
            ("cursor", search.cursor),
        ] {
            if let Some(value) = value {
                // Writing to a string does not fail.
                let _ = write!(uri, "&{name}={}", query_value(value));
            }
        }
        self.upstream
            // Whether one is open changes with the time of day, of which no event tells.
            .get(context.for_everybody(), uri)
            .cached(Lifetime::seconds(5))
            .tagged([tags::RESTAURANTS])
            .json_answer()
            .await
            .map_err(|error| match error.refusal() {
                Some(refusal) if refusal.status == StatusCode::BAD_REQUEST => {
                    ClientError::Refused(refusal.clone()).into()
                }
                _ => Error::Upstream(error),
            })
    }
}
