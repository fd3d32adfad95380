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

/// A restaurant with its menu.
pub(crate) fn restaurant(id: &str) -> String {
    format!("restaurant:{id}")
}

/// The tickets of a restaurant.
pub(crate) fn tickets(restaurant_id: &str) -> String {
    format!("tickets:{restaurant_id}")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TicketData {
    restaurant_id: String,
}

/// What has to be read anew after an event; `None` when it does not say what it is about.
pub(crate) fn of_event(event: &ChangeEvent) -> Option<Vec<String>> {
    let subject = event.subject.as_deref()?;
    let is_about = |aggregate: &str| event.kind.starts_with(aggregate);
    if ["Order", "Ticket", "Delivery"].into_iter().any(is_about) {
        let mut tags = vec![order(subject)];
        if is_about("Ticket") {
            // An event that does not say which restaurant's it is, is heard by nobody who follows a restaurant.
            let data: Option<TicketData> = event.data().ok();
            tags.extend(data.map(|data| tickets(&data.restaurant_id)));
        }
        Some(tags)
    } else if is_about("Restaurant") {
        Some(vec![restaurant(subject), RESTAURANTS.to_owned()])
    } else {
        Some(Vec::new())
    }
}
