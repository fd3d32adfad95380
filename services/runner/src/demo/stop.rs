//! When the demo is to end: SIGINT and SIGTERM, once or repeated. What ends, and how, is `demo`'s.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::demo::children::ProcessIds;

/// One Ctrl-C can arrive twice, from the terminal and from whoever started us (`make`); a person needs longer.
const SAME_KEYSTROKE: Duration = Duration::from_millis(300);

/// What a shell reports for a process ended by SIGINT.
const ENDED_BY_INTERRUPT: i32 = 130;

/// Tells that a signal asked for the end.
pub(crate) struct Stop {
    requested: CancellationToken,
}

impl Stop {
    /// From now on a first signal asks for the end, and a Ctrl-C after it ends this process and `children` at once.
    /// A repeated SIGTERM changes nothing: `make` forwards the one that reached the whole process group.
    pub(crate) fn listen(children: ProcessIds) -> io::Result<Stop> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let requested = CancellationToken::new();
        let stop = Stop {
            requested: requested.clone(),
        };
        tokio::spawn(async move {
            let mut first: Option<Instant> = None;
            loop {
                let by_hand = tokio::select! {
                    _ = interrupt.recv() => true,
                    _ = terminate.recv() => false,
                };
                match first {
                    None => {
                        first = Some(Instant::now());
                        requested.cancel();
                    }
                    Some(first) if by_hand && first.elapsed() >= SAME_KEYSTROKE => {
                        children.kill();
                        std::process::exit(ENDED_BY_INTERRUPT);
                    }
                    Some(_) => {}
                }
            }
        });
        Ok(stop)
    }

    pub(crate) async fn requested(&self) {
        self.requested.cancelled().await;
    }
}
