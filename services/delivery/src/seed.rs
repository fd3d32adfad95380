//! The couriers of the demonstration. Deliveries are not seeded: they come from orders.

use ftgo_chassis::GeoPoint;
use ftgo_messaging::Database;

use crate::courier::Courier;
use crate::store::couriers;

const COURIERS: [(&str, &str, GeoPoint); 3] = [
    (
        "courier-1",
        "Courier One",
        GeoPoint {
            lat: 37.8044,
            lng: -122.2712,
        },
    ),
    (
        "courier-2",
        "Courier Two",
        GeoPoint {
            lat: 37.7980,
            lng: -122.2630,
        },
    ),
    (
        "courier-3",
        "Courier Three",
        GeoPoint {
            lat: 37.8110,
            lng: -122.2650,
        },
    ),
];

/// Adds the couriers that are missing, available and in the middle of the city; those who are there stay as they are.
///
/// # Errors
/// When the database fails.
pub async fn seed(database: &Database) -> Result<(), sqlx::Error> {
    for (id, name, location) in COURIERS {
        if couriers::find(database.read(), id).await?.is_some() {
            continue;
        }
        let courier = Courier::new(id.to_owned(), name.to_owned(), true, Some(location));
        let mut tx = database.write().await?;
        couriers::insert(&mut tx, &courier).await?;
        tx.commit().await?;
    }
    Ok(())
}
