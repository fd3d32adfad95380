//! The consumer service: who orders at FTGO, and whether they may. What they ordered is known by others.

mod domain;
mod http;
mod messages;
mod seed;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ftgo_chassis::{Environment, RunningService, Service, StartError};
use ftgo_messaging::Subscription;
use sqlx::migrate::Migrator;

pub use seed::{SeedError, seed};

pub const NAME: &str = "consumer";
pub const PORT: u16 = 8105;

/// What the service listens to.
pub const SUBSCRIPTION: Subscription = Subscription {
    subscriber: NAME,
    topics: &["consumer.commands"],
};

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Starts the service.
///
/// # Errors
/// When its address is taken, or its database can't be opened, migrated or seeded.
pub async fn start(environment: Environment) -> Result<RunningService, StartError> {
    let service = Service::bind(NAME, environment, &MIGRATOR).await?;
    let database = service.database().clone();
    if service.seeds() {
        seed(&database).await.map_err(StartError::seed)?;
    }
    Ok(service
        .messages(Arc::new(messages::Commands))
        .openapi(http::document())
        .routes(http::routes(database))
        .start())
}
