//! Every composed route for browsers, one line each. Who may use it, and how often, is in `config/web.toml` under the
//! route's name.

use gateway_core::config::Config;
use gateway_core::route::Routes;
use gateway_core::upstream::{UnknownUpstream, Upstreams};

use crate::graphql::Api;
use crate::{graphiql, graphql};

pub(crate) fn routes(upstreams: &Upstreams, config: &Config) -> Result<Routes, UnknownUpstream> {
    Ok(Routes::<Api>::new()
        .post("graphql", "/graphql", graphql::serve)
        .get("graphql", "/graphql", graphql::serve)
        .get("graphiql", "/graphiql", graphiql::page)
        .get(
            "graphiql-asset",
            "/graphiql/{version}/{file}",
            graphiql::asset,
        )
        .sessions(upstreams.sessions())
        .with_state(Api::new(upstreams, &config.graphql)?))
}
