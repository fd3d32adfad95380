//! The demo's six restaurants in Oakland, created through the model like any other. Three of them never close, so that
//! something is open at any hour; five of any item reach every minimum and stay far below an account's limit. How a
//! service is told to seed is not here.

use chrono::Utc;
use ftgo_chassis::{Address, FieldError, GeoPoint, Money};
use ftgo_messaging::Database;
use thiserror::Error;

use crate::domain::menu::{MenuDraft, MenuItem};
use crate::domain::opening_hours::IntervalDraft;
use crate::domain::restaurant::{Restaurant, RestaurantDraft};
use crate::store::{self, StoreError};

#[cfg(test)]
mod tests;

#[derive(Debug, Error)]
pub enum SeedError {
    #[error("the seeded restaurant {id} is not valid: {faults}")]
    Invalid { id: String, faults: String },
    #[error("a seeded restaurant could not be stored")]
    Store(#[source] StoreError),
}

/// Creates the restaurants that are not there yet; the others stay as they are, later menus included.
///
/// # Errors
/// When the database refuses.
pub async fn seed(database: &Database) -> Result<(), SeedError> {
    for (number, sample) in SAMPLES.iter().enumerate() {
        let id = format!("restaurant-{}", number + 1);
        let mut tx = database
            .write()
            .await
            .map_err(|error| SeedError::Store(error.into()))?;
        if store::find(&mut *tx, &id)
            .await
            .map_err(SeedError::Store)?
            .is_some()
        {
            continue;
        }
        let restaurant =
            Restaurant::create(id.clone(), sample.draft(&id), Utc::now()).map_err(|errors| {
                SeedError::Invalid {
                    id,
                    faults: faults(&errors),
                }
            })?;
        store::insert(&mut tx, &restaurant)
            .await
            .map_err(SeedError::Store)?;
        tx.commit()
            .await
            .map_err(|error| SeedError::Store(error.into()))?;
    }
    Ok(())
}

struct Sample {
    name: &'static str,
    street: &'static str,
    zip: &'static str,
    location: (f64, f64),
    cuisine: &'static str,
    hours: &'static [(&'static [&'static str], &'static str, &'static str)],
    /// In cents.
    minimum: i32,
    /// Name, description, price in cents.
    menu: &'static [(&'static str, &'static str, i32)],
}

const DAILY: &[&str] = &[
    "MONDAY",
    "TUESDAY",
    "WEDNESDAY",
    "THURSDAY",
    "FRIDAY",
    "SATURDAY",
    "SUNDAY",
];
const ROUND_THE_CLOCK: &[(&[&str], &str, &str)] = &[(DAILY, "00:00", "24:00")];

const SAMPLES: &[Sample] = &[
    Sample {
        name: "Lakeside Curry House",
        street: "3261 Grand Avenue",
        zip: "94610",
        location: (37.8113, -122.2473),
        cuisine: "Indian",
        hours: ROUND_THE_CLOCK,
        minimum: 10_00,
        menu: &[
            ("Chicken Vindaloo", "Hot and sour, with potatoes", 12_34),
            ("Saag Paneer", "Spinach and fresh cheese", 11_50),
            ("Lamb Rogan Josh", "Slowly cooked, Kashmiri chili", 15_25),
            ("Chana Masala", "Chickpeas, tomato, ginger", 9_75),
            ("Garlic Naan", "From the tandoor", 3_50),
            ("Mango Lassi", "Yogurt, mango, cardamom", 4_25),
        ],
    },
    Sample {
        name: "Night Owl Noodles",
        street: "2318 Telegraph Avenue",
        zip: "94612",
        location: (37.8127, -122.2684),
        cuisine: "Japanese",
        hours: ROUND_THE_CLOCK,
        minimum: 12_00,
        menu: &[
            ("Tonkotsu Ramen", "Pork broth, chashu, soft egg", 16_50),
            ("Miso Ramen", "Red miso, corn, scallions", 15_50),
            ("Vegetable Udon", "Mushroom broth, greens, tofu", 14_00),
            ("Chicken Karaage", "Seven pieces, yuzu mayonnaise", 9_80),
            ("Gyoza", "Six pan-fried dumplings", 7_90),
            ("Edamame", "Sea salt", 5_00),
            ("Matcha Pudding", "With red beans", 6_20),
        ],
    },
    Sample {
        name: "Dockside Slices",
        street: "417 Broadway",
        zip: "94607",
        location: (37.7969, -122.2769),
        cuisine: "Italian",
        hours: ROUND_THE_CLOCK,
        minimum: 15_00,
        menu: &[
            ("Margherita", "Tomato, fior di latte, basil", 14_00),
            ("Funghi", "Oyster mushrooms, taleggio, thyme", 17_50),
            ("Diavola", "Spicy salami, chili honey", 18_00),
            ("Marinara", "Tomato, garlic, oregano; no cheese", 12_50),
            ("Caesar Salad", "Romaine, anchovies, croutons", 10_75),
            ("Garlic Knots", "Half a dozen", 6_00),
            ("Tiramisu", "Made every morning", 7_50),
            ("Chinotto", "Bitter orange soda", 3_75),
        ],
    },
    Sample {
        name: "Taqueria Luz del Lago",
        street: "1438 International Boulevard",
        zip: "94606",
        location: (37.7889, -122.2488),
        cuisine: "Mexican",
        hours: &[
            (
                &["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "SUNDAY"],
                "10:00",
                "23:00",
            ),
            (&["FRIDAY", "SATURDAY"], "10:00", "03:00"),
        ],
        minimum: 8_00,
        menu: &[
            ("Taco al Pastor", "Pork, pineapple, cilantro", 4_25),
            ("Taco de Nopales", "Cactus, queso fresco", 3_95),
            ("Carnitas Burrito", "Beans, rice, salsa verde", 12_75),
            ("Pozole Rojo", "Hominy, pork, radish", 13_50),
            ("Churros", "Cinnamon sugar, chocolate", 5_50),
        ],
    },
    Sample {
        name: "Golden Heron Dim Sum",
        street: "371 8th Street",
        zip: "94607",
        location: (37.7993, -122.2716),
        cuisine: "Chinese",
        hours: &[(DAILY, "08:00", "14:30"), (DAILY, "17:00", "21:30")],
        minimum: 15_00,
        menu: &[
            ("Har Gow", "Four shrimp dumplings", 6_80),
            ("Siu Mai", "Four pork and shrimp dumplings", 6_50),
            ("Char Siu Bao", "Three barbecue pork buns", 5_90),
            ("Turnip Cake", "Pan-fried, with sausage", 5_50),
            ("Chow Fun", "Wide rice noodles with beef", 13_20),
            ("Egg Tarts", "Three, warm", 4_80),
        ],
    },
    Sample {
        name: "Piedmont Morning Table",
        street: "4127 Piedmont Avenue",
        zip: "94611",
        location: (37.8275, -122.2507),
        cuisine: "American",
        hours: &[
            (
                &["WEDNESDAY", "THURSDAY", "FRIDAY", "MONDAY"],
                "07:00",
                "14:30",
            ),
            (&["SATURDAY", "SUNDAY"], "07:30", "16:00"),
        ],
        minimum: 10_00,
        menu: &[
            ("Buttermilk Pancakes", "Three, with maple syrup", 11_00),
            ("Huckleberry Scone", "Clotted cream", 4_50),
            ("Dungeness Crab Benedict", "Two eggs, hollandaise", 21_00),
            ("Granola Bowl", "Yogurt, stone fruit, seeds", 9_50),
            ("Home Fries", "Rosemary, smoked paprika", 5_75),
            ("Drip Coffee", "Roasted around the corner", 3_25),
        ],
    },
];

impl Sample {
    fn draft(&self, id: &str) -> RestaurantDraft {
        RestaurantDraft {
            name: self.name.to_owned(),
            address: Address {
                street1: self.street.to_owned(),
                street2: None,
                city: "Oakland".to_owned(),
                state: "CA".to_owned(),
                zip: self.zip.to_owned(),
            },
            location: GeoPoint {
                lat: self.location.0,
                lng: self.location.1,
            },
            cuisine: self.cuisine.to_owned(),
            time_zone: "America/Los_Angeles".to_owned(),
            opening_hours: self
                .hours
                .iter()
                .flat_map(|(days, opens, closes)| {
                    days.iter().map(|day| IntervalDraft {
                        day: (*day).to_owned(),
                        opens: (*opens).to_owned(),
                        closes: (*closes).to_owned(),
                    })
                })
                .collect(),
            order_minimum: Money::usd(self.minimum),
            menu: MenuDraft {
                items: self
                    .menu
                    .iter()
                    .zip(1..)
                    .map(|((name, description, price), number)| MenuItem {
                        id: format!("{id}-item-{number}"),
                        name: (*name).to_owned(),
                        description: (*description).to_owned(),
                        price: Money::usd(*price),
                    })
                    .collect(),
            },
        }
    }
}

fn faults(errors: &[FieldError]) -> String {
    errors
        .iter()
        .map(|error| format!("{} {}", error.pointer, error.detail))
        .collect::<Vec<_>>()
        .join("; ")
}
