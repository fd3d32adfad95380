//! A restaurant as order sees it: the terms of placing an order there.
//! Not here: opening hours, location and whatever else the restaurant service keeps.

use ftgo_chassis::Money;
use serde::{Deserialize, Serialize};

/// The part of a restaurant that prices and admits orders. Also the form in which the replica stores it, and a narrow
/// reading of the restaurant's events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Restaurant {
    pub(crate) name: String,
    /// No order may cost less.
    pub(crate) order_minimum: Money,
    pub(crate) menu: Menu,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Menu {
    pub(crate) items: Vec<MenuItem>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MenuItem {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) price: Money,
}

impl Restaurant {
    pub(crate) fn menu_item(&self, id: &str) -> Option<&MenuItem> {
        self.menu.items.iter().find(|item| item.id == id)
    }
}
