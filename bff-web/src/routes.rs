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
        .get("graphiql", "/graphiql", pages::graphiql)
        .get("storefront", "/", pages::storefront)
        .get("storefront", "/restaurants/{id}", pages::storefront)
        .get("storefront", "/checkout", pages::storefront)
        .get("storefront", "/orders", pages::storefront)
        .get("storefront", "/orders/{id}", pages::storefront)
        .get("storefront", "/kitchen", pages::storefront)
        .get("storefront", "/kitchen/{id}", pages::storefront)
        .get("assets", "/assets/{file}", pages::asset)
        .sessions(upstreams.sessions())
        .with_state(Api::new(upstreams, &config.graphql)?))
}
