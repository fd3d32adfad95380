//! How an attempt has ended, written down: for its message, and for the endpoint, which is disabled when it fails too often.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::Message;
use crate::config::WebhooksConfig;
use crate::store::{Store, StoreError};
use crate::webhooks::send::Outcome;
use crate::webhooks::{millis, now};

/// Writes down how an attempt has ended: for its message only as long as nobody has asked for that anew, and for the endpoint only
/// when it was not enabled since the attempt began. What fails after the endpoint was disabled changes nothing. Says why when the
/// endpoint is disabled by it.
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
        generation: message.generation,
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
    generation: i64,
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
                if !self.is_of_now(connection).await? {
                    return self.failed(connection, Some(410), &why).await;
                }
                self.over(connection, "failed", Some(410), Some(&why))
                    .await?;
                self.disable(connection, why).await
            }
            Outcome::Failed { status, why, .. } => self.failed(connection, status, &why).await,
        }
    }

    /// Whether the endpoint was not enabled since the attempt began.
    async fn is_of_now(&self, connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let generation: Option<i64> =
            sqlx::query_scalar("SELECT generation FROM webhooks_endpoints WHERE id = ?")
                .bind(&self.endpoint)
                .fetch_optional(connection)
                .await?;
        Ok(generation == Some(self.generation))
    }

    /// What was taken was taken, also when it had been given up meanwhile.
    async fn over(
        &self,
        connection: &mut SqliteConnection,
        state: &str,
        status: Option<u16>,
        fault: Option<&str>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE webhooks_deliveries
             SET state = ?1, status = ?2, fault = ?3, ended_at = ?4, attempts = attempts + 1
             WHERE number = ?5 AND round = ?6 AND (state = 'pending' OR ?1 = 'delivered')",
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
            "SELECT attempts FROM webhooks_deliveries
             WHERE number = ? AND round = ? AND state = 'pending'",
        )
        .bind(self.number)
        .bind(self.round)
        .fetch_optional(&mut *connection)
        .await?;
        // Taken away meanwhile, given up with its endpoint, or asked for anew.
        let Some(made) = made else { return Ok(None) };
        if made + 1 < self.attempts {
            sqlx::query(
                "UPDATE webhooks_deliveries
                 SET status = ?, fault = ?, due_at = ?, attempts = attempts + 1
                 WHERE number = ? AND state = 'pending'",
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
        let failures: Option<u32> = sqlx::query_scalar(
            "UPDATE webhooks_endpoints SET failures = failures + 1
             WHERE id = ? AND generation = ? RETURNING failures",
        )
        .bind(&self.endpoint)
        .bind(self.generation)
        .fetch_optional(&mut *connection)
        .await?;
        let Some(failures) = failures.filter(|failures| *failures >= self.disable_after) else {
            return Ok(None);
        };
        let why = format!("{failures} messages one after another could not be delivered");
        self.disable(connection, why).await
    }

    /// What waits is given up, so that the partner can see what it has missed, and ask for it.
    async fn disable(
        &self,
        connection: &mut SqliteConnection,
        why: String,
    ) -> Result<Option<String>, sqlx::Error> {
        let done = sqlx::query(
            "UPDATE webhooks_endpoints SET disabled = ?
             WHERE id = ? AND generation = ? AND disabled IS NULL",
        )
        .bind(&why)
        .bind(&self.endpoint)
        .bind(self.generation)
        .execute(&mut *connection)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(None);
        }
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
