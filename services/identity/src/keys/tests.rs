//! Keys over a real database: they survive a restart, rotate, and retire. Not here: the endpoints that publish them.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;

use ftgo_messaging::Database;

use super::{PUBLISHED_AFTER_RETIREMENT, RETIRED_KEYS, SigningAlgorithm, SigningKeys};

const NOW: i64 = 1_800_000_000;

async fn open(folder: &Path, now: i64) -> SigningKeys {
    let database = Database::open(&folder.join("identity.db"), &[&crate::MIGRATIONS])
        .await
        .unwrap();
    SigningKeys::open(database, now).await.unwrap()
}

fn kids(keys: &SigningKeys) -> Vec<String> {
    keys.current()
        .published()
        .keys
        .iter()
        .map(|key| key.common.key_id.clone().unwrap())
        .collect()
}

#[tokio::test]
async fn a_restart_keeps_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path(), NOW).await;
    let before = kids(&first);
    assert_eq!(before.len(), SigningAlgorithm::ALL.len());
    first.database.close().await;
    assert_eq!(kids(&open(folder.path(), NOW).await), before);
}

#[tokio::test]
async fn a_retired_key_stays_published_for_a_day_and_signs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let keys = open(folder.path(), NOW).await;
    let before = kids(&keys);
    let set = keys.rotate(false, NOW + 1).await.unwrap();
    assert_eq!(kids(&keys).len(), 4);
    for algorithm in SigningAlgorithm::ALL {
        assert!(!before.contains(&set.current(algorithm).unwrap().to_owned()));
    }
    assert!(before.iter().all(|kid| set.verification(kid).is_some()));
    keys.database.close().await;

    let a_day_later = open(folder.path(), NOW + 1 + PUBLISHED_AFTER_RETIREMENT).await;
    assert_eq!(kids(&a_day_later).len(), 2);
    assert!(!kids(&a_day_later).contains(&before[0]));
}

#[tokio::test]
async fn rotating_often_publishes_a_bounded_number_of_keys() {
    let folder = tempfile::tempdir().unwrap();
    let keys = open(folder.path(), NOW).await;
    for _ in 0..RETIRED_KEYS + 2 {
        keys.rotate(false, NOW).await.unwrap();
    }
    assert_eq!(kids(&keys).len(), 2 * (RETIRED_KEYS + 1));
    let current = keys
        .current()
        .current(SigningAlgorithm::Es256)
        .map(str::to_owned);
    assert!(kids(&keys).contains(&current.unwrap()));
}

#[tokio::test]
async fn a_leaked_key_is_withdrawn_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let keys = open(folder.path(), NOW).await;
    let before = kids(&keys);
    keys.rotate(true, NOW).await.unwrap();
    assert_eq!(kids(&keys).len(), 2);
    assert!(kids(&keys).iter().all(|kid| !before.contains(kid)));
}
