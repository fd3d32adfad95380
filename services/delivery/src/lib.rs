//! FTGO's deliveries: who brings an order from the restaurant to the door, and the couriers with their places and plans.
//! Orders and tickets belong to others.

pub mod courier;
pub mod delivery;
pub mod dispatch;
pub mod events;
pub mod http;
pub mod replica;
pub mod scheduling;
pub mod seed;
pub mod store;
pub mod subscriber;
pub mod travel;

mod clock;
#[cfg(test)]
mod fixtures;

use std::sync::Arc;

use ftgo_chassis::{Environment, RunningService, Service, StartError};
use ftgo_messaging::Subscription;
use sqlx::migrate::Migrator;
use tokio::sync::Notify;

use crate::subscriber::Subscriber;

pub const NAME: &str = "delivery";

/// The port in the demo.
pub const PORT: u16 = 8103;

pub const SUBSCRIPTION: Subscription = Subscription {
    subscriber: NAME,
    topics: &["restaurant.events", "order.events", "ticket.events"],
};

/// The service's own tables.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Starts the service, with the couriers of the demo if the environment asks for them.
///
/// # Errors
/// When the address is in use, or the database cannot be opened or seeded.
pub async fn start(environment: Environment) -> Result<RunningService, StartError> {
    let service = Service::bind(NAME, environment, &MIGRATOR).await?;
    let database = service.database().clone();
    if service.seeds() {
        seed::seed(&database).await.map_err(StartError::seed)?;
    }
    let shutdown = service.shutdown();
    let moved = Arc::new(Notify::new());
    let retrying = dispatch::retry_waiting(database.clone(), shutdown.clone());
    let announcing = dispatch::announce_locations(database.clone(), Arc::clone(&moved), shutdown);
    Ok(service
        .messages(Arc::new(Subscriber))
        .openapi(http::document())
        .routes(http::routes(database, moved))
        .background("retry waiting deliveries", retrying)
        .background("announce courier locations", announcing)
        .start())
}
