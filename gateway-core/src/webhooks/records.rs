//! What is known of webhooks, in the process's store: endpoints with their secrets, what was and is to be delivered to them, whom a
//! subject concerns, and how far the feed is taken in. When something is sent is `dispatch.rs`'s.
//!
//! Secrets stand in the file as they are: whoever signs needs them. The file is its owner's alone.

mod endpoints;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{FromRow, Sqlite, SqliteConnection};

use super::{Audience, Noted, WebhookError, millis, moment, now};
use crate::config::PartnerConfig;
use crate::store::{Store, StoreError, Tables};
pub(super) use endpoints::{create, delete, enable, list, rotate};
pub(super) use settle::settle;

/// What an app with webhooks has in its store.
pub const TABLES: Tables = Tables {
    owner: "webhooks",
    migrations: &[
        "CREATE TABLE webhooks_feed (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        position TEXT NOT NULL
    ) STRICT;
    CREATE TABLE webhooks_subjects (
        subject TEXT PRIMARY KEY,
        attribute TEXT NOT NULL,
        value TEXT NOT NULL,
        seen_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE webhooks_endpoints (
        id TEXT PRIMARY KEY,
        partner TEXT NOT NULL,
        url TEXT NOT NULL,
        kinds TEXT NOT NULL,
        ordered INTEGER NOT NULL,
        secret TEXT NOT NULL,
        former_secret TEXT,
        former_until INTEGER NOT NULL DEFAULT 0,
        disabled TEXT,
        failures INTEGER NOT NULL DEFAULT 0,
        created_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX webhooks_endpoints_by_partner ON webhooks_endpoints (partner);
    CREATE TABLE webhooks_deliveries (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        endpoint TEXT NOT NULL REFERENCES webhooks_endpoints (id) ON DELETE CASCADE,
        message TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        body TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'pending',
        attempts INTEGER NOT NULL DEFAULT 0,
        due_at INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        ended_at INTEGER,
        status INTEGER,
        fault TEXT,
        UNIQUE (endpoint, message)
    ) STRICT;
    CREATE INDEX webhooks_deliveries_by_state ON webhooks_deliveries (endpoint, state, due_at);
    CREATE INDEX webhooks_deliveries_by_end ON webhooks_deliveries (ended_at)",
        // Grows with every replay: the end of an attempt counts for the round in which it began.
        "ALTER TABLE webhooks_deliveries ADD COLUMN round INTEGER NOT NULL DEFAULT 0",
        // `generation` grows whenever the endpoint is enabled: what was sent before says nothing of it any more. `told` is how many
        // deliveries it has had, `place` which of them one is: `number` would tell a partner how many all of them have.
        "ALTER TABLE webhooks_endpoints ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE webhooks_endpoints ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE webhooks_deliveries ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
    UPDATE webhooks_deliveries SET place = counted.place
    FROM (SELECT number, row_number() OVER (PARTITION BY endpoint ORDER BY number) AS place
          FROM webhooks_deliveries) AS counted
    WHERE counted.number = webhooks_deliveries.number;
    UPDATE webhooks_endpoints SET told =
        (SELECT count(*) FROM webhooks_deliveries WHERE endpoint = webhooks_endpoints.id);
    CREATE INDEX webhooks_deliveries_by_place ON webhooks_deliveries (endpoint, place)",
    ],
};

/// For how long a subject is known that nothing is heard of.
const SUBJECTS_KEPT: Duration = Duration::from_hours(30 * 24);

/// Where a partner has messages sent.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub id: String,
    pub url: String,
    /// All when empty.
    pub kinds: Vec<String>,
    pub ordered: bool,
    /// Why nothing is sent there any more.
    pub disabled: Option<String>,
    pub(in crate::webhooks) created_at: i64,
}

impl Endpoint {
    #[must_use]
    pub fn created_at(&self) -> SystemTime {
        moment(self.created_at)
    }
}

/// Where a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is under way, or waits for its next attempt.
    Pending,
    Delivered,
    /// Given up.
    Failed,
}

impl DeliveryState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// The other way round.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Pending, Self::Delivered, Self::Failed];
        all.into_iter().find(|state| state.as_str() == text)
    }
}

