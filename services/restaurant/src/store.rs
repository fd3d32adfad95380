//! Restaurants in the database: read, inserted and revised in the caller's transaction, each change together with its
//! event. What makes a restaurant valid is the domain's.

use chrono::Utc;
use ftgo_chassis::{Address, GeoPoint, Money};
use ftgo_messaging::{Message, outbox};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{FromRow, Row as _, SqliteConnection, SqliteExecutor};
use thiserror::Error;

use crate::domain::menu::Menu;
use crate::domain::opening_hours::OpeningHours;
use crate::domain::restaurant::Restaurant;

#[cfg(test)]
mod tests;

const TOPIC: &str = "restaurant.events";

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("restaurant {id} was changed by another writer, it is no longer at version {expected}")]
    Conflict { id: String, expected: i64 },
    #[error("a restaurant's event has no JSON form")]
    Encoding(#[from] serde_json::Error),
    #[error("the restaurant store failed")]
    Database(#[from] sqlx::Error),
}

pub(crate) async fn find(
    db: impl SqliteExecutor<'_>,
    id: &str,
) -> Result<Option<Restaurant>, StoreError> {
    let found: Option<Stored> = sqlx::query_as("SELECT * FROM current_restaurants WHERE id = ?")
        .bind(id)
        .fetch_optional(db)
        .await?;
    Ok(found.map(|Stored(restaurant)| restaurant))
}

/// Those of these restaurants that exist, in no particular order.
pub(crate) async fn find_all(
    db: impl SqliteExecutor<'_>,
    ids: &[String],
) -> Result<Vec<Restaurant>, StoreError> {
    let found: Vec<Stored> = sqlx::query_as(
        "SELECT * FROM current_restaurants WHERE id IN (SELECT value FROM json_each(?))",
    )
    .bind(Json(ids))
    .fetch_all(db)
    .await?;
    Ok(found
        .into_iter()
        .map(|Stored(restaurant)| restaurant)
        .collect())
}

/// Stores a new restaurant and publishes `RestaurantCreated`.
pub(crate) async fn insert(
    tx: &mut SqliteConnection,
    restaurant: &Restaurant,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO restaurants (id, version, name, address, latitude, longitude, cuisine, time_zone, opening_hours,
             minimum_amount, minimum_currency, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&restaurant.id)
    .bind(restaurant.version)
    .bind(&restaurant.name)
    .bind(Json(&restaurant.address))
    .bind(restaurant.location.lat)
    .bind(restaurant.location.lng)
    .bind(&restaurant.cuisine)
    .bind(&restaurant.time_zone)
    .bind(Json(&restaurant.opening_hours))
    .bind(restaurant.order_minimum.amount().to_string())
    .bind(restaurant.order_minimum.currency().to_string())
    .bind(restaurant.created_at)
    .execute(&mut *tx)
    .await?;
    insert_menu(tx, restaurant).await?;
    publish(tx, "RestaurantCreated", restaurant).await
}

/// Stores a revised menu and publishes `RestaurantMenuRevised`.
///
/// # Errors
/// [`StoreError::Conflict`] when the restaurant is no longer at the version before this revision.
pub(crate) async fn revise(
    tx: &mut SqliteConnection,
    restaurant: &Restaurant,
) -> Result<(), StoreError> {
    let expected = restaurant.version - 1;
    let updated = sqlx::query("UPDATE restaurants SET version = ? WHERE id = ? AND version = ?")
        .bind(restaurant.version)
        .bind(&restaurant.id)
        .bind(expected)
        .execute(&mut *tx)
        .await?;
    if updated.rows_affected() == 0 {
        return Err(StoreError::Conflict {
            id: restaurant.id.clone(),
            expected,
        });
    }
    insert_menu(tx, restaurant).await?;
    publish(tx, "RestaurantMenuRevised", restaurant).await
}

async fn insert_menu(tx: &mut SqliteConnection, restaurant: &Restaurant) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO menu_revisions (restaurant_id, version, items, revised_at) VALUES (?, ?, ?, ?)",
    )
    .bind(&restaurant.id)
    .bind(restaurant.version)
    .bind(Json(&restaurant.menu))
    .bind(Utc::now())
    .execute(tx)
    .await?;
    Ok(())
}

/// Every event carries the whole resource: replicas need no history and nobody has to call back.
async fn publish(
    tx: &mut SqliteConnection,
    kind: &str,
    restaurant: &Restaurant,
) -> Result<(), StoreError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Data<'a> {
        restaurant_id: &'a str,
        #[serde(flatten)]
        restaurant: &'a Restaurant,
    }
    let data = Data {
        restaurant_id: &restaurant.id,
        restaurant,
    };
    let message = Message::event(
        crate::NAME,
        TOPIC,
        kind,
        &restaurant.id,
        restaurant.version,
        data,
    )?;
    Ok(outbox::publish(tx, &message).await?)
}

struct Stored(Restaurant);

impl FromRow<'_, SqliteRow> for Stored {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let Json(address): Json<Address> = row.try_get("address")?;
        let Json(opening_hours): Json<OpeningHours> = row.try_get("opening_hours")?;
        let Json(menu): Json<Menu> = row.try_get("menu")?;
        let order_minimum = Money::parse(
            row.try_get("minimum_amount")?,
            row.try_get("minimum_currency")?,
        )
        .map_err(|error| sqlx::Error::ColumnDecode {
            index: "minimum_amount".to_owned(),
            source: error.into(),
        })?;
        Ok(Self(Restaurant {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            address,
            location: GeoPoint {
                lat: row.try_get("latitude")?,
                lng: row.try_get("longitude")?,
            },
            cuisine: row.try_get("cuisine")?,
            time_zone: row.try_get("time_zone")?,
            opening_hours,
            order_minimum,
            menu,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
        }))
    }
}
