//! The process's log (JSON lines on standard output, written by a thread of its own), its cryptography provider and, in
//! `telemetry/*`, the export of traces. How a line looks is `telemetry/line.rs`; what is logged about a request,
//! `edge/access_log.rs`.

mod line;
mod spans;
mod traces;

use std::io::{self, BufWriter, Write};
use std::sync::OnceLock;
use std::time::Duration;

use tracing_appender::non_blocking::{ErrorCounter, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use line::JsonLine;
pub(crate) use traces::{Traces, TracesFault};

/// Bytes of log lines that are written at once, when they come faster than they are written one by one.
const LOG_BUFFER: usize = 64 << 10;

/// The thread that writes rests for so long when no more lines are waiting: lines that come meanwhile are written together, and
/// whoever logs them has nobody to wake. A line that comes after a quiet moment is written at once.
const LOG_REST: Duration = Duration::from_millis(5);

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
    let output = Paced(BufWriter::with_capacity(LOG_BUFFER, io::stdout()));
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

/// Where lines go; it is flushed when none is waiting.
struct Paced<W>(W);

impl<W: Write> Write for Paced<W> {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.0.write(lines)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        // Its own thread, which has nothing else to wait for.
        std::thread::park_timeout(LOG_REST);
        Ok(())
    }
}

/// Lines of the log that were lost since the start; `None` when this process has no log of its own.
pub(crate) fn dropped_log_lines() -> Option<usize> {
    DROPPED.get().map(ErrorCounter::dropped_lines)
}
