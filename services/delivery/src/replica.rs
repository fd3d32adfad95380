//! What this service remembers of the restaurants: where food is picked up, fed by restaurant events.
//! Menus, names and opening hours are not kept.

use ftgo_chassis::{Address, GeoPoint};
use serde::Deserialize;
use sqlx::SqliteConnection;
use sqlx::types::Json;

/// The part of a restaurant event that this service reads.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestaurantSnapshot {
    pub restaurant_id: String,
    pub address: Address,
    pub location: GeoPoint,
    #[serde(default)]
    pub version: i64,
}

/// Where a restaurant's food is picked up.
#[derive(Debug)]
pub struct PickupPlace {
    pub address: Address,
    pub location: GeoPoint,
}

/// Takes over a snapshot, unless a later one was seen before.
pub async fn remember(
    tx: &mut SqliteConnection,
    restaurant: &RestaurantSnapshot,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO restaurant (id, address, lat, lng, version) VALUES (?, ?, ?, ?, ?) \
         ON CONFLICT (id) DO UPDATE SET address = excluded.address, lat = excluded.lat, lng = excluded.lng, \
         version = excluded.version WHERE excluded.version >= restaurant.version",
    )
    .bind(&restaurant.restaurant_id)
    .bind(Json(&restaurant.address))
    .bind(restaurant.location.lat)
    .bind(restaurant.location.lng)
    .bind(restaurant.version)
    .execute(tx)
    .await?;
    Ok(())
}

/// The restaurant's pickup place, if this service has heard of it.
pub async fn pickup_place(
    tx: &mut SqliteConnection,
    restaurant_id: &str,
) -> Result<Option<PickupPlace>, sqlx::Error> {
    let row: Option<(Json<Address>, f64, f64)> =
        sqlx::query_as("SELECT address, lat, lng FROM restaurant WHERE id = ?")
            .bind(restaurant_id)
            .fetch_optional(tx)
            .await?;
    Ok(row.map(|(address, lat, lng)| PickupPlace {
        address: address.0,
        location: GeoPoint { lat, lng },
    }))
}
