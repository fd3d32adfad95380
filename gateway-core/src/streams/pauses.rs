//! How long to wait before something is tried again, for as long as somebody waits for it. What is tried is the caller's.

use std::time::Duration;

use tokio::time::sleep;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);

/// The pauses between attempts, about 200 ms at first and doubled each time, up to about 10 s: by chance half as long or half
/// as long again, so that those whom one failure has hit do not all come back at once.
#[derive(Debug)]
pub struct Pauses {
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Pauses {
    /// Waits for the next one.
    pub async fn wait(&mut self) {
        let pause = self.next.mul_f64(0.5 + fastrand::f64());
        self.next = (self.next * 2).min(LONGEST);
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_up_to_a_bound_and_differ() {
        let mut pauses = Pauses::default();
        let mut usual = FIRST;
        for _ in 0..12 {
            let began = Instant::now();
            pauses.wait().await;
            let took = began.elapsed();
            let slack = Duration::from_millis(2);
            assert!(
                took >= usual / 2 && took <= usual * 3 / 2 + slack,
                "{took:?}"
            );
            usual = (usual * 2).min(LONGEST);
        }
        assert_eq!(usual, LONGEST);
    }
}
