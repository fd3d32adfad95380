//! Everything that can be read. Whose it is, is checked here; types further down show what they were given.

use async_graphql::connection::Connection;
use async_graphql::{Context, ID, InputObject, Object};
use gateway_core::error::Error;

use super::connection::{connect, size};
use super::order::{Order, OrderState};
use super::restaurant::{NearbyRestaurant, Restaurant};
use super::ticket::{Ticket, TicketState};
use super::values::DateTime;
use super::viewer::Viewer;
use super::{Failure, Nullable, clients, loaders, request};
use crate::caller::{self, ORDERS_READ, TICKETS_READ};
use crate::clients::order_history::{OrderSearch, RestaurantSearch};

pub(super) struct Query;

/// Which of the caller's orders.
#[derive(InputObject, Default)]
struct OrderFilter {
    /// In one of these states; in any state when absent.
    status: Option<Vec<OrderState>>,
    /// In the names of the restaurant and of the menu items.
    keyword: Option<String>,
    since: Option<DateTime>,
}

/// A place on earth, in degrees.
#[derive(InputObject)]
struct PlaceInput {
    lat: f64,
    lng: f64,
}

/// Metres.
const DEFAULT_RADIUS: f64 = 5_000.0;
const MAX_RADIUS: f64 = 50_000.0;

#[expect(
    clippy::too_many_arguments,
    reason = "the arguments of a field are the schema's"
)]
#[Object]
impl Query {
    /// Who is signed in; `null` for nobody.
    async fn me(&self, context: &Context<'_>) -> Nullable<Viewer> {
        request(context).map(Viewer::of).transpose()
    }

    /// One of the caller's orders.
    async fn order(&self, context: &Context<'_>, id: ID) -> Nullable<Order> {
        own_order(context, &id).await.transpose()
    }

    /// The caller's orders, newest first.
    #[graphql(complexity = "size(first) * child_complexity + 1")]
    async fn orders(
        &self,
        context: &Context<'_>,
        filter: Option<OrderFilter>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Nullable<Connection<String, Order>> {
        Some(own_orders(context, filter.unwrap_or_default(), first, after).await)
    }

    async fn restaurant(&self, context: &Context<'_>, id: ID) -> Nullable<Restaurant> {
        let restaurant = async { loaders(context)?.restaurants.load(&id).await };
        restaurant
            .await
            .map(|found| found.map(Restaurant))
            .transpose()
    }

    /// The restaurants that deliver to a place, nearest first; `radius` is in metres, `at` is now when absent.
    #[graphql(complexity = "size(first) * child_complexity + 1")]
    async fn restaurants(
        &self,
        context: &Context<'_>,
        near: PlaceInput,
        #[graphql(default_with = "DEFAULT_RADIUS")] radius: f64,
        at: Option<DateTime>,
        cuisine: Option<String>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Nullable<Connection<String, NearbyRestaurant>> {
        let search = RestaurantSearch {
            lat: near.lat,
            lng: near.lng,
            radius,
            at: at.as_ref().map(|at| at.0.as_str()),
            cuisine: cuisine.as_deref(),
        };
        Some(restaurants_near(context, &search, first, after).await)
    }

    /// A ticket of one of the restaurants that the caller works for.
    async fn ticket(&self, context: &Context<'_>, id: ID) -> Nullable<Ticket> {
        own_ticket(context, &id, TICKETS_READ).await.transpose()
    }

    /// The tickets of a restaurant that the caller works for, oldest first, in any state when none is named; `null` for
    /// another's.
    #[graphql(complexity = "size(first) * child_complexity + 1")]
    async fn tickets(
        &self,
        context: &Context<'_>,
        restaurant_id: ID,
        state: Option<TicketState>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Nullable<Connection<String, Ticket>> {
        own_tickets(context, &restaurant_id, state, first, after)
            .await
            .transpose()
    }
}

pub(super) async fn own_order(context: &Context<'_>, id: &str) -> Result<Option<Order>, Failure> {
    let consumer = caller::consumer(request(context)?, ORDERS_READ)?;
    let order = loaders(context)?.orders.load(id).await?;
    // Another's order is as good as none.
    Ok(order
        .filter(|order| order.consumer_id == consumer)
        .map(Order::Whole))
}

async fn own_orders(
    context: &Context<'_>,
    filter: OrderFilter,
    first: Option<i32>,
    after: Option<String>,
) -> Result<Connection<String, Order>, Failure> {
    let request = request(context)?;
    let states = filter.status.map(|states| {
        states
            .into_iter()
            .map(OrderState::word)
            .collect::<Vec<_>>()
            .join(",")
    });
    let search = OrderSearch {
        consumer_id: caller::consumer(request, ORDERS_READ)?,
        status: states.as_deref(),
        keyword: filter.keyword.as_deref(),
        since: filter.since.as_ref().map(|since| since.0.as_str()),
    };
    let history = &clients(context)?.history;
    let fetch = async |cursor: Option<&str>, size: usize| {
        history
            .orders(request.for_optional("orders"), &search, cursor, size)
            .await
    };
    connect(
        first,
        after,
        fetch,
        |order| &order.id,
        |order| Order::Listed(order.into()),
    )
    .await
}

/// Another restaurant's ticket is as good as none.
pub(super) async fn own_ticket(
    context: &Context<'_>,
    id: &str,
    scope: &str,
) -> Result<Option<Ticket>, Failure> {
    let staff = caller::staff(request(context)?, scope)?;
    let ticket = loaders(context)?.tickets.load(id).await?;
    Ok(ticket
        .filter(|ticket| staff.works_for(&ticket.restaurant_id))
        .map(Ticket))
}

async fn own_tickets(
    context: &Context<'_>,
    restaurant_id: &str,
    state: Option<TicketState>,
    first: Option<i32>,
    after: Option<String>,
) -> Result<Option<Connection<String, Ticket>>, Failure> {
    let request = request(context)?;
    if !caller::staff(request, TICKETS_READ)?.works_for(restaurant_id) {
        return Ok(None);
    }
    let kitchen = &clients(context)?.kitchen;
    let fetch = async |cursor: Option<&str>, size: usize| {
        let call = request.for_optional("tickets");
        let state = state.map(TicketState::word);
        kitchen
            .of_restaurant(call, restaurant_id, state, cursor, size)
            .await
    };
    let tickets = connect(
        first,
        after,
        fetch,
        |ticket| &ticket.id,
        |ticket| Ticket(ticket.into()),
    );
    tickets.await.map(Some)
}

async fn restaurants_near(
    context: &Context<'_>,
    search: &RestaurantSearch<'_>,
    first: Option<i32>,
    after: Option<String>,
) -> Result<Connection<String, NearbyRestaurant>, Failure> {
    // A number that is none fails the comparisons.
    if !(-90.0..=90.0).contains(&search.lat) || !(-180.0..=180.0).contains(&search.lng) {
        return Err(Error::bad_request("near: is not a place on earth.").into());
    }
    if !(search.radius > 0.0 && search.radius <= MAX_RADIUS) {
        return Err(Error::bad_request(format!(
            "radius: has to be more than 0 and at most {MAX_RADIUS} metres."
        ))
        .into());
    }
    let request = request(context)?;
    let history = &clients(context)?.history;
    let fetch = async |cursor: Option<&str>, size: usize| {
        history
            .available_restaurants(request.for_optional("restaurants"), search, cursor, size)
            .await
    };
    connect(
        first,
        after,
        fetch,
        |restaurant| &restaurant.id,
        NearbyRestaurant,
    )
    .await
}
