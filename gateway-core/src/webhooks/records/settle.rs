//! How an attempt has ended, written down: for its message, and for the endpoint, which is disabled when it fails too often.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::Message;
use crate::config::WebhooksConfig;
use crate::store::{Store, StoreError};
use crate::webhooks::send::Outcome;
use crate::webhooks::{millis, now};

/// Writes down how an attempt has ended: for its message only as long as nobody has asked for that anew. Says why when the endpoint
/// is disabled by it.
pub(in crate::webhooks) async fn settle(
    store: &Store,
    endpoint: &str,
    message: &Message,
    outcome: Outcome,
    wait: Duration,
    config: &WebhooksConfig,
) -> Result<Option<String>, StoreError> {
    let end = End {
        endpoint: endpoint.to_owned(),
        number: message.number,
        round: message.round,
        now: now(),
        due_at: now().saturating_add(millis(wait)),
        attempts: config.attempts,
        disable_after: config.disable_after,
    };
    store
        .write(move |connection| Box::pin(end.write(connection, outcome)))
        .await
}

struct End {
    endpoint: String,
    number: i64,
    round: i64,
    now: i64,
    due_at: i64,
    /// After so many a message is given up,
    attempts: u32,
    /// and after so many messages that were given up one after another, the endpoint.
    disable_after: u32,
}

impl End {
    async fn write(
        self,
        connection: &mut SqliteConnection,
        outcome: Outcome,
    ) -> Result<Option<String>, sqlx::Error> {
        match outcome {
            Outcome::Delivered(status) => {
                self.over(connection, "delivered", Some(status), None)
                    .await?;
                sqlx::query(
                    "UPDATE webhooks_endpoints SET failures = 0 WHERE id = ? AND failures > 0",
                )
                .bind(&self.endpoint)
                .execute(connection)
                .await?;
                Ok(None)
            }
            Outcome::Gone => {
                let why = "the answer was 410".to_owned();
                self.over(connection, "failed", Some(410), Some(&why))
                    .await?;
                self.disable(connection, why).await
            }
            Outcome::Failed { status, why, .. } => self.failed(connection, status, &why).await,
        }
    }

    async fn over(
        &self,
        connection: &mut SqliteConnection,
        state: &str,
        status: Option<u16>,
        fault: Option<&str>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE webhooks_deliveries
             SET state = ?, status = ?, fault = ?, ended_at = ?, attempts = attempts + 1
             WHERE number = ? AND round = ?",
        )
        .bind(state)
        .bind(status)
        .bind(fault)
        .bind(self.now)
        .bind(self.number)
        .bind(self.round)
        .execute(connection)
        .await
        .map(drop)
    }

    async fn failed(
        &self,
        connection: &mut SqliteConnection,
        status: Option<u16>,
        why: &str,
    ) -> Result<Option<String>, sqlx::Error> {
        let made: Option<u32> = sqlx::query_scalar(
            "SELECT attempts FROM webhooks_deliveries WHERE number = ? AND round = ?",
        )
        .bind(self.number)
        .bind(self.round)
        .fetch_optional(&mut *connection)
        .await?;
        // Taken away meanwhile, or asked for anew.
        let Some(made) = made else { return Ok(None) };
        if made + 1 < self.attempts {
            sqlx::query(
                "UPDATE webhooks_deliveries
                 SET status = ?, fault = ?, due_at = ?, attempts = attempts + 1 WHERE number = ?",
            )
            .bind(status)
            .bind(why)
            .bind(self.due_at)
            .bind(self.number)
            .execute(connection)
            .await?;
            return Ok(None);
        }
        self.over(connection, "failed", status, Some(why)).await?;
        let failures: u32 = sqlx::query_scalar(
            "UPDATE webhooks_endpoints SET failures = failures + 1 WHERE id = ? RETURNING failures",
        )
        .bind(&self.endpoint)
        .fetch_one(&mut *connection)
        .await?;
        if failures < self.disable_after {
            return Ok(None);
        }
        let why = format!("{failures} messages one after another could not be delivered");
        self.disable(connection, why).await
    }

    /// What waits is given up, so that the partner can see what it has missed, and ask for it.
    async fn disable(
        &self,
        connection: &mut SqliteConnection,
        why: String,
    ) -> Result<Option<String>, sqlx::Error> {
        sqlx::query("UPDATE webhooks_endpoints SET disabled = ? WHERE id = ?")
            .bind(&why)
            .bind(&self.endpoint)
            .execute(&mut *connection)
            .await?;
        sqlx::query(
            "UPDATE webhooks_deliveries
             SET state = 'failed', fault = 'the webhook was disabled', ended_at = ?
             WHERE endpoint = ? AND state = 'pending'",
        )
        .bind(self.now)
        .bind(&self.endpoint)
        .execute(connection)
        .await?;
        Ok(Some(why))
    }
}
