//! The restaurant view over a real database. Not here: the tables of opening hours.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use ftgo_chassis::GeoPoint;
use ftgo_messaging::Database;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{AvailabilityFilter, AvailabilityPage, RestaurantError, apply, find};
use crate::events::RestaurantSnapshot;

const CITY: GeoPoint = GeoPoint {
    lat: 37.80,
    lng: -122.27,
};

async fn database() -> (TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("order-history.db");
    let database = Database::open(&file, &[&crate::MIGRATIONS]).await.unwrap();
    (folder, database)
}

fn restaurant(id: &str, lat: f64, lng: f64, changes: &Value) -> RestaurantSnapshot {
    let mut restaurant = json!({
        "restaurantId": id, "id": id, "name": format!("The {id}"), "cuisine": "Indian",
        "address": {"street1": "1 Main St", "city": "Oakland", "state": "CA", "zip": "94607"},
        "location": {"lat": lat, "lng": lng}, "timeZone": "America/Los_Angeles",
        "openingHours": [{"day": "SUNDAY", "opens": "11:00", "closes": "22:00"}],
        "orderMinimum": {"amount": "10.00", "currency": "USD"}, "menu": {"items": []},
    });
    for (name, value) in changes.as_object().unwrap() {
        restaurant[name] = value.clone();
    }
    serde_json::from_value(restaurant).unwrap()
}

async fn store(database: &Database, restaurant: &RestaurantSnapshot, version: i64) {
    let mut tx = database.write().await.unwrap();
    apply(&mut tx, restaurant, version).await.unwrap();
    tx.commit().await.unwrap();
}

fn filter() -> AvailabilityFilter {
    AvailabilityFilter {
        near: CITY,
        radius: 5_000.0,
        at: "2026-11-22T12:00:00-08:00".parse().unwrap(),
        cuisine: None,
    }
}

async fn all(database: &Database, filter: &AvailabilityFilter) -> AvailabilityPage {
    find(database.read(), filter, None, 100).await.unwrap()
}

