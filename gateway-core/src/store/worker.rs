//! The store's thread: takes what waits, does it in one transaction, and tells everybody when that is committed.
//! What the jobs do is their owners'; how the file is opened is `open.rs`.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;

use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::StoreError;
use super::open::{self, OpenError, Tables};

/// The most jobs in one transaction: the first of them should not wait for long.
const BATCH: usize = 256;

/// Tells who asked what has come of it, once it is known whether it was committed.
pub(super) type Settle = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Says whether it went well, and how to tell.
pub(super) type Job =
    Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, (bool, Settle)> + Send>;

pub(super) struct Worker {
    pub(super) writes: Receiver<Job>,
    pub(super) reads: Receiver<Job>,
    /// From then on nothing more is taken; what waits is done.
    pub(super) closing: CancellationToken,
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
            let Self {
                writes,
                reads,
                closing,
            } = self;
            tokio::join!(write(&mut writer, writes, &closing), async {
                if let Some(mut reader) = reader {
                    read(&mut reader, reads, &closing).await;
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

async fn write(
    connection: &mut SqliteConnection,
    mut queue: Receiver<Job>,
    closing: &CancellationToken,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while take(&mut queue, &mut batch, BATCH, closing).await > 0 {
        transaction(connection, &mut batch).await;
    }
}

/// Up to `most` of what waits, and how many that is: none when the queue has ended.
async fn take(
    queue: &mut Receiver<Job>,
    batch: &mut Vec<Job>,
    most: usize,
    closing: &CancellationToken,
) -> usize {
    tokio::select! {
        taken = queue.recv_many(batch, most) => return taken,
        () = closing.cancelled() => queue.close(),
    }
    queue.recv_many(batch, most).await
}

/// All of `jobs` in one transaction, each behind a savepoint of its own.
async fn transaction(connection: &mut SqliteConnection, jobs: &mut Vec<Job>) {
    let mut settles = Vec::with_capacity(jobs.len());
    let committed = async {
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        for work in jobs.drain(..) {
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
    jobs.clear();
    for settle in settles {
        settle(committed.clone());
    }
}

async fn read(
    connection: &mut SqliteConnection,
    mut queue: Receiver<Job>,
    closing: &CancellationToken,
) {
    let mut next = Vec::with_capacity(1);
    while take(&mut queue, &mut next, 1, closing).await > 0 {
        for work in next.drain(..) {
            let (_, settle) = work(connection).await;
            settle(Ok(()));
        }
    }
}
