//! restaurant: a restaurant with its menu. Which restaurants can deliver somewhere is order-history's view.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::encode::{query_value, segment};
use gateway_core::error::UpstreamError;
use gateway_core::upstream::{Call, UnknownUpstream, UpstreamClient, Upstreams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tags;
use crate::values::{Address, Location, Money};

#[derive(Clone)]
pub(crate) struct RestaurantClient {
    upstream: UpstreamClient,
}

/// What every screen with a restaurant reads.
#[derive(Debug, Deserialize)]
pub(crate) struct Restaurant {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) location: Option<Location>,
}

/// What only the restaurant's own screen reads.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RestaurantWithMenu {
    #[serde(flatten)]
    pub(crate) restaurant: Restaurant,
    pub(crate) cuisine: String,
    /// IANA name: what the opening hours are meant in.
    pub(crate) time_zone: String,
    #[serde(default)]
    pub(crate) opening_hours: Vec<OpeningHours>,
    pub(crate) order_minimum: Money,
    pub(crate) menu: Menu,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct OpeningHours {
    /// `MONDAY` to `SUNDAY`.
    pub(crate) day: String,
    /// `HH:MM`; the day ends at `24:00`.
    pub(crate) opens: String,
    pub(crate) closes: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Menu {
    pub(crate) items: Vec<MenuItem>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MenuItem {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) price: Money,
}

#[derive(Debug, Deserialize)]
struct Items {
    items: Vec<Restaurant>,
}

impl RestaurantClient {
    pub(super) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            upstream: upstreams.client("restaurant")?,
        })
    }

    pub(crate) async fn restaurant(
        &self,
        context: RequestContext,
        id: &str,
    ) -> Result<Restaurant, UpstreamError> {
        self.get(&context, id).json_answer().await
    }

    pub(crate) async fn with_menu(
        &self,
        context: RequestContext,
        id: &str,
    ) -> Result<RestaurantWithMenu, UpstreamError> {
        self.get(&context, id).json_answer().await
    }

    /// Restaurants by their ids; unknown ones are not there.
    pub(crate) async fn restaurants(
        &self,
        context: RequestContext,
        ids: Vec<String>,
    ) -> Result<Vec<(String, Restaurant)>, UpstreamError> {
        let tags: Vec<String> = ids.iter().map(|id| tags::restaurant(id)).collect();
        let path = format!("/restaurants?ids={}", query_value(&ids.join(",")));
        let found: Items = self
            .upstream
            .get(context.for_everybody(), path)
            .cached(Lifetime::seconds(60).if_failing_seconds(600))
            .tagged(tags)
            .json_answer()
            .await?;
        let with_ids = found.items.into_iter();
        Ok(with_ids
            .map(|restaurant| (restaurant.id.clone(), restaurant))
            .collect())
    }

    /// The same for everybody, and seldom changed: an event tells when.
    fn get(&self, context: &RequestContext, id: &str) -> Call {
        let path = format!("/restaurants/{}", segment(id));
        self.upstream
            .get(context.for_everybody(), path)
            .cached(Lifetime::seconds(60).if_failing_seconds(600))
            .tagged([tags::restaurant(id)])
    }
}
