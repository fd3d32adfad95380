//! What this crate's tests share: a database in a directory of its own, and a valid restaurant. Tests are with what they
//! test.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::Utc;
use ftgo_messaging::Database;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::domain::restaurant::Restaurant;

pub(crate) async fn database() -> (TempDir, Database) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("restaurant.db");
    let database = Database::open(&path, &[&crate::MIGRATOR]).await.unwrap();
    (directory, database)
}

/// The body of a valid `POST /restaurants`.
pub(crate) fn draft() -> Value {
    json!({
        "name": "Corner Table",
        "address": {"street1": "1 Main Street", "city": "Oakland", "state": "CA", "zip": "94612"},
        "location": {"lat": 37.8, "lng": -122.27},
        "cuisine": "Thai",
        "timeZone": "America/Los_Angeles",
        "openingHours": [{"day": "MONDAY", "opens": "18:00", "closes": "02:00"}],
        "orderMinimum": {"amount": "10.00", "currency": "USD"},
        "menu": {"items": [
            {"id": "1", "name": "Larb", "description": "", "price": {"amount": "12.50", "currency": "USD"}}
        ]}
    })
}

pub(crate) fn restaurant(id: &str) -> Restaurant {
    let draft = serde_json::from_value(draft()).unwrap();
    Restaurant::create(id.to_owned(), draft, Utc::now()).unwrap()
}