/// A message for one endpoint, and how far it has come.
#[derive(Clone, Debug, FromRow)]
pub struct Delivery {
    /// Which of its endpoint's deliveries it is, from 1.
    pub number: i64,
    /// The message's id, the same in every attempt.
    pub message: String,
    pub kind: String,
    pub subject: String,
    state: String,
    pub attempts: u32,
    pub(in crate::webhooks) due_at: i64,
    created_at: i64,
    pub(in crate::webhooks) ended_at: Option<i64>,
    /// The last answer's status.
    pub status: Option<u16>,
    /// Why the last attempt failed.
    pub fault: Option<String>,
}

impl Delivery {
    #[must_use]
    pub fn state(&self) -> DeliveryState {
        DeliveryState::parse(&self.state).unwrap_or(DeliveryState::Failed)
    }

    #[must_use]
    pub fn created_at(&self) -> SystemTime {
        moment(self.created_at)
    }

    #[must_use]
    pub fn ended_at(&self) -> Option<SystemTime> {
        self.ended_at.map(moment)
    }

    /// When it is attempted again.
    #[must_use]
    pub fn next_at(&self) -> Option<SystemTime> {
        (self.state() == DeliveryState::Pending).then(|| moment(self.due_at))
    }
}

/// What waits for one endpoint.
pub(super) struct Queue {
    pub(super) partner: String,
    pub(super) due: Option<Due>,
    /// When something else is due.
    pub(super) next: Option<i64>,
}

/// Messages to be sent now, and where to.
pub(super) struct Due {
    pub(super) url: String,
    secret: String,
    former: Option<String>,
    pub(super) messages: Vec<Message>,
}

impl Due {
    pub(super) fn secrets(&self) -> Vec<&str> {
        let former = self.former.as_deref();
        [Some(self.secret.as_str()), former]
            .into_iter()
            .flatten()
            .collect()
    }
}

#[derive(Clone, Debug, FromRow)]
pub(super) struct Message {
    pub(super) number: i64,
    #[sqlx(rename = "message")]
    pub(super) id: String,
    pub(super) body: String,
    /// Made so far, in this round.
    pub(super) attempts: u32,
    /// How often it was replayed.
    pub(super) round: i64,
    /// How often its endpoint was enabled.
    pub(super) generation: i64,
}

/// A message for one endpoint of `partner`, which may have it.
pub(super) async fn add(
    store: &Store,
    partner: &str,
    id: &str,
    noted: Noted,
    now: i64,
) -> Result<(), WebhookError> {
    let (partner, id) = (partner.to_owned(), id.to_owned());
    store
        .write(move |connection| {
            Box::pin(async move {
                let refusal = refusal(connection, &partner, &id).await?;
                if refusal.is_none() {
                    insert(connection, &id, &noted, now).await?;
                }
                Ok(refusal)
            })
        })
        .await?
        .map_or(Ok(()), Err)
}

/// Why an endpoint may not have a message. Asked in the write that adds the message: one that came to an endpoint which is disabled
/// would wait for ever.
async fn refusal(
    connection: &mut SqliteConnection,
    partner: &str,
    id: &str,
) -> Result<Option<WebhookError>, sqlx::Error> {
    let disabled: Option<bool> = sqlx::query_scalar(
        "SELECT disabled IS NOT NULL FROM webhooks_endpoints WHERE id = ? AND partner = ?",
    )
    .bind(id)
    .bind(partner)
    .fetch_optional(connection)
    .await?;
    Ok(match disabled {
        None => Some(WebhookError::Unknown),
        Some(true) => Some(WebhookError::Disabled),
        Some(false) => None,
    })
}

/// False when the endpoint has the message already.
async fn insert(
    connection: &mut SqliteConnection,
    endpoint: &str,
    noted: &Noted,
    now: i64,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT OR IGNORE INTO webhooks_deliveries
         (endpoint, message, kind, subject, body, due_at, created_at, place)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?6, told + 1 FROM webhooks_endpoints WHERE id = ?1",
    )
    .bind(endpoint)
    .bind(&noted.message)
    .bind(noted.kind)
    .bind(&noted.subject)
    .bind(&noted.body)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("UPDATE webhooks_endpoints SET told = told + 1 WHERE id = ?")
        .bind(endpoint)
        .execute(connection)
        .await
        .map(|_done| true)
}

