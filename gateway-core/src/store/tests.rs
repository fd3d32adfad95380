//! The store on real files: batches, migrations, what outlives it.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Barrier;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::{OpenError, QUEUE, Store, StoreError, Tables};

const WIDGETS: Tables = Tables {
    owner: "widgets",
    migrations: &["CREATE TABLE widgets (name TEXT PRIMARY KEY) STRICT"],
};
const NEXT: Tables = Tables {
    owner: "widgets",
    migrations: &[
        "CREATE TABLE widgets (name TEXT PRIMARY KEY) STRICT",
        "ALTER TABLE widgets ADD COLUMN parts INTEGER NOT NULL DEFAULT 3",
    ],
};

fn open(folder: &TempDir, tables: &'static [Tables]) -> Result<Store, OpenError> {
    let store = Store::new(Some(folder.path().join("deep/down/store.db")));
    store.open(tables)?;
    Ok(store)
}

async fn insert(store: &Store, name: String) -> Result<(), StoreError> {
    store
        .write(move |connection| {
            Box::pin(async move {
                let query = sqlx::query("INSERT INTO widgets (name) VALUES (?)").bind(name);
                query.execute(connection).await.map(drop)
            })
        })
        .await
}

async fn count(store: &Store) -> i64 {
    store
        .read(|connection| {
            Box::pin(sqlx::query_scalar("SELECT count(*) FROM widgets").fetch_one(connection))
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let folder = TempDir::new().unwrap();
    for round in 1..=2 {
        let store = open(&folder, &[WIDGETS]).unwrap();
        insert(&store, format!("widget-{round}")).await.unwrap();
        assert_eq!(count(&store).await, round);
        store.close();
        assert!(matches!(
            insert(&store, "late".to_owned()).await,
            Err(StoreError::Closed)
        ));
    }
    let mode = |path: &str| {
        let path = folder.path().join(path);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(
        (mode("deep/down/store.db"), mode("deep/down")),
        (0o600, 0o700)
    );
}

#[tokio::test]
async fn a_full_queue_is_done_to_its_end_when_the_store_is_closed() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, &[WIDGETS]).unwrap();
    let (begins, begun) = oneshot::channel();
    let (goes_on, gate) = oneshot::channel::<()>();
    let mut stuck: BoxFuture<'_, _> = Box::pin(store.write(|_| {
        Box::pin(async move {
            let _ = begins.send(());
            let _ = gate.await;
            Ok(())
        })
    }));
    assert!(futures_util::poll!(stuck.as_mut()).is_pending());
    begun.await.unwrap();
    let mut writes = vec![stuck];
    // Until there is no more room.
    loop {
        let name = format!("widget-{}", writes.len());
        let mut write: BoxFuture<'_, _> = Box::pin(insert(&store, name));
        if let Poll::Ready(refused) = futures_util::poll!(write.as_mut()) {
            assert!(matches!(refused, Err(StoreError::Busy)), "{refused:?}");
            break;
        }
        writes.push(write);
    }
    assert_eq!(writes.len(), 1 + QUEUE);
    let closed = store.clone();
    let closing = tokio::task::spawn_blocking(move || closed.close());
    store.inner.closing.cancelled().await;
    goes_on.send(()).unwrap();
    for done in join_all(writes).await {
        done.unwrap();
    }
    let ended = tokio::time::timeout(Duration::from_secs(20), closing).await;
    ended.unwrap().unwrap();
    let late = insert(&store, "late".to_owned()).await;
    assert!(matches!(late, Err(StoreError::Closed)));
}

#[tokio::test]
async fn many_writes_share_a_transaction_and_one_that_fails_fails_alone() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, &[WIDGETS]).unwrap();
    // Every third has a name that is taken.
    let names = (0..300).map(|n| format!("widget-{}", if n % 3 == 2 { n - 1 } else { n }));
    let outcomes = join_all(names.map(|name| insert(&store, name))).await;
    let failed: Vec<usize> = outcomes
        .iter()
        .enumerate()
        .filter(|(_, outcome)| outcome.is_err())
        .map(|(n, _)| n)
        .collect();
    assert_eq!(failed, (2..300).step_by(3).collect::<Vec<_>>());
    assert_eq!(count(&store).await, 200);
}

#[tokio::test]
async fn work_that_panics_is_an_error_of_its_own() {
    let store = Store::new(None);
    store.open(&[WIDGETS]).unwrap();
    let outcome: Result<(), StoreError> = store
        .write(|_| Box::pin(async { panic!("a bug in a test") }))
        .await;
    assert!(matches!(outcome, Err(StoreError::Refused(_))));
    insert(&store, "widget".to_owned()).await.unwrap();
    assert_eq!(count(&store).await, 1);
}

#[tokio::test]
async fn a_write_whose_caller_has_gone_is_done_all_the_same() {
    let store = Store::new(None);
    // Asked for before the store is open.
    {
        let mut gone = Box::pin(insert(&store, "widget".to_owned()));
        assert!(futures_util::poll!(gone.as_mut()).is_pending());
    }
    store.open(&[WIDGETS]).unwrap();
    assert_eq!(count(&store).await, 1);
}

#[tokio::test]
async fn tables_are_brought_up_to_date_once_and_never_back() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, &[WIDGETS]).unwrap();
    insert(&store, "widget".to_owned()).await.unwrap();
    store.close();
    for _ in 0..2 {
        let store = open(&folder, &[NEXT]).unwrap();
        let parts: i64 = store
            .read(|connection| {
                Box::pin(sqlx::query_scalar("SELECT parts FROM widgets").fetch_one(connection))
            })
            .await
            .unwrap();
        assert_eq!(parts, 3);
        store.close();
    }
    let before = open(&folder, &[WIDGETS]);
    assert!(matches!(before, Err(OpenError::Newer { owner: "widgets" })));
}

#[test]
fn who_opens_a_new_file_at_the_same_time_finds_it_complete() {
    for _ in 0..5 {
        let folder = TempDir::new().unwrap();
        let together = Barrier::new(8);
        std::thread::scope(|scope| {
            let opened = [(); 8].map(|()| {
                scope.spawn(|| {
                    together.wait();
                    open(&folder, &[NEXT]).map(|store| store.close())
                })
            });
            for one in opened {
                one.join().unwrap().unwrap();
            }
        });
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_an_error_at_once() {
    let store = Store::new(Some(Path::new("/proc/none/store.db").to_owned()));
    assert!(matches!(
        store.open(&[WIDGETS]),
        Err(OpenError::Create { .. })
    ));
    assert!(matches!(
        insert(&store, "widget".to_owned()).await,
        Err(StoreError::Closed)
    ));
}

#[tokio::test]
async fn readers_cannot_write() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, &[WIDGETS]).unwrap();
    let outcome = store
        .read(|connection| {
            Box::pin(async move {
                let query = sqlx::query("INSERT INTO widgets (name) VALUES ('widget')");
                query.execute(connection).await.map(drop)
            })
        })
        .await;
    assert!(outcome.is_err());
}
