//! What stored answers depend on: the names of things that change, and which event is about which of them. What is stored,
//! and for how long, is said at each call in `clients`.

use gateway_core::events::ChangeEvent;
use serde::Deserialize;

/// The lists of restaurants, whatever they were searched by.
pub(crate) const RESTAURANTS: &str = "restaurants";

/// An order, and its ticket and delivery, which have its id.
pub(crate) fn order(id: &str) -> String {
    format!("order:{id}")
}

/// Where the courier of an order is: it changes every second, and nothing else of the order does with it.
pub(crate) fn location(id: &str) -> String {
    format!("location:{id}")
}

/// What who follows an order hears of.
pub(crate) fn followed(order_id: &str) -> [String; 2] {
    [order(order_id), location(order_id)]
}

pub(crate) const COURIER_LOCATION_CHANGED: &str = "CourierLocationChanged";

/// A restaurant with its menu.
pub(crate) fn restaurant(id: &str) -> String {
    format!("restaurant:{id}")
}

/// What has to be read anew after an event; `None` when it does not say what it is about.
pub(crate) fn of_event(event: &ChangeEvent) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Moved {
        order_ids: Vec<String>,
    }
    if event.kind == COURIER_LOCATION_CHANGED {
        let Moved { order_ids } = event.data().ok()?;
        return Some(order_ids.iter().map(|id| location(id)).collect());
    }
    let subject = event.subject.as_deref()?;
    let is_about = |aggregate: &str| event.kind.starts_with(aggregate);
    if ["Order", "Ticket", "Delivery"].into_iter().any(is_about) {
        Some(vec![order(subject)])
    } else if is_about("Restaurant") {
        Some(vec![restaurant(subject), RESTAURANTS.to_owned()])
    } else {
        Some(Vec::new())
    }
}
