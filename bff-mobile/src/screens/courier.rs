//! What couriers say of themselves: whether they work, where they are, that they have the food, that the consumer has it.
//! Always the courier who is calling; whether a delivery's state allows a step is the delivery service's to say (409).

use axum::Json;
use axum::extract::State;
use gateway_core::RequestContext;
use gateway_core::error::{Error, FieldError};
use gateway_core::extract::{JsonBody, PathParam};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::place_order::refuse;
use crate::caller;
use crate::clients::Clients;
use crate::clients::delivery::{CarriedDelivery, CarriedItem, CourierStatus, Stop};
use crate::values::{Address, Location, Timestamp};

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Availability {
    /// Whether the courier takes new deliveries; what they carry already stays theirs.
    available: bool,
}

/// Where the courier is: WGS 84, in degrees.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Place {
    #[schemars(range(min = -90, max = 90))]
    lat: f64,
    #[schemars(range(min = -180, max = 180))]
    lng: f64,
}

/// A delivery as its courier sees it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeliveryReport {
    id: String,
    order_id: String,
    restaurant_id: String,
    state: String,
    pickup_address: Address,
    delivery_address: Address,
    line_items: Vec<CarriedItem>,
    scheduled_pickup_time: Option<Timestamp>,
    scheduled_delivery_time: Option<Timestamp>,
    picked_up_at: Option<Timestamp>,
    delivered_at: Option<Timestamp>,
}

pub(crate) async fn set_availability(
    context: RequestContext,
    State(clients): State<Clients>,
    JsonBody(Availability { available }): JsonBody<Availability>,
) -> Result<Json<CourierStatus>, Error> {
    let courier = caller::courier(&context)?;
    let call = context.for_required("availability");
    let status = clients
        .deliveries
        .set_availability(call, courier, available)
        .await?;
    Ok(Json(status))
}

pub(crate) async fn set_location(
    context: RequestContext,
    State(clients): State<Clients>,
    JsonBody(Place { lat, lng }): JsonBody<Place>,
) -> Result<Json<CourierStatus>, Error> {
    let courier = caller::courier(&context)?;
    let mut faults = Vec::new();
    for (pointer, degrees, limit) in [("/lat", lat, 90.0), ("/lng", lng, 180.0)] {
        if !(-limit..=limit).contains(&degrees) {
            faults.push(FieldError {
                pointer: pointer.to_owned(),
                detail: format!("must be from -{limit} to {limit} degrees"),
            });
        }
    }
    refuse(faults)?;
    let call = context.for_required("location");
    let status = clients
        .deliveries
        .set_location(call, courier, Location { lat, lng })
        .await?;
    Ok(Json(status))
}

pub(crate) async fn pick_up(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
) -> Result<Json<DeliveryReport>, Error> {
    report(&context, &clients, &id, Stop::Pickup).await
}

pub(crate) async fn drop_off(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
) -> Result<Json<DeliveryReport>, Error> {
    report(&context, &clients, &id, Stop::Dropoff).await
}

async fn report(
    context: &RequestContext,
    clients: &Clients,
    id: &str,
    stop: Stop,
) -> Result<Json<DeliveryReport>, Error> {
    let courier = caller::courier(context)?;
    let call = context.for_required("delivery");
    clients.deliveries.is_carried_by(call, id, courier).await?;
    let call = context.for_required("report");
    let delivery = clients.deliveries.report(call, id, courier, stop).await?;
    Ok(Json(delivery.into()))
}

impl From<CarriedDelivery> for DeliveryReport {
    fn from(delivery: CarriedDelivery) -> Self {
        Self {
            id: delivery.id,
            order_id: delivery.order_id,
            restaurant_id: delivery.restaurant_id,
            state: delivery.state,
            pickup_address: delivery.pickup_address,
            delivery_address: delivery.delivery_address,
            line_items: delivery.line_items,
            scheduled_pickup_time: delivery.scheduled_pickup_time,
            scheduled_delivery_time: delivery.scheduled_delivery_time,
            picked_up_at: delivery.picked_up_at,
            delivered_at: delivery.delivered_at,
        }
    }
}
