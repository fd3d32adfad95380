//! What the demo relies on: limits, minimums and open doors; and that seeding twice is seeding once.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::Utc;
use ftgo_chassis::GeoPoint;
use rust_decimal::Decimal;

use super::{SAMPLES, seed};
use crate::domain::menu::MenuDraft;
use crate::domain::restaurant::Restaurant;
use crate::store;

fn restaurants() -> Vec<Restaurant> {
    SAMPLES
        .iter()
        .map(|sample| Restaurant::create("r".into(), sample.draft("r"), Utc::now()).unwrap())
        .collect()
}

#[test]
fn six_valid_restaurants_of_different_cuisines() {
    let mut cuisines: Vec<_> = restaurants().into_iter().map(|r| r.cuisine).collect();
    cuisines.sort_unstable();
    cuisines.dedup();
    assert_eq!(cuisines.len(), 6);
}

#[test]
fn five_of_any_item_reach_the_minimum_and_stay_far_below_the_limit() {
    for restaurant in restaurants() {
        let items = restaurant.menu.items();
        assert!((5..=8).contains(&items.len()), "{}", restaurant.name);
        for item in items {
            let five = item.price.amount() * Decimal::from(5);
            assert!(five >= restaurant.order_minimum.amount(), "{}", item.name);
            assert!(five < Decimal::from(500), "{}", item.name);
        }
    }
}

#[test]
fn at_least_three_are_always_open() {
    let always = SAMPLES
        .iter()
        .filter(|sample| matches!(sample.hours, [(days, "00:00", "24:00")] if days.len() == 7))
        .count();
    assert!(always >= 3);
}

#[test]
fn all_are_in_the_middle_of_oakland() {
    let center = GeoPoint {
        lat: 37.80,
        lng: -122.27,
    };
    for restaurant in restaurants() {
        let metres = restaurant.location.distance(center);
        assert!(metres < 5000.0, "{} is {metres} m away", restaurant.name);
    }
}

#[tokio::test]
async fn seeding_again_adds_nothing_and_takes_nothing_back() {
    let (_directory, database) = crate::testing::database().await;
    seed(&database).await.unwrap();

    let mut tx = database.write().await.unwrap();
    let mut first = store::find(&mut *tx, "restaurant-1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.menu.items()[0].id, "restaurant-1-item-1");
    first.revise_menu(MenuDraft::default()).unwrap();
    store::revise(&mut tx, &first).await.unwrap();
    tx.commit().await.unwrap();

    seed(&database).await.unwrap();
    let again = store::find(database.read(), "restaurant-1").await.unwrap();
    assert_eq!(again, Some(first));
    let events: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox")
        .fetch_one(database.read())
        .await
        .unwrap();
    assert_eq!(events, 7);
}
