//! The shared library of all BFFs: the edge, API composition and the way to the services, and not a word about food.
//!
//! # The life of a request
//!
//! 1. `server`: one thread accepts, hands the socket to the worker with the fewest connections; framing and timers are
//!    watched there, and hyper reads the request.
//! 2. `edge`: host and path, route, admission, limits by address, credentials, permission, limits by caller, deadline and
//!    body size: one column.
//! 3. [`route`]: the merged table, passthrough routes from the configuration and composed routes from code.
//! 4. `proxy` streams it to one upstream, through `cache`; **or** a BFF's handler composes an answer with [`compose`].
//! 5. [`upstream`]: the typed call, its failure in words; below it one column of limit, retries, balancer and breaker.
//! 6. `upstream/pool`: one worker's connections.
//!
//! On the way out every failure becomes a problem document ([`problem`]), and every request one log line and one sample.
//!
//! A BFF hands over an [`App`]; [`main`] runs it as a process, [`Gateway::start`] inside a test.

pub mod accepted;
pub mod auth;
pub mod cache;
pub mod compose;
pub mod config;
pub mod encode;
pub mod error;
pub mod events;
pub mod extract;
pub mod graphql;
pub mod idempotency;
pub mod openapi;
pub mod problem;
pub mod quota;
pub mod route;
mod server;
pub mod session;
pub mod site;
pub mod store;
pub mod streams;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod upstream;
pub mod webhooks;

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;

mod admin;
mod cli;
mod clock;
mod context;
mod deadline;
mod digits;
mod edge;
mod finished;
mod gateway;
mod html;
mod intern;
mod metrics;
mod proxy;
mod reload;
mod retry_after;
mod shutdown;
mod telemetry;
mod trace;
mod waterfall;
#[cfg(test)]
mod wire_tests;

pub use cli::main;
pub use context::{RequestContext, RequestId};
pub use deadline::Deadline;
pub use gateway::{App, Gateway, Inherited, RunningGateway, StartError};
pub use telemetry::install_crypto;
pub use trace::TraceContext;
pub use waterfall::{
    CallSource, CallTarget, CompositionPart, PartOutcome, UpstreamCall, Waterfall,
};
