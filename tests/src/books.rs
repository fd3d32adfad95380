//! A look into the services' databases, for claims that no surface shows: how often something was written; and orders of
//! another time, which no surface makes.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Row};

async fn open(file: &Path) -> Result<SqlitePool> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    Ok(SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await?)
}

/// How many rows `table` has.
pub async fn rows(file: &Path, table: &str) -> Result<i64> {
    let pool = open(file).await?;
    let row = sqlx::query(AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}")))
        .fetch_one(&pool)
        .await?;
    Ok(row.try_get(0)?)
}

/// How many authorizations of the card the account's history has for `order`.
pub async fn authorizations(file: &Path, order: &str) -> Result<usize> {
    let pool = open(file).await?;
    let events = sqlx::query("SELECT event FROM account_events ORDER BY account_id, version")
        .fetch_all(&pool)
        .await?;
    let mut count = 0;
    for event in events {
        let event: Value = serde_json::from_str(event.try_get(0)?)?;
        count += usize::from(event["type"] == "authorized" && event["orderId"] == order);
    }
    Ok(count)
}

/// Adds an order as the service keeps it, `document`, to its database `file`. Nobody is told of it.
pub async fn add_order(file: &Path, document: &str) -> Result<()> {
    let order: Value = serde_json::from_str(document)?;
    let options = SqliteConnectOptions::new().filename(file);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await?;
    sqlx::query("INSERT INTO orders (id, version, document) VALUES (?, ?, ?)")
        .bind(order["id"].as_str())
        .bind(order["version"].as_i64())
        .bind(document)
        .execute(&pool)
        .await?;
    pool.close().await;
    Ok(())
}

/// What partners have used of their plans, as a gateway's store knows it.
pub async fn used(file: &Path) -> Result<i64> {
    let pool = open(file).await?;
    let row = sqlx::query("SELECT coalesce(sum(used), 0) FROM quota_used")
        .fetch_one(&pool)
        .await?;
    Ok(row.try_get(0)?)
}
