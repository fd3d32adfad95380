//! Finding a restaurant, and looking at its menu. Which restaurants can deliver is order-history's view.

use axum::extract::State;
use gateway_core::compose::{Answer, Composition};
use gateway_core::error::Error;
use gateway_core::extract::{PathParam, QueryParams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RESTAURANTS_CURSOR, given, limit, moment};
use crate::clients::Clients;
use crate::clients::order_history::{AvailableRestaurant, RestaurantSearch};
use crate::clients::restaurant::{Menu, OpeningHours, RestaurantWithMenu};
use crate::error::{of_lookup, of_search};
use crate::values::{Address, Location, Money, Page, Timestamp};

/// Metres.
pub(super) const DEFAULT_RADIUS: f64 = 5_000.0;
const MAX_RADIUS: f64 = 50_000.0;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct RestaurantsQuery {
    /// Degrees north of the equator.
    #[schemars(range(min = -90, max = 90), example = 37.8)]
    lat: f64,
    /// Degrees east of Greenwich.
    #[schemars(range(min = -180, max = 180), example = -122.27)]
    lng: f64,
    /// Metres, 5000 when absent.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 50_000))]
    radius: Option<f64>,
    /// When the food is wanted; now when absent.
    #[schemars(extend("anyOf" = [{"format": "date-time"}, {"maxLength": 0}]))]
    at: Option<String>,
    cuisine: Option<String>,
    /// The `nextCursor` of a page of the same search.
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
) -> Result<Answer<Page<NearbyRestaurant>>, Error> {
    let limit = limit(query.limit)?;
    check_place(query.lat, query.lng)?;
    let radius = query.radius.unwrap_or(DEFAULT_RADIUS);
    if !(radius > 0.0 && radius <= MAX_RADIUS) {
        return Err(Error::bad_request(format!(
            "radius: has to be more than 0 and at most {MAX_RADIUS} metres."
        )));
    }
    let search = RestaurantSearch {
        lat: query.lat,
        lng: query.lng,
        radius,
        at: moment("at", query.at.as_ref())?,
        cuisine: given(query.cuisine.as_ref()),
        cursor: given(query.cursor.as_ref()),
    };
    let call = page.context().for_required("restaurants");
    let restaurants = clients
        .history
        .available_restaurants(call, &search, limit)
        .await
        .map_err(of_search)?;
    Ok(page.answer(restaurants.map(NearbyRestaurant::from)))
}

pub(crate) async fn show(
    page: Composition,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
) -> Result<Answer<RestaurantScreen>, Error> {
    let call = page.context().for_required("restaurant");
    let restaurant = clients
        .restaurants
        .with_menu(call, &id)
        .await
        .map_err(of_lookup)?;
    Ok(page.answer(RestaurantScreen::from(restaurant)))
}

/// A place on earth. A number that is none fails both comparisons.
pub(super) fn check_place(lat: f64, lng: f64) -> Result<(), Error> {
    if !(-90.0..=90.0).contains(&lat) {
        return Err(Error::bad_request("lat: has to be from -90 to 90 degrees."));
    }
    if !(-180.0..=180.0).contains(&lng) {
        return Err(Error::bad_request(
            "lng: has to be from -180 to 180 degrees.",
        ));
    }
    Ok(())
}

/// A restaurant in a list.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NearbyRestaurant {
    id: String,
    name: String,
    cuisine: String,
    address: Address,
    location: Option<Location>,
    /// Metres.
    distance: f64,
    open_until: Option<Timestamp>,
    order_minimum: Option<Money>,
}

impl From<AvailableRestaurant> for NearbyRestaurant {
    fn from(restaurant: AvailableRestaurant) -> Self {
        Self {
            id: restaurant.id,
            name: restaurant.name,
            cuisine: restaurant.cuisine,
            address: restaurant.address,
            location: restaurant.location,
            distance: restaurant.distance,
            open_until: restaurant.open_until,
            order_minimum: restaurant.order_minimum,
        }
    }
}

/// A restaurant with its menu.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RestaurantScreen {
    id: String,
    name: String,
    cuisine: String,
    address: Address,
    location: Option<Location>,
    time_zone: String,
    opening_hours: Vec<OpeningHours>,
    order_minimum: Money,
    menu: Menu,
}

impl From<RestaurantWithMenu> for RestaurantScreen {
    fn from(with_menu: RestaurantWithMenu) -> Self {
        let restaurant = with_menu.restaurant;
        Self {
            id: restaurant.id,
            name: restaurant.name,
            cuisine: with_menu.cuisine,
            address: restaurant.address,
            location: restaurant.location,
            time_zone: with_menu.time_zone,
            opening_hours: with_menu.opening_hours,
            order_minimum: with_menu.order_minimum,
            menu: with_menu.menu,
        }
    }
}
