//! Cancelling and revising an order. That the order is the caller's is checked before anything is sent; whether its
//! state allows the change is the order service's to say (409). Sagas finish the work: 202.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use gateway_core::RequestContext;
use gateway_core::error::Error;
use gateway_core::extract::{JsonBody, PathParam};
use http::StatusCode;
use serde::Deserialize;

use super::place_order::{faults_of, refuse};
use crate::clients::Clients;
use crate::clients::order::{Accepted, Quantity};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Revision {
    /// The whole order as it should become.
    line_items: Vec<Quantity>,
}

pub(crate) async fn cancel(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
) -> Result<(StatusCode, Json<Accepted>), Error> {
    clients
        .orders
        .own(context.for_required("order"), &id)
        .await?;
    let accepted = clients
        .orders
        .cancel(context.for_required("cancel"), &id)
        .await?;
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

pub(crate) async fn revise(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
    request: Request,
) -> Result<(StatusCode, Json<Accepted>), Error> {
    // Before the body is looked at: what is wrong with it is for the owner alone.
    clients
        .orders
        .own(context.for_required("order"), &id)
        .await?;
    let JsonBody(revision) = JsonBody::<Revision>::from_request(request, &()).await?;
    refuse(faults_of(&revision.line_items))?;
    let accepted = clients
        .orders
        .revise(context.for_required("revise"), &id, &revision.line_items)
        .await?;
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}