async fn ids(database: &Database, filter: &AvailabilityFilter) -> Vec<String> {
    let page = all(database, filter).await;
    page.items.into_iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn the_nearest_come_first_and_the_radius_is_in_metres() {
    let (_folder, database) = database().await;
    // a hundredth of a degree of latitude is 1112 metres
    store(&database, &restaurant("far", 37.84, -122.27, &json!({})), 1).await;
    store(
        &database,
        &restaurant("b-twin", 37.81, -122.27, &json!({})),
        1,
    )
    .await;
    store(
        &database,
        &restaurant("a-twin", 37.81, -122.27, &json!({})),
        1,
    )
    .await;
    store(
        &database,
        &restaurant("here", 37.80, -122.27, &json!({})),
        1,
    )
    .await;
    store(
        &database,
        &restaurant("beyond", 37.85, -122.27, &json!({})),
        1,
    )
    .await;
    assert_eq!(
        ids(&database, &filter()).await,
        ["here", "a-twin", "b-twin", "far"]
    );
    let narrow = AvailabilityFilter {
        radius: 1_000.0,
        ..filter()
    };
    assert_eq!(ids(&database, &narrow).await, ["here"]);

    let page = all(&database, &filter()).await;
    let row = serde_json::to_value(&page.items[1]).unwrap();
    assert!((1_111.0..1_113.0).contains(&row["distance"].as_f64().unwrap()));
    assert_eq!(row["openUntil"], "2026-11-23T06:00:00Z");
    assert_eq!(row["location"], json!({"lat": 37.81, "lng": -122.27}));
    assert_eq!(
        row["orderMinimum"],
        json!({"amount": "10.00", "currency": "USD"})
    );
    assert_eq!(row["address"]["city"], "Oakland");
    assert!(row.get("timeZone").is_none());
}

#[tokio::test]
async fn who_is_closed_or_cooks_something_else_is_left_out() {
    let (_folder, database) = database().await;
    let monday = json!([{"day": "MONDAY", "opens": "00:00", "closes": "24:00"}]);
    store(
        &database,
        &restaurant("open", 37.80, -122.27, &json!({})),
        1,
    )
    .await;
    let changes = json!({"openingHours": monday, "cuisine": "Thai"});
    store(
        &database,
        &restaurant("monday", 37.80, -122.27, &changes),
        1,
    )
    .await;
    assert_eq!(ids(&database, &filter()).await, ["open"]);
    let later = AvailabilityFilter {
        at: "2026-11-23T09:00:00Z".parse().unwrap(),
        ..filter()
    };
    assert_eq!(ids(&database, &later).await, ["monday"]);
    for (cuisine, expected) in [("thai", &["monday"][..]), ("Indian", &[]), ("Tha", &[])] {
        let filter = AvailabilityFilter {
            cuisine: Some(cuisine.to_owned()),
            ..later.clone()
        };
        assert_eq!(ids(&database, &filter).await, expected, "{cuisine}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_and_keep_their_instant() {
    let (_folder, database) = database().await;
    let closed = json!({"openingHours": []});
    for number in 0..7 {
        // two at each distance, and a closed one between
        let lat = 37.80 + f64::from(number / 2) / 100.0;
        store(
            &database,
            &restaurant(&format!("r-{number}"), lat, -122.27, &json!({})),
            1,
        )
        .await;
        store(
            &database,
            &restaurant(&format!("c-{number}"), lat, -122.27, &closed),
            1,
        )
        .await;
    }
    let mut seen = Vec::new();
    let mut place = None;
    loop {
        let page = find(database.read(), &filter(), place.as_ref(), 3)
            .await
            .unwrap();
        seen.extend(page.items.into_iter().map(|row| row.id));
        place = page.next;
        match &place {
            Some(place) => assert_eq!(place.at, filter().at),
            None => break,
        }
    }
    assert_eq!(seen, ["r-0", "r-1", "r-2", "r-3", "r-4", "r-5", "r-6"]);
}

#[tokio::test]
async fn an_older_snapshot_does_not_bring_old_hours_back() {
    let (_folder, database) = database().await;
    store(
        &database,
        &restaurant("r", 37.80, -122.27, &json!({"name": "New"})),
        3,
    )
    .await;
    store(
        &database,
        &restaurant("r", 37.80, -122.27, &json!({"name": "Old"})),
        2,
    )
    .await;
    assert_eq!(all(&database, &filter()).await.items[0].name, "New");
}

#[tokio::test]
async fn the_date_line_and_the_poles_are_no_borders() {
    let (_folder, database) = database().await;
    let always = json!({"openingHours": [
        {"day": "SATURDAY", "opens": "00:00", "closes": "24:00"}, {"day": "SUNDAY", "opens": "00:00", "closes": "24:00"},
        {"day": "MONDAY", "opens": "00:00", "closes": "24:00"},
    ]});
    store(&database, &restaurant("fiji", -17.0, -179.99, &always), 1).await;
    store(&database, &restaurant("pole", 89.99, 10.0, &always), 1).await;
    let west_of_the_line = AvailabilityFilter {
        near: GeoPoint {
            lat: -17.0,
            lng: 179.99,
        },
        ..filter()
    };
    assert_eq!(ids(&database, &west_of_the_line).await, ["fiji"]);
    let across_the_pole = AvailabilityFilter {
        near: GeoPoint {
            lat: 89.99,
            lng: -170.0,
        },
        ..filter()
    };
    assert_eq!(ids(&database, &across_the_pole).await, ["pole"]);
}

#[tokio::test]
async fn hours_that_cannot_be_read_are_refused_at_the_door() {
    let (_folder, database) = database().await;
    let bad = restaurant("r", 37.80, -122.27, &json!({"timeZone": "Mars/Base"}));
    let mut tx = database.write().await.unwrap();
    assert!(matches!(
        apply(&mut tx, &bad, 1).await,
        Err(RestaurantError::Hours { .. })
    ));
}
