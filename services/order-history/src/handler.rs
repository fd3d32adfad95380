//! What happens when an event arrives: one transaction with the inbox entry, the views and the log. Not here: how a view
//! is changed (`orders.rs`, `restaurants.rs`).

use std::sync::Arc;

use ftgo_messaging::{HandlerError, Message, MessageHandler};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;

use crate::event_log::{self, AppendError};
use crate::events::{COURIER_LOCATION_CHANGED, OrderSnapshot, RestaurantSnapshot, StateChange};
use crate::feed::Feed;
use crate::orders::{self, HistoryError};
use crate::restaurants::{self, RestaurantError};

/// Feeds the views and the log.
pub(crate) struct EventHandler {
    pub(crate) feed: Arc<Feed>,
    /// Rows of the log.
    pub(crate) log_capacity: u32,
}

impl MessageHandler for EventHandler {
    fn handle<'a>(
        &'a self,
        tx: &'a mut SqliteConnection,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        async move {
            if message.kind == COURIER_LOCATION_CHANGED {
                return Ok(());
            }
            if message.kind.is_empty() || message.kind.contains(char::is_control) {
                return Err(HandlerError::permanent("the type is not a name"));
            }
            apply(tx, message).await?;
            event_log::append(tx, message, self.log_capacity).await?;
            Ok(())
        }
        .boxed()
    }

    fn committed(&self, message: &Message) {
        self.feed.committed(message);
    }
}

/// Changes the view that the event concerns. Events of other aggregates only go to the log.
async fn apply(tx: &mut SqliteConnection, message: &Message) -> Result<(), HandlerError> {
    // An event without a version never overwrites one that has.
    let version = message.aggregateversion.unwrap_or(0);
    match message.topic.as_str() {
        "order.events" => {
            let order = message.decode::<OrderSnapshot>()?;
            orders::apply_order(tx, &order, version).await?;
        }
        "ticket.events" => {
            let ticket = message.decode::<StateChange>()?;
            orders::apply_ticket_state(tx, &ticket.order_id, &ticket.state, version).await?;
        }
        "delivery.events" => {
            let delivery = message.decode::<StateChange>()?;
            orders::apply_delivery_state(tx, &delivery.order_id, &delivery.state, version).await?;
        }
        "restaurant.events" => {
            let restaurant = message.decode::<RestaurantSnapshot>()?;
            restaurants::apply(tx, &restaurant, version).await?;
        }
        _ => {}
    }
    Ok(())
}

impl From<HistoryError> for HandlerError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Storage(_) => HandlerError::transient(error),
            HistoryError::Stored { .. } => HandlerError::permanent(error),
        }
    }
}

impl From<RestaurantError> for HandlerError {
    fn from(error: RestaurantError) -> Self {
        match error {
            RestaurantError::Storage(_) => HandlerError::transient(error),
            RestaurantError::Hours { .. } | RestaurantError::Json { .. } => {
                HandlerError::permanent(error)
            }
        }
    }
}

impl From<AppendError> for HandlerError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Storage(_) => HandlerError::transient(error),
            AppendError::Json(_) => HandlerError::permanent(error),
        }
    }
}
