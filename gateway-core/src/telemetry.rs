//! The process's log (JSON lines on standard output, written by a thread of its own), its cryptography provider and, in
//! `telemetry/*`, the export of traces. How a line looks is `telemetry/line.rs`; what is logged about a request,
//! `edge/access_log.rs`.

mod line;
mod spans;
mod traces;

use std::io::BufWriter;
use std::sync::OnceLock;

use tracing_appender::non_blocking::{ErrorCounter, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use line::JsonLine;
pub(crate) use traces::{Traces, TracesFault};

/// Bytes of log lines that are written at once, when they come faster than they are written one by one.
const LOG_BUFFER: usize = 64 << 10;

/// Of the log that was started.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Chooses aws-lc-rs for TLS and for tokens. The first call of a process does it; more do no harm.
pub fn install_crypto() {
    // An error only says that a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

/// Starts the log. Lines are written until the guard is dropped; then the rest is flushed.
///
/// # Errors
/// When `filter` is not a filter.
pub(crate) fn start_log(
    filter: &str,
) -> Result<WorkerGuard, tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    // Standard output alone would write each line by itself; the thread flushes whenever no line is waiting.
    let output = BufWriter::with_capacity(LOG_BUFFER, std::io::stdout());
    let (writer, guard) = tracing_appender::non_blocking(output);
    // Requests never wait for whoever reads the log: what does not fit into the queue is lost, and counted.
    let _ = DROPPED.set(writer.error_counter());
    let lines = tracing_subscriber::fmt::layer()
        .event_format(JsonLine)
        .with_writer(writer);
    // A second log in one process happens only in tests; the first one goes on.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
    Ok(guard)
}

/// Lines of the log that were lost since the start; `None` when this process has no log of its own.
pub(crate) fn dropped_log_lines() -> Option<usize> {
    DROPPED.get().map(ErrorCounter::dropped_lines)
}
