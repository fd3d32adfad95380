//! What this service reads of other services' events: only the fields that a view shows or searches. Not here: the
//! envelope (messaging), and what is done with the fields (`orders.rs`, `restaurants.rs`).

use chrono::{DateTime, Utc};
use ftgo_chassis::address::Address;
use ftgo_chassis::geo::GeoPoint;
use ftgo_chassis::money::Money;
use serde::{Deserialize, Serialize};

use crate::opening_hours::PublishedHours;

/// Latest place of a courier: news for whoever watches now, of no worth later.
pub(crate) const COURIER_LOCATION_CHANGED: &str = "CourierLocationChanged";

/// The snapshot that every order event carries.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderSnapshot {
    pub(crate) order_id: String,
    pub(crate) consumer_id: String,
    pub(crate) restaurant_id: String,
    pub(crate) restaurant_name: String,
    pub(crate) state: String,
    pub(crate) line_items: Vec<LineItem>,
    pub(crate) total: Money,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// One line of an order as the history shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LineItem {
    pub(crate) menu_item_id: String,
    pub(crate) name: String,
    pub(crate) quantity: u32,
}

/// What ticket and delivery events have in common for the history.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateChange {
    pub(crate) order_id: String,
    pub(crate) state: String,
}

/// The restaurant as its events carry it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RestaurantSnapshot {
    pub(crate) restaurant_id: String,
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) location: GeoPoint,
    pub(crate) cuisine: String,
    pub(crate) time_zone: String,
    pub(crate) opening_hours: Vec<PublishedHours>,
    pub(crate) order_minimum: Money,
}
