//! What a receiver of messages has to be, and the inbox and dead-letter tables. Running a handler inside its
//! transaction is the consumer's work.

use std::error::Error;
use std::fmt;

use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;

use crate::message::Message;
use crate::now_millis;

pub type BoxError = Box<dyn Error + Send + Sync>;

/// Does a service's work for the messages it subscribes to.
///
/// Everything done on `tx` commits together with the inbox entry, or not at all. That a command is refused by the
/// business is no error: publish `Message::reply_to(message, &Outcome::failure(..))` and return `Ok`. Kinds that mean
/// nothing to the service are ignored with `Ok`.
pub trait MessageHandler: Send + Sync + 'static {
    fn handle<'a>(
        &'a self,
        tx: &'a mut SqliteConnection,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), HandlerError>>;

    /// Called after the commit, for instance to wake whoever waits for the change. Not called for duplicates, and lost
    /// in a crash: only for what can be found out in another way, too.
    fn committed(&self, _message: &Message) {}
}

/// Why a message was not handled.
#[derive(Debug)]
pub enum HandlerError {
    /// It may work later: the message is offered again with a growing pause, and later ones of its subject wait.
    Transient(BoxError),
    /// It will never work: the message becomes a dead letter, and its subject goes on. A command is answered with the
    /// failure code [`crate::consumer::UNPROCESSABLE`].
    Permanent(BoxError),
}

impl HandlerError {
    pub fn transient(error: impl Into<BoxError>) -> HandlerError {
        HandlerError::Transient(error.into())
    }

    pub fn permanent(error: impl Into<BoxError>) -> HandlerError {
        HandlerError::Permanent(error.into())
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            HandlerError::Transient(_) => "the message could not be handled now",
            HandlerError::Permanent(_) => "the message cannot be handled",
        })
    }
}

impl Error for HandlerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            HandlerError::Transient(source) | HandlerError::Permanent(source) => {
                Some(source.as_ref())
            }
        }
    }
}

/// A database that fails now may work later.
impl From<sqlx::Error> for HandlerError {
    fn from(error: sqlx::Error) -> HandlerError {
        HandlerError::transient(error)
    }
}

/// What can't be written as JSON, or read from a stored one, stays so.
impl From<serde_json::Error> for HandlerError {
    fn from(error: serde_json::Error) -> HandlerError {
        HandlerError::permanent(error)
    }
}

/// Enters a message; false when it is there already.
pub(crate) async fn enter(
    tx: &mut SqliteConnection,
    message: &Message,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query("INSERT OR IGNORE INTO inbox (id, received_at) VALUES (?, ?)")
        .bind(&message.id)
        .bind(now_millis())
        .execute(tx)
        .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Keeps a message that can never be handled, with the reason, for people.
pub(crate) async fn bury(
    tx: &mut SqliteConnection,
    message: &Message,
    reason: &str,
) -> Result<(), sqlx::Error> {
    let json =
        serde_json::to_string(message).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    sqlx::query(
        "INSERT OR REPLACE INTO dead_letter (id, topic, subject, kind, message, error, recorded_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&message.id)
    .bind(&message.topic)
    .bind(&message.subject)
    .bind(&message.kind)
    .bind(json)
    .bind(reason)
    .bind(now_millis())
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes up to `limit` entries made before `horizon` and says how many there were.
pub(crate) async fn prune(
    tx: &mut SqliteConnection,
    horizon: i64,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query(
        "DELETE FROM inbox WHERE id IN (SELECT id FROM inbox WHERE received_at < ? LIMIT ?)",
    )
    .bind(horizon)
    .bind(limit)
    .execute(tx)
    .await?;
    Ok(deleted.rows_affected())
}
