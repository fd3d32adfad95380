//! `POST /v2/orders`: an order is placed for the partner's account, once for each `Idempotency-Key`. Here it is checked that the
//! body has a sensible shape; whether the restaurant delivers there is the services' to say. The answer comes before they have.

use axum::extract::State;
use chrono::{DateTime, FixedOffset, SecondsFormat};
use gateway_core::RequestContext;
use gateway_core::encode::segment;
use gateway_core::error::{ClientError, Error, FieldError};
use gateway_core::idempotency::{Command, OnceAnswer, Received, RequiredKey};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Address, ID};
use crate::clients::Clients;
use crate::clients::order::{NewOrder, Pending};
use crate::partner;

/// An order to be placed.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{
    "restaurantId": "restaurant-1",
    "deliveryAddress": {"street1": "1432 Alice Street", "city": "Oakland", "state": "CA", "zip": "94612"},
    "lineItems": [{"menuItemId": "restaurant-1-item-1", "quantity": 5}],
}]))]
pub(crate) struct NewOrderV2 {
    #[schemars(length(min = 1, max = 100))]
    restaurant_id: String,
    delivery_address: Address,
    /// As soon as possible when absent.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    delivery_time: Option<DateTime<FixedOffset>>,
    #[schemars(length(min = 1, max = 50))]
    line_items: Vec<QuantityV2>,
}

/// So many of a dish.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct QuantityV2 {
    #[schemars(length(min = 1, max = 100))]
    menu_item_id: String,
    #[schemars(range(min = 1, max = 100))]
    quantity: u32,
}

/// An order that is being approved.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlacedV2 {
    #[schemars(regex(pattern = ID))]
    order_id: String,
    state: String,
}

pub(crate) async fn place(
    context: RequestContext,
    State(clients): State<Clients>,
    command: Command<RequiredKey, NewOrderV2>,
) -> Result<OnceAnswer<PlacedV2>, Error> {
    // Before the command is looked at: what is wrong with it is nothing to those who may not place it.
    let consumer = partner::consumer(&context)?.to_owned();
    let scope = ["public", partner::known(&context)?, "POST", "/v2/orders"];
    let Received {
        key: RequiredKey(key),
        body: order,
        payload,
    } = command.read().await?;
    check(&order)?;
    let request = request(consumer, &order);
    let call = context.for_required("order");
    let orders = clients.orders.clone();
    clients
        .idempotency
        .once(
            &context,
            &key,
            &scope,
            &payload,
            move |derived| async move {
                let placed = orders.place(call, &request, derived).await?;
                answer(placed.pending, placed.is_repeated)
            },
        )
        .await
}

fn answer(pending: Pending, is_repeated: bool) -> Result<OnceAnswer<PlacedV2>, Error> {
    let location = format!("/v2/orders/{}", segment(&pending.order_id));
    let placed = PlacedV2 {
        order_id: pending.order_id,
        state: pending.state,
    };
    Ok(OnceAnswer::new(StatusCode::ACCEPTED, Some(location), &placed)?.replayed(is_repeated))
}

fn request(consumer_id: String, order: &NewOrderV2) -> NewOrder {
    let time = order
        .delivery_time
        .map(|time| time.to_utc().to_rfc3339_opts(SecondsFormat::AutoSi, true));
    let address = &order.delivery_address;
    NewOrder {
        consumer_id,
        restaurant_id: order.restaurant_id.clone(),
        delivery_address: crate::clients::Address {
            street1: address.street1.clone(),
            street2: address.street2.clone(),
            city: address.city.clone(),
            state: address.state.clone(),
            zip: address.zip.clone(),
        },
        delivery_time: time,
        line_items: order
            .line_items
            .iter()
            .map(|item| crate::clients::order::Quantity {
                menu_item_id: item.menu_item_id.clone(),
                quantity: item.quantity,
            })
            .collect(),
    }
}

/// What the schema's limits do not say: texts of nothing but space are empty, too. All faults at once.
fn check(order: &NewOrderV2) -> Result<(), Error> {
    let address = &order.delivery_address;
    let texts = [
        ("/restaurantId", &order.restaurant_id),
        ("/deliveryAddress/street1", &address.street1),
        ("/deliveryAddress/city", &address.city),
        ("/deliveryAddress/state", &address.state),
        ("/deliveryAddress/zip", &address.zip),
    ];
    let faults: Vec<FieldError> = texts
        .into_iter()
        .filter(|(_, text)| text.trim().is_empty())
        .map(|(pointer, _)| FieldError {
            pointer: pointer.to_owned(),
            detail: "must not be empty".to_owned(),
        })
        .collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(ClientError::Unprocessable(faults).into())
    }
}
