//! The table of deliveries: insert, find, save, and the two sets that scheduling and plans ask for.

use chrono::{DateTime, Utc};
use ftgo_chassis::{Address, GeoPoint, IdList};
use sqlx::types::Json;
use sqlx::{Executor, FromRow, Sqlite, SqliteConnection};

use crate::delivery::{AssignedCourier, CarriedItem, Delivery, DeliveryState};

/// A delivery and where its courier is right now.
#[derive(Debug)]
pub struct LocatedDelivery {
    pub delivery: Delivery,
    pub courier_location: Option<GeoPoint>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT delivery.*, courier.lat AS courier_lat, courier.lng AS courier_lng \
             FROM delivery LEFT JOIN courier ON courier.id = delivery.courier_id ",
            $rest
        )
    };
}

/// Adds a delivery that does not exist yet; `false` when there is one with this id already, which stays as it is.
pub async fn insert(tx: &mut SqliteConnection, delivery: &Delivery) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO delivery (id, consumer_id, restaurant_id, state, version, pickup_address, pickup_lat, pickup_lng, \
         delivery_address, line_items, ready_by, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(&delivery.id)
    .bind(&delivery.consumer_id)
    .bind(&delivery.restaurant_id)
    .bind(delivery.state.as_str())
    .bind(delivery.version)
    .bind(Json(&delivery.pickup_address))
    .bind(delivery.pickup_location.lat)
    .bind(delivery.pickup_location.lng)
    .bind(Json(&delivery.delivery_address))
    .bind(Json(&delivery.line_items))
    .bind(delivery.ready_by)
    .bind(delivery.created_at)
    .bind(delivery.updated_at)
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes what a move changed. The delivery was read in the same (immediate) transaction, so no other writer came
/// between.
pub async fn save(tx: &mut SqliteConnection, delivery: &Delivery) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE delivery SET state = ?, version = ?, line_items = ?, ready_by = ?, courier_id = ?, courier_name = ?, \
         scheduled_pickup_time = ?, scheduled_delivery_time = ?, picked_up_at = ?, delivered_at = ?, updated_at = ? \
         WHERE id = ?",
    )
    .bind(delivery.state.as_str())
    .bind(delivery.version)
    .bind(Json(&delivery.line_items))
    .bind(delivery.ready_by)
    .bind(delivery.courier.as_ref().map(|courier| &courier.id))
    .bind(delivery.courier.as_ref().map(|courier| &courier.name))
    .bind(delivery.scheduled_pickup_time)
    .bind(delivery.scheduled_delivery_time)
    .bind(delivery.picked_up_at)
    .bind(delivery.delivered_at)
    .bind(delivery.updated_at)
    .bind(&delivery.id)
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn find<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
    id: &str,
) -> Result<Option<LocatedDelivery>, sqlx::Error> {
    let row: Option<DeliveryRow> = sqlx::query_as(select!("WHERE delivery.id = ?"))
        .bind(id)
        .fetch_optional(executor)
        .await?;
    row.map(LocatedDelivery::try_from).transpose()
}

/// The deliveries among `ids` that exist, in the order of their ids.
pub async fn find_all<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
    ids: &IdList,
) -> Result<Vec<LocatedDelivery>, sqlx::Error> {
    let rows: Vec<DeliveryRow> = sqlx::query_as(select!(
        "WHERE delivery.id IN (SELECT value FROM json_each(?)) ORDER BY delivery.id"
    ))
    .bind(ids.to_json())
    .fetch_all(executor)
    .await?;
    rows.into_iter().map(LocatedDelivery::try_from).collect()
}

/// Deliveries that lack nothing but a courier, the most urgent first, at most `limit`.
pub async fn waiting_for_courier<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
    limit: u32,
) -> Result<Vec<Delivery>, sqlx::Error> {
    let rows: Vec<DeliveryRow> = sqlx::query_as(select!(
        "WHERE delivery.state = 'PENDING' AND delivery.ready_by IS NOT NULL \
         ORDER BY delivery.ready_by, delivery.id LIMIT ?"
    ))
    .bind(limit)
    .fetch_all(executor)
    .await?;
    deliveries(rows)
}

