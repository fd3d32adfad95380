//! Everything that can be done. Whether the content makes sense and the state allows it is the services' to say.

use async_graphql::{Context, ID, InputObject, Object};
use gateway_core::error::{ClientError, Error, UpstreamError};
use gateway_core::idempotency::IdempotencyKey;
use http::StatusCode;

use super::order::{Order, OrderState};
use super::query::own_order;
use super::values::DateTime;
use super::{Failure, Nullable, clients, request};
use crate::caller::{self, ORDERS_WRITE};
use crate::clients::order::{Accepted, Address, OrderRequest, Quantity};

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

struct PlaceOrderPayload(Accepted);

#[Object]
impl Mutation {
    /// Places an order. It is accepted, not approved yet: that is up to the consumer's account and the restaurant.
    async fn place_order(
        &self,
        context: &Context<'_>,
        input: PlaceOrderInput,
    ) -> Nullable<PlaceOrderPayload> {
        Some(place_order(context, input).await.map(PlaceOrderPayload))
    }
}

#[Object]
impl PlaceOrderPayload {
    async fn order_id(&self) -> ID {
        ID::from(&self.0.order_id)
    }

    async fn state(&self) -> OrderState {
        OrderState::of(&self.0.state)
    }

    /// Whether the order had been placed before, under the same idempotency key.
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
    let key = match input.idempotency_key.as_deref().map(IdempotencyKey::parse) {
        None => None,
        Some(Some(key)) => Some(key.scoped_to(&["web", consumer, "placeOrder"])),
        Some(None) => {
            return Err(Error::bad_request(
                "idempotencyKey: has to be 1 to 255 printable characters.",
            )
            .into());
        }
    };
    let AddressInput {
        street1,
        street2,
        city,
        state,
        zip,
    } = input.delivery_address;
    let items = input.line_items.into_iter();
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
        line_items: items
            .map(|item| Quantity {
                menu_item_id: item.menu_item_id.0,
                quantity: item.quantity,
            })
            .collect(),
    };
    let call = request.for_required("order");
    Ok(clients(context)?
        .orders
        .place(call, &order, key)
        .await
        .map_err(refused)?)
}

/// What the order service refuses about the content or the state is meant for the client; pointers are the input's.
fn refused(error: UpstreamError) -> Error {
    const MEANT_FOR_CLIENTS: [StatusCode; 3] = [
        StatusCode::NOT_FOUND,
        StatusCode::CONFLICT,
        StatusCode::UNPROCESSABLE_ENTITY,
    ];
    match error.refusal() {
        Some(refusal) if MEANT_FOR_CLIENTS.contains(&refusal.status) => {
            ClientError::Refused(refusal.clone()).into()
        }
        _ => Error::Upstream(error),
    }
}
