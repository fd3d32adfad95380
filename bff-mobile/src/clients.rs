//! The services that the app needs, one file each: paths, the fields that are read, the service's refusals.
//! Connections, deadlines and failures in words are `gateway_core::upstream`.

pub(crate) mod accounting;
pub(crate) mod delivery;
pub(crate) mod kitchen;
pub(crate) mod order;
pub(crate) mod order_history;
pub(crate) mod restaurant;

use gateway_core::events::Events;
use gateway_core::idempotency::Idempotency;
use gateway_core::upstream::{UnknownUpstream, Upstreams};

/// One worker's clients of all services. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) orders: order::OrderClient,
    pub(crate) kitchen: kitchen::KitchenClient,
    pub(crate) deliveries: delivery::DeliveryClient,
    pub(crate) accounting: accounting::AccountingClient,
    pub(crate) restaurants: restaurant::RestaurantClient,
    pub(crate) history: order_history::OrderHistoryClient,
    /// What changes in the services.
    pub(crate) events: Events,
    /// For what is done once for each key.
    pub(crate) idempotency: Idempotency,
}

impl Clients {
    pub(crate) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            orders: order::OrderClient::new(upstreams)?,
            kitchen: kitchen::KitchenClient::new(upstreams)?,
            deliveries: delivery::DeliveryClient::new(upstreams)?,
            accounting: accounting::AccountingClient::new(upstreams)?,
            restaurants: restaurant::RestaurantClient::new(upstreams)?,
            history: order_history::OrderHistoryClient::new(upstreams)?,
            events: upstreams.events().clone(),
            idempotency: upstreams.idempotency(),
        })
    }
}
