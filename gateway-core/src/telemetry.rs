//! The process's log (JSON lines on standard output, written by a thread of its own) and its cryptography provider.
//! How a line looks is `telemetry/line.rs`; what is logged about a request, `edge/access_log.rs`.

mod line;

use std::io::BufWriter;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use line::JsonLine;

/// Bytes of log lines that are written at once, when they come faster than they are written one by one.
const LOG_BUFFER: usize = 64 << 10;

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
