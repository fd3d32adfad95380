//! Idempotency keys in a database, and their header.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use axum::extract::FromRequestParts as _;
use axum::response::IntoResponse as _;
use ftgo_messaging::Database;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::{Attempt, IdempotencyKey, Slot, StoredResponse, begin, prune};
use crate::problem::ServiceError;
use crate::service::MIGRATOR;

async fn open(directory: &tempfile::TempDir) -> Database {
    Database::open(&directory.path().join("s.db"), &[&MIGRATOR])
        .await
        .unwrap()
}

async fn key(lines: &[&str]) -> Result<IdempotencyKey, ServiceError> {
    let mut request = Request::builder();
    for line in lines {
        request = request.header("idempotency-key", *line);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    IdempotencyKey::from_request_parts(&mut parts, &()).await
}

async fn attempt(
    database: &Database,
    operation: &str,
    key: &IdempotencyKey,
    request: &Value,
) -> Result<Attempt, ServiceError> {
    begin(
        &mut database.write().await.unwrap(),
        operation,
        key,
        &request,
    )
    .await
}

async fn first(
    database: &Database,
    operation: &str,
    key: &IdempotencyKey,
    request: &Value,
) -> Slot {
    match attempt(database, operation, key, request).await.unwrap() {
        Attempt::First(slot) => slot,
        Attempt::Repeated(response) => panic!("repeated: {response:?}"),
    }
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_once_it_is_committed() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(&directory).await;
    let key = key(&["\"abc\""]).await.unwrap();
    let request = json!({"a": 1});
    let created = StoredResponse::new(StatusCode::CREATED, &json!({"id": 7}))
        .unwrap()
        .location("/x/7");

    let slot = first(&database, "POST /x", &key, &request).await;
    let mut tx = database.write().await.unwrap();
    slot.store(&mut tx, &created).await.unwrap();
    drop(tx);
    // Rolled back: as if it never happened.
    let slot = first(&database, "POST /x", &key, &request).await;
    let mut tx = database.write().await.unwrap();
    slot.store(&mut tx, &created).await.unwrap();
    tx.commit().await.unwrap();

    let Attempt::Repeated(again) = attempt(&database, "POST /x", &key, &request).await.unwrap()
    else {
        panic!("not repeated");
    };
    assert_eq!(
        (again.status, &again.location, &again.body),
        (created.status, &created.location, &created.body)
    );
    let response = again.into_response();
    assert_eq!(response.headers()["location"], "/x/7");
    assert_eq!(response.headers()["idempotent-replayed"], "true");

    let other = attempt(&database, "POST /x", &key, &json!({"a": 2})).await;
    assert!(matches!(other, Err(ServiceError::IdempotencyKeyReused)));
    let _elsewhere = first(&database, "POST /y", &key, &request).await;
}

#[tokio::test]
async fn without_a_key_nothing_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(&directory).await;
    let key = key(&[]).await.unwrap();
    let response = StoredResponse::new(StatusCode::CREATED, &json!({})).unwrap();
    for _ in 0..2 {
        let slot = first(&database, "POST /x", &key, &json!({})).await;
        let mut tx = database.write().await.unwrap();
        slot.store(&mut tx, &response).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn answers_are_forgotten_after_a_day() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(&directory).await;
    let response = StoredResponse::new(StatusCode::CREATED, &json!({})).unwrap();
    for name in ["old", "new"] {
        let key = key(&[name]).await.unwrap();
        let slot = first(&database, "POST /x", &key, &json!({})).await;
        let mut tx = database.write().await.unwrap();
        slot.store(&mut tx, &response).await.unwrap();
        tx.commit().await.unwrap();
    }
    let mut tx = database.write().await.unwrap();
    sqlx::query("UPDATE idempotency SET stored_at = stored_at - 86400001 WHERE key = 'old'")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    prune(&database).await.unwrap();
    let left: Vec<String> = sqlx::query_scalar("SELECT key FROM idempotency")
        .fetch_all(database.read())
        .await
        .unwrap();
    assert_eq!(left, ["new"]);
}

#[tokio::test]
async fn a_key_is_short_printable_and_given_once() {
    assert_eq!(
        key(&["abc"]).await.unwrap(),
        key(&["\"abc\""]).await.unwrap()
    );
    let long = "x".repeat(256);
    for lines in [
        &[""][..],
        &["\"\""],
        &[long.as_str()],
        &["a", "b"],
        &["\u{e4}"],
    ] {
        let refused = key(lines).await;
        assert!(
            matches!(refused, Err(ServiceError::BadRequest(_))),
            "{lines:?}"
        );
    }
}
