//! The event store: loads an account by folding its events, and appends what a command causes together with the
//! projections and the published events, in the caller's transaction. What may happen to an account is the domain's
//! decision.

mod projection;
mod published;

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use thiserror::Error;

pub(crate) use projection::{
    AccountRow, BillRow, account_by_consumer, account_by_id, bill, bills, id_of_consumers_account,
};

use crate::domain::account::{Account, Command, Event, Rejection};

#[cfg(test)]
mod tests;

#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("account {account_id} was changed by another writer at version {version}")]
    Conflict { account_id: String, version: i64 },
    #[error("an event of account {account_id} does not fit its stored form")]
    Encoding {
        account_id: String,
        source: serde_json::Error,
    },
    #[error("the account store failed")]
    Database(#[from] sqlx::Error),
}

/// Loads the account, lets it process the command, and stores what follows. Nothing is stored when it rejects, or when
/// the command's effect is there already.
pub(crate) async fn execute(
    db: &mut SqliteConnection,
    account_id: &str,
    command: Command,
    now: DateTime<Utc>,
) -> Result<Result<(), Rejection>, StoreError> {
    let account = load(db, account_id).await?;
    match account.process(command) {
        Ok(events) => {
            append(db, account_id, account, &events, now).await?;
            Ok(Ok(()))
        }
        Err(rejection) => Ok(Err(rejection)),
    }
}

/// Folds the whole history; an account that does not exist is the one before its first event. A consumer's orders are
/// hundreds, not millions: no snapshots.
pub(crate) async fn load(
    db: &mut SqliteConnection,
    account_id: &str,
) -> Result<Account, StoreError> {
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT event FROM account_events WHERE account_id = ? ORDER BY version",
    )
    .bind(account_id)
    .fetch_all(db)
    .await?;
    let events = rows
        .iter()
        .map(|row| serde_json::from_str(row))
        .collect::<Result<Vec<Event>, _>>()
        .map_err(|source| encoding(account_id, source))?;
    Ok(Account::replay(&events))
}

/// Appends after the version that `account` was loaded at.
///
/// # Errors
/// [`StoreError::Conflict`] when somebody else appended meanwhile.
pub(crate) async fn append(
    db: &mut SqliteConnection,
    account_id: &str,
    mut account: Account,
    events: &[Event],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    for event in events {
        account.apply(event);
        let version = account.version();
        let json = serde_json::to_string(event).map_err(|source| encoding(account_id, source))?;
        sqlx::query(
            "INSERT INTO account_events (account_id, version, event, recorded_at) VALUES (?, ?, ?, ?)",
        )
        .bind(account_id)
        .bind(version)
        .bind(json)
        .bind(now)
        .execute(&mut *db)
        .await
        .map_err(|error| match error.as_database_error() {
            Some(cause) if cause.is_unique_violation() => StoreError::Conflict {
                account_id: account_id.to_owned(),
                version,
            },
            _ => StoreError::Database(error),
        })?;

        // Every history begins with `Opened`, so the consumer is known from the first event on.
        let consumer_id = account.consumer_id().unwrap_or_default();
        projection::project(db, account_id, consumer_id, version, event, now).await?;
        let message = published::message(account_id, consumer_id, version, event, now)
            .map_err(|source| encoding(account_id, source))?;
        ftgo_messaging::outbox::publish(db, &message).await?;
    }
    Ok(())
}

fn encoding(account_id: &str, source: serde_json::Error) -> StoreError {
    StoreError::Encoding {
        account_id: account_id.to_owned(),
        source,
    }
}
