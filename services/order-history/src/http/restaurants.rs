//! `GET /restaurants/available`: who is open nearby. Not here: the query (`restaurants.rs` of the crate).

use axum::extract::State;
use chrono::{DateTime, Utc};
use ftgo_chassis::{GeoPoint, Json, Query, ServiceError};
use serde::Deserialize;

use super::AppState;
use super::page::{Page, page_size};
use crate::restaurants::{
    self, AvailabilityFilter, AvailabilityPlace, AvailableRestaurant, RestaurantError,
};

/// Metres.
const DEFAULT_RADIUS: f64 = 5_000.0;
const LARGEST_RADIUS: f64 = 50_000.0;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AvailabilityQuery {
    lat: f64,
    lng: f64,
    radius: Option<f64>,
    at: Option<DateTime<Utc>>,
    cuisine: Option<String>,
    page_size: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn find(
    State(state): State<AppState>,
    Query(query): Query<AvailabilityQuery>,
) -> Result<Json<Page<AvailableRestaurant>>, ServiceError> {
    let page_size = page_size(query.page_size)?;
    let near = GeoPoint::new(query.lat, query.lng)
        .map_err(|error| ServiceError::BadRequest(error.to_string()))?;
    let radius = query.radius.unwrap_or(DEFAULT_RADIUS);
    if !(0.0..=LARGEST_RADIUS).contains(&radius) {
        return Err(ServiceError::BadRequest(format!(
            "radius: between 0 and {LARGEST_RADIUS} metres"
        )));
    }
    let after = query
        .cursor
        .map(|text| AvailabilityPlace::read(&text))
        .transpose()
        .map_err(|error| ServiceError::BadRequest(format!("cursor: {error}")))?;
    let filter = AvailabilityFilter {
        near,
        radius,
        at: query
            .at
            .or(after.as_ref().map(|place| place.at))
            .unwrap_or_else(Utc::now),
        cuisine: query.cuisine.filter(|cuisine| !cuisine.is_empty()),
    };
    let page = restaurants::find(state.database.read(), &filter, after.as_ref(), page_size).await?;
    Ok(Json(Page {
        items: page.items,
        next_cursor: page.next.map(|place| place.cursor()),
    }))
}

impl From<RestaurantError> for ServiceError {
    fn from(error: RestaurantError) -> Self {
        match error {
            RestaurantError::Storage(error) => error.into(),
            RestaurantError::Hours { .. } | RestaurantError::Json { .. } => {
                ServiceError::internal(error)
            }
        }
    }
}
