//! The messages that accounting acts on: the sagas' commands, each answered in its own transaction, and the arrival of
//! consumers, each of whom gets an account. What a command may do is the account's decision; redelivery is the inbox's.

use std::time::Duration;

use chrono::Utc;
use ftgo_chassis::Money;
use ftgo_messaging::{HandlerError, Message, MessageHandler, Outcome, outbox};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::domain::account::{Command, Rejection};
use crate::store::{self, StoreError};

#[cfg(test)]
mod tests;

/// How long `AuthorizeCard` waits for the account of a consumer who has just registered. `ConsumerCreated` and the order
/// travel on different topics, so the order may be here first; a rejection then would blame the consumer for our own
/// delay. Somebody who has no account after this time has none, and the order must not hang for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// US cents; far above any meal, far below a month's rent.
const ORDER_LIMIT: i32 = 100_000;

pub(crate) struct Handler;

impl MessageHandler for Handler {
    fn handle<'a>(
        &'a self,
        tx: &'a mut SqliteConnection,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        Box::pin(async move {
            match message.kind.as_str() {
                "ConsumerCreated" => open_account(tx, &message.decode()?).await,
                "AuthorizeCard" => {
                    let command: Charge = message.decode()?;
                    let outcome = authorize_card(tx, message, command).await?;
                    reply(tx, message, &outcome).await
                }
                "ReverseAuthorization" => {
                    let command: Reversal = message.decode()?;
                    let outcome = reverse_authorization(tx, command).await?;
                    reply(tx, message, &outcome).await
                }
                "ReviseAuthorization" => {
                    let command: Charge = message.decode()?;
                    let outcome = revise_authorization(tx, command).await?;
                    reply(tx, message, &outcome).await
                }
                // A saga would wait for the answer for ever; as a dead letter the command is answered.
                unknown if message.replyto.is_some() => Err(HandlerError::permanent(format!(
                    "accounting knows no command {unknown}"
                ))),
                // Other events of consumers are none of our business.
                _ => Ok(()),
            }
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConsumerCreated {
    consumer_id: String,
}

/// `AuthorizeCard` and `ReviseAuthorization`: the order is to hold this amount.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Charge {
    order_id: String,
    consumer_id: String,
    amount: Money,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reversal {
    order_id: String,
    consumer_id: String,
}

async fn open_account(
    tx: &mut SqliteConnection,
    event: &ConsumerCreated,
) -> Result<(), HandlerError> {
    // The event may come twice under two ids, for example after a consumer service restored a backup.
    if store::id_of_consumers_account(&mut *tx, &event.consumer_id)
        .await?
        .is_some()
    {
        return Ok(());
    }
    let open = Command::Open {
        consumer_id: event.consumer_id.clone(),
        order_limit: Money::usd(ORDER_LIMIT),
    };
    store::execute(tx, &Uuid::now_v7().to_string(), open, Utc::now())
        .await?
        .map_err(HandlerError::permanent)
}

async fn authorize_card(
    tx: &mut SqliteConnection,
    message: &Message,
    command: Charge,
) -> Result<Outcome, HandlerError> {
    let Some(account_id) = store::id_of_consumers_account(&mut *tx, &command.consumer_id).await?
    else {
        let age = (Utc::now() - message.time).to_std().unwrap_or_default();
        if age < PATIENCE {
            return Err(HandlerError::transient(format!(
                "consumer {} has no account yet",
                command.consumer_id
            )));
        }
        return Ok(rejected(&Rejection::NotOpened));
    };
    // An account knows its own orders only; that nobody else pays for this one, too, is known here.
    if let Some(bill) = store::bill(&mut *tx, &command.order_id).await?
        && bill.account_id != account_id
    {
        return Ok(Outcome::failure(
            "ORDER_OF_ANOTHER_ACCOUNT",
            "the order is billed to another consumer",
        ));
    }
    let authorize = Command::Authorize {
        order_id: command.order_id,
        amount: command.amount,
    };
    execute(tx, &account_id, authorize).await
}

async fn reverse_authorization(
    tx: &mut SqliteConnection,
    command: Reversal,
) -> Result<Outcome, HandlerError> {
    // Without an account nothing was ever authorized, and that is what the saga asks for.
    let Some(account_id) = store::id_of_consumers_account(&mut *tx, &command.consumer_id).await?
    else {
        return Ok(Outcome::success());
    };
    let reverse = Command::Reverse {
        order_id: command.order_id,
    };
    execute(tx, &account_id, reverse).await
}

async fn revise_authorization(
    tx: &mut SqliteConnection,
    command: Charge,
) -> Result<Outcome, HandlerError> {
    // No patience here: a revised order was authorized before, so its account exists.
    let Some(account_id) = store::id_of_consumers_account(&mut *tx, &command.consumer_id).await?
    else {
        return Ok(rejected(&Rejection::NotOpened));
    };
    let revise = Command::Revise {
        order_id: command.order_id,
        amount: command.amount,
    };
    execute(tx, &account_id, revise).await
}

async fn execute(
    tx: &mut SqliteConnection,
    account_id: &str,
    command: Command,
) -> Result<Outcome, HandlerError> {
    Ok(
        match store::execute(tx, account_id, command, Utc::now()).await? {
            Ok(()) => Outcome::success(),
            Err(rejection) => rejected(&rejection),
        },
    )
}

fn rejected(rejection: &Rejection) -> Outcome {
    Outcome::failure(rejection.code(), rejection.to_string())
}

async fn reply(
    tx: &mut SqliteConnection,
    command: &Message,
    outcome: &Outcome,
) -> Result<(), HandlerError> {
    outbox::publish(tx, &Message::reply_to(command, outcome)).await?;
    Ok(())
}

impl From<StoreError> for HandlerError {
    fn from(error: StoreError) -> Self {
        match error {
            // Whoever was first has committed; the next attempt sees it.
            StoreError::Conflict { .. } | StoreError::Database(_) => Self::transient(error),
            StoreError::Encoding { .. } => Self::permanent(error),
        }
    }
}