pub(super) async fn deliveries(
    store: &Store,
    endpoint: &str,
    state: Option<DeliveryState>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Delivery>, StoreError> {
    let endpoint = endpoint.to_owned();
    store
        .read(move |connection| {
            Box::pin(async move {
                sqlx::query_as(
                    "SELECT place AS number, message, kind, subject, state, attempts, due_at, created_at, ended_at, status, fault
                     FROM webhooks_deliveries
                     WHERE endpoint = ?1 AND place < ?2 AND (?3 IS NULL OR state = ?3)
                     ORDER BY place DESC LIMIT ?4",
                )
                .bind(endpoint)
                .bind(before.unwrap_or(i64::MAX))
                .bind(state.map(DeliveryState::as_str))
                .bind(limit)
                .fetch_all(connection)
                .await
            })
        })
        .await
}

/// A message of an endpoint of `partner` once more, as if it were new, even while an attempt of the round before is under way.
pub(super) async fn replay(
    store: &Store,
    partner: &str,
    id: &str,
    message: &str,
    now: i64,
) -> Result<(), WebhookError> {
    let (partner, id) = (partner.to_owned(), id.to_owned());
    let message = message.to_owned();
    store
        .write(move |connection| {
            Box::pin(async move {
                if let Some(refusal) = refusal(connection, &partner, &id).await? {
                    return Ok(Some(refusal));
                }
                let query = sqlx::query(
                    "UPDATE webhooks_deliveries
                     SET state = 'pending', attempts = 0, due_at = ?, ended_at = NULL, round = round + 1
                     WHERE endpoint = ? AND message = ?",
                );
                let query = query.bind(now).bind(id).bind(message);
                let changed = changed(connection, query).await?;
                Ok((!changed).then_some(WebhookError::Unknown))
            })
        })
        .await?
        .map_or(Ok(()), Err)
}

/// Whether there was something to change.
async fn changed(
    connection: &mut SqliteConnection,
    query: Query<'static, Sqlite, SqliteArguments>,
) -> Result<bool, sqlx::Error> {
    let done = query.execute(connection).await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn position(store: &Store) -> Result<Option<String>, StoreError> {
    store
        .read(|connection| {
            Box::pin(
                sqlx::query_scalar("SELECT position FROM webhooks_feed").fetch_optional(connection),
            )
        })
        .await
}

/// The endpoints that have something new.
pub(super) async fn take(
    store: &Store,
    noted: Vec<Noted>,
    position: Option<String>,
    partners: Arc<BTreeMap<String, PartnerConfig>>,
    now: i64,
) -> Result<BTreeSet<String>, StoreError> {
    store
        .write(move |connection| {
            Box::pin(async move {
                let mut woken = BTreeSet::new();
                for noted in &noted {
                    note(connection, noted, &partners, now, &mut woken).await?;
                }
                if let Some(position) = position {
                    sqlx::query(
                        "INSERT OR REPLACE INTO webhooks_feed (one, position) VALUES (1, ?)",
                    )
                    .bind(position)
                    .execute(connection)
                    .await?;
                }
                Ok(woken)
            })
        })
        .await
}

async fn note(
    connection: &mut SqliteConnection,
    noted: &Noted,
    partners: &BTreeMap<String, PartnerConfig>,
    now: i64,
    woken: &mut BTreeSet<String>,
) -> Result<(), sqlx::Error> {
    let Some((attribute, value)) = audience(connection, noted, now).await? else {
        return Ok(());
    };
    let concerned = partners
        .iter()
        .filter(|(_, partner)| partner.attributes.get(&attribute) == Some(&value));
    for (partner, _) in concerned {
        let endpoints: Vec<(String, String)> = sqlx::query_as(
            "SELECT id, kinds FROM webhooks_endpoints WHERE partner = ? AND disabled IS NULL",
        )
        .bind(partner)
        .fetch_all(&mut *connection)
        .await?;
        for (endpoint, kinds) in endpoints {
            let wanted = kinds.is_empty() || kinds.split_whitespace().any(|k| k == noted.kind);
            if wanted && insert(connection, &endpoint, noted, now).await? {
                woken.insert(endpoint);
            }
        }
    }
    Ok(())
}

/// Whom a change concerns: what it says itself is kept for those of the same subject that do not.
async fn audience(
    connection: &mut SqliteConnection,
    noted: &Noted,
    now: i64,
) -> Result<Option<(String, String)>, sqlx::Error> {
    let Some(Audience { attribute, value }) = &noted.audience else {
        return sqlx::query_as("SELECT attribute, value FROM webhooks_subjects WHERE subject = ?")
            .bind(&noted.subject)
            .fetch_optional(connection)
            .await;
    };
    sqlx::query(
        "INSERT OR REPLACE INTO webhooks_subjects (subject, attribute, value, seen_at)
         VALUES (?, ?, ?, ?)",
    )
    .bind(&noted.subject)
    .bind(*attribute)
    .bind(value)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(Some(((*attribute).to_owned(), value.clone())))
}

/// The endpoints for which something waits.
pub(super) async fn waiting(store: &Store) -> Result<Vec<String>, StoreError> {
    store
        .read(|connection| {
            Box::pin(
                sqlx::query_scalar(
                    "SELECT DISTINCT endpoint FROM webhooks_deliveries WHERE state = 'pending'",
                )
                .fetch_all(connection),
            )
        })
        .await
}

#[derive(FromRow)]
struct ServedRow {
    partner: String,
    url: String,
    ordered: bool,
    secret: String,
    former_secret: Option<String>,
    former_until: i64,
    disabled: Option<String>,
}

/// What is to be sent to an endpoint now; `None` when there is no such endpoint.
pub(super) async fn due(
    store: &Store,
    endpoint: &str,
    now: i64,
    most: usize,
) -> Result<Option<Queue>, StoreError> {
    let endpoint = endpoint.to_owned();
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    store
        .read(move |connection| Box::pin(due_in(connection, endpoint, now, most)))
        .await
}

async fn due_in(
    connection: &mut SqliteConnection,
    endpoint: String,
    now: i64,
    most: i64,
) -> Result<Option<Queue>, sqlx::Error> {
    let served: Option<ServedRow> = sqlx::query_as(
        "SELECT partner, url, ordered, secret, former_secret, former_until, disabled
         FROM webhooks_endpoints WHERE id = ?",
    )
    .bind(&endpoint)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(served) = served else {
        return Ok(None);
    };
    if served.disabled.is_some() {
        return Ok(Some(Queue {
            partner: served.partner,
            due: None,
            next: None,
        }));
    }
    let wanted = match served.ordered {
        // The first of each subject that is not over: what comes after it waits.
        true => {
            "SELECT number, message, body, attempts, round,
                    (SELECT generation FROM webhooks_endpoints WHERE id = endpoint) AS generation
             FROM webhooks_deliveries
             WHERE number IN (SELECT min(number) FROM webhooks_deliveries
                              WHERE endpoint = ? AND state = 'pending' GROUP BY subject)
             AND due_at <= ? ORDER BY number LIMIT ?"
        }
        false => {
            "SELECT number, message, body, attempts, round,
                    (SELECT generation FROM webhooks_endpoints WHERE id = endpoint) AS generation
             FROM webhooks_deliveries
             WHERE endpoint = ? AND state = 'pending' AND due_at <= ? ORDER BY due_at, number LIMIT ?"
        }
    };
    let messages: Vec<Message> = sqlx::query_as(wanted)
        .bind(&endpoint)
        .bind(now)
        .bind(most)
        .fetch_all(&mut *connection)
        .await?;
    let next = sqlx::query_scalar(
        "SELECT min(due_at) FROM webhooks_deliveries
         WHERE endpoint = ? AND state = 'pending' AND due_at > ?",
    )
    .bind(&endpoint)
    .bind(now)
    .fetch_one(connection)
    .await?;
    let due = Due {
        url: served.url,
        secret: served.secret,
        former: served.former_secret.filter(|_| served.former_until > now),
        messages,
    };
    Ok(Some(Queue {
        partner: served.partner,
        due: Some(due),
        next,
    }))
}

/// Forgets deliveries that were over before `horizon`, and subjects of which nothing was heard for long.
pub(super) async fn prune(store: &Store, horizon: i64) -> Result<(), StoreError> {
    let silent = now().saturating_sub(millis(SUBJECTS_KEPT));
    store
        .write(move |connection| {
            Box::pin(async move {
                sqlx::query("DELETE FROM webhooks_deliveries WHERE ended_at <= ?")
                    .bind(horizon)
                    .execute(&mut *connection)
                    .await?;
                sqlx::query("DELETE FROM webhooks_subjects WHERE seen_at <= ?")
                    .bind(silent)
                    .execute(connection)
                    .await
                    .map(drop)
            })
        })
        .await
}