/// The deliveries that the courier has still to pick up or to drop off.
pub async fn under_way<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
    courier_id: &str,
) -> Result<Vec<Delivery>, sqlx::Error> {
    let rows: Vec<DeliveryRow> = sqlx::query_as(select!(
        "WHERE delivery.courier_id = ? AND delivery.state IN ('SCHEDULED', 'PICKED_UP') ORDER BY delivery.id"
    ))
    .bind(courier_id)
    .fetch_all(executor)
    .await?;
    deliveries(rows)
}

/// Keeps the promise of a kitchen for an order that did not arrive yet.
pub async fn keep_early_promise(
    tx: &mut SqliteConnection,
    order_id: &str,
    ready_by: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO early_promise (order_id, ready_by) VALUES (?, ?) \
         ON CONFLICT (order_id) DO UPDATE SET ready_by = excluded.ready_by",
    )
    .bind(order_id)
    .bind(ready_by)
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes the promise that was kept for an order, if there is one.
pub async fn take_early_promise(
    tx: &mut SqliteConnection,
    order_id: &str,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar("DELETE FROM early_promise WHERE order_id = ? RETURNING ready_by")
        .bind(order_id)
        .fetch_optional(tx)
        .await
}

#[derive(FromRow)]
struct DeliveryRow {
    id: String,
    consumer_id: Option<String>,
    restaurant_id: String,
    state: String,
    version: i64,
    pickup_address: Json<Address>,
    pickup_lat: f64,
    pickup_lng: f64,
    delivery_address: Json<Address>,
    line_items: Json<Vec<CarriedItem>>,
    ready_by: Option<DateTime<Utc>>,
    courier_id: Option<String>,
    courier_name: Option<String>,
    scheduled_pickup_time: Option<DateTime<Utc>>,
    scheduled_delivery_time: Option<DateTime<Utc>>,
    picked_up_at: Option<DateTime<Utc>>,
    delivered_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    courier_lat: Option<f64>,
    courier_lng: Option<f64>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no state of a delivery")]
struct UnknownState(String);

fn deliveries(rows: Vec<DeliveryRow>) -> Result<Vec<Delivery>, sqlx::Error> {
    rows.into_iter()
        .map(|row| LocatedDelivery::try_from(row).map(|located| located.delivery))
        .collect()
}

impl TryFrom<DeliveryRow> for LocatedDelivery {
    type Error = sqlx::Error;

    fn try_from(row: DeliveryRow) -> Result<LocatedDelivery, sqlx::Error> {
        let Some(state) = DeliveryState::parse(&row.state) else {
            return Err(sqlx::Error::Decode(Box::new(UnknownState(row.state))));
        };
        let delivery = Delivery {
            id: row.id,
            consumer_id: row.consumer_id,
            restaurant_id: row.restaurant_id,
            state,
            version: row.version,
            pickup_address: row.pickup_address.0,
            pickup_location: GeoPoint {
                lat: row.pickup_lat,
                lng: row.pickup_lng,
            },
            delivery_address: row.delivery_address.0,
            line_items: row.line_items.0,
            ready_by: row.ready_by,
            courier: row
                .courier_id
                .zip(row.courier_name)
                .map(|(id, name)| AssignedCourier { id, name }),
            scheduled_pickup_time: row.scheduled_pickup_time,
            scheduled_delivery_time: row.scheduled_delivery_time,
            picked_up_at: row.picked_up_at,
            delivered_at: row.delivered_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        };
        Ok(LocatedDelivery {
            delivery,
            courier_location: row
                .courier_lat
                .zip(row.courier_lng)
                .map(|(lat, lng)| GeoPoint { lat, lng }),
        })
    }
}
