//! Every composed route for partners, one line each. Who may use it, and how often, is in `config/public.toml` under the
//! route's name.

use gateway_core::config::Config;
use gateway_core::openapi::Info;
use gateway_core::route::Routes;
use gateway_core::upstream::{UnknownUpstream, Upstreams};

use crate::clients::Clients;
use crate::examples::EXAMPLES;
use crate::{v1, v2};

const INFO: Info = Info {
    title: "FTGO for partners",
    version: env!("CARGO_PKG_VERSION"),
    description: "Orders and menus for partners' servers. Shapes stay as they are; a new version stands beside the one before. \
                  Requests count against the plan: `RateLimit` says on every answer what is left.",
    contact: ("FTGO", "https://ftgo.example/developers"),
    tags: &[
        ("orders", "The orders of the partner's account."),
        ("restaurants", "Where food comes from, and what it costs."),
        ("usage", "What is left of the plan."),
        (
            "webhooks",
            "Where the partner is told of what happens to its orders.",
        ),
    ],
    examples: EXAMPLES,
};

#[rustfmt::skip]
pub(crate) fn routes(upstreams: &Upstreams, config: &Config) -> Result<Routes, UnknownUpstream> {
    Ok(Routes::<Clients>::new()
        .get("v1-order", "/v1/orders/{id}", v1::orders::show).about("An order of the partner's account")
        .get("v1-restaurants", "/v1/restaurants", v1::restaurants::list).about("Restaurants that deliver to a place, nearest first")
        .get("v2-orders", "/v2/orders", v2::orders::list).about("The orders of the partner's account, newest first")
        .post("v2-place-order", "/v2/orders", v2::place_order::place).about("Place an order")
        .get("v2-order", "/v2/orders/{id}", v2::orders::show).about("An order of the partner's account")
        .get("v2-restaurants", "/v2/restaurants", v2::restaurants::list).about("Restaurants that deliver to a place, or the partner's own")
        .get("v2-menu", "/v2/restaurants/{id}/menu", v2::menus::show).about("A restaurant's menu")
        .put("v2-revise-menu", "/v2/restaurants/{id}/menu", v2::menus::revise).about("Replace the menu of one of the partner's restaurants")
        .get("v2-usage", "/v2/usage", v2::usage::show).about("What has been used of the plan")
        .get("v2-webhooks", "/v2/webhooks", v2::webhooks::list).about("The partner's webhooks")
        .post("v2-add-webhook", "/v2/webhooks", v2::webhooks::create).about("Add a webhook")
        .get("v2-webhook", "/v2/webhooks/{id}", v2::webhooks::show).about("A webhook")
        .delete("v2-remove-webhook", "/v2/webhooks/{id}", v2::webhooks::delete).about("Remove a webhook with its deliveries")
        .post("v2-rotate-webhook", "/v2/webhooks/{id}/rotate", v2::webhooks::rotate).about("Give a webhook another secret")
        .post("v2-enable-webhook", "/v2/webhooks/{id}/enable", v2::webhooks::enable).about("Use a webhook again that was disabled")
        .post("v2-test-webhook", "/v2/webhooks/{id}/test", v2::webhooks::test).about("Send a message that is about nothing")
        .get("v2-webhook-deliveries", "/v2/webhooks/{id}/deliveries", v2::webhooks::deliveries).about("What was delivered, newest first")
        .post("v2-replay-webhook", "/v2/webhooks/{id}/deliveries/{message}/replay", v2::webhooks::replay).about("Deliver a message again")
        .openapi("openapi", "/openapi.json", config, &INFO)
        .docs("docs", "/docs")
        .with_state(Clients::new(upstreams)?))
}
