//! Orders in the database: one document each, guarded by its version, its event in the outbox beside it.
//! Not here: who opens the transactions.

use ftgo_chassis::IdList;
use ftgo_messaging::outbox;
use sqlx::types::Json;
use sqlx::{SqliteConnection, SqlitePool};

use crate::domain::{Order, OrderEvent};
use crate::representation::event_message;

/// Why an order was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("order {id} is no longer at version {version}")]
    Conflict { id: String, version: i64 },
    #[error("the order has no JSON form")]
    Json(#[from] serde_json::Error),
    #[error("the database refused the order")]
    Database(#[from] sqlx::Error),
}

pub(crate) async fn find(readers: &SqlitePool, id: &str) -> Result<Option<Order>, sqlx::Error> {
    let mut connection = readers.acquire().await?;
    find_in(&mut connection, id).await
}

/// The same inside a transaction.
pub(crate) async fn find_in(
    tx: &mut SqliteConnection,
    id: &str,
) -> Result<Option<Order>, sqlx::Error> {
    let document: Option<Json<Order>> =
        sqlx::query_scalar("SELECT document FROM orders WHERE id = ?")
            .bind(id)
            .fetch_optional(tx)
            .await?;
    Ok(document.map(|Json(order)| order))
}

/// The orders of these ids that exist, in the order of the ids.
pub(crate) async fn find_all(
    readers: &SqlitePool,
    ids: &IdList,
) -> Result<Vec<Order>, sqlx::Error> {
    let documents: Vec<Json<Order>> = sqlx::query_scalar(
        "SELECT orders.document FROM json_each(?) AS wanted JOIN orders ON orders.id = wanted.value \
         ORDER BY wanted.key",
    )
    .bind(ids.to_json())
    .fetch_all(readers)
    .await?;
    Ok(documents.into_iter().map(|Json(order)| order).collect())
}

/// Stores a new order and says so.
pub(crate) async fn insert(
    tx: &mut SqliteConnection,
    order: &Order,
    event: OrderEvent,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO orders (id, version, document) VALUES (?, ?, ?)")
        .bind(order.id())
        .bind(order.version())
        .bind(Json(order))
        .execute(&mut *tx)
        .await?;
    outbox::publish(tx, &event_message(order, event)?).await?;
    Ok(())
}

/// Stores an order that made one move since it was read, and says so.
///
/// # Errors
/// A conflict when someone else moved it in between.
pub(crate) async fn update(
    tx: &mut SqliteConnection,
    order: &Order,
    event: OrderEvent,
) -> Result<(), StoreError> {
    let read = order.version() - 1;
    let updated =
        sqlx::query("UPDATE orders SET version = ?, document = ? WHERE id = ? AND version = ?")
            .bind(order.version())
            .bind(Json(order))
            .bind(order.id())
            .bind(read)
            .execute(&mut *tx)
            .await?;
    if updated.rows_affected() == 0 {
        return Err(StoreError::Conflict {
            id: order.id().to_owned(),
            version: read,
        });
    }
    outbox::publish(tx, &event_message(order, event)?).await?;
    Ok(())
}
