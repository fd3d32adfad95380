//! Cancelling and revising an order. That the order is the caller's is checked before anything is sent; whether its
//! state allows the change is the order service's to say (409). Sagas finish the work: 202.

use axum::extract::State;
use gateway_core::RequestContext;
use gateway_core::accepted::Accepted;
use gateway_core::error::Error;
use gateway_core::extract::{LaterBody, PathParam};
use schemars::JsonSchema;
use serde::Deserialize;

use super::place_order::{faults_of, order_path, refuse};
use crate::clients::Clients;
use crate::clients::order::{Pending, Quantity};

/// What an order is to become.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Revision {
    /// The whole order as it should become.
    #[schemars(length(min = 1))]
    line_items: Vec<Quantity>,
}

pub(crate) async fn cancel(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
) -> Result<Accepted<Pending>, Error> {
    clients
        .orders
        .own(context.for_required("order"), &id)
        .await?;
    let pending = clients
        .orders
        .cancel(context.for_required("cancel"), &id)
        .await?;
    Ok(Accepted::new(pending).at(order_path(&id)))
}

pub(crate) async fn revise(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
    body: LaterBody<Revision>,
) -> Result<Accepted<Pending>, Error> {
    // Before the body is looked at: what is wrong with it is for the owner alone.
    clients
        .orders
        .own(context.for_required("order"), &id)
        .await?;
    let revision = body.read().await?;
    refuse(faults_of(&revision.line_items))?;
    let pending = clients
        .orders
        .revise(context.for_required("revise"), &id, &revision.line_items)
        .await?;
    Ok(Accepted::new(pending).at(order_path(&id)))
}
