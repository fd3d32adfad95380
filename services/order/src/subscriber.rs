//! Where order's messages go: restaurants to the replica, commands to the aggregate, replies to the orchestrator.
//! Not here: what any of them does with it.

use std::sync::Arc;

use ftgo_messaging::saga::Orchestrator;
use ftgo_messaging::{HandlerError, Message, MessageHandler, Subscription};
use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;

use crate::replica::{RESTAURANT_EVENTS, Replica};
use crate::sagas::{ORDER_COMMANDS, ORDER_REPLIES};
use crate::{NAME, commands};

/// What order listens to.
pub const SUBSCRIPTION: Subscription = Subscription {
    subscriber: NAME,
    topics: &[RESTAURANT_EVENTS, ORDER_COMMANDS, ORDER_REPLIES],
};

pub(crate) struct Subscriber {
    pub(crate) replica: Arc<Replica>,
    pub(crate) orchestrator: Arc<Orchestrator>,
}

impl MessageHandler for Subscriber {
    fn handle<'a>(
        &'a self,
        tx: &'a mut SqliteConnection,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        Box::pin(async move {
            match message.topic.as_str() {
                RESTAURANT_EVENTS => self.replica.apply(tx, message).await,
                ORDER_COMMANDS => commands::handle(tx, message).await,
                ORDER_REPLIES => self.orchestrator.handle_reply(tx, message).await,
                _ => Ok(()),
            }
        })
    }

    fn committed(&self, message: &Message) {
        match message.topic.as_str() {
            RESTAURANT_EVENTS => self.replica.committed(),
            ORDER_REPLIES => self.orchestrator.reply_committed(),
            _ => {}
        }
    }
}
