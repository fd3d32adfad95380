//! restaurant: restaurants with their menus, and a menu to be written. Which restaurants can deliver somewhere is
//! order-history's view.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::encode::{query_value, segment};
use gateway_core::error::{Error, UpstreamError};
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use http::header::{ETAG, IF_MATCH};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::{Address, Location, Money};
use crate::error::{of_command, of_lookup};
use crate::tags;

/// How many the service is asked for in one call; it takes twice as many.
const AT_ONCE: usize = 100;

#[derive(Clone)]
pub(crate) struct RestaurantClient {
    upstream: UpstreamClient,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Restaurant {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) location: Location,
    pub(crate) cuisine: String,
    pub(crate) order_minimum: Money,
}

#[derive(Debug, Deserialize)]
struct List {
    items: Vec<Restaurant>,
}

/// A menu, and the version that it has.
#[derive(Debug)]
pub(crate) struct Menu {
    pub(crate) restaurant_id: String,
    pub(crate) items: Vec<MenuItem>,
    /// Strong: made of the aggregate's version.
    pub(crate) etag: Option<HeaderValue>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MenuItem {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) price: Money,
}

#[derive(Debug, Deserialize)]
struct WithMenu {
    id: String,
    menu: Items<Vec<MenuItem>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Items<T> {
    items: T,
}

impl RestaurantClient {
    pub(super) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            upstream: upstreams.client("restaurant")?,
        })
    }

    /// Those of `ids` that there are.
    pub(crate) async fn some(
        &self,
        context: RequestContext,
        ids: &[&str],
    ) -> Result<Vec<Restaurant>, Error> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(AT_ONCE) {
            let path = format!("/restaurants?ids={}", query_value(&ids.join(",")));
            let list: List = self
                .upstream
                .get(context.for_everybody(), path)
                .cached(Lifetime::seconds(60))
                .tagged(ids.iter().map(|id| tags::restaurant(id)))
                .json_answer()
                .await
                .map_err(Error::Upstream)?;
            found.extend(list.items);
        }
        Ok(found)
    }

    /// As it is now: whoever reads it is about to write it.
    pub(crate) async fn menu(&self, context: RequestContext, id: &str) -> Result<Menu, Error> {
        let (headers, restaurant) = self
            .upstream
            .get(
                context.for_everybody(),
                format!("/restaurants/{}", segment(id)),
            )
            .json_response()
            .await
            .map_err(of_lookup)?;
        Ok(menu(&headers, restaurant))
    }

    /// Puts another menu in place of the one with the version that `if_match` names.
    ///
    /// # Errors
    /// 412 when it has another version by now, 422 when something is wrong with an item.
    pub(crate) async fn revise(
        &self,
        context: RequestContext,
        id: &str,
        if_match: HeaderValue,
        items: &[MenuItem],
    ) -> Result<Menu, Error> {
        let (headers, restaurant) = self
            .upstream
            .put(
                context,
                format!("/restaurants/{}/menu", segment(id)),
                &Items { items },
            )
            .header(IF_MATCH, if_match)
            .tagged([tags::restaurant(id), tags::RESTAURANTS.to_owned()])
            .json_response()
            .await
            .map_err(|error: UpstreamError| of_command(error))?;
        Ok(menu(&headers, restaurant))
    }
}

fn menu(headers: &HeaderMap, restaurant: WithMenu) -> Menu {
    Menu {
        restaurant_id: restaurant.id,
        items: restaurant.menu.items,
        etag: headers.get(ETAG).cloned(),
    }
}
