//! The table of couriers: insert, find, save, and the two sets that scheduling and announcing ask for.

use chrono::{DateTime, Utc};
use ftgo_chassis::GeoPoint;
use sqlx::{Executor, FromRow, Sqlite, SqliteConnection};

use crate::courier::Courier;
use crate::scheduling::Candidate;

/// Adds a courier who does not exist yet; one with this id already stays as they are.
pub async fn insert(tx: &mut SqliteConnection, courier: &Courier) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO courier (id, name, available, lat, lng, version) VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(&courier.id)
    .bind(&courier.name)
    .bind(courier.available)
    .bind(courier.location.map(|location| location.lat))
    .bind(courier.location.map(|location| location.lng))
    .bind(courier.version)
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes what was changed on a courier read in the same (immediate) transaction.
pub async fn save(tx: &mut SqliteConnection, courier: &Courier) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE courier SET available = ?, lat = ?, lng = ?, located_at = ?, announced_at = ?, announcement_due = ?, \
         version = ? WHERE id = ?",
    )
    .bind(courier.available)
    .bind(courier.location.map(|location| location.lat))
    .bind(courier.location.map(|location| location.lng))
    .bind(courier.located_at)
    .bind(courier.announced_at)
    .bind(courier.announcement_due)
    .bind(courier.version)
    .bind(&courier.id)
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn find<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
    id: &str,
) -> Result<Option<Courier>, sqlx::Error> {
    let row: Option<CourierRow> = sqlx::query_as("SELECT * FROM courier WHERE id = ?")
        .bind(id)
        .fetch_optional(executor)
        .await?;
    Ok(row.map(Courier::from))
}

/// Couriers who take deliveries and whose place is known, each with the number of deliveries they are on.
pub async fn candidates<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
) -> Result<Vec<Candidate>, sqlx::Error> {
    let rows: Vec<CandidateRow> = sqlx::query_as(
        "SELECT courier.*, (SELECT count(*) FROM delivery \
             WHERE delivery.courier_id = courier.id AND delivery.state IN ('SCHEDULED', 'PICKED_UP')) AS deliveries \
         FROM courier WHERE available AND lat IS NOT NULL",
    )
    .fetch_all(executor)
    .await?;
    let candidates = rows.into_iter().map(|row| Candidate {
        courier: row.courier.into(),
        deliveries: usize::try_from(row.deliveries).unwrap_or(usize::MAX),
    });
    Ok(candidates.collect())
}

/// Couriers who have a location that was not announced.
pub async fn to_announce<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
) -> Result<Vec<Courier>, sqlx::Error> {
    let rows: Vec<CourierRow> =
        sqlx::query_as("SELECT * FROM courier WHERE announcement_due ORDER BY id")
            .fetch_all(executor)
            .await?;
    Ok(rows.into_iter().map(Courier::from).collect())
}

#[derive(FromRow)]
struct CourierRow {
    id: String,
    name: String,
    available: bool,
    lat: Option<f64>,
    lng: Option<f64>,
    located_at: Option<DateTime<Utc>>,
    announced_at: Option<DateTime<Utc>>,
    announcement_due: bool,
    version: i64,
}

#[derive(FromRow)]
struct CandidateRow {
    #[sqlx(flatten)]
    courier: CourierRow,
    deliveries: i64,
}

impl From<CourierRow> for Courier {
    fn from(row: CourierRow) -> Courier {
        Courier {
            id: row.id,
            name: row.name,
            available: row.available,
            location: row.lat.zip(row.lng).map(|(lat, lng)| GeoPoint { lat, lng }),
            located_at: row.located_at,
            announced_at: row.announced_at,
            announcement_due: row.announcement_due,
            version: row.version,
        }
    }
}
