//! A service as the receiver of messages: each one is handled once, in one transaction with its inbox entry. In which
//! order messages come, and when one comes again, is decided by the relay of their sender.

use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use metrics::{counter, histogram};
use tokio::time::Instant;

use crate::crash::{self, Side};
use crate::database::Database;
use crate::inbox::{self, BoxError, HandlerError, MessageHandler};
use crate::message::{Message, Outcome, REPLY};
use crate::outbox;
use crate::panic_text;

/// The failure code of the reply to a command that became a dead letter.
pub const UNPROCESSABLE: &str = "UNPROCESSABLE_COMMAND";

/// A handler that takes longer is given up and tried again.
const HANDLING_LIMIT: Duration = Duration::from_secs(30);

/// Receives messages for one service.
pub struct Consumer {
    service: &'static str,
    database: Database,
    handler: Arc<dyn MessageHandler>,
}

/// What became of a message that the service has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    Committed,
    /// It was in the inbox already.
    Duplicate,
    DeadLetter,
}

impl Consumer {
    pub fn new(
        service: &'static str,
        database: Database,
        handler: Arc<dyn MessageHandler>,
    ) -> Arc<Consumer> {
        Arc::new(Consumer {
            service,
            database,
            handler,
        })
    }

    /// Handles a message, unless it was handled before. Once it returns a receipt the service never needs to see the
    /// message again.
    ///
    /// # Errors
    /// When it should be offered again: the handler or the database failed for now, or the handler panicked.
    pub async fn receive(&self, message: &Message) -> Result<Receipt, BoxError> {
        let started = Instant::now();
        let result = match self.attempt(message).await {
            Err(HandlerError::Permanent(error)) => self.give_up(message, error).await,
            Err(HandlerError::Transient(error)) => Err(error),
            Ok(receipt) => Ok(receipt),
        };
        let outcome = match &result {
            Ok(Receipt::Committed) => "committed",
            Ok(Receipt::Duplicate) => "duplicate",
            Ok(Receipt::DeadLetter) => "dead_letter",
            Err(_) => "failed",
        };
        counter!("ftgo_messages_handled_total", "service" => self.service, "kind" => message.kind.clone(), "outcome" => outcome)
            .increment(1);
        histogram!("ftgo_message_handling_seconds", "service" => self.service)
            .record(started.elapsed().as_secs_f64());
        result
    }

    async fn attempt(&self, message: &Message) -> Result<Receipt, HandlerError> {
        let mut tx = self.database.write().await?;
        if !inbox::enter(&mut tx, message).await? {
            return Ok(Receipt::Duplicate);
        }
        let handling = AssertUnwindSafe(self.handler.handle(&mut tx, message)).catch_unwind();
        match tokio::time::timeout(HANDLING_LIMIT, handling).await {
            Ok(Ok(handled)) => handled?,
            Ok(Err(panic)) => {
                let text = panic_text(&*panic);
                return Err(HandlerError::transient(format!(
                    "the handler panicked: {text}"
                )));
            }
            Err(_) => {
                return Err(HandlerError::transient(format!(
                    "the handler took longer than {HANDLING_LIMIT:?}"
                )));
            }
        }
        self.crash_point(message, Side::Before);
        tx.commit().await?;
        self.crash_point(message, Side::After);
        let told = std::panic::catch_unwind(AssertUnwindSafe(|| self.handler.committed(message)));
        if let Err(panic) = told {
            tracing::error!(
                service = self.service, kind = %message.kind, id = %message.id,
                "a panic after the commit of a message: {}", panic_text(&*panic)
            );
        }
        Ok(Receipt::Committed)
    }

    /// Makes a dead letter of the message. A saga that waits for it hears of its failure, or it would wait for ever.
    async fn give_up(&self, message: &Message, error: BoxError) -> Result<Receipt, BoxError> {
        let reason = error_chain(&*error);
        let mut tx = self.database.write().await?;
        if !inbox::enter(&mut tx, message).await? {
            return Ok(Receipt::Duplicate);
        }
        inbox::bury(&mut tx, message, &reason).await?;
        let reply = Message::reply_to(message, &Outcome::failure(UNPROCESSABLE, reason.clone()));
        outbox::publish(&mut tx, &reply).await?;
        tx.commit().await?;
        tracing::error!(
            service = self.service, kind = %message.kind, id = %message.id, subject = %message.subject,
            source = %message.source, "dead letter: {reason}"
        );
        counter!("ftgo_dead_letters_total", "service" => self.service, "kind" => message.kind.clone())
            .increment(1);
        Ok(Receipt::DeadLetter)
    }

    /// Replies all have the same kind, so their crash points also go by the step they answer: `Reply:<step>`.
    fn crash_point(&self, message: &Message, side: Side) {
        if !crash::is_armed() {
            return;
        }
        crash::point(self.service, &message.kind, side);
        if let (REPLY, Some(step)) = (message.kind.as_str(), &message.sagastep) {
            crash::point(self.service, &format!("{REPLY}:{step}"), side);
        }
    }
}

/// An error and its sources in one line.
pub(crate) fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
