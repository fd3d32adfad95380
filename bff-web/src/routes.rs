//! Every composed route for browsers, one line each. Who may use it, and how often, is in `config/web.toml` under the
//! route's name.

use gateway_core::config::Config;
use gateway_core::route::Routes;
use gateway_core::upstream::{UnknownUpstream, Upstreams};

use crate::graphql::Api;
use crate::{graphql, pages};

pub(crate) fn routes(upstreams: &Upstreams, config: &Config) -> Result<Routes, UnknownUpstream> {
    Ok(Routes::<Api>::new()
        .post("graphql", "/graphql", graphql::serve)
        .get("graphql", "/graphql", graphql::serve)
        .open("graphiql", "/graphiql", pages::graphiql)
        .open("storefront", "/", pages::storefront)
        .open("storefront", "/restaurants/{id}", pages::storefront)
        .open("storefront", "/checkout", pages::storefront)
        .open("storefront", "/orders", pages::storefront)
        .open("storefront", "/orders/{id}", pages::storefront)
        .open("storefront", "/kitchen", pages::storefront)
        .open("storefront", "/kitchen/{id}", pages::storefront)
        .open("assets", "/assets/{file}", pages::asset)
        .sessions(upstreams.sessions())
        .with_state(Api::new(upstreams, &config.graphql)?))
}
