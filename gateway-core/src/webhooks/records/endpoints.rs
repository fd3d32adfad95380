//! The endpoints of partners: added, listed, changed, taken away. What is delivered to them is `records.rs`'s.

use std::time::Duration;

use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;

use super::{Endpoint, changed};
use crate::store::{Store, StoreError};
use crate::webhooks::WebhookError;

/// False when the partner has `most` endpoints.
pub(in crate::webhooks) async fn create(
    store: &Store,
    partner: &str,
    endpoint: &Endpoint,
    secret: &str,
    most: usize,
) -> Result<bool, StoreError> {
    let (partner, secret) = (partner.to_owned(), secret.to_owned());
    let endpoint = endpoint.clone();
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    store
        .write(move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO webhooks_endpoints (id, partner, url, kinds, ordered, secret, created_at)
                     SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
                     WHERE (SELECT count(*) FROM webhooks_endpoints WHERE partner = ?2) < ?8",
                )
                .bind(endpoint.id)
                .bind(partner)
                .bind(endpoint.url)
                .bind(endpoint.kinds.join(" "))
                .bind(endpoint.ordered)
                .bind(secret)
                .bind(endpoint.created_at)
                .bind(most)
                .execute(connection)
                .await
                .map(|done| done.rows_affected() > 0)
            })
        })
        .await
}

type EndpointRow = (String, String, String, bool, Option<String>, i64);

pub(in crate::webhooks) async fn list(
    store: &Store,
    partner: &str,
) -> Result<Vec<Endpoint>, StoreError> {
    let partner = partner.to_owned();
    let rows: Vec<EndpointRow> = store
        .read(move |connection| {
            Box::pin(async move {
                sqlx::query_as(
                    "SELECT id, url, kinds, ordered, disabled, created_at FROM webhooks_endpoints
                     WHERE partner = ? ORDER BY created_at, id",
                )
                .bind(partner)
                .fetch_all(connection)
                .await
            })
        })
        .await?;
    let endpoints = rows.into_iter().map(|row| {
        let (id, url, kinds, ordered, disabled, created_at) = row;
        Endpoint {
            id,
            url,
            kinds: kinds.split_whitespace().map(str::to_owned).collect(),
            ordered,
            disabled,
            created_at,
        }
    });
    Ok(endpoints.collect())
}

/// False when the partner has no such endpoint; so is [`enable`].
pub(in crate::webhooks) async fn delete(
    store: &Store,
    partner: &str,
    id: &str,
) -> Result<bool, StoreError> {
    let query = sqlx::query("DELETE FROM webhooks_endpoints WHERE id = ? AND partner = ?");
    write(store, query.bind(id.to_owned()).bind(partner.to_owned())).await
}

pub(in crate::webhooks) async fn enable(
    store: &Store,
    partner: &str,
    id: &str,
) -> Result<bool, StoreError> {
    let query = sqlx::query(
        "UPDATE webhooks_endpoints SET disabled = NULL, failures = 0, generation = generation + 1
         WHERE id = ? AND partner = ?",
    );
    write(store, query.bind(id.to_owned()).bind(partner.to_owned())).await
}

async fn write(
    store: &Store,
    query: Query<'static, Sqlite, SqliteArguments>,
) -> Result<bool, StoreError> {
    store
        .write(move |connection| Box::pin(changed(connection, query)))
        .await
}

/// The secret so far is good until `until`; the one before has to be over.
pub(in crate::webhooks) async fn rotate(
    store: &Store,
    partner: &str,
    id: &str,
    secret: &str,
    now: i64,
    until: i64,
) -> Result<(), WebhookError> {
    let (partner, id, secret) = (partner.to_owned(), id.to_owned(), secret.to_owned());
    store
        .write(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(
                    "UPDATE webhooks_endpoints SET former_secret = secret, former_until = ?, secret = ?
                     WHERE id = ? AND partner = ? AND former_until <= ?",
                );
                let query = query.bind(until).bind(secret);
                let query = query.bind(id.clone()).bind(partner.clone()).bind(now);
                if changed(connection, query).await? {
                    return Ok(None);
                }
                let former: Option<i64> = sqlx::query_scalar(
                    "SELECT former_until FROM webhooks_endpoints WHERE id = ? AND partner = ?",
                )
                .bind(id)
                .bind(partner)
                .fetch_optional(connection)
                .await?;
                Ok(Some(match former {
                    None => WebhookError::Unknown,
                    Some(former) => {
                        let left = former.saturating_sub(now).unsigned_abs();
                        WebhookError::Overlap(Duration::from_millis(left))
                    }
                }))
            })
        })
        .await?
        .map_or(Ok(()), Err)
}
