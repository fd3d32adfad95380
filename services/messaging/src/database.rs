//! One SQLite file with one writer and a few readers. What is in its tables is the business of whoever opens it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::Notify;

const READERS: u32 = 4;
/// How long SQLite itself waits for a lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for the writer or for a reader.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// Migrations of this crate. They have a table of their own, so that their numbers don't meet those of the service.
static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.dangerous_set_table_name("_messaging_migrations");
    migrator
});

/// A service's database. Cheap to clone; all clones share the connections.
#[derive(Clone, Debug)]
pub struct Database {
    writer: SqlitePool,
    readers: SqlitePool,
    /// Told after every transaction of the writer.
    written: Arc<Notify>,
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("cannot create the directory {}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("cannot open the database {}", path.display())]
    Open { path: PathBuf, source: sqlx::Error },
    #[error("cannot migrate the database {}", path.display())]
    Migrate { path: PathBuf, source: MigrateError },
}

impl Database {
    /// Opens the file, creating it and its directories when they are missing, and brings its schema up to date: the
    /// tables of this crate first, then the given migrations in their order. Two migrators of one file need
    /// different table names ([`Migrator::dangerous_set_table_name`]); the service's own keeps the default one.
    ///
    /// # Errors
    /// When the directory or the file can't be created or opened, or a migration fails.
    pub async fn open(
        path: &Path,
        migrations: &[&'static Migrator],
    ) -> Result<Database, DatabaseError> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|source| DatabaseError::Directory {
                path: directory.to_owned(),
                source,
            })?;
        }
        let open_error = |source| DatabaseError::Open {
            path: path.to_owned(),
            source,
        };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit that was reported must outlive a power cut: NORMAL may lose the last ones in WAL mode.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);

        let written = Arc::new(Notify::new());
        let released = Arc::clone(&written);
        let writer = pool(1)
            // The writer comes back right after a commit or a rollback, which makes this the one place where nobody
            // can forget to wake the relay.
            .after_release(move |_connection, _| {
                released.notify_one();
                Box::pin(async { Ok(true) })
            })
            .connect_with(options.clone())
            .await
            .map_err(open_error)?;
        for migrator in std::iter::once(&*MIGRATOR).chain(migrations.iter().copied()) {
            migrator
                .run(&writer)
                .await
                .map_err(|source| DatabaseError::Migrate {
                    path: path.to_owned(),
                    source,
                })?;
        }
        let readers = pool(READERS)
            .connect_with(options.pragma("query_only", "ON"))
            .await
            .map_err(open_error)?;
        Ok(Database {
            writer,
            readers,
            written,
        })
    }

    /// Begins a transaction that may write. It takes the write lock at once (`BEGIN IMMEDIATE`): there is no later
    /// upgrade that could fail. Transactions wait for one another, so don't begin a second one while holding one.
    ///
    /// # Errors
    /// When the writer does not become free within 10 s, or the database is closed.
    pub async fn write(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// Connections that see what is committed and cannot write.
    pub fn read(&self) -> &SqlitePool {
        &self.readers
    }

    /// Wakes the relay of this database. Every transaction of [`Database::write`] does so by itself when it ends.
    pub fn wake_relay(&self) {
        self.written.notify_one();
    }

    /// Waits until something may have been written since the last call. For one waiter: the relay.
    pub(crate) async fn written(&self) {
        self.written.notified().await;
    }

    /// Waits for the transactions under way and closes all connections. Later calls give `sqlx::Error::PoolClosed`.
    pub async fn close(&self) {
        // The writer last: the last connection of a file folds the write-ahead log into it, and readers may not write.
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A connection to a file does not go stale: no reason to test or to replace it.
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::borrow::Cow;
    use std::sync::LazyLock;
    use std::time::Duration;

    use sqlx::SqlSafeStr as _;
    use sqlx::migrate::{Migration, MigrationType, Migrator};

    use super::Database;

    /// A service's migrations, with the same version number as one of this crate.
    static SERVICE: LazyLock<Migrator> = LazyLock::new(|| {
        let sql = "CREATE TABLE thing (id INTEGER PRIMARY KEY) STRICT".into_sql_str();
        let name = Cow::Borrowed("thing");
        let first = Migration::new(1, name, MigrationType::Simple, sql, false);
        Migrator::with_migrations(vec![first])
    });

    #[tokio::test]
    async fn what_is_committed_is_there_after_reopening_beside_other_migrations() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/service.db");
        for round in 1..=2 {
            let database = Database::open(&path, &[&SERVICE]).await.unwrap();
            let mut tx = database.write().await.unwrap();
            sqlx::query("INSERT INTO thing DEFAULT VALUES")
                .execute(&mut *tx)
                .await
                .unwrap();
            tx.commit().await.unwrap();
            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM thing")
                .fetch_one(database.read())
                .await
                .unwrap();
            assert_eq!(count, round);
            database.close().await;
            assert!(database.write().await.is_err());
        }
    }

    #[tokio::test]
    async fn a_transaction_that_is_dropped_leaves_nothing_and_lets_the_next_one_in() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("s.db"), &[&SERVICE])
            .await
            .unwrap();
        let mut tx = database.write().await.unwrap();
        sqlx::query("INSERT INTO thing DEFAULT VALUES")
            .execute(&mut *tx)
            .await
            .unwrap();
        drop(tx);
        let mut tx = database.write().await.unwrap();
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM thing")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        assert_eq!(count, 0);
    }

    #[tokio::test]
    async fn readers_cannot_write_and_see_only_what_is_committed() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("s.db"), &[&SERVICE])
            .await
            .unwrap();
        let write = sqlx::query("INSERT INTO thing DEFAULT VALUES")
            .execute(database.read())
            .await;
        assert!(write.is_err());
        let mut tx = database.write().await.unwrap();
        sqlx::query("INSERT INTO thing DEFAULT VALUES")
            .execute(&mut *tx)
            .await
            .unwrap();
        let count = || {
            sqlx::query_scalar::<_, i64>("SELECT count(*) FROM thing").fetch_one(database.read())
        };
        assert_eq!(count().await.unwrap(), 0);
        tx.commit().await.unwrap();
        assert_eq!(count().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn the_end_of_a_transaction_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("s.db"), &[&SERVICE])
            .await
            .unwrap();
        // The migrations wrote, too.
        let quiet = Duration::from_millis(20);
        while tokio::time::timeout(quiet, database.written())
            .await
            .is_ok()
        {}
        let tx = database.write().await.unwrap();
        tx.commit().await.unwrap();
        let noticed = tokio::time::timeout(Duration::from_secs(5), database.written()).await;
        assert!(noticed.is_ok());
    }
}
