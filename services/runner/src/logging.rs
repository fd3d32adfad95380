//! Structured logs as JSON lines, to a writer of the caller's choice, filtered by `RUST_LOG` (default: info).
//! What people read on the terminal is not logged; it is printed by the commands themselves.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("the log file {path} can't be written")]
    File { path: String, source: io::Error },
    #[error("logging was set up before")]
    Twice(#[from] TryInitError),
}

/// Logs to stderr, so that stdout stays free for what programs read.
///
/// # Errors
///
/// Logging was set up before.
pub fn to_stderr() -> Result<(), LoggingError> {
    init(io::stderr)
}

/// Logs to a file, which is emptied first: each run tells its own story.
///
/// # Errors
///
/// The file can't be written, or logging was set up before.
pub fn to_file(path: &Path) -> Result<(), LoggingError> {
    let file = File::create(path).map_err(|source| LoggingError::File {
        path: path.display().to_string(),
        source,
    })?;
    init(Mutex::new(file))
}

fn init(writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) -> Result<(), LoggingError> {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(writer)
        .finish()
        .try_init()?;
    Ok(())
}
