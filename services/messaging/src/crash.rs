//! Crash points: places where a test can have the process killed the hard way (SIGKILL), to see that nothing is lost.
//! Nothing here runs unless [`arm`] was called, which only a command line does.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use rustix::process::{Signal, getpid, kill_process};

static ARMED: OnceLock<CrashPoint> = OnceLock::new();

/// The side of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Everything is written, nothing is committed.
    Before,
    /// Committed, and nobody was told yet.
    After,
}

/// A place in the code: `<service>.<kind of message or request>.<before|after>-commit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    service: String,
    kind: String,
    side: Side,
}

/// The text names no crash point, or one is armed already.
#[derive(Debug, thiserror::Error)]
pub enum CrashPointError {
    #[error("`{0}` is no crash point; one looks like `kitchen.CreateTicket.before-commit`")]
    Malformed(String),
    #[error("a process has one crash point, and `{0}` is armed already")]
    Armed(CrashPoint),
}

/// From now on, the process ends when it passes this point.
///
/// # Errors
/// When the text names no crash point, or one is armed already.
pub fn arm(point: &str) -> Result<(), CrashPointError> {
    let point: CrashPoint = point.parse()?;
    ARMED.set(point).map_err(CrashPointError::Armed)
}

/// A place where the process ends if it is armed.
pub fn point(service: &str, kind: &str, side: Side) {
    let Some(armed) = ARMED.get() else { return };
    if armed.side == side && armed.service == service && armed.kind == kind {
        // No destructor, no flush, no goodbye to a peer: as close to a power cut as a process gets.
        let _ = kill_process(getpid(), Signal::KILL);
        std::process::abort();
    }
}

/// Whether any point is armed: for callers that would have to build its name first.
pub(crate) fn is_armed() -> bool {
    ARMED.get().is_some()
}

impl FromStr for CrashPoint {
    type Err = CrashPointError;

    fn from_str(text: &str) -> Result<CrashPoint, CrashPointError> {
        let malformed = || CrashPointError::Malformed(text.to_owned());
        let (service, rest) = text.split_once('.').ok_or_else(malformed)?;
        let (kind, side) = rest.rsplit_once('.').ok_or_else(malformed)?;
        let side = match side {
            "before-commit" => Side::Before,
            "after-commit" => Side::After,
            _ => return Err(malformed()),
        };
        if service.is_empty() || kind.is_empty() {
            return Err(malformed());
        }
        Ok(CrashPoint {
            service: service.to_owned(),
            kind: kind.to_owned(),
            side,
        })
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Before => "before-commit",
            Side::After => "after-commit",
        };
        write!(formatter, "{}.{}.{side}", self.service, self.kind)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::{CrashPoint, Side, arm, point};

    /// Not a test by itself: the next one runs it in a process of its own.
    #[test]
    #[ignore = "ends its process"]
    fn passes_an_armed_point() {
        arm("kitchen.CreateTicket.after-commit").unwrap();
        assert!(arm("kitchen.CreateTicket.after-commit").is_err());
        point("kitchen", "CreateTicket", Side::Before);
        point("order", "CreateTicket", Side::After);
        println!("still here");
        point("kitchen", "CreateTicket", Side::After);
        println!("unreachable");
    }

    #[test]
    fn the_process_is_killed_at_its_point_and_only_there() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "crash::tests::passes_an_armed_point",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(9));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains("still here") && !text.contains("unreachable"),
            "{text}"
        );
    }

    #[test]
    fn a_point_is_read_and_printed() {
        for (text, side) in [
            ("order-history.OrderCreated.before-commit", Side::Before),
            ("order.Reply:create-ticket.after-commit", Side::After),
        ] {
            let point: CrashPoint = text.parse().unwrap();
            assert_eq!(point.side, side);
            assert_eq!(point.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "kitchen",
            "kitchen.CreateTicket",
            "kitchen.CreateTicket.during-commit",
            ".x.after-commit",
        ] {
            assert!(text.parse::<CrashPoint>().is_err(), "{text}");
        }
    }
}
