//! The outbox table: what a service has said and who has it already. Offering its rows is the relay's work.

use std::collections::HashMap;

use sqlx::{SqliteConnection, SqlitePool};

use crate::message::Message;
use crate::now_millis;

/// Says `message` when the caller's transaction commits. A message without a topic (the reply to a command that wanted
/// none) is dropped.
///
/// # Errors
/// When the database refuses; the caller's transaction should be given up.
pub async fn publish(tx: &mut SqliteConnection, message: &Message) -> Result<(), sqlx::Error> {
    if message.topic.is_empty() {
        tracing::debug!(kind = %message.kind, id = %message.id, "nobody asked for this reply");
        return Ok(());
    }
    let json =
        serde_json::to_string(message).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    sqlx::query(
        "INSERT INTO outbox (id, topic, subject, message, created_at) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&message.id)
    .bind(&message.topic)
    .bind(&message.subject)
    .bind(json)
    .bind(now_millis())
    .execute(tx)
    .await?;
    Ok(())
}

/// An undelivered row without its message, which may be large.
pub(crate) struct Pending {
    pub(crate) seq: i64,
    pub(crate) topic: String,
    pub(crate) subject: String,
    /// Subscribers that have it already.
    pub(crate) receipts: Vec<String>,
}

/// The first undelivered rows after `seq`, at most `limit`, in the order of their commits. With `fresh`, the rows are
/// known to have no receipts.
pub(crate) async fn undelivered(
    readers: &SqlitePool,
    seq: i64,
    limit: i64,
    fresh: bool,
) -> Result<Vec<Pending>, sqlx::Error> {
    let rows: Vec<(i64, String, String)> = sqlx::query_as(
        "SELECT seq, topic, subject FROM outbox WHERE delivered_at IS NULL AND seq > ? ORDER BY seq LIMIT ?",
    )
    .bind(seq)
    .bind(limit)
    .fetch_all(readers)
    .await?;
    let mut receipts: HashMap<i64, Vec<String>> = HashMap::new();
    if let Some((last, ..)) = rows.last()
        && !fresh
    {
        let known: Vec<(i64, String)> =
            sqlx::query_as("SELECT seq, subscriber FROM outbox_receipt WHERE seq > ? AND seq <= ?")
                .bind(seq)
                .bind(last)
                .fetch_all(readers)
                .await?;
        for (seq, subscriber) in known {
            receipts.entry(seq).or_default().push(subscriber);
        }
    }
    Ok(rows
        .into_iter()
        .map(|(seq, topic, subject)| Pending {
            receipts: receipts.remove(&seq).unwrap_or_default(),
            seq,
            topic,
            subject,
        })
        .collect())
}

/// The message of a row; none when there is no such row.
pub(crate) async fn load(readers: &SqlitePool, seq: i64) -> Result<Option<Message>, sqlx::Error> {
    let text: Option<String> = sqlx::query_scalar("SELECT message FROM outbox WHERE seq = ?")
        .bind(seq)
        .fetch_optional(readers)
        .await?;
    text.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Records that all subscribers have a row.
pub(crate) async fn mark_delivered(
    tx: &mut SqliteConnection,
    seq: i64,
    now: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE outbox SET delivered_at = ? WHERE seq = ?")
        .bind(now)
        .bind(seq)
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM outbox_receipt WHERE seq = ?")
        .bind(seq)
        .execute(tx)
        .await?;
    Ok(())
}

/// Records that one subscriber has a row that others still miss.
pub(crate) async fn record_receipt(
    tx: &mut SqliteConnection,
    seq: i64,
    subscriber: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT OR IGNORE INTO outbox_receipt (seq, subscriber) VALUES (?, ?)")
        .bind(seq)
        .bind(subscriber)
        .execute(tx)
        .await?;
    Ok(())
}

/// Deletes up to `limit` rows that were delivered before `horizon` and says how many there were.
pub(crate) async fn prune(
    tx: &mut SqliteConnection,
    horizon: i64,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query(
        "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE delivered_at < ? LIMIT ?)",
    )
    .bind(horizon)
    .bind(limit)
    .execute(tx)
    .await?;
    Ok(deleted.rows_affected())
}
