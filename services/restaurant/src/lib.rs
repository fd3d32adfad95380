//! The restaurant service: restaurants, their opening hours and their versioned menus, published to all who keep replicas.
//! Who is near and open is for those replicas to say; orders are not known here.
//!
//! - `domain`: the restaurant and what makes it, its hours and its menu valid
//! - `store`: rows and published events, in one transaction
//! - `http`: routes, validators, preconditions
//! - `seed`: the demo's restaurants

mod domain;
mod http;
mod seed;
mod store;
#[cfg(test)]
mod testing;

use ftgo_chassis::{Environment, RunningService, Service, StartError};
use ftgo_messaging::Subscription;
use sqlx::migrate::Migrator;

pub use seed::{SeedError, seed};
pub use store::StoreError;

pub const NAME: &str = "restaurant";
/// Of the demo.
pub const PORT: u16 = 8106;
/// Nothing: restaurants depend on nobody.
pub const SUBSCRIPTION: Subscription = Subscription {
    subscriber: NAME,
    topics: &[],
};

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Starts the service.
///
/// # Errors
/// When the address can't be bound, or the database can't be opened or seeded.
pub async fn start(environment: Environment) -> Result<RunningService, StartError> {
    let service = Service::bind(NAME, environment, &MIGRATOR).await?;
    let database = service.database().clone();
    if service.seeds() {
        seed(&database).await.map_err(StartError::seed)?;
    }
    Ok(service
        .openapi(http::document())
        .public(http::PUBLIC)
        .routes(http::routes(database))
        .start())
}
