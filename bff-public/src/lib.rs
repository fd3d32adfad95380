//! The API for partners' servers: shapes that stay as they are, versions side by side, a partner's own account only.
//! How requests are received, checked and forwarded is gateway-core's.
//!
//! A request arrives at one of the lines in `routes.rs` and is answered by the version that it asks for (`v1`, `v2`), which
//! calls services through `clients` and shows only shapes of its own.

mod announcements;
mod clients;
mod error;
mod examples;
mod onboarding;
mod partner;
mod routes;
mod tags;
mod v1;
mod v2;

use std::process::ExitCode;

use gateway_core::{App, idempotency, quota, webhooks};

/// The partners' API, to be run by [`gateway_core::main`] or, in a test, by [`gateway_core::Gateway::start`].
#[must_use]
pub fn app() -> App {
    APP
}

/// The process: the gateway, or `partners …`, which looks after its partners and ends.
#[must_use]
pub fn main() -> ExitCode {
    match std::env::args_os().nth(1) {
        Some(first) if first == onboarding::COMMAND => onboarding::main(),
        _ => gateway_core::main(APP),
    }
}

const APP: App = App {
    name: "bff-public",
    routes: routes::routes,
    tags: tags::of_event,
    tables: &[idempotency::TABLES, quota::TABLES, webhooks::TABLES],
    announce: Some(announcements::of_event),
};

#[cfg(test)]
mod tests;
