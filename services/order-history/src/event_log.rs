//! The log of all domain events in the order of their commits: appended to inside the handler's transaction, read page by
//! page, pruned to a number of rows. Not here: who waits for new rows (`feed.rs`).

use ftgo_messaging::Message;
use sqlx::{Executor, Sqlite, SqliteConnection, SqlitePool};

/// One row of the log.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct LoggedEvent {
    pub(crate) sequence: i64,
    /// The CloudEvents `type`.
    #[sqlx(rename = "type")]
    pub(crate) kind: String,
    /// The CloudEvents envelope in JSON.
    pub(crate) event: String,
}

/// The first and the last sequence number of the log; numbers in between have no holes, since the database has one writer
/// and takes a number back with the transaction that it was given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// One more than `head` while the log is empty.
    pub(crate) oldest: i64,
    /// Zero before the first event.
    pub(crate) head: i64,
}

impl Bounds {
    /// Whether everything after `position` is still there, and `position` is no number of the future.
    pub(crate) fn can_resume_after(self, position: i64) -> bool {
        position <= self.head && position >= self.oldest - 1
    }
}

/// Why an event is not in the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    #[error("the event log's storage failed")]
    Storage(#[from] sqlx::Error),
    #[error("the event has no JSON form")]
    Json(#[from] serde_json::Error),
}

/// Adds `message` at the head and drops what is then more than `capacity` rows.
pub(crate) async fn append(
    connection: &mut SqliteConnection,
    message: &Message,
    capacity: u32,
) -> Result<(), AppendError> {
    let event = serde_json::to_string(message)?;
    let sequence = sqlx::query_scalar::<_, i64>(
        "INSERT INTO event_log (type, event, subject) VALUES (?, ?, ?) RETURNING sequence",
    )
    .bind(&message.kind)
    .bind(event)
    .bind(&message.subject)
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM event_log WHERE sequence <= ?")
        .bind(sequence - i64::from(capacity))
        .execute(connection)
        .await?;
    Ok(())
}

/// What the log holds now.
pub(crate) async fn bounds<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
) -> Result<Bounds, sqlx::Error> {
    let (oldest, head) = sqlx::query_as::<_, (Option<i64>, Option<i64>)>(
        "SELECT (SELECT min(sequence) FROM event_log), (SELECT max(sequence) FROM event_log)",
    )
    .fetch_one(executor)
    .await?;
    let head = head.unwrap_or(0);
    Ok(Bounds {
        oldest: oldest.unwrap_or(head + 1),
        head,
    })
}

/// Up to `limit` events after `position`, in their order.
pub(crate) async fn read_after(
    pool: &SqlitePool,
    position: i64,
    limit: u32,
) -> Result<Vec<LoggedEvent>, sqlx::Error> {
    sqlx::query_as::<_, LoggedEvent>(
        "SELECT sequence, type, event FROM event_log WHERE sequence > ? ORDER BY sequence LIMIT ?",
    )
    .bind(position)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// What the log has of one subject, up to a place in it.
#[derive(Debug)]
pub(crate) struct Passage {
    pub(crate) events: Vec<LoggedEvent>,
    /// How far the log has been looked through: whoever goes on after this place misses nothing.
    pub(crate) position: i64,
    /// Whether the log has more of the subject after that.
    pub(crate) more: bool,
    /// Whether the place that was asked for is not in the log, so that events between may be missing.
    pub(crate) reset: bool,
}

/// The events about `subject` after `position`, at most `limit` of them; without a position none, and the place where the
/// log ends.
pub(crate) async fn read_subject(
    pool: &SqlitePool,
    subject: &str,
    position: Option<i64>,
    limit: u32,
) -> Result<Passage, sqlx::Error> {
    // One view of the log: nothing is pruned or added between the two looks.
    let mut tx = pool.begin().await?;
    let bounds = bounds(&mut *tx).await?;
    let at_the_end = |reset| Passage {
        events: Vec::new(),
        position: bounds.head,
        more: false,
        reset,
    };
    let after = match position {
        None => return Ok(at_the_end(false)),
        Some(position) if !bounds.can_resume_after(position) => return Ok(at_the_end(true)),
        Some(position) => position,
    };
    let mut events = sqlx::query_as::<_, LoggedEvent>(
        "SELECT sequence, type, event FROM event_log WHERE subject = ? AND sequence > ? ORDER BY sequence LIMIT ?",
    )
    .bind(subject)
    .bind(after)
    .bind(i64::from(limit) + 1)
    .fetch_all(&mut *tx)
    .await?;
    let more = events.len() > limit as usize;
    events.truncate(limit as usize);
    let position = match events.last() {
        Some(last) if more => last.sequence,
        None if more => after,
        Some(_) | None => bounds.head,
    };
    Ok(Passage {
        events,
        position,
        more,
        reset: false,
    })
}
