//! The backend of the web front end: one GraphQL schema over FTGO's services, the storefront that asks it, and GraphiQL. How GraphQL
//! travels over HTTP is `gateway_core::graphql`; what an order may do is decided by the services.
//!
//! A request arrives at one of the lines in `routes.rs`; `graphql` resolves fields, each by a call in `clients` or by a
//! batch of them in `graphql::loaders`.

mod caller;
mod clients;
mod graphql;
mod pages;
mod routes;
mod tags;

use gateway_core::App;

/// The browsers' backend, to be run by [`gateway_core::main`] or, in a test, by [`gateway_core::Gateway::start`].
#[must_use]
pub fn app() -> App {
    APP
}

const APP: App = App {
    name: "bff-web",
    routes: routes::routes,
    tags: tags::of_event,
    tables: &[],
    announce: None,
};

#[cfg(test)]
mod tests;
