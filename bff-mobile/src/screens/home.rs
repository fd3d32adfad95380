//! The app's first screen: restaurants nearby, what is on its way, what was ordered before. Any of them may be missing.

use axum::extract::State;
use axum::response::Response;
use futures_util::join;
use gateway_core::compose::{Composition, Screen, Section};
use gateway_core::error::Error;
use gateway_core::extract::QueryParams;
use serde::{Deserialize, Serialize};

use super::order_history::OrderSummary;
use super::restaurants::{DEFAULT_RADIUS, NearbyRestaurant, check_place};
use crate::caller;
use crate::clients::Clients;
use crate::clients::order_history::{OrderSearch, PastOrder, RestaurantSearch};

/// How many restaurants and how many past orders fit on the screen.
const SHOWN: usize = 10;
/// Both sections of orders are cut from this many of the newest.
const LOOKED_AT: u32 = 50;

#[derive(Deserialize)]
pub(crate) struct HomeQuery {
    lat: f64,
    lng: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Home {
    #[serde(skip_serializing_if = "Section::is_omitted")]
    restaurants: Section<Vec<NearbyRestaurant>>,
    #[serde(skip_serializing_if = "Section::is_omitted")]
    active_orders: Section<Vec<OrderSummary>>,
    #[serde(skip_serializing_if = "Section::is_omitted")]
    recent_orders: Section<Vec<OrderSummary>>,
}

impl Screen for Home {
    const SECTIONS: &'static [&'static str] = &["restaurants", "activeOrders", "recentOrders"];
}

pub(crate) async fn show(
    page: Composition,
    State(clients): State<Clients>,
    QueryParams(HomeQuery { lat, lng }): QueryParams<HomeQuery>,
) -> Result<Response, Error> {
    let page = page.of::<Home>()?;
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
    // Both sections of orders come from one call, which is made when either is wanted.
    let orders = if page.picks("activeOrders") {
        "activeOrders"
    } else {
        "recentOrders"
    };
    let (restaurants, orders) = join!(
        page.optional("restaurants", |call| clients.history.available_restaurants(
            call,
            &nearby,
            SHOWN as u32
        )),
        page.optional(orders, |call| {
            let newest = OrderSearch::default();
            let history = &clients.history;
            async move { history.orders(call, consumer, &newest, LOOKED_AT).await }
        }),
    );
    let (active, recent) = split(orders.map(|newest| newest.items));
    Ok(page.answer(&Home {
        restaurants: restaurants.map(|nearby| {
            nearby
                .items
                .into_iter()
                .map(NearbyRestaurant::from)
                .collect()
        }),
        active_orders: if page.picks("activeOrders") {
            active
        } else {
            Section::Omitted
        },
        recent_orders: if page.picks("recentOrders") {
            recent
        } else {
            Section::Omitted
        },
    }))
}

/// All orders under way, and the latest of those that have ended.
fn split(
    orders: Section<Vec<PastOrder>>,
) -> (Section<Vec<OrderSummary>>, Section<Vec<OrderSummary>>) {
    let summaries = |orders: Vec<PastOrder>, active: bool, most: usize| {
        let picked = orders
            .into_iter()
            .filter(|order| is_active(order) == active)
            .take(most);
        picked.map(OrderSummary::from).collect()
    };
    let active = orders
        .clone()
        .map(|orders| summaries(orders, true, usize::MAX));
    (active, orders.map(|orders| summaries(orders, false, SHOWN)))
}

/// Whether the consumer still waits for something.
fn is_active(order: &PastOrder) -> bool {
    let ended = matches!(order.state.as_str(), "REJECTED" | "CANCELLED");
    !ended && order.delivery_state.as_deref() != Some("DELIVERED")
}
