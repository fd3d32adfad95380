//! Deliveries over HTTP: one, some by their ids, and what the courier reports from the road. The order in which things
//! are asked is the delivery's business.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use ftgo_chassis::etag::{IfMatch, etag};
use ftgo_chassis::{Caller, IdList, Json, Query, ServiceError};
use http::header::ETAG;
use serde::{Deserialize, Serialize};

use super::Surface;
use crate::clock;
use crate::delivery::{Delivery, DeliveryError, DeliveryEvent};
use crate::events::{self, DeliveryResource};
use crate::store::couriers;
use crate::store::deliveries::{self, LocatedDelivery};

#[derive(Deserialize)]
pub(super) struct ListParameters {
    ids: IdList,
}

#[derive(Serialize)]
struct DeliveryList<'a> {
    items: Vec<DeliveryResource<'a>>,
}

/// Who reports.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    courier_id: String,
}

pub(super) async fn show(
    State(surface): State<Surface>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, ServiceError> {
    let located = deliveries::find(surface.database.read(), &id)
        .await?
        .filter(|located| may_read(&caller, &located.delivery))
        .ok_or(ServiceError::NotFound)?;
    Ok(resource(&located))
}

pub(super) async fn list(
    State(surface): State<Surface>,
    caller: Caller,
    Query(parameters): Query<ListParameters>,
) -> Result<Response, ServiceError> {
    let mut found = deliveries::find_all(surface.database.read(), &parameters.ids).await?;
    found.retain(|located| may_read(&caller, &located.delivery));
    let items = found.iter().map(DeliveryResource::from).collect();
    Ok(Json(DeliveryList { items }).into_response())
}

pub(super) async fn pick_up(
    State(surface): State<Surface>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
    Json(report): Json<Report>,
) -> Result<Response, ServiceError> {
    play(
        &surface,
        &caller,
        &id,
        &if_match,
        &report,
        Delivery::pick_up,
    )
    .await
}

pub(super) async fn drop_off(
    State(surface): State<Surface>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
    Json(report): Json<Report>,
) -> Result<Response, ServiceError> {
    play(
        &surface,
        &caller,
        &id,
        &if_match,
        &report,
        Delivery::drop_off,
    )
    .await
}

/// The consumer whose order it is, the courier who carries it, and the restaurant where it begins.
fn may_read(caller: &Caller, delivery: &Delivery) -> bool {
    let consumer = delivery.consumer_id.as_deref();
    let courier = delivery.courier.as_ref();
    caller.works_for(&delivery.restaurant_id)
        || consumer.is_some_and(|id| caller.is_consumer(id))
        || courier.is_some_and(|courier| caller.is_courier(&courier.id))
}

type Move = fn(&mut Delivery, &str, DateTime<Utc>) -> Result<DeliveryEvent, DeliveryError>;

/// Makes a move and tells the world of it, in one transaction. Answers the delivery as it is afterwards.
async fn play(
    surface: &Surface,
    caller: &Caller,
    id: &str,
    if_match: &IfMatch,
    report: &Report,
    action: Move,
) -> Result<Response, ServiceError> {
    // Nobody reports for another courier, who to them does not exist.
    if !caller.is_courier(&report.courier_id) {
        return Err(ServiceError::NotFound);
    }
    let mut tx = surface.database.write().await?;
    let mut located = deliveries::find(&mut *tx, id)
        .await?
        .ok_or(ServiceError::NotFound)?;
    // An id that names nobody is 404 also in a body; a courier who is not on this delivery is a conflict.
    if couriers::find(&mut *tx, &report.courier_id)
        .await?
        .is_none()
    {
        return Err(ServiceError::NotFound);
    }
    if_match.check(located.delivery.version)?;
    let event = action(&mut located.delivery, &report.courier_id, clock::now())?;
    deliveries::save(&mut tx, &located.delivery).await?;
    events::publish(&mut tx, event, &located.delivery).await?;
    tx.commit().await?;
    Ok(resource(&located))
}

/// The tag is for `If-Match`: it stands for the delivery. Where its courier is just now changes without it, which is why
/// there is no 304 here.
fn resource(located: &LocatedDelivery) -> Response {
    let tag = [(ETAG, etag(located.delivery.version))];
    (tag, Json(DeliveryResource::from(located))).into_response()
}
