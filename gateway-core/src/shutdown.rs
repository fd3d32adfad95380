//! The life of the process: starting, serving, draining. Who asks for the end is `cli.rs`; who obeys is `server.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

/// Where a gateway stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Serving,
    Draining,
}

/// The phase, and the signals that follow from it. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Lifecycle {
    phase: Arc<AtomicU8>,
    cut: Arc<AtomicBool>,
    /// Fires when no more connections are to be accepted.
    pub(crate) stop_accepting: CancellationToken,
    /// Fires when connections have to end after the request they are working on.
    pub(crate) close_connections: CancellationToken,
}

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self {
            phase: Arc::new(AtomicU8::new(Phase::Starting as u8)),
            cut: Arc::new(AtomicBool::new(false)),
            stop_accepting: CancellationToken::new(),
            close_connections: CancellationToken::new(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    /// The grace period is over: what is still under way ends now, and no client is to blame for it.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Phases only go forward.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }
}
