//! What the service hears and says: the commands of sagas and its own event. Rules are in the domain.

use ftgo_messaging::{HandlerError, Message, MessageHandler, Outcome, outbox};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;
use sqlx::SqliteConnection;

use crate::domain::Consumer;
use crate::{NAME, store};

const EVENTS: &str = "consumer.events";

/// Handles the commands on `consumer.commands`.
pub(crate) struct Commands;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ValidateOrder {
    consumer_id: String,
}

impl MessageHandler for Commands {
    fn handle<'a>(
        &'a self,
        tx: &'a mut SqliteConnection,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        Box::pin(async move {
            let outcome = match message.kind.as_str() {
                "ValidateOrder" => validate_order(tx, &message.decode()?).await?,
                unknown => {
                    let reason = format!("`{unknown}` is no command of this service");
                    return Err(HandlerError::permanent(reason));
                }
            };
            outbox::publish(tx, &Message::reply_to(message, &outcome)).await?;
            Ok(())
        })
    }
}

async fn validate_order(
    tx: &mut SqliteConnection,
    command: &ValidateOrder,
) -> Result<Outcome, HandlerError> {
    let Some(consumer) = store::find(tx, &command.consumer_id).await? else {
        return Ok(Outcome::failure(
            "CONSUMER_NOT_FOUND",
            "there is no such consumer",
        ));
    };
    Ok(match consumer.validate_order() {
        Ok(()) => Outcome::success(),
        Err(refusal) => Outcome::failure("CONSUMER_BLOCKED", refusal.to_string()),
    })
}

/// The event that tells others of a new consumer. They need no address and no e-mail.
pub(crate) fn consumer_created(consumer: &Consumer) -> Result<Message, serde_json::Error> {
    let data = json!({"consumerId": consumer.id, "name": consumer.name});
    Message::event(
        NAME,
        EVENTS,
        "ConsumerCreated",
        &consumer.id,
        consumer.version,
        data,
    )
}
