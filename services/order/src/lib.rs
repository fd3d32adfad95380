//! The order service: the order aggregate, the sagas that it orchestrates, and their HTTP surface.
//! Nothing of the other services is here but the commands they are sent and the restaurants' events.
//!
//! - `domain`: what an order is and which moves it allows, as plain values
//! - `sagas`, `commands`, `subscriber`: the three sagas, order's own steps in them, and the messages it listens to
//! - `store`, `replica`: orders and restaurants in the database
//! - `http`: one file for each thing a client can do
//! - `representation`: an order as others see it, in answers and in events
//!
//! Every move of an order has its event: beside those of the domain's list (OrderCreated, OrderAuthorized,
//! OrderRejected, OrderCancelled, OrderRevisionProposed, OrderRevised) there are OrderCancelRequested,
//! OrderCancelRejected and OrderRevisionRejected, so that a view is never left in CANCEL_PENDING or REVISION_PENDING
//! when the order is APPROVED again. Each carries the whole order and its version; a reader that takes the newest
//! snapshot need not know the names.

mod commands;
mod domain;
mod http;
mod replica;
mod representation;
mod sagas;
mod store;
mod subscriber;

use std::sync::Arc;

use ftgo_chassis::{Environment, RunningService, Service, StartError};
use ftgo_messaging::saga::{Orchestrator, RetryPolicy, run_retries};
use sqlx::migrate::Migrator;

use crate::http::App;
use crate::replica::Replica;
use crate::subscriber::Subscriber;

pub use crate::subscriber::SUBSCRIPTION;

/// The name of the service: its database file, its source in messages, its subscriber.
pub const NAME: &str = "order";
/// Its port in the demo.
pub const PORT: u16 = 8101;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Starts the service. Sagas that an earlier process left under way go on by themselves.
///
/// # Errors
/// When the address is taken or the database cannot be used.
pub async fn start(environment: Environment) -> Result<RunningService, StartError> {
    start_with(environment, RetryPolicy::default()).await
}

async fn start_with(
    environment: Environment,
    retry: RetryPolicy,
) -> Result<RunningService, StartError> {
    let service = Service::bind(NAME, environment, &MIGRATOR).await?;
    let database = service.database().clone();
    let replica = Arc::new(Replica::default());
    let orchestrator = Arc::new(
        Orchestrator::new(NAME, sagas::ORDER_REPLIES, sagas::DEFINITIONS).with_retry(retry),
    );
    let retries = run_retries(
        Arc::clone(&orchestrator),
        database.clone(),
        service.shutdown(),
    );
    let subscriber = Subscriber {
        replica: Arc::clone(&replica),
        orchestrator: Arc::clone(&orchestrator),
    };
    Ok(service
        .messages(Arc::new(subscriber))
        .background("saga retries", retries)
        .openapi(http::document())
        .routes(http::routes(App {
            database,
            replica,
            orchestrator,
        }))
        .start())
}

#[cfg(test)]
mod tests;
