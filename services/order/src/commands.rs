//! Order's own steps of the sagas: each one moves one order, in a transaction of its own with its reply.
//! Not here: the steps that begin a saga, which belong to a request (`service`).

use chrono::{SubsecRound as _, Utc};
use ftgo_messaging::{HandlerError, Message, Outcome, outbox};
use serde::Deserialize;
use sqlx::SqliteConnection;

use crate::domain::{Order, OrderError, OrderEvent};
use crate::store::{self, StoreError};

/// Carries out the command and answers it. A command that the order does not allow is answered with a failure.
pub(crate) async fn handle(
    tx: &mut SqliteConnection,
    command: &Message,
) -> Result<(), HandlerError> {
    let make = Move::parse(command)?;
    let now = Utc::now().trunc_subsecs(3);
    let outcome = match store::find_in(tx, &command.subject).await? {
        None => Outcome::failure(
            "ORDER_NOT_FOUND",
            format!("there is no order {}", command.subject),
        ),
        Some(mut order) => match make.apply(&mut order, now) {
            Ok(event) => {
                store::update(tx, &order, event)
                    .await
                    .map_err(handler_error)?;
                Outcome::success()
            }
            Err(refusal) => Outcome::failure("ILLEGAL_MOVE", refusal.to_string()),
        },
    };
    outbox::publish(tx, &Message::reply_to(command, &outcome)).await?;
    Ok(())
}

enum Move {
    Approve,
    Reject { reason: String },
    ConfirmCancel,
    UndoCancel,
    ConfirmRevision,
    RejectRevision,
}

#[derive(Deserialize)]
struct RejectOrder {
    reason: String,
}

impl Move {
    fn parse(command: &Message) -> Result<Move, HandlerError> {
        match command.kind.as_str() {
            "ApproveOrder" => Ok(Move::Approve),
            "RejectOrder" => {
                let RejectOrder { reason } = command.decode()?;
                Ok(Move::Reject { reason })
            }
            "ConfirmCancelOrder" => Ok(Move::ConfirmCancel),
            "UndoCancelOrder" => Ok(Move::UndoCancel),
            "ConfirmReviseOrder" => Ok(Move::ConfirmRevision),
            "RejectRevision" => Ok(Move::RejectRevision),
            other => Err(HandlerError::permanent(format!(
                "order knows no command `{other}`"
            ))),
        }
    }

    fn apply(
        self,
        order: &mut Order,
        now: chrono::DateTime<Utc>,
    ) -> Result<OrderEvent, OrderError> {
        match self {
            Move::Approve => order.approve(now),
            Move::Reject { reason } => order.reject(&reason, now),
            Move::ConfirmCancel => order.confirm_cancel(now),
            Move::UndoCancel => order.undo_cancel(now),
            Move::ConfirmRevision => order.confirm_revision(now),
            Move::RejectRevision => order.reject_revision(now),
        }
    }
}

fn handler_error(error: StoreError) -> HandlerError {
    match error {
        StoreError::Json(error) => HandlerError::permanent(error),
        error @ (StoreError::Conflict { .. } | StoreError::Database(_)) => {
            HandlerError::transient(error)
        }
    }
}
