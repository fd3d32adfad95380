//! Carries sagas out: writes their rows, issues their commands, takes their replies, each time in the caller's
//! transaction. Which step comes next is decided in `progress`.

use chrono::{DateTime, Utc};
use metrics::counter;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::Notify;
use uuid::Uuid;

use super::definition::{CommandTemplate, Definition, REASON};
use super::instance::{self, Instance, Row};
use super::progress::{self, Failure, Position, Progress, Reply, Transition};
use super::retry::RetryPolicy;
use crate::database::Database;
use crate::inbox::HandlerError;
use crate::message::{Message, Outcome, ReplyAddress};
use crate::outbox;

/// Due runs handled before the next due time is looked up.
const DUE_PAGE: i64 = 100;

/// Runs the sagas of one service.
#[derive(Debug)]
pub struct Orchestrator {
    service: &'static str,
    reply_topic: &'static str,
    definitions: &'static [Definition],
    retry: RetryPolicy,
    due_times: Notify,
}

/// Why a saga could not be started or moved.
#[derive(Debug, thiserror::Error)]
pub enum SagaError {
    #[error("this orchestrator knows no saga `{0}`")]
    UnknownKind(String),
    #[error("the data of saga `{kind}` is not a JSON object")]
    Shape { kind: &'static str },
    #[error("the data of saga `{kind}` lacks the field `{field}` of a command")]
    MissingField {
        kind: &'static str,
        field: &'static str,
    },
    #[error("the saga's data has no JSON form")]
    Json(#[from] serde_json::Error),
    #[error("the saga's row could not be read or written")]
    Database(#[from] sqlx::Error),
}

impl Orchestrator {
    /// An orchestrator inside `service` whose participants reply to `reply_topic`, to which that service subscribes.
    pub fn new(
        service: &'static str,
        reply_topic: &'static str,
        definitions: &'static [Definition],
    ) -> Orchestrator {
        Orchestrator {
            service,
            reply_topic,
            definitions,
            retry: RetryPolicy::default(),
            due_times: Notify::new(),
        }
    }

    /// The same with other waiting times between the attempts of what must succeed.
    #[must_use]
    pub fn with_retry(self, retry: RetryPolicy) -> Orchestrator {
        Orchestrator { retry, ..self }
    }

    /// Starts a saga about `subject`, whose local first step the caller does in the same transaction. Returns the id of
    /// the run.
    ///
    /// # Errors
    /// When `data` is no object that holds every field of every command, or the database refuses. The transaction
    /// should then be given up.
    pub async fn start(
        &self,
        tx: &mut SqliteConnection,
        kind: &str,
        subject: &str,
        data: impl Serialize,
    ) -> Result<String, SagaError> {
        let definition = self
            .definition(kind)
            .ok_or_else(|| SagaError::UnknownKind(kind.to_owned()))?;
        let kind = definition.kind();
        let Value::Object(data) = serde_json::to_value(data)? else {
            return Err(SagaError::Shape { kind });
        };
        if let Some(field) = definition.missing_field(&data) {
            return Err(SagaError::MissingField { kind, field });
        }
        let id = Uuid::now_v7().to_string();
        let (progress, command) = Progress::begin(definition);
        instance::insert(tx, &id, definition, subject, &data, &progress, Utc::now()).await?;
        let run = Run {
            definition,
            id: &id,
            subject,
            data: &data,
        };
        self.issue(tx, run, &progress, command).await?;
        counter!("ftgo_sagas_started_total", "service" => self.service, "saga" => kind)
            .increment(1);
        Ok(id)
    }

    /// Moves the saga that `message` answers, and issues its next command. A reply that is late, a duplicate, or for
    /// nobody is logged and changes nothing.
    ///
    /// # Errors
    /// Permanent when the message is no reply or its saga no longer exists in this release; transient when the
    /// database refuses.
    pub async fn handle_reply(
        &self,
        tx: &mut SqliteConnection,
        message: &Message,
    ) -> Result<(), HandlerError> {
        let (Some(id), Some(token)) = (&message.sagaid, &message.sagastep) else {
            return Err(HandlerError::permanent("a reply without a saga or a step"));
        };
        let outcome = match message.decode::<Outcome>()? {
            Outcome::Success { .. } => Ok(()),
            Outcome::Failure { code, detail } => Err(Failure { code, detail }),
        };
        let reply = Reply {
            token: token.clone(),
            outcome,
        };
        let Some(row) = Row::find(tx, id).await? else {
            tracing::warn!(saga = %id, step = %token, from = %message.source, "a reply to a saga that does not exist");
            return Ok(());
        };
        let Some((definition, progress)) = self.resume(&row) else {
            return Err(HandlerError::permanent(SagaError::UnknownKind(row.kind)));
        };
        let kind = definition.kind();
        let now = Utc::now();
        match progress::step(definition, &progress, &reply, self.retry, now) {
            Transition::Moves {
                progress: next,
                command,
            } => {
                if let (None, Err(failure)) = (&progress.reason, &reply.outcome) {
                    tracing::info!(saga = kind, subject = %row.subject, step = %token, %failure, "the saga turns round");
                }
                instance::update(tx, id, definition, &next, now).await?;
                let run = Run {
                    definition,
                    id,
                    subject: &row.subject,
                    data: &row.data,
                };
                self.issue(tx, run, &next, command)
                    .await
                    .map_err(|error| match error {
                        SagaError::Database(error) => HandlerError::transient(error),
                        error => HandlerError::permanent(error),
                    })?;
                self.count_end(kind, next.position);
            }
            Transition::WaitsToRetry {
                progress: next,
                due,
            } => {
                let failure = next.last_error.as_deref().unwrap_or_default();
                tracing::warn!(
                    saga = kind, subject = %row.subject, step = %token, failure, attempt = next.attempt, retry_at = %due,
                    "a command that has to succeed was refused and is issued again"
                );
                counter!("ftgo_saga_retries_total", "service" => self.service, "saga" => kind)
                    .increment(1);
                instance::update(tx, id, definition, &next, now).await?;
            }
            Transition::Ignores(why) => {
                tracing::warn!(saga = kind, subject = %row.subject, step = %token, ?why, "a reply is ignored");
            }
        }
        Ok(())
    }

    /// To be called after a transaction with [`Orchestrator::handle_reply`] has committed: there may be a new due time.
    pub fn reply_committed(&self) {
        self.due_times.notify_one();
    }

    /// Every run about `subject`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn find(
        &self,
        readers: &SqlitePool,
        subject: &str,
    ) -> Result<Vec<Instance>, sqlx::Error> {
        let rows: Vec<Row> =
            sqlx::query_as("SELECT * FROM saga WHERE subject = ? ORDER BY created_at, id")
                .bind(subject)
                .fetch_all(readers)
                .await?;
        Ok(rows.into_iter().map(Instance::from).collect())
    }

    /// Issues the commands that are due by `now`, each run in a transaction of its own, and returns the next due time.
    pub(super) async fn issue_due(
        &self,
        database: &Database,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, SagaError> {
        let due: Vec<String> =
            sqlx::query_scalar("SELECT id FROM saga WHERE due_at <= ? ORDER BY due_at LIMIT ?")
                .bind(now.timestamp_millis())
                .bind(DUE_PAGE)
                .fetch_all(database.read())
                .await?;
        for id in due {
            let mut tx = database.write().await?;
            match self.reissue(&mut tx, &id, now).await {
                Ok(()) => {}
                Err(error @ SagaError::Database(_)) => return Err(error),
                Err(error) => {
                    tracing::error!(saga = %id, %error, "a saga cannot go on");
                    instance::postpone(&mut tx, &id, now + self.retry.cap).await?;
                }
            }
            tx.commit().await?;
        }
        let next: Option<i64> =
            sqlx::query_scalar("SELECT min(due_at) FROM saga WHERE due_at IS NOT NULL")
                .fetch_one(database.read())
                .await?;
        Ok(next.and_then(DateTime::from_timestamp_millis))
    }

    /// Returns when there may be a new due time.
    pub(super) async fn due_times_changed(&self) {
        self.due_times.notified().await;
    }

    async fn reissue(
        &self,
        tx: &mut SqliteConnection,
        id: &str,
        now: DateTime<Utc>,
    ) -> Result<(), SagaError> {
        let Some(row) = Row::find(tx, id).await? else {
            return Ok(());
        };
        let (definition, progress) = self
            .resume(&row)
            .ok_or_else(|| SagaError::UnknownKind(row.kind.clone()))?;
        let Some((progress, command)) = progress.reissue(definition, now) else {
            return Ok(());
        };
        instance::update(tx, id, definition, &progress, now).await?;
        let run = Run {
            definition,
            id,
            subject: &row.subject,
            data: &row.data,
        };
        self.issue(tx, run, &progress, Some(command)).await
    }

    async fn issue(
        &self,
        tx: &mut SqliteConnection,
        run: Run<'_>,
        progress: &Progress,
        command: Option<CommandTemplate>,
    ) -> Result<(), SagaError> {
        let (Some(command), Some(token)) = (command, progress.token(run.definition)) else {
            return Ok(());
        };
        let mut data = Map::new();
        for field in command.fields {
            let value = match (*field, &progress.reason) {
                (REASON, Some(reason)) => Value::from(reason.as_str()),
                (field, _) => run.data.get(field).cloned().unwrap_or_default(),
            };
            data.insert((*field).to_owned(), value);
        }
        let reply = ReplyAddress {
            saga_id: run.id,
            saga_step: &token,
            topic: self.reply_topic,
        };
        let message = Message::command(
            self.service,
            command.topic,
            command.kind,
            run.subject,
            reply,
            data,
        )?;
        outbox::publish(tx, &message).await?;
        Ok(())
    }

    fn resume(&self, row: &Row) -> Option<(&'static Definition, Progress)> {
        let definition = self.definition(&row.kind)?;
        Some((definition, row.progress(definition)?))
    }

    fn definition(&self, kind: &str) -> Option<&'static Definition> {
        self.definitions
            .iter()
            .find(|definition| definition.kind() == kind)
    }

    fn count_end(&self, saga: &'static str, position: Position) {
        let outcome = match position {
            Position::Completed => "completed",
            Position::Compensated => "compensated",
            Position::Acting(_) | Position::Compensating(_) => return,
        };
        counter!("ftgo_sagas_ended_total", "service" => self.service, "saga" => saga, "outcome" => outcome)
            .increment(1);
    }
}

/// What stays the same during a run.
#[derive(Clone, Copy)]
struct Run<'a> {
    definition: &'static Definition,
    id: &'a str,
    subject: &'a str,
    data: &'a Map<String, Value>,
}

#[cfg(test)]
mod tests;
