//! The store's thread: takes what waits, does it in one transaction, and tells everybody when that is committed.
//! What the jobs do is their owners'; how the file is opened is `open.rs`.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;

use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::mpsc::Receiver;

use super::StoreError;
use super::open::{self, OpenError, Tables};

/// The most jobs in one transaction: the first of them should not wait for long.
const BATCH: usize = 256;

/// Tells who asked what has come of it, once it is known whether it was committed.
pub(super) type Settle = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

type Work =
    Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, (bool, Settle)> + Send>;

pub(super) enum Job {
    /// Says whether it went well, and how to tell.
    Work(Work),
    /// Nothing comes after it.
    End,
}

pub(super) struct Worker {
    pub(super) writes: Receiver<Job>,
    pub(super) reads: Receiver<Job>,
}

impl Worker {
    /// Until both queues have ended. Whether the file could be opened is told to `opened`.
    pub(super) fn run(
        self,
        path: Option<PathBuf>,
        tables: &[Tables],
        opened: &SyncSender<Result<(), OpenError>>,
    ) {
        // Nobody who has gone away needs to be told.
        let tell = |outcome| drop(opened.send(outcome));
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(error) => return tell(Err(OpenError::Thread(error))),
        };
        runtime.block_on(async {
            let mut writer = match open::writer(path.as_deref(), tables).await {
                Ok(writer) => writer,
                Err(error) => return tell(Err(error)),
            };
            let reader = match &path {
                Some(path) => open::reader(path).await.map(Some),
                None => Ok(None),
            };
            let reader = match reader {
                Ok(reader) => reader,
                Err(error) => return tell(Err(error)),
            };
            tell(Ok(()));
            let Self { writes, reads } = self;
            tokio::join!(write(&mut writer, writes), async {
                if let Some(mut reader) = reader {
                    read(&mut reader, reads).await;
                    close(reader).await;
                }
            });
            // The last connection of a file folds the write-ahead log into it, and readers may not write.
            close(writer).await;
        });
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
}

async fn close(connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the store was not closed in order; what was committed is kept");
    }
}

async fn write(connection: &mut SqliteConnection, mut queue: Receiver<Job>) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if queue.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        let mut ends = false;
        let works: Vec<Work> = batch
            .drain(..)
            .filter_map(|job| match job {
                Job::Work(work) => Some(work),
                Job::End => {
                    ends = true;
                    None
                }
            })
            .collect();
        if !works.is_empty() {
            transaction(connection, works).await;
        }
        if ends {
            return;
        }
    }
}

/// All of `works` in one transaction, each behind a savepoint of its own.
async fn transaction(connection: &mut SqliteConnection, works: Vec<Work>) {
    let mut settles = Vec::with_capacity(works.len());
    let committed = async {
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        for work in works {
            let mut savepoint = tx.begin().await?;
            let (is_good, settle) = work(&mut savepoint).await;
            settles.push(settle);
            if is_good {
                savepoint.commit().await?;
            } else {
                savepoint.rollback().await?;
            }
        }
        tx.commit().await
    };
    let committed = committed.await.map_err(StoreError::from);
    if let Err(error) = &committed {
        tracing::error!(error = %crate::problem::chain(error), "a transaction of the store failed");
    }
    // Those that were not reached are told by the end of their channel.
    for settle in settles {
        settle(committed.clone());
    }
}

async fn read(connection: &mut SqliteConnection, mut queue: Receiver<Job>) {
    while let Some(Job::Work(work)) = queue.recv().await {
        let (_, settle) = work(connection).await;
        settle(Ok(()));
    }
}
