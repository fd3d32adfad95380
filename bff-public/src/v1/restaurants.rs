//! `/v1/restaurants?lat=&lng=`: the restaurants that deliver to a place, page by page.

use axum::extract::State;
use gateway_core::compose::{Answer, Composition};
use gateway_core::error::Error;
use gateway_core::extract::QueryParams;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Address, Deprecated, Money, cursor, deprecated};
use crate::clients::Clients;
use crate::clients::order_history::{AvailableRestaurant, RestaurantPage, RestaurantSearch};

/// Metres.
const DEFAULT_RADIUS: f64 = 5_000.0;
const MAX_RADIUS: f64 = 50_000.0;
const MAX_LIMIT: u32 = 100;

#[derive(Deserialize, JsonSchema)]
#[schemars(extend("dependentRequired" = {"cursor": ["lat", "lng"]}))]
pub(crate) struct RestaurantsQuery {
    /// Where to deliver to, in degrees.
    #[schemars(range(min = -90, max = 90), example = 37.8)]
    lat: f64,
    #[schemars(range(min = -180, max = 180), example = -122.27)]
    lng: f64,
    /// In metres, 5000 when absent.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 50_000))]
    radius: Option<f64>,
    /// Open then; now when absent.
    #[schemars(extend("anyOf" = [{"format": "date-time"}, {"maxLength": 0}]))]
    at: Option<String>,
    /// Exactly this one.
    cuisine: Option<String>,
    /// The `nextCursor` of a page of the same search.
    #[schemars(regex(pattern = cursor::PATTERN))]
    cursor: Option<String>,
    /// The size of a page, 20 when absent.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

pub(crate) async fn list(
    page: Composition,
    State(clients): State<Clients>,
    QueryParams(query): QueryParams<RestaurantsQuery>,
) -> Result<Deprecated<Answer<PageV1>>, Error> {
    let cursor = given(query.cursor.as_ref()).map(cursor::read).transpose()?;
    let search = search(&query, cursor.as_deref())?;
    let call = page.context().for_required("restaurants");
    let found = clients.history.available_restaurants(call, &search).await?;
    Ok(deprecated(
        page.answer(PageV1::from(found)),
        "/v2/restaurants",
    ))
}

fn search<'a>(
    query: &'a RestaurantsQuery,
    cursor: Option<&'a str>,
) -> Result<RestaurantSearch<'a>, Error> {
    let radius = query.radius.unwrap_or(DEFAULT_RADIUS);
    let limit = query.limit.unwrap_or(20);
    let at = given(query.at.as_ref());
    // Comparisons are written so that a number that is none fails them.
    let faults = [
        (
            !(-90.0..=90.0).contains(&query.lat),
            "lat: has to be from -90 to 90 degrees.",
        ),
        (
            !(-180.0..=180.0).contains(&query.lng),
            "lng: has to be from -180 to 180 degrees.",
        ),
        (
            !(radius > 0.0 && radius <= MAX_RADIUS),
            "radius: has to be more than 0 and at most 50000 metres.",
        ),
        (
            !(1..=MAX_LIMIT).contains(&limit),
            "limit: has to be from 1 to 100.",
        ),
        (
            at.is_some_and(|at| chrono::DateTime::parse_from_rfc3339(at).is_err()),
            "at: has to be a time in RFC 3339, such as 2030-01-31T18:30:00Z.",
        ),
    ];
    if let Some((_, fault)) = faults.into_iter().find(|(is_fault, _)| *is_fault) {
        return Err(Error::bad_request(fault));
    }
    Ok(RestaurantSearch {
        lat: query.lat,
        lng: query.lng,
        radius,
        at,
        cuisine: given(query.cuisine.as_ref()),
        cursor,
        limit,
    })
}

/// A parameter that was left empty restricts nothing.
fn given(parameter: Option<&String>) -> Option<&str> {
    parameter
        .map(String::as_str)
        .filter(|text| !text.is_empty())
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PageV1 {
    items: Vec<RestaurantV1>,
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AvailableRestaurantV1")]
struct RestaurantV1 {
    id: String,
    name: String,
    cuisine: String,
    address: Address,
    location: LocationV1,
    /// Metres.
    distance: f64,
    open_until: Option<String>,
    order_minimum: Money,
}

#[derive(Serialize, JsonSchema)]
struct LocationV1 {
    lat: f64,
    lng: f64,
}

impl From<RestaurantPage> for PageV1 {
    fn from(page: RestaurantPage) -> Self {
        Self {
            items: page.items.into_iter().map(RestaurantV1::from).collect(),
            next_cursor: page.next_cursor.map(cursor::shown),
        }
    }
}

impl From<AvailableRestaurant> for RestaurantV1 {
    fn from(restaurant: AvailableRestaurant) -> Self {
        Self {
            id: restaurant.id,
            name: restaurant.name,
            cuisine: restaurant.cuisine,
            address: restaurant.address.into(),
            location: LocationV1 {
                lat: restaurant.location.lat,
                lng: restaurant.location.lng,
            },
            distance: restaurant.distance,
            open_until: restaurant.open_until,
            order_minimum: restaurant.order_minimum.into(),
        }
    }
}
