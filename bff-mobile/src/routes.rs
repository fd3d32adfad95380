//! Every composed route of the app, one line each. Who may use it, and how often, is in `config/mobile.toml` under the
//! route's name.

use gateway_core::config::Config;
use gateway_core::route::Routes;
use gateway_core::upstream::{UnknownUpstream, Upstreams};

use crate::clients::Clients;
use crate::screens::{change_order, home, order_details, order_history, place_order, restaurants};

pub(crate) fn routes(upstreams: &Upstreams, _config: &Config) -> Result<Routes, UnknownUpstream> {
    Ok(Routes::<Clients>::new()
        .get("home", "/home", home::show)
        .get("order-history", "/orders", order_history::show)
        .post("place-order", "/orders", place_order::place)
        .get("order-details", "/orders/{id}", order_details::show)
        .post("cancel-order", "/orders/{id}/cancel", change_order::cancel)
        .post("revise-order", "/orders/{id}/revise", change_order::revise)
        .get("restaurants", "/restaurants", restaurants::list)
        .get("restaurant", "/restaurants/{id}", restaurants::show)
        .with_state(Clients::new(upstreams)?))
}
