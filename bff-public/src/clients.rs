//! The services that the API is made of, one file each: paths, the fields that are read, the service's refusals.
//! Connections, deadlines and failures in words are `gateway_core::upstream`.

pub(crate) mod order;
pub(crate) mod order_history;
pub(crate) mod restaurant;

use gateway_core::idempotency::Idempotency;
use gateway_core::upstream::{UnknownUpstream, Upstreams};
use gateway_core::webhooks::Webhooks;
use serde::{Deserialize, Serialize};

/// One worker's clients of all services. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) orders: order::OrderClient,
    pub(crate) history: order_history::OrderHistoryClient,
    pub(crate) restaurants: restaurant::RestaurantClient,
    /// For what is done once for each key.
    pub(crate) idempotency: Idempotency,
    /// What partners' servers are told.
    pub(crate) webhooks: Webhooks,
}

impl Clients {
    pub(crate) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            orders: order::OrderClient::new(upstreams)?,
            history: order_history::OrderHistoryClient::new(upstreams)?,
            restaurants: restaurant::RestaurantClient::new(upstreams)?,
            idempotency: upstreams.idempotency(),
            webhooks: upstreams.webhooks().clone(),
        })
    }
}

// What several services write in the same way.

/// Decimal digits in text, and an ISO 4217 code.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Money {
    pub(crate) amount: String,
    pub(crate) currency: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) street1: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) street2: Option<String>,
    pub(crate) city: String,
    pub(crate) state: String,
    pub(crate) zip: String,
}

/// WGS 84, in degrees.
#[derive(Debug, Deserialize)]
pub(crate) struct Location {
    pub(crate) lat: f64,
    pub(crate) lng: f64,
}
