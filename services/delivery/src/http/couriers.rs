//! Couriers over HTTP: whether they work, where they are, and what they do next. Who gets which delivery is decided
//! elsewhere (`dispatch`, `scheduling`); here are the occasions.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use ftgo_chassis::{Caller, FieldError, GeoPoint, Json, ServiceError};
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::Surface;
use crate::clock;
use crate::courier::{self, Action, Courier};
use crate::dispatch;
use crate::events::CourierResource;
use crate::store::{couriers, deliveries};

#[derive(Deserialize)]
pub(super) struct Availability {
    available: bool,
}

/// Read as plain numbers, so that each can be refused by its own name.
#[derive(Deserialize)]
pub(super) struct Location {
    lat: f64,
    lng: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    courier_id: String,
    available: bool,
    location: Option<GeoPoint>,
    actions: Vec<Action>,
}

impl Location {
    fn check(&self) -> Result<GeoPoint, ServiceError> {
        GeoPoint::new(self.lat, self.lng).map_err(|_| {
            let mut errors = Vec::new();
            for (pointer, degrees, limit) in [("/lat", self.lat, 90.0), ("/lng", self.lng, 180.0)] {
                if !(-limit..=limit).contains(&degrees) {
                    let detail = format!("must be within -{limit} and {limit}");
                    errors.push(FieldError::new(pointer, detail));
                }
            }
            ServiceError::Validation(errors)
        })
    }
}

pub(super) async fn set_availability(
    State(surface): State<Surface>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<Availability>,
) -> Result<Response, ServiceError> {
    own(&caller, &id)?;
    let mut tx = surface.database.write().await?;
    let mut courier = find(&mut tx, &id).await?;
    courier.set_available(body.available);
    couriers::save(&mut tx, &courier).await?;
    let answer = finish(&mut tx, &courier, clock::now()).await?;
    tx.commit().await?;
    Ok(answer)
}

pub(super) async fn set_location(
    State(surface): State<Surface>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<Location>,
) -> Result<Response, ServiceError> {
    own(&caller, &id)?;
    let location = body.check()?;
    let mut tx = surface.database.write().await?;
    let mut courier = find(&mut tx, &id).await?;
    let now = clock::now();
    courier.move_to(location, now);
    dispatch::save_and_announce(&mut tx, &mut courier, now).await?;
    let answer = finish(&mut tx, &courier, now).await?;
    tx.commit().await?;
    if courier.announcement_due {
        surface.moved.notify_one();
    }
    Ok(answer)
}

pub(super) async fn plan(
    State(surface): State<Surface>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, ServiceError> {
    own(&caller, &id)?;
    let courier = couriers::find(surface.database.read(), &id)
        .await?
        .ok_or(ServiceError::NotFound)?;
    let under_way = deliveries::under_way(surface.database.read(), &id).await?;
    let plan = Plan {
        courier_id: courier.id,
        available: courier.available,
        location: courier.location,
        actions: courier::plan(&under_way),
    };
    Ok(Json(plan).into_response())
}

/// To everybody else a courier does not exist.
fn own(caller: &Caller, id: &str) -> Result<(), ServiceError> {
    if caller.is_courier(id) {
        Ok(())
    } else {
        Err(ServiceError::NotFound)
    }
}

async fn find(tx: &mut SqliteConnection, id: &str) -> Result<Courier, ServiceError> {
    couriers::find(tx, id).await?.ok_or(ServiceError::NotFound)
}

/// A courier who is there, or somewhere else, may be the one for whom deliveries are waiting.
async fn finish(
    tx: &mut SqliteConnection,
    courier: &Courier,
    now: DateTime<Utc>,
) -> Result<Response, ServiceError> {
    if courier.available {
        dispatch::schedule_waiting(tx, now).await?;
    }
    Ok(Json(CourierResource::from(courier)).into_response())
}
