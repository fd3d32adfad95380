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
/// More orders than that nobody has under way; it is as many as a page can have.
const MOST_ACTIVE: u32 = 100;

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
    let orders = |active| OrderSearch {
        active: Some(active),
        ..OrderSearch::default()
    };
    let (active, ended) = (orders(true), orders(false));
    let (restaurants, active, recent) = page
        .all((
            page.optional("restaurants", |call| {
                clients.history.available_restaurants(call, &nearby, SHOWN)
            }),
            page.optional("activeOrders", |call| {
                clients.history.orders(call, consumer, &active, MOST_ACTIVE)
            }),
            page.optional("recentOrders", |call| {
                clients.history.orders(call, consumer, &ended, SHOWN)
            }),
        ))
        .await?;
    // Both are read at the same time: an order that ends in between can be in both, and has ended.
    let has_ended = |order: &PastOrder| {
        let ended = recent.data();
        ended.is_some_and(|ended| ended.items.iter().any(|other| other.id == order.id))
    };
    let active = active.map(|mut orders| {
        orders.items.retain(|order| !has_ended(order));
        orders
    });
    let summaries = |orders: Page<PastOrder>| orders.map(OrderSummary::from).items;
    Ok(page.answer(Home {
        restaurants: restaurants.map(|nearby| nearby.map(NearbyRestaurant::from).items),
        active_orders: active.map(summaries),
        recent_orders: recent.map(summaries),
    }))
}
