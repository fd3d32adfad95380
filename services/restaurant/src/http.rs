//! The HTTP surface: routes, statuses, validators and preconditions. Rules are the domain's, everything that all services
//! answer alike is the chassis'.

mod document;

use std::collections::HashMap;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use chrono::Utc;
use ftgo_chassis::etag::{IfMatch, IfNoneMatch, etag};
use ftgo_chassis::idempotency::{self, Attempt, IdempotencyKey, StoredResponse};
use ftgo_chassis::{Caller, IdList, Json, Query, ServiceError};
use ftgo_messaging::Database;
use http::header::{CACHE_CONTROL, ETAG};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::menu::MenuDraft;
use crate::domain::restaurant::{Restaurant, RestaurantDraft};
use crate::store::{self, StoreError};

#[cfg(test)]
mod tests;

pub(crate) use document::document;

/// Shared caches may answer for us, shortly: menus change seldom, and whoever changes one is told by the event.
const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=5");

/// What anybody may read.
pub(crate) const PUBLIC: &[&str] = &["/restaurants", "/restaurants/{id}"];

pub(crate) fn routes(database: Database) -> Router {
    Router::new()
        .route("/restaurants", post(create).get(list))
        .route("/restaurants/{id}", get(find))
        .route("/restaurants/{id}/menu", put(revise_menu))
        .with_state(database)
}

async fn create(
    State(database): State<Database>,
    caller: Caller,
    key: IdempotencyKey,
    Json(draft): Json<RestaurantDraft>,
) -> Result<Response, ServiceError> {
    caller.require_internal()?;
    let mut tx = database.write().await?;
    let slot = match idempotency::begin(&mut tx, "POST /restaurants", &key, &draft).await? {
        Attempt::First(slot) => slot,
        Attempt::Repeated(answer) => return Ok(created(answer)),
    };
    let restaurant = Restaurant::create(Uuid::now_v7().to_string(), draft, Utc::now())
        .map_err(ServiceError::Validation)?;
    store::insert(&mut tx, &restaurant).await?;
    let answer = StoredResponse::new(StatusCode::CREATED, &restaurant)?
        .location(format!("/restaurants/{}", restaurant.id));
    slot.store(&mut tx, &answer).await?;
    tx.commit().await?;
    Ok(created(answer))
}

/// A created restaurant has its first version, also when the answer is given again later.
fn created(answer: StoredResponse) -> Response {
    ([(ETAG, etag(1))], answer).into_response()
}

async fn find(
    State(database): State<Database>,
    Path(id): Path<String>,
    known: IfNoneMatch,
) -> Result<Response, ServiceError> {
    let restaurant = store::find(database.read(), &id)
        .await?
        .ok_or(ServiceError::NotFound)?;
    let validators = validators(&restaurant);
    if known.has(restaurant.version) {
        return Ok((StatusCode::NOT_MODIFIED, validators).into_response());
    }
    Ok((validators, Json(restaurant)).into_response())
}

#[derive(Deserialize)]
struct ListParameters {
    ids: IdList,
}

#[derive(Serialize)]
struct Listed {
    items: Vec<Restaurant>,
}

async fn list(
    State(database): State<Database>,
    Query(parameters): Query<ListParameters>,
) -> Result<Response, ServiceError> {
    let ids = parameters.ids.as_slice();
    let mut found: HashMap<String, Restaurant> = store::find_all(database.read(), ids)
        .await?
        .into_iter()
        .map(|restaurant| (restaurant.id.clone(), restaurant))
        .collect();
    let items = ids.iter().filter_map(|id| found.remove(id)).collect();
    Ok(([(CACHE_CONTROL, CACHEABLE)], Json(Listed { items })).into_response())
}

async fn revise_menu(
    State(database): State<Database>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
    // A fault of the body is of interest only to those who address something and know its version.
    draft: Result<Json<MenuDraft>, ServiceError>,
) -> Result<Response, ServiceError> {
    let mut tx = database.write().await?;
    // Everybody may read it: to who does not work there, it is the menu to be written that does not exist.
    let mut restaurant = store::find(&mut *tx, &id)
        .await?
        .filter(|restaurant| caller.works_for(&restaurant.id))
        .ok_or(ServiceError::NotFound)?;
    if_match.require(restaurant.version)?;
    let Json(draft) = draft?;
    let revised = restaurant
        .revise_menu(draft)
        .map_err(ServiceError::Validation)?;
    if revised {
        store::revise(&mut tx, &restaurant).await?;
        tx.commit().await?;
    }
    Ok(([(ETAG, etag(restaurant.version))], Json(restaurant)).into_response())
}

fn validators(restaurant: &Restaurant) -> [(HeaderName, HeaderValue); 2] {
    [(ETAG, etag(restaurant.version)), (CACHE_CONTROL, CACHEABLE)]
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::PreconditionFailed,
            StoreError::Encoding(error) => error.into(),
            StoreError::Database(error) => error.into(),
        }
    }
}
