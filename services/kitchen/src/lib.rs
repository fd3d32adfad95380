//! FTGO's kitchen: the tickets on which restaurants cook, its part in the sagas of the order service, and the surface for
//! restaurant staff. Menus and orders belong to others.

pub mod events;
pub mod http;
pub mod participant;
pub mod replica;
pub mod store;
pub mod ticket;

mod clock;
#[cfg(test)]
mod fixtures;

use std::sync::Arc;

use ftgo_chassis::{Environment, RunningService, Service, StartError};
use ftgo_messaging::Subscription;
use sqlx::migrate::Migrator;

use crate::participant::Participant;

pub const NAME: &str = "kitchen";

/// The port in the demo.
pub const PORT: u16 = 8102;

pub const SUBSCRIPTION: Subscription = Subscription {
    subscriber: NAME,
    topics: &["restaurant.events", "kitchen.commands"],
};

/// The kitchen's own tables.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Starts the service. There is nothing to seed: tickets come from orders, restaurants from their events.
///
/// # Errors
/// When the address is in use or the database cannot be opened.
pub async fn start(environment: Environment) -> Result<RunningService, StartError> {
    let service = Service::bind(NAME, environment, &MIGRATOR).await?;
    let routes = http::routes(service.database().clone());
    Ok(service
        .messages(Arc::new(Participant::listening()))
        .openapi(http::document())
        .routes(routes)
        .start())
}
