//! Issuing a refused command again: how long to wait, and the task that notices that the time has come.
//! Not here: which refusals lead to it (`progress`), nor redelivery of a message that nobody took (`relay`).

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio_util::sync::CancellationToken;

use super::orchestrator::Orchestrator;
use crate::database::Database;

/// Waiting times between the issues of one command: doubled each time, up to a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    pub first: Duration,
    pub cap: Duration,
}

/// With nothing due the timer sleeps this long; a new due time wakes it earlier.
const IDLE: Duration = Duration::from_secs(60);
/// After a database error the timer looks again this soon.
const AFTER_ERROR: Duration = Duration::from_secs(1);

impl RetryPolicy {
    /// The wait after the failure of this attempt (from 1).
    pub fn delay(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.cap)
    }
}

impl Default for RetryPolicy {
    /// 250 ms, doubled up to 30 s.
    fn default() -> RetryPolicy {
        RetryPolicy {
            first: Duration::from_millis(250),
            cap: Duration::from_secs(30),
        }
    }
}

/// Issues again what is due, until `shutdown`. Due times of an earlier process are found at once.
pub async fn run_retries(
    orchestrator: Arc<Orchestrator>,
    database: Database,
    shutdown: CancellationToken,
) {
    loop {
        let pause = match orchestrator.issue_due(&database, Utc::now()).await {
            Ok(Some(next)) => (next - Utc::now())
                .to_std()
                .unwrap_or(Duration::ZERO)
                .min(IDLE),
            Ok(None) => IDLE,
            Err(error) => {
                tracing::error!(%error, "sagas that are due could not be read");
                AFTER_ERROR
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = orchestrator.due_times_changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::RetryPolicy;

    #[test]
    fn the_wait_doubles_up_to_its_cap_and_never_overflows() {
        let retry = RetryPolicy {
            first: Duration::from_millis(100),
            cap: Duration::from_secs(1),
        };
        let waits: Vec<u128> = [1, 2, 3, 4, 5, 6, u32::MAX]
            .map(|attempt| retry.delay(attempt).as_millis())
            .into();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000, 1000]);
    }
}
