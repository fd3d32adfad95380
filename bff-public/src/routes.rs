//! Every composed route for partners, one line each. Who may use it, and how often, is in `config/public.toml` under the
//! route's name.

use gateway_core::config::Config;
use gateway_core::route::Routes;
use gateway_core::upstream::{UnknownUpstream, Upstreams};

use crate::clients::Clients;
use crate::v1;

pub(crate) fn routes(upstreams: &Upstreams, _config: &Config) -> Result<Routes, UnknownUpstream> {
    Ok(Routes::<Clients>::new()
        .get("v1-order", "/v1/orders/{id}", v1::orders::show)
        .get("v1-restaurants", "/v1/restaurants", v1::restaurants::list)
        .with_state(Clients::new(upstreams)?))
}
