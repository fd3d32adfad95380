//! Every composed route of the app, one line each. Who may use it, and how often, is in `config/mobile.toml` under the
//! route's name.

use gateway_core::config::Config;
use gateway_core::openapi::Info;
use gateway_core::route::Routes;
use gateway_core::upstream::{UnknownUpstream, Upstreams};

use crate::clients::Clients;
use crate::examples::EXAMPLES;
use crate::screens::{
    change_order, courier, courier_plan, home, order_details, order_events, order_history,
    place_order, restaurants,
};

const INFO: Info = Info {
    title: "FTGO for the app",
    version: env!("CARGO_PKG_VERSION"),
    description: "One round trip for one screen. A screen is made of sections: each says whether it is `ok`, `stale` or \
                  `unavailable`, and why; what cannot be fetched costs its section only.",
    contact: ("FTGO", "https://ftgo.example/developers"),
    tags: &[
        ("home", "What the app opens with."),
        ("orders", "The caller's own orders."),
        ("restaurants", "Where food comes from."),
        ("courier", "What couriers do next, and what they report."),
    ],
    examples: EXAMPLES,
};

#[rustfmt::skip]
pub(crate) fn routes(upstreams: &Upstreams, config: &Config) -> Result<Routes, UnknownUpstream> {
    Ok(Routes::<Clients>::new()
        .get("home", "/home", home::show).about("The first screen")
        .get("order-history", "/orders", order_history::show).about("The caller's orders, newest first")
        .post("place-order", "/orders", place_order::place).about("Place an order")
        .get("order-details", "/orders/{id}", order_details::show).about("Everything about one order")
        .post("cancel-order", "/orders/{id}/cancel", change_order::cancel).about("Cancel an order")
        .post("revise-order", "/orders/{id}/revise", change_order::revise).about("Change an order")
        .get("order-events", "/orders/{id}/events", order_events::follow).about("How an order goes: now as JSON, or every change as a stream")
        .get("restaurants", "/restaurants", restaurants::list).about("Restaurants that deliver to a place, nearest first")
        .get("restaurant", "/restaurants/{id}", restaurants::show).about("A restaurant with its menu")
        .get("courier-plan", "/courier/plan", courier_plan::show).about("What the calling courier does next").may_be_missing()
        .post("courier-availability", "/courier/availability", courier::set_availability).about("Take new deliveries, or no more")
        .put("courier-location", "/courier/location", courier::set_location).about("Report where the courier is")
        .post("courier-pickup", "/courier/deliveries/{id}/pickup", courier::pick_up).about("Report that the courier has the food")
        .post("courier-dropoff", "/courier/deliveries/{id}/dropoff", courier::drop_off).about("Report that the consumer has the food")
        .openapi("openapi", "/openapi.json", config, &INFO)
        .docs("docs", "/docs")
        .with_state(Clients::new(upstreams)?))
}
