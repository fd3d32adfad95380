//! FTGO's order history: the read side of CQRS. It owns no aggregate and takes no command; it listens to every domain
//! event, keeps two views of them (a consumer's orders, the restaurants that are open nearby) and hands the events on as
//! one feed. Not here: any decision about an order.
//!
//! The way of an event: `handler` changes the view and appends to the `event_log` in one transaction with the inbox
//! entry → the commit wakes the readers of the `feed` → whoever reads a view after an event came on `/events` reads its
//! effect.

mod cursor;
mod event_log;
mod events;
mod feed;
mod handler;
mod http;
mod opening_hours;
mod orders;
mod restaurants;

use std::sync::Arc;
use std::time::Duration;

use ftgo_chassis::{Environment, RunningService, Service, StartError};
use ftgo_messaging::Subscription;
use sqlx::migrate::Migrator;

use crate::feed::Feed;
use crate::handler::EventHandler;
use crate::http::AppState;

/// The service's name, also of its database file.
pub const NAME: &str = "order-history";
/// Its port in the demo.
pub const PORT: u16 = 8107;

/// Every domain event: what no view needs is in the feed.
pub const SUBSCRIPTION: Subscription = Subscription {
    subscriber: NAME,
    topics: &[
        "order.events",
        "ticket.events",
        "delivery.events",
        "restaurant.events",
        "consumer.events",
        "account.events",
    ],
};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// What differs from one installation to the next.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The longest silence on an event stream.
    pub heartbeat: Duration,
    /// How many events can be resumed over.
    pub log_capacity: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            heartbeat: Duration::from_secs(10),
            log_capacity: 100_000,
        }
    }
}

/// Starts the service with the settings of the demo.
///
/// # Errors
/// When the address or the database are not to be had.
pub async fn start(environment: Environment) -> Result<RunningService, StartError> {
    start_with(environment, Settings::default()).await
}

/// Starts the service with settings of the caller's.
///
/// # Errors
/// When the address or the database are not to be had.
pub async fn start_with(
    environment: Environment,
    settings: Settings,
) -> Result<RunningService, StartError> {
    let service = Service::bind(NAME, environment, &MIGRATIONS).await?;
    let database = service.database().clone();
    let feed = Feed::new(database.clone(), settings.heartbeat, service.shutdown());
    let handler = EventHandler {
        feed: feed.clone(),
        log_capacity: settings.log_capacity,
    };
    Ok(service
        .messages(Arc::new(handler))
        .openapi(http::document())
        .public(http::PUBLIC)
        .routes(http::router(AppState { database, feed }))
        .start())
}

#[cfg(test)]
mod tests;
