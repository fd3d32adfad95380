//! Accounting: one event-sourced account for each consumer, on which the sagas authorize, reverse and revise what orders
//! cost. It answers gRPC only; no payment provider and no other service's model is here.
//!
//! - [`proto`]: the gRPC interface, generated from `proto/accounting.proto`
//! - `domain`: the account, its commands, events and rejections
//! - `store`: events, projections (accounts, bills) and published events, in one transaction
//! - `messages`: the sagas' commands, and consumers for whom an account is opened
//! - `grpc`: methods, statuses, deadlines

mod domain;
mod grpc;
mod messages;
pub mod proto;
mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ftgo_chassis::openapi::Document;
use ftgo_chassis::{Environment, RunningService, Service, StartError};
use ftgo_messaging::Subscription;
use sqlx::migrate::Migrator;

pub const NAME: &str = "accounting";
/// Of the demo.
pub const PORT: u16 = 8104;
pub const SUBSCRIPTION: Subscription = Subscription {
    subscriber: NAME,
    topics: &["consumer.events", "accounting.commands"],
};

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Starts the service. There is nothing to seed: accounts come with the consumers.
///
/// # Errors
/// When the address can't be bound or the database can't be opened.
pub async fn start(environment: Environment) -> Result<RunningService, StartError> {
    let service = Service::bind(NAME, environment, &MIGRATOR).await?;
    let routes = grpc::routes(service.database().clone()).await;
    Ok(service
        .messages(Arc::new(messages::Handler))
        .openapi(Document::new(
            "accounting: gRPC only, as ftgo.accounting.v1.Accounting on this port",
        ))
        .routes(routes)
        .start())
}
