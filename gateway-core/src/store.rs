//! What outlives the process: one SQLite file with a writer that puts many small writes into one transaction, and the way
//! to Redis (`store/redis.rs`), which replicas share. What is kept in either is with who keeps it: the owner of a table
//! declares it as [`Tables`].
//!
//! Nothing here is for the hot path: a write takes a message to the store's own thread, a commit and a message back.
//!
//! The file belongs to one process at a time. A commit outlives the process (also SIGKILL); the last ones may be lost
//! with the machine (`synchronous = NORMAL` in WAL mode), so what is kept here must be harmless to lose for its last
//! moments: an idempotency record that is gone is made again with the same derived key.

mod open;
pub(crate) mod redis;
mod worker;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use open::{OpenError, Tables};
pub(crate) use redis::RedisStore;
use worker::{Job, Settle, Worker};

/// Jobs that wait for their turn. More are refused: what waits longer than that would be too late anyway.
const QUEUE: usize = 4096;

/// The process's durable store. Cheap to clone; every clone is the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None` = in memory: nothing outlives the process.
    path: Option<PathBuf>,
    /// This process: another one after each start.
    instance: Uuid,
    /// What replicas keep together.
    redis: Option<Arc<RedisStore>>,
    writes: mpsc::Sender<Job>,
    reads: mpsc::Sender<Job>,
    /// Until it is opened.
    queues: Mutex<Option<[mpsc::Receiver<Job>; 2]>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    /// Beside the queues, so that it gets through when they are full.
    closing: CancellationToken,
}

/// Why something could not be kept or looked up.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("too much waits for the store")]
    Busy,
    #[error("the store is not open")]
    Closed,
    #[error("the database refused")]
    Refused(#[source] Arc<sqlx::Error>),
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The store in the file at `path`, or in memory. It takes jobs from now on, and does them once it is open.
    #[must_use]
    pub fn new(path: Option<PathBuf>) -> Self {
        Self::beside(path, None)
    }

    /// The same, beside what replicas keep together in Redis.
    pub(crate) fn beside(path: Option<PathBuf>, redis: Option<Arc<RedisStore>>) -> Self {
        let (writes, write_queue) = mpsc::channel(QUEUE);
        let (reads, read_queue) = mpsc::channel(QUEUE);
        Self {
            inner: Arc::new(Inner {
                path,
                instance: Uuid::new_v4(),
                redis,
                writes,
                reads,
                queues: Mutex::new(Some([write_queue, read_queue])),
                thread: Mutex::new(None),
                closing: CancellationToken::new(),
            }),
        }
    }

    /// Opens the file, creating it (for its owner alone) and its folder when they are missing, brings `tables` up to
    /// date, and starts the store's thread. Blocks meanwhile. A second call does nothing.
    ///
    /// # Errors
    /// A file that cannot be opened, a migration that fails, tables that a newer version has changed.
    pub fn open(&self, tables: &'static [Tables]) -> Result<(), OpenError> {
        let Some([writes, reads]) = lock(&self.inner.queues).take() else {
            return Ok(());
        };
        let path = self.inner.path.clone();
        let (opened, outcome) = std::sync::mpsc::sync_channel(1);
        let worker = Worker {
            writes,
            reads,
            closing: self.inner.closing.clone(),
        };
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || worker.run(path, tables, &opened))
            .map_err(OpenError::Thread)?;
        *lock(&self.inner.thread) = Some(thread);
        // The thread always says how it went; if it cannot, it has ended.
        outcome.recv().unwrap_or(Err(OpenError::Ended))
    }

    /// Names this process among those that use the same file or Redis, now or before.
    #[must_use]
    pub fn instance(&self) -> Uuid {
        self.inner.instance
    }

    /// Where replicas keep things together, when the configuration names a place.
    pub(crate) fn redis(&self) -> Option<&Arc<RedisStore>> {
        self.inner.redis.as_ref()
    }

    /// Does `work` in a transaction and answers when it is committed. Many that wait at the same time share one commit;
    /// one of them that fails leaves nothing behind and does not touch the others.
    ///
    /// It is done even when the caller has gone away by then.
    ///
    /// # Errors
    /// What `work` fails with; a commit that fails; a store that is closed, or has too much to do.
    pub async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>
            + Send
            + 'static,
    {
        send(&self.inner.writes, work).await
    }

    /// Does `work`, which only reads: it sees what is committed, and waits for no writer.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn read<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>
            + Send
            + 'static,
    {
        // What is in memory is one connection's own.
        let queue = match self.inner.path {
            Some(_) => &self.inner.reads,
            None => &self.inner.writes,
        };
        send(queue, work).await
    }

    /// Ends the store's thread once everything that was asked for before is done. Blocks meanwhile.
    pub fn close(&self) {
        self.inner.closing.cancel();
        if let Some(thread) = lock(&self.inner.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the store's thread panicked");
        }
    }
}

async fn send<T, W>(queue: &mpsc::Sender<Job>, work: W) -> Result<T, StoreError>
where
    T: Send + 'static,
    W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>
        + Send
        + 'static,
{
    let (reply, answer) = oneshot::channel();
    let job: Job = Box::new(move |connection| {
        Box::pin(async move {
            let done = AssertUnwindSafe(work(connection)).catch_unwind().await;
            let result = done.unwrap_or_else(|_panic| {
                Err(sqlx::Error::Protocol("work on the store panicked".into()))
            });
            let is_good = result.is_ok();
            let settle: Settle = Box::new(move |committed| {
                let result = result.map_err(StoreError::from);
                // Who asked may have gone.
                let _ = reply.send(committed.and(result));
            });
            (is_good, settle)
        })
    });
    queue.try_send(job).map_err(|error| match error {
        TrySendError::Full(_) => StoreError::Busy,
        TrySendError::Closed(_) => StoreError::Closed,
    })?;
    answer.await.unwrap_or(Err(StoreError::Closed))
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Refused(Arc::new(error))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
