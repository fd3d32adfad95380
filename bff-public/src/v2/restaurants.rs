//! `/v2/restaurants`: the restaurants that deliver to a place, page by page; without a place, the partner's own.

use axum::extract::State;
use gateway_core::compose::Composition;
use gateway_core::encode::with_parameters;
use gateway_core::error::{ClientError, Error};
use gateway_core::extract::QueryParams;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Address, ID, Linked, Location, Money, Page, RESTAURANTS_CURSOR, given, limit, linked, moment,
};
use crate::clients::Clients;
use crate::clients::order_history::{AvailableRestaurant, RestaurantSearch};
use crate::clients::restaurant::Restaurant;
use crate::partner;

/// Metres.
const DEFAULT_RADIUS: f64 = 5_000.0;
const MAX_RADIUS: f64 = 50_000.0;

#[derive(Deserialize, JsonSchema)]
#[schemars(extend("dependentRequired" = {"lat": ["lng"], "lng": ["lat"], "cursor": ["lat", "lng"]}))]
pub(crate) struct RestaurantsQuery {
    /// Where to deliver to, in degrees; goes with `lng`. Without both: the partner's own restaurants.
    #[schemars(range(min = -90, max = 90), example = 37.8)]
    lat: Option<f64>,
    /// Goes with `lat`.
    #[schemars(range(min = -180, max = 180), example = -122.27)]
    lng: Option<f64>,
    /// In metres, 5000 when absent.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 50_000))]
    radius: Option<f64>,
    /// Open then; now when absent.
    #[schemars(extend("anyOf" = [{"format": "date-time"}, {"maxLength": 0}]))]
    at: Option<String>,
    /// Exactly this one.
    cuisine: Option<String>,
    /// The `nextCursor` of a page of the same search; goes with `lat` and `lng`.
    #[schemars(regex(pattern = RESTAURANTS_CURSOR))]
    cursor: Option<String>,
    /// The size of a page, 20 when absent.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

pub(crate) async fn list(
    page: Composition,
    State(clients): State<Clients>,
    QueryParams(query): QueryParams<RestaurantsQuery>,
) -> Result<Linked<RestaurantV2>, Error> {
    let call = page.context().for_required("restaurants");
    let Some(search) = search(&query)? else {
        let ids: Vec<&str> = partner::restaurants(page.context()).collect();
        let own = match ids.is_empty() {
            true => Vec::new(),
            false => clients.restaurants.some(call, &ids).await?,
        };
        let own = Page {
            items: own.into_iter().map(RestaurantV2::from).collect(),
            next_cursor: None,
        };
        return Ok(linked(page.answer(own), "/v2/restaurants", None));
    };
    let found = clients.history.available_restaurants(call, &search).await?;
    let next = found.next_cursor.clone();
    let answer = page.answer(Page {
        items: found.items.into_iter().map(RestaurantV2::from).collect(),
        next_cursor: found.next_cursor,
    });
    Ok(linked(answer, &first_page(&search), next.as_deref()))
}

/// The search; `None` when no place was named.
fn search(query: &RestaurantsQuery) -> Result<Option<RestaurantSearch<'_>>, Error> {
    let limit = limit(query.limit)?;
    let at = moment("at", query.at.as_ref())?;
    let radius = query.radius.unwrap_or(DEFAULT_RADIUS);
    if !(radius > 0.0 && radius <= MAX_RADIUS) {
        return Err(Error::bad_request(
            "radius: has to be more than 0 and at most 50000 metres.",
        ));
    }
    let (lat, lng) = match (query.lat, query.lng) {
        (None, None) if given(query.cursor.as_ref()).is_none() => return Ok(None),
        (Some(lat), Some(lng)) => (lat, lng),
        _ => {
            let detail = "lat and lng: have to be there together.".to_owned();
            return Err(ClientError::ParametersDisagree(detail).into());
        }
    };
    // Comparisons are written so that a number that is none fails them.
    if !(-90.0..=90.0).contains(&lat) {
        return Err(Error::bad_request("lat: has to be from -90 to 90 degrees."));
    }
    if !(-180.0..=180.0).contains(&lng) {
        return Err(Error::bad_request(
            "lng: has to be from -180 to 180 degrees.",
        ));
    }
    Ok(Some(RestaurantSearch {
        lat,
        lng,
        radius,
        at,
        cuisine: given(query.cuisine.as_ref()),
        cursor: given(query.cursor.as_ref()),
        limit,
    }))
}

fn first_page(search: &RestaurantSearch<'_>) -> String {
    let RestaurantSearch {
        lat,
        lng,
        radius,
        limit,
        ..
    } = search;
    let first = format!("/v2/restaurants?lat={lat}&lng={lng}&radius={radius}&limit={limit}");
    with_parameters(first, [("at", search.at), ("cuisine", search.cuisine)])
}

/// A restaurant in a list.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RestaurantV2 {
    #[schemars(regex(pattern = ID))]
    id: String,
    name: String,
    cuisine: String,
    address: Address,
    location: Location,
    order_minimum: Money,
    /// Metres from the place that was asked for; `null` when none was.
    distance: Option<f64>,
    /// `null` when it does not close that day, or no place was asked for.
    open_until: Option<String>,
}

impl From<AvailableRestaurant> for RestaurantV2 {
    fn from(restaurant: AvailableRestaurant) -> Self {
        Self {
            id: restaurant.id,
            name: restaurant.name,
            cuisine: restaurant.cuisine,
            address: restaurant.address.into(),
            location: restaurant.location.into(),
            order_minimum: restaurant.order_minimum.into(),
            distance: Some(restaurant.distance),
            open_until: restaurant.open_until,
        }
    }
}

impl From<Restaurant> for RestaurantV2 {
    fn from(restaurant: Restaurant) -> Self {
        Self {
            id: restaurant.id,
            name: restaurant.name,
            cuisine: restaurant.cuisine,
            address: restaurant.address.into(),
            location: restaurant.location.into(),
            order_minimum: restaurant.order_minimum.into(),
            distance: None,
            open_until: None,
        }
    }
}
