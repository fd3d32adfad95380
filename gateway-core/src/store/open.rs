//! Opening the store's file and bringing its tables up to date. What is done with them is their owners'.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::time::{Instant, sleep};

/// How long SQLite itself waits for a lock: only another process can have one, while it hands the file over.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Before it is tried again what SQLite does not wait for.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// The tables of one owner, as the changes that lead to them.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    /// Whose they are: its tables begin with this name.
    pub owner: &'static str,
    /// SQL scripts. Each is run once, in order and in a transaction of its own; one that was released never changes.
    pub migrations: &'static [&'static str],
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot create {}", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot open the database")]
    Open(#[source] sqlx::Error),
    #[error("cannot bring the tables of `{owner}` up to date")]
    Migrate {
        owner: &'static str,
        source: sqlx::Error,
    },
    #[error("a newer version has changed the tables of `{owner}`")]
    Newer { owner: &'static str },
    #[error("cannot start a thread or its runtime")]
    Thread(#[source] io::Error),
    #[error("the store's thread has ended")]
    Ended,
}

/// A connection that may write, with all tables as they should be.
pub(super) async fn writer(
    path: Option<&Path>,
    tables: &[Tables],
) -> Result<SqliteConnection, OpenError> {
    if let Some(path) = path {
        create(path)?;
    }
    let mut connection = connect(options(path)).await.map_err(OpenError::Open)?;
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS store_migrations (
            owner TEXT NOT NULL,
            number INTEGER NOT NULL,
            PRIMARY KEY (owner, number)
        ) STRICT, WITHOUT ROWID",
    )
    .execute(&mut connection)
    .await
    .map_err(OpenError::Open)?;
    for tables in tables {
        migrate(&mut connection, tables).await?;
    }
    Ok(connection)
}

/// A connection beside it that sees what is committed and cannot write.
pub(super) async fn reader(path: &Path) -> Result<SqliteConnection, OpenError> {
    let options = options(Some(path)).pragma("query_only", "ON");
    connect(options).await.map_err(OpenError::Open)
}

/// SQLite does not wait for everything: not for another process that turns a new file into one with a write-ahead log, nor for one
/// that takes the log in at its end.
async fn connect(options: SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
    let give_up = Instant::now() + BUSY_TIMEOUT;
    loop {
        match options.connect().await {
            Err(error) if is_busy(&error) && Instant::now() < give_up => sleep(BUSY_PAUSE).await,
            connected => return connected,
        }
    }
}

/// `SQLITE_BUSY`, also where its higher bits say more of it.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.and_then(|code| code.parse::<u32>().ok())
        .is_some_and(|code| code & 0xff == 5)
}

fn options(path: Option<&Path>) -> SqliteConnectOptions {
    let options = match path {
        Some(path) => SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal),
        None => SqliteConnectOptions::new().in_memory(true),
    };
    options.foreign_keys(true).busy_timeout(BUSY_TIMEOUT)
}

/// The file and its folder, for their owner alone: what clients were answered is in it.
fn create(path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Create {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
    }
    // One that is there is not opened: to close it again would end the locks that this process has on it (POSIX, fcntl).
    let made = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn migrate(connection: &mut SqliteConnection, tables: &Tables) -> Result<(), OpenError> {
    let owner = tables.owner;
    let failed = |source| OpenError::Migrate { owner, source };
    loop {
        // What is left is looked at when nobody else can write: another process may be at it.
        let mut tx = connection
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        let done: i64 = sqlx::query_scalar("SELECT count(*) FROM store_migrations WHERE owner = ?")
            .bind(owner)
            .fetch_one(&mut *tx)
            .await
            .map_err(failed)?;
        let Some(left) = usize::try_from(done)
            .ok()
            .and_then(|done| tables.migrations.get(done..))
        else {
            return Err(OpenError::Newer { owner });
        };
        let Some(script) = left.first() else {
            return Ok(());
        };
        sqlx::raw_sql(*script)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        sqlx::query("INSERT INTO store_migrations (owner, number) VALUES (?, ?)")
            .bind(owner)
            .bind(done + 1)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        tx.commit().await.map_err(failed)?;
    }
}
