//! Restaurants and their events over a real SQLite file.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use ftgo_messaging::Message;
use serde_json::json;

use super::{StoreError, find, find_all, insert, revise};
use crate::domain::menu::MenuDraft;
use crate::testing;

fn menu(name: &str) -> MenuDraft {
    serde_json::from_value(json!({
        "items": [{"id": "1", "name": name, "price": {"amount": "12.50", "currency": "USD"}}]
    }))
    .unwrap()
}

#[tokio::test]
async fn what_is_stored_is_what_was_created() {
    let (_directory, database) = testing::database().await;
    let restaurant = testing::restaurant("r1");
    let mut tx = database.write().await.unwrap();
    insert(&mut tx, &restaurant).await.unwrap();
    tx.commit().await.unwrap();

    let found = find(database.read(), "r1").await.unwrap();
    assert_eq!(found, Some(restaurant.clone()));
    assert_eq!(find(database.read(), "r2").await.unwrap(), None);
    let ids = ["r2".to_owned(), "r1".to_owned()];
    assert_eq!(find_all(database.read(), &ids).await.unwrap(), [restaurant]);
}

#[tokio::test]
async fn every_change_is_published_with_the_whole_resource() {
    let (_directory, database) = testing::database().await;
    let mut restaurant = testing::restaurant("r1");
    let mut tx = database.write().await.unwrap();
    insert(&mut tx, &restaurant).await.unwrap();
    restaurant.revise_menu(menu("Laab")).unwrap();
    revise(&mut tx, &restaurant).await.unwrap();
    tx.commit().await.unwrap();

    let stored: Vec<String> = sqlx::query_scalar("SELECT message FROM outbox ORDER BY seq")
        .fetch_all(database.read())
        .await
        .unwrap();
    let messages: Vec<Message> = stored
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    let heads: Vec<_> = messages
        .iter()
        .map(|message| {
            (
                message.kind.as_str(),
                message.subject.as_str(),
                message.aggregateversion,
            )
        })
        .collect();
    assert_eq!(
        heads,
        [
            ("RestaurantCreated", "r1", Some(1)),
            ("RestaurantMenuRevised", "r1", Some(2))
        ]
    );
    let data = &messages[1].data;
    assert_eq!(data["restaurantId"], "r1");
    assert_eq!(data["menu"]["items"][0]["name"], "Laab");
    assert_eq!(
        data["openingHours"][0],
        json!({"day": "MONDAY", "opens": "18:00", "closes": "02:00"})
    );
    assert_eq!(
        data["orderMinimum"],
        json!({"amount": "10.00", "currency": "USD"})
    );
    assert_eq!(data["timeZone"], "America/Los_Angeles");
}

#[tokio::test]
async fn of_two_revisions_of_one_version_the_second_conflicts() {
    let (_directory, database) = testing::database().await;
    let mut one = testing::restaurant("r1");
    let mut other = one.clone();
    let mut tx = database.write().await.unwrap();
    insert(&mut tx, &one).await.unwrap();
    one.revise_menu(menu("Laab")).unwrap();
    other.revise_menu(menu("Curry")).unwrap();
    revise(&mut tx, &one).await.unwrap();
    let second = revise(&mut tx, &other).await;
    assert!(matches!(
        second,
        Err(StoreError::Conflict { expected: 1, .. })
    ));
    tx.commit().await.unwrap();
    assert_eq!(find(database.read(), "r1").await.unwrap(), Some(one));
}
