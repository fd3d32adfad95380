//! Everything that can be done. Whether the content makes sense and the state allows it is the services' to say.

use async_graphql::{Context, ID, InputObject, Object};
use gateway_core::error::{ClientError, Error, UpstreamError};
use gateway_core::idempotency::IdempotencyKey;
use http::{HeaderValue, StatusCode};

use super::order::{Order, OrderState};
use super::query::{own_order, own_ticket};
use super::restaurant::Restaurant;
use super::ticket::Ticket;
use super::values::{DateTime, MoneyInput};
use super::{Failure, Nullable, clients, loaders, request};
use crate::caller::{self, MENUS_WRITE, ORDERS_WRITE, TICKETS_WRITE};
use crate::clients::kitchen::Move;
use crate::clients::order::{Accepted, Address, OrderRequest, Quantity};
use crate::clients::restaurant::{Menu, MenuItem};

pub(super) struct Mutation;

#[derive(InputObject)]
struct PlaceOrderInput {
    restaurant_id: ID,
    delivery_address: AddressInput,
    /// As soon as possible when absent.
    delivery_time: Option<DateTime>,
    line_items: Vec<LineItemInput>,
    /// The client's name for this attempt: repeated with the same name, it is still one order.
    idempotency_key: Option<String>,
}

#[derive(InputObject)]
struct AddressInput {
    street1: String,
    street2: Option<String>,
    city: String,
    state: String,
    zip: String,
}

#[derive(InputObject)]
struct LineItemInput {
    menu_item_id: ID,
    quantity: i32,
}

#[derive(InputObject)]
struct ReviseOrderInput {
    order_id: ID,
    /// All that the order shall have, not only what changes.
    line_items: Vec<LineItemInput>,
    /// The client's name for this attempt: repeated with the same name, it is still one revision.
    idempotency_key: Option<String>,
}

#[derive(InputObject)]
struct ReviseMenuInput {
    restaurant_id: ID,
    /// The restaurant's version that the caller has seen; when it has changed since, nothing is revised.
    version: i32,
    /// The whole menu as it should become. The same dish keeps its id.
    items: Vec<MenuItemInput>,
}

#[derive(InputObject)]
struct MenuItemInput {
    id: ID,
    name: String,
    description: Option<String>,
    price: MoneyInput,
}

struct OrderPayload(Accepted);

#[Object]
impl Mutation {
    /// Places an order. It is accepted, not approved yet: that is up to the consumer's account and the restaurant.
    async fn place_order(
        &self,
        context: &Context<'_>,
        input: PlaceOrderInput,
    ) -> Nullable<OrderPayload> {
        Some(place_order(context, input).await.map(OrderPayload))
    }

    /// Begins to cancel one of the caller's orders; the restaurant may be too far with it. Asked again with the same
    /// `idempotencyKey`, it answers the same.
    async fn cancel_order(
        &self,
        context: &Context<'_>,
        id: ID,
        idempotency_key: Option<String>,
    ) -> Nullable<OrderPayload> {
        let key = idempotency_key.as_deref();
        Some(cancel_order(context, &id, key).await.map(OrderPayload))
    }

    /// Begins to change what one of the caller's orders consists of.
    async fn revise_order(
        &self,
        context: &Context<'_>,
        input: ReviseOrderInput,
    ) -> Nullable<OrderPayload> {
        Some(revise_order(context, input).await.map(OrderPayload))
    }

    /// The restaurant takes an order on, and says when it will be ready.
    async fn accept_ticket(
        &self,
        context: &Context<'_>,
        id: ID,
        ready_by: DateTime,
    ) -> Nullable<Ticket> {
        let accept = Move::Accept {
            ready_by: &ready_by.0,
        };
        Some(make(context, &id, &accept).await)
    }

    /// Cooking has begun.
    async fn mark_preparing(&self, context: &Context<'_>, id: ID) -> Nullable<Ticket> {
        Some(make(context, &id, &Move::Preparing).await)
    }

    /// It waits for the courier.
    async fn mark_ready(&self, context: &Context<'_>, id: ID) -> Nullable<Ticket> {
        Some(make(context, &id, &Move::Ready).await)
    }

    /// Replaces the menu of a restaurant that the caller works for.
    async fn revise_menu(
        &self,
        context: &Context<'_>,
        input: ReviseMenuInput,
    ) -> Nullable<Restaurant> {
        Some(revise_menu(context, input).await)
    }
}

/// An order that something was asked of.
#[Object]
impl OrderPayload {
    async fn order_id(&self) -> ID {
        ID::from(&self.0.order_id)
    }

    async fn state(&self) -> OrderState {
        OrderState::of(&self.0.state)
    }

    /// Whether this had been asked before, under the same idempotency key.
    async fn replayed(&self) -> bool {
        self.0.replayed
    }

    async fn order(&self, context: &Context<'_>) -> Nullable<Order> {
        own_order(context, &self.0.order_id).await.transpose()
    }
}

