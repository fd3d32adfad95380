//! restaurant: restaurants with their menus. Which of them can deliver somewhere is order-history's view.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::error::UpstreamError;
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use serde::Deserialize;

use super::delivery::Location;
use super::order::{Address, Money};
use super::{Found, by_ids};
use crate::tags;

#[derive(Clone)]
pub(crate) struct RestaurantClient {
    upstream: UpstreamClient,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Restaurant {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) cuisine: String,
    pub(crate) address: Address,
    pub(crate) location: Option<Location>,
    pub(crate) order_minimum: Money,
    pub(crate) menu: Menu,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Menu {
    pub(crate) items: Vec<MenuItem>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct MenuItem {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) price: Money,
}

impl RestaurantClient {
    pub(super) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            upstream: upstreams.client("restaurant")?,
        })
    }

    pub(crate) async fn restaurants(
        &self,
        context: RequestContext,
        ids: &[String],
    ) -> Result<Vec<Restaurant>, UpstreamError> {
        let found: Found<Restaurant> = self
            .upstream
            .get(context.for_everybody(), by_ids("/restaurants", ids))
            .cached(Lifetime::seconds(60).if_failing_seconds(600))
            .tagged(ids.iter().map(|id| tags::restaurant(id)))
            .json_answer()
            .await?;
        Ok(found.items)
    }
}
