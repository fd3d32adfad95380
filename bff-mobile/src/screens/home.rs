//! The app's first screen: restaurants nearby, what is on its way, what was ordered before. Any of them may be missing.

use axum::extract::State;
use gateway_core::compose::{Answer, Composition, Section};
use gateway_core::error::Error;
use gateway_core::extract::QueryParams;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::order_history::OrderSummary;
use super::restaurants::{DEFAULT_RADIUS, NearbyRestaurant, check_place};
use crate::caller;
use crate::clients::Clients;
use crate::clients::order_history::{OrderSearch, PastOrder, RestaurantSearch};
use crate::values::Page;

/// How many restaurants and how many past orders fit on the screen.
const SHOWN: u32 = 10;
/// Both sections of orders are cut from this many of the newest.
const LOOKED_AT: u32 = 50;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct HomeQuery {
    /// Degrees north of the equator.
    #[schemars(range(min = -90, max = 90), example = 37.8)]
    lat: f64,
    /// Degrees east of Greenwich.
    #[schemars(range(min = -180, max = 180), example = -122.27)]
    lng: f64,
}

/// What the app opens with.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Home {
    /// Restaurants that deliver to this place now, nearest first.
    restaurants: Section<Vec<NearbyRestaurant>>,
    /// The caller's orders that are under way.
    active_orders: Section<Vec<OrderSummary>>,
    /// The latest of the caller's orders that have ended.
    recent_orders: Section<Vec<OrderSummary>>,
}

pub(crate) async fn show(
    page: Composition<Home>,
    State(clients): State<Clients>,
    QueryParams(HomeQuery { lat, lng }): QueryParams<HomeQuery>,
) -> Result<Answer<Home>, Error> {
    check_place(lat, lng)?;
    let consumer = caller::consumer(page.context())?;
    let nearby = RestaurantSearch {
        lat,
        lng,
        radius: DEFAULT_RADIUS,
        at: None,
        cuisine: None,
        cursor: None,
    };
    let newest = OrderSearch::default();
    let (restaurants, orders) = page
        .all((
            page.optional("restaurants", |call| {
                clients.history.available_restaurants(call, &nearby, SHOWN)
            }),
            page.optional(["activeOrders", "recentOrders"], |call| {
                clients.history.orders(call, consumer, &newest, LOOKED_AT)
            }),
        ))
        .await?;
    Ok(page.answer(Home {
        restaurants: restaurants.map(|nearby| nearby.map(NearbyRestaurant::from).items),
        active_orders: orders.as_ref().map(active),
        recent_orders: orders.as_ref().map(recent),
    }))
}

/// All orders under way.
fn active(newest: &Page<PastOrder>) -> Vec<OrderSummary> {
    let active = newest.items.iter().filter(|order| is_active(order));
    active.cloned().map(OrderSummary::from).collect()
}

/// The latest of those that have ended.
fn recent(newest: &Page<PastOrder>) -> Vec<OrderSummary> {
    let ended = newest.items.iter().filter(|order| !is_active(order));
    let latest = ended.take(SHOWN as usize);
    latest.cloned().map(OrderSummary::from).collect()
}

/// Whether the consumer still waits for something.
fn is_active(order: &PastOrder) -> bool {
    let ended = matches!(order.state.as_str(), "REJECTED" | "CANCELLED");
    !ended && order.delivery_state.as_deref() != Some("DELIVERED")
}
