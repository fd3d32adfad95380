//! The tables that readers ask: accounts and bills, kept from the events in the transaction that stores them. Nothing is
//! decided from them but which account is a consumer's and whose bill an order has.

use chrono::{DateTime, Utc};
use ftgo_chassis::Money;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::types::Json;
use sqlx::{FromRow, Row as _, Sqlite, SqliteConnection, SqliteExecutor};

use crate::domain::account::Event;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AccountRow {
    pub(crate) id: String,
    pub(crate) consumer_id: String,
    /// `ACTIVE` or `DISABLED`.
    pub(crate) status: String,
    pub(crate) order_limit: Money,
    pub(crate) version: i64,
    pub(crate) created_at: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BillRow {
    pub(crate) order_id: String,
    pub(crate) account_id: String,
    pub(crate) consumer_id: String,
    pub(crate) amount: Money,
    /// `AUTHORIZED` or `REVERSED`.
    pub(crate) state: String,
    pub(crate) authorized_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl FromRow<'_, SqliteRow> for AccountRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("account_id")?,
            consumer_id: row.try_get("consumer_id")?,
            status: row.try_get("status")?,
            order_limit: money(row, "limit_amount", "limit_currency")?,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

impl FromRow<'_, SqliteRow> for BillRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            order_id: row.try_get("order_id")?,
            account_id: row.try_get("account_id")?,
            consumer_id: row.try_get("consumer_id")?,
            amount: money(row, "amount", "currency")?,
            state: row.try_get("state")?,
            authorized_at: row.try_get("authorized_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

pub(super) async fn project(
    db: &mut SqliteConnection,
    account_id: &str,
    consumer_id: &str,
    version: i64,
    event: &Event,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let query = match event {
        Event::Opened { order_limit, .. } => sqlx::query(
            "INSERT INTO accounts (account_id, consumer_id, status, limit_amount, limit_currency, version, created_at)
             VALUES (?, ?, 'ACTIVE', ?, ?, 0, ?)",
        )
        .bind(account_id)
        .bind(consumer_id)
        .bind(order_limit.amount().to_string())
        .bind(order_limit.currency().to_string())
        .bind(now),
        Event::Authorized { order_id, amount } => sqlx::query(
            "INSERT INTO bills (order_id, account_id, consumer_id, amount, currency, state, authorized_at, updated_at)
             VALUES (?, ?, ?, ?, ?, 'AUTHORIZED', ?, ?)",
        )
        .bind(order_id.as_str())
        .bind(account_id)
        .bind(consumer_id)
        .bind(amount.amount().to_string())
        .bind(amount.currency().to_string())
        .bind(now)
        .bind(now),
        Event::AuthorizationReversed { order_id, .. } => {
            sqlx::query("UPDATE bills SET state = 'REVERSED', updated_at = ? WHERE order_id = ?")
                .bind(now)
                .bind(order_id.as_str())
        }
        Event::AuthorizationRevised {
            order_id, amount, ..
        } => sqlx::query("UPDATE bills SET amount = ?, currency = ?, updated_at = ? WHERE order_id = ?")
            .bind(amount.amount().to_string())
            .bind(amount.currency().to_string())
            .bind(now)
            .bind(order_id.as_str()),
        Event::Disabled => status(account_id, "DISABLED"),
        Event::Enabled => status(account_id, "ACTIVE"),
    };
    query.execute(&mut *db).await?;
    sqlx::query("UPDATE accounts SET version = ? WHERE account_id = ?")
        .bind(version)
        .bind(account_id)
        .execute(db)
        .await?;
    Ok(())
}

pub(crate) async fn account_by_id(
    db: impl SqliteExecutor<'_>,
    account_id: &str,
) -> Result<Option<AccountRow>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM accounts WHERE account_id = ?")
        .bind(account_id)
        .fetch_optional(db)
        .await
}

pub(crate) async fn account_by_consumer(
    db: impl SqliteExecutor<'_>,
    consumer_id: &str,
) -> Result<Option<AccountRow>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM accounts WHERE consumer_id = ?")
        .bind(consumer_id)
        .fetch_optional(db)
        .await
}

pub(crate) async fn id_of_consumers_account(
    db: impl SqliteExecutor<'_>,
    consumer_id: &str,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT account_id FROM accounts WHERE consumer_id = ?")
        .bind(consumer_id)
        .fetch_optional(db)
        .await
}

pub(crate) async fn bill(
    db: impl SqliteExecutor<'_>,
    order_id: &str,
) -> Result<Option<BillRow>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM bills WHERE order_id = ?")
        .bind(order_id)
        .fetch_optional(db)
        .await
}

/// The bills of these orders, in no particular order; orders without one are missing.
pub(crate) async fn bills(
    db: impl SqliteExecutor<'_>,
    order_ids: &[String],
) -> Result<Vec<BillRow>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM bills WHERE order_id IN (SELECT value FROM json_each(?))")
        .bind(Json(order_ids))
        .fetch_all(db)
        .await
}

fn status<'q>(account_id: &'q str, status: &'static str) -> Query<'q, Sqlite, SqliteArguments> {
    sqlx::query("UPDATE accounts SET status = ? WHERE account_id = ?")
        .bind(status)
        .bind(account_id)
}

fn money(row: &SqliteRow, amount: &str, currency: &str) -> Result<Money, sqlx::Error> {
    Money::parse(row.try_get(amount)?, row.try_get(currency)?).map_err(|error| {
        sqlx::Error::ColumnDecode {
            index: amount.to_owned(),
            source: error.into(),
        }
    })
}
