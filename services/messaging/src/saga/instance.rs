//! The row of one run of a saga: how it is read, written, and shown to people.
//! Not here: how it moves (`progress`) and what that sends (`orchestrator`).

use chrono::{DateTime, SubsecRound as _, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::SqliteConnection;
use sqlx::types::Json;

use super::definition::Definition;
use super::progress::{Position, Progress};

/// One run of a saga, as anyone may see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    pub id: String,
    /// The definition's, as `CreateOrder`.
    pub kind: String,
    pub state: InstanceState,
    /// The step whose reply is awaited, or the last one that was.
    pub step: String,
    /// Whether that is (or was) the step's compensation.
    pub compensating: bool,
    /// How often its command has been issued, or is about to be when `retryAt` is set.
    pub attempt: u32,
    /// When the command, having been refused, is issued again.
    pub retry_at: Option<DateTime<Utc>>,
    /// The code of the failure that turned the saga round.
    pub reason: Option<String>,
    /// The latest refusal of any command.
    pub last_error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum InstanceState {
    /// Still moving, forward or back.
    Running,
    /// Every step was done.
    Completed,
    /// A step was refused, and all before it are undone.
    Compensated,
}

#[derive(sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) subject: String,
    state: String,
    step: String,
    compensating: bool,
    attempt: u32,
    due_at: Option<i64>,
    pub(crate) data: Json<Map<String, Value>>,
    reason: Option<String>,
    last_error: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Row {
    pub(crate) async fn find(
        connection: &mut SqliteConnection,
        id: &str,
    ) -> Result<Option<Row>, sqlx::Error> {
        sqlx::query_as("SELECT * FROM saga WHERE id = ?")
            .bind(id)
            .fetch_optional(connection)
            .await
    }

    /// Where the run stands; `None` when its step is not in the definition.
    pub(crate) fn progress(&self, definition: &Definition) -> Option<Progress> {
        let index = definition.index_of(&self.step)?;
        let position = match (self.state(), self.compensating) {
            (InstanceState::Completed, _) => Position::Completed,
            (InstanceState::Compensated, _) => Position::Compensated,
            (InstanceState::Running, false) => Position::Acting(index),
            (InstanceState::Running, true) => Position::Compensating(index),
        };
        Some(Progress {
            position,
            attempt: self.attempt,
            due: self.due_at.and_then(DateTime::from_timestamp_millis),
            reason: self.reason.clone(),
            last_error: self.last_error.clone(),
        })
    }

    fn state(&self) -> InstanceState {
        // The table admits these three only.
        match self.state.as_str() {
            "COMPLETED" => InstanceState::Completed,
            "COMPENSATED" => InstanceState::Compensated,
            _ => InstanceState::Running,
        }
    }
}

impl From<Row> for Instance {
    fn from(row: Row) -> Instance {
        Instance {
            state: row.state(),
            retry_at: row.due_at.and_then(DateTime::from_timestamp_millis),
            id: row.id,
            kind: row.kind,
            step: row.step,
            compensating: row.compensating,
            attempt: row.attempt,
            reason: row.reason,
            last_error: row.last_error,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// Writes a run that begins.
pub(crate) async fn insert(
    tx: &mut SqliteConnection,
    id: &str,
    definition: &Definition,
    subject: &str,
    data: &Map<String, Value>,
    progress: &Progress,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let columns = Columns::of(definition, progress);
    let now = now.trunc_subsecs(3);
    sqlx::query(
        "INSERT INTO saga (id, kind, subject, state, step, compensating, attempt, data, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id)
    .bind(definition.kind())
    .bind(subject)
    .bind(columns.state)
    .bind(columns.step.unwrap_or(definition.steps()[0].name()))
    .bind(columns.compensating)
    .bind(progress.attempt)
    .bind(Json(data))
    .bind(now)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes a run that moves.
pub(crate) async fn update(
    tx: &mut SqliteConnection,
    id: &str,
    definition: &Definition,
    progress: &Progress,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let columns = Columns::of(definition, progress);
    sqlx::query(
        "UPDATE saga SET state = ?, step = coalesce(?, step), compensating = coalesce(?, compensating), attempt = ?, \
         due_at = ?, reason = ?, last_error = ?, updated_at = ? WHERE id = ?",
    )
    .bind(columns.state)
    .bind(columns.step)
    .bind(columns.compensating)
    .bind(progress.attempt)
    .bind(progress.due.map(|due| due.timestamp_millis()))
    .bind(&progress.reason)
    .bind(&progress.last_error)
    .bind(now.trunc_subsecs(3))
    .bind(id)
    .execute(tx)
    .await?;
    Ok(())
}

/// Puts off a run that cannot go on in this process, so that it does not keep the timer busy.
pub(crate) async fn postpone(
    tx: &mut SqliteConnection,
    id: &str,
    due: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE saga SET due_at = ? WHERE id = ?")
        .bind(due.timestamp_millis())
        .bind(id)
        .execute(tx)
        .await?;
    Ok(())
}

/// A position as columns. An ended run keeps the step and the direction in which it ended.
struct Columns {
    state: &'static str,
    step: Option<&'static str>,
    compensating: Option<bool>,
}

impl Columns {
    fn of(definition: &Definition, progress: &Progress) -> Columns {
        let name = |index: usize| {
            definition
                .steps()
                .get(index)
                .map(super::definition::Step::name)
        };
        let (state, step, compensating) = match progress.position {
            Position::Acting(index) => ("RUNNING", name(index), Some(false)),
            Position::Compensating(index) => ("RUNNING", name(index), Some(true)),
            Position::Completed => ("COMPLETED", None, None),
            Position::Compensated => ("COMPENSATED", None, None),
        };
        Columns {
            state,
            step,
            compensating,
        }
    }
}
