//! Restaurants: one with its menu, and those that deliver to a place. Anybody may read them.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject};

use super::values::{Address, DateTime, Location, Money};
use super::{Nullable, loaders};
use crate::clients::order_history::AvailableRestaurant;
use crate::clients::restaurant;

pub(super) struct Restaurant(pub(super) Arc<restaurant::Restaurant>);

#[Object]
impl Restaurant {
    async fn id(&self) -> ID {
        ID::from(&self.0.id)
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn cuisine(&self) -> &str {
        &self.0.cuisine
    }

    async fn address(&self) -> Address {
        self.0.address.clone().into()
    }

    async fn location(&self) -> Option<Location> {
        self.0.location.map(Location::from)
    }

    /// The least that an order has to come to.
    async fn order_minimum(&self) -> Money {
        self.0.order_minimum.clone().into()
    }

    /// IANA name, for example "America/Los_Angeles": the zone of the opening hours.
    async fn time_zone(&self) -> &str {
        &self.0.time_zone
    }

    async fn opening_hours(&self) -> Vec<OpeningHours> {
        let hours = self.0.opening_hours.iter().cloned();
        hours.map(OpeningHours::from).collect()
    }

    /// Grows with every revision of the menu; whoever revises it says which one they have seen.
    async fn version(&self) -> i32 {
        self.0.version
    }

    async fn menu(&self) -> Menu {
        Menu {
            items: self
                .0
                .menu
                .items
                .iter()
                .cloned()
                .map(MenuItem::from)
                .collect(),
        }
    }
}

/// Local times, "HH:MM"; what closes before it opens closes the day after.
#[derive(SimpleObject)]
struct OpeningHours {
    /// For example "MONDAY".
    day: String,
    opens: String,
    closes: String,
}

impl From<restaurant::OpeningHours> for OpeningHours {
    fn from(hours: restaurant::OpeningHours) -> Self {
        let restaurant::OpeningHours { day, opens, closes } = hours;
        Self { day, opens, closes }
    }
}

#[derive(SimpleObject)]
struct Menu {
    items: Vec<MenuItem>,
}

#[derive(SimpleObject)]
struct MenuItem {
    id: ID,
    name: String,
    description: Option<String>,
    price: Money,
}

impl From<restaurant::MenuItem> for MenuItem {
    fn from(item: restaurant::MenuItem) -> Self {
        Self {
            id: item.id.into(),
            name: item.name,
            description: item.description,
            price: item.price.into(),
        }
    }
}

pub(super) struct NearbyRestaurant(pub(super) AvailableRestaurant);

/// A restaurant that delivers to the place and at the time that were asked for.
#[Object]
impl NearbyRestaurant {
    async fn id(&self) -> ID {
        ID::from(&self.0.id)
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn cuisine(&self) -> &str {
        &self.0.cuisine
    }

    async fn address(&self) -> Address {
        self.0.address.clone().into()
    }

    async fn location(&self) -> Location {
        self.0.location.into()
    }

    /// The least that an order has to come to.
    async fn order_minimum(&self) -> Money {
        self.0.order_minimum.clone().into()
    }

    /// Metres.
    async fn distance(&self) -> f64 {
        self.0.distance
    }

    async fn open_until(&self) -> Option<DateTime> {
        self.0.open_until.clone().map(DateTime)
    }

    /// All of the restaurant, with its menu.
    async fn restaurant(&self, context: &Context<'_>) -> Nullable<Restaurant> {
        let restaurant = async { loaders(context)?.restaurants.load(&self.0.id).await };
        restaurant
            .await
            .map(|found| found.map(Restaurant))
            .transpose()
    }
}
