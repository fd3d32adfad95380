//! The chassis that every FTGO service is built on: start and stop, HTTP serving, problems, health, metrics, faults and
//! the few value types that all services write in the same way. No aggregate, and no rule of one service, is here.
//!
//! A service is one function. `bind` takes the address first and opens the database, so that a port in use or a broken
//! file is found before anything happens; the rest is declared, and `start` sets it going:
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use ftgo_chassis::openapi::{Document, Operation};
//! use ftgo_chassis::{Environment, RunningService, Service, StartError};
//!
//! const NAME: &str = "greeting";
//! static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");
//!
//! pub async fn start(environment: Environment) -> Result<RunningService, StartError> {
//!     let service = Service::bind(NAME, environment, &MIGRATOR).await?;
//!     if service.seeds() {
//!         // Write what is missing; an error becomes `StartError::seed(error)`.
//!     }
//!     Ok(service
//!         .openapi(Document::new(NAME).operation(Operation::get("/greeting", "Says hello")))
//!         .routes(Router::new().route("/greeting", get(async || "hello")))
//!         .start())
//! }
//! ```
//!
//! - `messages`: the handler of what the service subscribes to. Without one it only publishes.
//! - `background("name", future)`: work beside the requests. Give it [`Service::shutdown`] to end in time.
//! - Streams that a handler answers with (SSE) end when [`Service::shutdown`] is cancelled; what still runs after the
//!   grace period is dropped.

pub mod address;
pub mod caller;
pub mod etag;
pub mod faults;
pub mod geo;
pub mod http;
pub mod idempotency;
pub mod json;
pub mod metrics;
pub mod money;
pub mod openapi;
pub mod problem;
pub mod query;
pub mod service;
#[cfg(test)]
mod testing;
pub mod traces;

pub use address::Address;
pub use caller::{Caller, TrustedGateways};
pub use geo::GeoPoint;
pub use json::Json;
pub use money::{Currency, Money, MoneyError};
pub use problem::{FieldError, Problem, ServiceError};
pub use query::{IdList, Query};
pub use service::{Environment, RunningService, Service, StartError};
