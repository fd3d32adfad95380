//! What a restaurant is when it is created, and what a revision of its menu changes.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::Utc;
use ftgo_chassis::Money;
use serde_json::json;

use super::{MenuDraft, Restaurant, RestaurantDraft};
use crate::testing;

fn draft() -> RestaurantDraft {
    serde_json::from_value(testing::draft()).unwrap()
}

fn menu(price: &str) -> MenuDraft {
    serde_json::from_value(json!({
        "items": [{"id": "1", "name": "Larb", "price": {"amount": price, "currency": "USD"}}]
    }))
    .unwrap()
}

fn created() -> Restaurant {
    Restaurant::create("r".into(), draft(), Utc::now()).unwrap()
}

#[test]
fn a_new_restaurant_has_version_one() {
    let restaurant = created();
    assert_eq!((restaurant.id.as_str(), restaurant.version), ("r", 1));
    assert_eq!(restaurant.menu.items().len(), 1);
}

#[test]
fn the_menu_may_come_later() {
    let mut body = testing::draft();
    body.as_object_mut().unwrap().remove("menu");
    let parsed: RestaurantDraft = serde_json::from_value(body).unwrap();
    let restaurant = Restaurant::create("r".into(), parsed, Utc::now()).unwrap();
    assert!(restaurant.menu.items().is_empty());
}

#[test]
fn all_faults_of_a_draft_are_found_at_once() {
    let mut bad = draft();
    bad.name = "  ".into();
    bad.address.zip = String::new();
    bad.time_zone = "America/Oakland".into();
    bad.opening_hours.clear();
    bad.order_minimum = Money::parse("-1.00", "EUR").unwrap();
    let pointers: Vec<_> = Restaurant::create("r".into(), bad, Utc::now())
        .unwrap_err()
        .into_iter()
        .map(|violation| violation.pointer)
        .collect();
    assert_eq!(
        pointers,
        [
            "/name",
            "/address/zip",
            "/timeZone",
            "/openingHours",
            "/orderMinimum",
            "/menu/items/0/price"
        ]
    );
}

#[test]
fn a_revision_is_a_new_version() {
    let mut restaurant = created();
    assert_eq!(restaurant.revise_menu(menu("13.00")), Ok(true));
    assert_eq!(restaurant.version, 2);
    assert_eq!(restaurant.menu.items()[0].price, Money::usd(13_00));
}

#[test]
fn the_same_menu_is_no_revision() {
    let mut restaurant = created();
    assert_eq!(restaurant.revise_menu(menu("12.50")), Ok(false));
    assert_eq!(restaurant.version, 1);
}

#[test]
fn an_invalid_revision_changes_nothing() {
    let mut restaurant = created();
    let before = restaurant.clone();
    let violations = restaurant.revise_menu(menu("-1.00")).unwrap_err();
    assert_eq!(violations[0].pointer, "/items/0/price");
    assert_eq!(restaurant, before);
}
