//! Short progress lines with elapsed seconds, for the person who started the demo. Programs read the logs instead.

use std::io::{self, Write};

use tokio::time::Instant;

/// Prints each step with the seconds since the start.
pub(crate) struct Progress {
    started: Instant,
}

impl Progress {
    pub(crate) fn start(title: &str) -> Progress {
        say(title);
        Progress {
            started: Instant::now(),
        }
    }

    pub(crate) fn step(&self, what: &str) {
        say(&format!(
            "{:6.1} s  {what}",
            self.started.elapsed().as_secs_f64()
        ));
    }

    pub(crate) fn blank(&self) {
        say("");
    }
}

/// Prints a line. A closed stdout (`make demo | head`) is no reason to end.
pub(crate) fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
