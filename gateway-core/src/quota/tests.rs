//! Counting over days, restarts and outages, at times that each test says itself.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::{DAY, HEARD_OF, Ledger, Quotas, TABLES, end_of_day};
use crate::config::{self, Config};
use crate::store::Store;
use crate::store::redis::test_server::TestRedis;

const NOON: u64 = 20_000 * DAY + DAY / 2;

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

fn config() -> Config {
    config::from_text(&[
        "[plans.small]\nrate = \"5/s\"\ndaily = 10\n[partners.acme]\nplan = \"small\"\n",
    ])
    .unwrap()
}

fn quotas(store: &Store) -> Quotas {
    let ledger = Arc::new(Ledger::new(store));
    Quotas::after(None, &config(), &ledger)
}

fn take(quotas: &Quotas, cost: u64, second: u64) -> Result<u64, u64> {
    quotas.take("acme", 10, cost, at(second)).unwrap()
}

#[test]
fn a_day_ends_at_midnight_and_what_is_too_much_costs_nothing() {
    let store = Store::new(None);
    let quotas = quotas(&store);
    assert_eq!(take(&quotas, 8, NOON), Ok(8));
    assert_eq!(take(&quotas, 3, NOON), Err(8));
    assert_eq!(take(&quotas, 2, NOON), Ok(10));
    let midnight = 20_001 * DAY;
    assert_eq!(take(&quotas, 1, midnight - 1), Err(10));
    assert_eq!(take(&quotas, 1, midnight), Ok(1));
    assert!(quotas.take("nobody", 10, 1, at(NOON)).is_none());
    let (end, left) = end_of_day(at(NOON));
    assert_eq!(
        (end, left),
        (at(midnight), Duration::from_secs(midnight - NOON))
    );
}

#[tokio::test]
async fn counts_go_on_after_a_restart_and_a_crash_loses_only_what_was_not_written() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.db");
    {
        let store = Store::new(Some(path.clone()));
        store.open(&[TABLES]).unwrap();
        let quotas = quotas(&store);
        quotas.load(at(NOON)).await.unwrap();
        take(&quotas, 4, NOON).unwrap();
        quotas.flush().await.unwrap();
        take(&quotas, 3, NOON).unwrap();
        quotas.flush().await.unwrap();
        // Not written when the process dies.
        take(&quotas, 1, NOON).unwrap();
        store.close();
    }
    let store = Store::new(Some(path));
    store.open(&[TABLES]).unwrap();
    let again = quotas(&store);
    again.load(at(NOON)).await.unwrap();
    assert_eq!(take(&again, 1, NOON), Ok(8));
    let tomorrow = quotas(&store);
    tomorrow.load(at(NOON + DAY)).await.unwrap();
    assert_eq!(take(&tomorrow, 1, NOON + DAY), Ok(1));
}

#[tokio::test]
async fn what_two_processes_count_is_added_up() {
    let store = Store::new(None);
    store.open(&[TABLES]).unwrap();
    let [one, other] = [quotas(&store), quotas(&store)];
    take(&one, 4, NOON).unwrap();
    one.flush().await.unwrap();
    take(&other, 3, NOON).unwrap();
    other.flush().await.unwrap();
    assert_eq!(take(&other, 3, NOON), Ok(10));
    assert_eq!(take(&other, 1, NOON), Err(10));
}

#[tokio::test]
async fn an_idle_replica_hears_what_another_has_counted() {
    let redis = TestRedis::start().await;
    let replica = async || quotas(&Store::beside(None, Some(redis.store().await)));
    let (one, other) = (replica().await, replica().await);
    other.exchange(at(NOON)).await.unwrap();
    take(&one, 9, NOON).unwrap();
    one.exchange(at(NOON)).await.unwrap();
    // It has counted nothing itself.
    other.exchange(at(NOON)).await.unwrap();
    assert_eq!(take(&other, 2, NOON), Err(9));
    assert_eq!(take(&other, 1, NOON), Ok(10));
    other.exchange(at(NOON)).await.unwrap();
    assert_eq!(take(&other, 1, NOON), Err(10));
    one.exchange(at(NOON)).await.unwrap();
    assert_eq!(take(&one, 1, NOON), Err(10));
    // A new day begins with nothing.
    one.exchange(at(NOON + DAY)).await.unwrap();
    assert_eq!(take(&one, 1, NOON + DAY), Ok(1));
}

#[tokio::test]
async fn partners_take_turns_where_there_are_many() {
    let redis = TestRedis::start().await;
    let count = HEARD_OF + 1;
    let mut text = "[plans.small]\nrate = \"5/s\"\ndaily = 10\n".to_owned();
    for n in 0..count {
        text.push_str(&format!("[partners.partner-{n}]\nplan = \"small\"\n"));
    }
    let config = config::from_text(&[&text]).unwrap();
    let replica = async || {
        let store = Store::beside(None, Some(redis.store().await));
        Quotas::after(None, &config, &Arc::new(Ledger::new(&store)))
    };
    let (one, other) = (replica().await, replica().await);
    let all = || (0..count).map(|n| format!("partner-{n}"));
    for id in all() {
        one.take(&id, 10, 10, at(NOON)).unwrap().unwrap();
    }
    one.flush().await.unwrap();
    let heard_of = || {
        let used_up = |id: &String| other.take(id, 10, 10, at(NOON)) == Some(Err(10));
        all().filter(used_up).count()
    };
    other.exchange(at(NOON)).await.unwrap();
    other.exchange(at(NOON)).await.unwrap();
    assert_eq!(heard_of(), count);
}

#[tokio::test]
async fn a_store_that_fails_loses_no_count_and_a_day_that_is_over_is_written_for_itself() {
    let store = Store::new(None);
    // Without its table.
    store.open(&[]).unwrap();
    let quotas = quotas(&store);
    take(&quotas, 4, NOON).unwrap();
    quotas.flush().await.unwrap_err();
    assert_eq!(take(&quotas, 1, NOON), Ok(5));
    assert_eq!(take(&quotas, 2, NOON + DAY), Ok(2));
    quotas.flush().await.unwrap_err();
    store
        .write(|connection| Box::pin(sqlx::raw_sql(TABLES.migrations[0]).execute(connection)))
        .await
        .unwrap();
    quotas.flush().await.unwrap();
    let days: Vec<(i64, i64)> = store
        .read(|connection| {
            let query = sqlx::query_as("SELECT day, used FROM quota_used ORDER BY day");
            Box::pin(query.fetch_all(connection))
        })
        .await
        .unwrap();
    assert_eq!(days, [(20_000, 5), (20_001, 2)]);
}

#[test]
fn a_new_configuration_goes_on_counting() {
    let store = Store::new(None);
    let before = quotas(&store);
    take(&before, 9, NOON).unwrap();
    let now = Quotas::after(Some(&before), &config(), before.ledger());
    assert_eq!(take(&now, 2, NOON), Err(9));
}
