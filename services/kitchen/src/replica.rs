//! What the kitchen remembers of the restaurants: that they exist and how they are called, fed by restaurant events.
//! Menus and opening hours are not kept: the kitchen cooks what an order names.

use serde::Deserialize;
use sqlx::SqliteConnection;

/// The part of a restaurant event that the kitchen reads.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestaurantSnapshot {
    pub restaurant_id: String,
    pub name: String,
    #[serde(default)]
    pub version: i64,
}

/// Takes over a snapshot, unless a later one was seen before.
pub async fn remember(
    tx: &mut SqliteConnection,
    restaurant: &RestaurantSnapshot,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO restaurant (id, name, version) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET \
         name = excluded.name, version = excluded.version WHERE excluded.version >= restaurant.version",
    )
    .bind(&restaurant.restaurant_id)
    .bind(&restaurant.name)
    .bind(restaurant.version)
    .execute(tx)
    .await?;
    Ok(())
}

/// The restaurant's name, if the kitchen has heard of it.
pub async fn name_of(
    tx: &mut SqliteConnection,
    restaurant_id: &str,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT name FROM restaurant WHERE id = ?")
        .bind(restaurant_id)
        .fetch_optional(tx)
        .await
}
