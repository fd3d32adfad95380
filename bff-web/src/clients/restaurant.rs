//! restaurant: restaurants with their menus, and changing a menu. Which of them can deliver somewhere is order-history's
//! view.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::encode::segment;
use gateway_core::error::UpstreamError;
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use http::HeaderValue;
use http::header::IF_MATCH;
use serde::{Deserialize, Serialize};

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
    pub(crate) time_zone: String,
    pub(crate) opening_hours: Vec<OpeningHours>,
    pub(crate) order_minimum: Money,
    pub(crate) menu: Menu,
    pub(crate) version: i32,
}

/// Local times, `HH:MM`; what closes before it opens closes the day after.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct OpeningHours {
    pub(crate) day: String,
    pub(crate) opens: String,
    pub(crate) closes: String,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Menu {
    pub(crate) items: Vec<MenuItem>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct MenuItem {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
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

    /// The restaurant as it is with the new menu, if `version` is still what the caller has seen.
    pub(crate) async fn revise_menu(
        &self,
        context: RequestContext,
        id: &str,
        version: i32,
        menu: &Menu,
    ) -> Result<Restaurant, UpstreamError> {
        let mut call = self
            .upstream
            .put(context, format!("/restaurants/{}/menu", segment(id)), menu)
            .tagged([tags::restaurant(id)]);
        // Its tag is made of its version. A number in quotes is always a legal value.
        if let Ok(seen) = HeaderValue::try_from(format!("\"v{version}\"")) {
            call = call.header(IF_MATCH, seen);
        }
        call.json_answer().await
    }
}
