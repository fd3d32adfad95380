//! The backend of the mobile app: one round trip for one screen. How requests are received, checked and forwarded is
//! gateway-core's; what an order may do is decided by the services.
//!
//! A request arrives at one of the lines in `routes.rs`, is answered by the function of that name in `screens`, which
//! calls services through `clients`. What a service's refusal means to the app is in `error.rs`.

mod caller;
mod clients;
mod error;
mod examples;
mod routes;
mod screens;
mod tags;
mod values;

use gateway_core::{App, idempotency};

const APP: App = App {
    name: "bff-mobile",
    routes: routes::routes,
    tags: tags::of_event,
    tables: &[idempotency::TABLES],
    announce: None,
};

/// The app's backend, to be run by [`gateway_core::main`] or, in a test, by [`gateway_core::Gateway::start`].
#[must_use]
pub fn app() -> App {
    APP
}

#[cfg(test)]
mod tests;
