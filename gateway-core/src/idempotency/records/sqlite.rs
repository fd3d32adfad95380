//! Records in the process's own store.
//!
//! The file belongs to one process: a claim of another instance is one of a process that is gone. While two processes hand over
//! a listening socket both may be at the same key for a moment; the service's own deduplication by the derived key holds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::SqliteConnection;

use super::{Claim, KEPT, Known, RecordError};
use crate::store::{Store, StoreError, Tables};

/// What an app with idempotency keys has in its store.
pub const TABLES: Tables = Tables {
    owner: "idempotency",
    migrations: &["CREATE TABLE idempotency_keys (
        key TEXT PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        owner TEXT,
        owned_until INTEGER,
        outcome TEXT,
        created_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at)"],
};

type Row = (String, Option<String>, Option<i64>, Option<String>);

pub(super) async fn begin(store: &Store, claim: &Claim) -> Result<Known<String>, RecordError> {
    let claim = claim.clone();
    let now = now();
    let known = store.write(move |connection| Box::pin(claim_in(connection, claim, now)));
    Ok(known.await?)
}

async fn claim_in(
    connection: &mut SqliteConnection,
    claim: Claim,
    now: i64,
) -> Result<Known<String>, sqlx::Error> {
    let until = now.saturating_add(millis(claim.lease));
    let known: Option<Row> = sqlx::query_as(
        "SELECT fingerprint, owner, owned_until, outcome FROM idempotency_keys
         WHERE key = ? AND created_at > ?",
    )
    .bind(&claim.key)
    .bind(now.saturating_sub(millis(KEPT)))
    .fetch_optional(&mut *connection)
    .await?;
    match known {
        Some((fingerprint, ..)) if fingerprint != claim.fingerprint => {
            return Ok(Known::OtherPayload);
        }
        Some((.., Some(outcome))) => return Ok(Known::Done(outcome)),
        Some((_, Some(owner), Some(until), None))
            if claim.owner.is_beside(&owner) && until > now =>
        {
            return Ok(Known::InFlight);
        }
        Some(_) => {
            sqlx::query("UPDATE idempotency_keys SET owner = ?, owned_until = ? WHERE key = ?")
                .bind(claim.owner.to_string())
                .bind(until)
                .bind(claim.key)
                .execute(connection)
                .await?;
        }
        None => {
            sqlx::query(
                "INSERT OR REPLACE INTO idempotency_keys
                 (key, fingerprint, owner, owned_until, created_at) VALUES (?, ?, ?, ?, ?)",
            )
            .bind(claim.key)
            .bind(claim.fingerprint)
            .bind(claim.owner.to_string())
            .bind(until)
            .bind(now)
            .execute(connection)
            .await?;
        }
    }
    Ok(Known::Claimed)
}

pub(super) async fn end(
    store: &Store,
    claim: &Claim,
    outcome: Option<String>,
) -> Result<(), RecordError> {
    let claim = claim.clone();
    store
        .write(move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE idempotency_keys SET outcome = ?, owner = NULL, owned_until = NULL
                     WHERE key = ? AND owner = ?",
                )
                .bind(outcome)
                .bind(claim.key)
                .bind(claim.owner.to_string())
                .execute(connection)
                .await
                .map(drop)
            })
        })
        .await?;
    Ok(())
}

/// Forgets what is older than it has to be known.
pub(in crate::idempotency) async fn prune(store: &Store) -> Result<(), StoreError> {
    let horizon = now().saturating_sub(millis(KEPT));
    store
        .write(move |connection| {
            Box::pin(async move {
                sqlx::query("DELETE FROM idempotency_keys WHERE created_at <= ?")
                    .bind(horizon)
                    .execute(connection)
                    .await
                    .map(drop)
            })
        })
        .await
}

/// Milliseconds since the epoch: what is written here is read after a restart.
fn now() -> i64 {
    millis(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