async fn place_order(context: &Context<'_>, input: PlaceOrderInput) -> Result<Accepted, Failure> {
    let request = request(context)?;
    let consumer = caller::consumer(request, ORDERS_WRITE)?;
    let key = key(
        input.idempotency_key.as_deref(),
        &["web", consumer, "placeOrder"],
    )?;
    let AddressInput {
        street1,
        street2,
        city,
        state,
        zip,
    } = input.delivery_address;
    let order = OrderRequest {
        consumer_id: consumer,
        restaurant_id: &input.restaurant_id,
        delivery_address: Address {
            street1,
            street2,
            city,
            state,
            zip,
        },
        delivery_time: input.delivery_time.map(|time| time.0),
        line_items: quantities(input.line_items),
    };
    let call = request.for_required("order");
    Ok(clients(context)?
        .orders
        .place(call, &order, key)
        .await
        .map_err(refused)?)
}

async fn cancel_order(
    context: &Context<'_>,
    id: &str,
    name: Option<&str>,
) -> Result<Accepted, Failure> {
    let request = request(context)?;
    let consumer = caller::consumer(request, ORDERS_WRITE)?;
    let key = key(name, &["web", consumer, "cancelOrder", id])?;
    must_exist(own_order(context, id).await?)?;
    let call = request.for_required("cancel");
    let cancelled = clients(context)?.orders.cancel(call, id, key).await;
    loaders(context)?.orders.forget();
    Ok(cancelled.map_err(refused)?)
}

async fn revise_order(context: &Context<'_>, input: ReviseOrderInput) -> Result<Accepted, Failure> {
    let request = request(context)?;
    let consumer = caller::consumer(request, ORDERS_WRITE)?;
    let id = input.order_id.as_str();
    let key = key(
        input.idempotency_key.as_deref(),
        &["web", consumer, "reviseOrder", id],
    )?;
    must_exist(own_order(context, id).await?)?;
    let items = quantities(input.line_items);
    let call = request.for_required("revise");
    let revised = clients(context)?.orders.revise(call, id, &items, key).await;
    loaders(context)?.orders.forget();
    Ok(revised.map_err(refused)?)
}

/// A move of the staff. A ticket of another restaurant does not exist.
async fn make(context: &Context<'_>, id: &str, what: &Move<'_>) -> Result<Ticket, Failure> {
    must_exist(own_ticket(context, id, TICKETS_WRITE).await?)?;
    let call = request(context)?.for_required("ticket");
    let ticket = clients(context)?.kitchen.make(call, id, what).await;
    loaders(context)?.tickets.forget();
    Ok(Ticket(ticket.map_err(refused)?.into()))
}

async fn revise_menu(context: &Context<'_>, input: ReviseMenuInput) -> Result<Restaurant, Failure> {
    let request = request(context)?;
    let id = input.restaurant_id.as_str();
    if !caller::staff(request, MENUS_WRITE)?.works_for(id) {
        return Err(Error::not_found().into());
    }
    let items = input.items.into_iter().map(|item| MenuItem {
        id: item.id.0,
        name: item.name,
        description: item.description,
        price: item.price.into(),
    });
    let menu = Menu {
        items: items.collect(),
    };
    let call = request.for_required("restaurant");
    let restaurants = &clients(context)?.restaurants;
    let revised = restaurants
        .revise_menu(call, id, input.version, &menu)
        .await;
    loaders(context)?.restaurants.forget();
    Ok(Restaurant(revised.map_err(refused)?.into()))
}

fn must_exist<T>(found: Option<T>) -> Result<T, Error> {
    found.ok_or_else(Error::not_found)
}

fn quantities(items: Vec<LineItemInput>) -> Vec<Quantity> {
    let items = items.into_iter().map(|item| Quantity {
        menu_item_id: item.menu_item_id.0,
        quantity: item.quantity,
    });
    items.collect()
}

/// The service's name of an attempt: nobody else's, and for nothing else.
fn key(name: Option<&str>, scope: &[&str]) -> Result<Option<HeaderValue>, Error> {
    match name.map(IdempotencyKey::parse) {
        None => Ok(None),
        Some(Some(key)) => Ok(Some(key.scoped_to(scope))),
        Some(None) => Err(Error::bad_request(
            "idempotencyKey: has to be 1 to 255 printable characters.",
        )),
    }
}

/// What a service refuses about the content or the state is meant for the client; pointers are the input's.
fn refused(error: UpstreamError) -> Error {
    const MEANT_FOR_CLIENTS: [StatusCode; 4] = [
        StatusCode::NOT_FOUND,
        StatusCode::CONFLICT,
        StatusCode::PRECONDITION_FAILED,
        StatusCode::UNPROCESSABLE_ENTITY,
    ];
    match error.refusal() {
        Some(refusal) if MEANT_FOR_CLIENTS.contains(&refusal.status) => {
            let mut refusal = refusal.clone();
            if refusal.status == StatusCode::PRECONDITION_FAILED {
                // The service says it by the status alone; a field's error has a code and no status.
                let code = || "precondition-failed".to_owned();
                refusal.slug.get_or_insert_with(code);
            }
            ClientError::Refused(refusal).into()
        }
        _ => Error::Upstream(error),
    }
}
