//! Where counts of quotas are kept: in the process's store, or in Redis for all replicas together. When that is done is
//! `quota.rs`.

use tokio::sync::Mutex;

use crate::store::{RedisStore, Store, StoreError, Tables};

/// What an app with quotas has in its store.
pub const TABLES: Tables = Tables {
    owner: "quota",
    migrations: &["CREATE TABLE quota_used (
        day INTEGER NOT NULL,
        partner TEXT NOT NULL,
        used INTEGER NOT NULL,
        PRIMARY KEY (day, partner)
    ) STRICT, WITHOUT ROWID"],
};

/// For how many days counts are kept, for those who ask what was used.
const KEPT_DAYS: u64 = 32;
pub(crate) struct Ledger {
    store: Store,
    /// Counts that are on their way twice would count twice. Holds how many partners have had their turn to be asked of.
    pub(super) flushing: Mutex<usize>,
}

/// So many more of a partner on a day.
#[derive(Clone, Debug)]
pub(super) struct Amount {
    pub(super) partner: String,
    pub(super) day: u64,
    pub(super) count: u64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("the durable store failed")]
    Store(#[from] StoreError),
    #[error("Redis: {0}")]
    Redis(String),
}

impl Ledger {
    /// In Redis when replicas share one, else in the process's own store.
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            flushing: Mutex::default(),
        }
    }

    /// Each partner's count of `day`.
    pub(super) async fn used_on(&self, day: u64) -> Result<Vec<(String, u64)>, LedgerError> {
        let Some(redis) = self.store.redis() else {
            return Ok(load(&self.store, day).await?);
        };
        let mut pipeline = redis::pipe();
        pipeline.hgetall(key(redis, day));
        let (used,): (Vec<(String, u64)>,) =
            redis.ask(pipeline).await.map_err(LedgerError::Redis)?;
        Ok(used)
    }

    /// Whether others count, too.
    pub(super) fn is_shared(&self) -> bool {
        self.store.redis().is_some()
    }

    /// What all replicas have written of these partners on `day`, in the same order; nothing when there are no others.
    pub(super) async fn used_by(
        &self,
        partners: Vec<String>,
        day: u64,
    ) -> Result<Vec<u64>, LedgerError> {
        let Some(redis) = self.store.redis() else {
            return Ok(Vec::new());
        };
        let mut pipeline = redis::pipe();
        pipeline.cmd("HMGET").arg(key(redis, day)).arg(partners);
        let (used,): (Vec<Option<u64>>,) = redis.ask(pipeline).await.map_err(LedgerError::Redis)?;
        Ok(used.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// Adds all of `amounts`; the new counts, in the same order.
    pub(super) async fn add(&self, amounts: Vec<Amount>) -> Result<Vec<u64>, LedgerError> {
        let Some(redis) = self.store.redis() else {
            return Ok(add(&self.store, amounts).await?);
        };
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for amount in amounts {
            let key = key(redis, amount.day);
            pipeline.hincr(&key, amount.partner, amount.count);
            let seconds = i64::try_from(KEPT_DAYS * super::DAY).unwrap_or(i64::MAX);
            pipeline.expire(&key, seconds).ignore();
        }
        redis.ask(pipeline).await.map_err(LedgerError::Redis)
    }
}

fn key(redis: &RedisStore, day: u64) -> String {
    redis.key(format_args!("quota:{day}"))
}

async fn load(store: &Store, day: u64) -> Result<Vec<(String, u64)>, StoreError> {
    let today = number(day);
    let oldest = number(day.saturating_sub(KEPT_DAYS));
    let rows: Vec<(String, i64)> = store
        .write(move |connection| {
            Box::pin(async move {
                sqlx::query("DELETE FROM quota_used WHERE day < ?")
                    .bind(oldest)
                    .execute(&mut *connection)
                    .await?;
                sqlx::query_as("SELECT partner, used FROM quota_used WHERE day = ?")
                    .bind(today)
                    .fetch_all(connection)
                    .await
            })
        })
        .await?;
    let count = |(partner, used): (String, i64)| (partner, u64::try_from(used).unwrap_or(0));
    Ok(rows.into_iter().map(count).collect())
}

async fn add(store: &Store, amounts: Vec<Amount>) -> Result<Vec<u64>, StoreError> {
    store
        .write(move |connection| {
            Box::pin(async move {
                let mut totals = Vec::with_capacity(amounts.len());
                for amount in amounts {
                    let total: i64 = sqlx::query_scalar(
                        "INSERT INTO quota_used (day, partner, used) VALUES (?, ?, ?)
                         ON CONFLICT (day, partner) DO UPDATE SET used = used + excluded.used
                         RETURNING used",
                    )
                    .bind(number(amount.day))
                    .bind(amount.partner)
                    .bind(number(amount.count))
                    .fetch_one(&mut *connection)
                    .await?;
                    totals.push(u64::try_from(total).unwrap_or(0));
                }
                Ok(totals)
            })
        })
        .await
}

/// SQLite's integers have a sign; days and counts stay far below the end of either.
fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
