//! The services that the schema needs, one file each: paths and the fields that are read. Connections, deadlines and
//! failures in words are `gateway_core::upstream`.

pub(crate) mod accounting;
pub(crate) mod consumer;
pub(crate) mod delivery;
pub(crate) mod kitchen;
pub(crate) mod order;
pub(crate) mod order_history;
pub(crate) mod restaurant;

use std::fmt::Write;

use gateway_core::encode::query_value;
use gateway_core::upstream::{UnknownUpstream, Upstreams};
use serde::Deserialize;

/// One worker's clients of all services. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) orders: order::OrderClient,
    pub(crate) kitchen: kitchen::KitchenClient,
    pub(crate) deliveries: delivery::DeliveryClient,
    pub(crate) restaurants: restaurant::RestaurantClient,
    pub(crate) consumers: consumer::ConsumerClient,
    pub(crate) history: order_history::OrderHistoryClient,
    pub(crate) accounting: accounting::AccountingClient,
}

/// A part of a list, and where the next part begins.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next_cursor: Option<String>,
}

/// What `?ids=` answers: those that exist, in any order.
#[derive(Debug, Deserialize)]
struct Found<T> {
    items: Vec<T>,
}

impl Clients {
    pub(crate) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            orders: order::OrderClient::new(upstreams)?,
            kitchen: kitchen::KitchenClient::new(upstreams)?,
            deliveries: delivery::DeliveryClient::new(upstreams)?,
            restaurants: restaurant::RestaurantClient::new(upstreams)?,
            consumers: consumer::ConsumerClient::new(upstreams)?,
            history: order_history::OrderHistoryClient::new(upstreams)?,
            accounting: accounting::AccountingClient::new(upstreams)?,
        })
    }
}

/// `path?ids=a,b,c`.
fn by_ids(path: &str, ids: &[String]) -> String {
    let mut uri = format!("{path}?ids=");
    for (index, id) in ids.iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(uri, "{separator}{}", query_value(id));
    }
    uri
}

/// Adds a parameter that was given.
fn add(uri: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        let _ = write!(uri, "&{name}={}", query_value(value));
    }
}
