//! The queue of one subscriber: in order for each key, side by side for different keys, with a growing pause for a key
//! whose message fails. Pure bookkeeping; offering is done in `relay`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Offers under way for one subscriber. Its consumer has one writer, so a few are enough to keep it busy, and a
/// subscriber that hangs holds no more than these.
const CONCURRENCY: usize = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Messages with the same key keep their order.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) topic: String,
    pub(super) subject: String,
}

/// What waits for one subscriber. It holds row numbers, not messages, so that a subscriber may stay away for long.
#[derive(Default)]
pub(super) struct Lane {
    queues: HashMap<Arc<Key>, Queue>,
    /// Keys whose first row can be offered.
    ready: VecDeque<Arc<Key>>,
    /// Keys whose first row failed, until their pause is over.
    pausing: BinaryHeap<Reverse<(Instant, Arc<Key>)>>,
    in_flight: usize,
    /// The subscriber is not there.
    parked: bool,
}

#[derive(Default)]
struct Queue {
    rows: VecDeque<i64>,
    /// Of the first row, in a row.
    failures: u32,
}

impl Lane {
    pub(super) fn push(&mut self, key: &Arc<Key>, seq: i64) {
        if let Some(queue) = self.queues.get_mut(key) {
            queue.rows.push_back(seq);
            return;
        }
        let rows = VecDeque::from([seq]);
        self.queues
            .insert(Arc::clone(key), Queue { rows, failures: 0 });
        self.ready.push_back(Arc::clone(key));
    }

    /// The next row to offer. Its key is taken until `delivered`, `failed` or `absent` is called for it.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Arc<Key>, i64)> {
        while let Some(Reverse((due, _))) = self.pausing.peek()
            && *due <= now
        {
            let Some(Reverse((_, key))) = self.pausing.pop() else {
                break;
            };
            self.ready.push_back(key);
        }
        if self.parked || self.in_flight >= CONCURRENCY {
            return None;
        }
        let key = self.ready.pop_front()?;
        let seq = *self.queues.get(&key)?.rows.front()?;
        self.in_flight += 1;
        Some((key, seq))
    }

    /// When a pause ends.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.pausing.peek().map(|Reverse((due, _))| *due)
    }

    pub(super) fn delivered(&mut self, key: &Arc<Key>) {
        self.in_flight -= 1;
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        queue.rows.pop_front();
        queue.failures = 0;
        if queue.rows.is_empty() {
            self.queues.remove(key);
        } else {
            self.ready.push_back(Arc::clone(key));
        }
    }

    /// Gives the number of failures so far, and the pause before the row is offered again.
    pub(super) fn failed(&mut self, key: &Arc<Key>, now: Instant) -> (u32, Duration) {
        self.in_flight -= 1;
        let failures = match self.queues.get_mut(key) {
            Some(queue) => {
                queue.failures = queue.failures.saturating_add(1);
                queue.failures
            }
            None => 1,
        };
        let doublings = (failures - 1).min(16);
        let pause = FIRST_PAUSE
            .saturating_mul(1 << doublings)
            .min(LONGEST_PAUSE);
        self.pausing.push(Reverse((now + pause, Arc::clone(key))));
        (failures, pause)
    }

    /// The subscriber was not there. With `park`, nothing more is offered until [`Lane::unpark`].
    pub(super) fn absent(&mut self, key: &Arc<Key>, park: bool) {
        self.in_flight -= 1;
        self.ready.push_front(Arc::clone(key));
        self.parked = park;
    }

    /// The subscriber may be back: what failed before is worth a try at once, too.
    pub(super) fn unpark(&mut self) {
        self.parked = false;
        let pausing = self.pausing.drain().map(|Reverse((_, key))| key);
        self.ready.extend(pausing);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{CONCURRENCY, Key, LONGEST_PAUSE, Lane};

    fn key(subject: &str) -> Arc<Key> {
        Arc::new(Key {
            topic: "t".to_owned(),
            subject: subject.to_owned(),
        })
    }

    #[test]
    fn one_key_goes_in_order_while_others_go_side_by_side() {
        let now = Instant::now();
        let mut lane = Lane::default();
        for (subject, seq) in [("a", 1), ("a", 2), ("b", 3)] {
            lane.push(&key(subject), seq);
        }
        let (a, first) = lane.next(now).unwrap();
        let (_b, other) = lane.next(now).unwrap();
        assert_eq!((first, other), (1, 3));
        assert!(lane.next(now).is_none(), "row 2 waits for row 1");
        lane.delivered(&a);
        assert_eq!(lane.next(now).unwrap().1, 2);
    }

    #[test]
    fn a_failing_key_pauses_alone_and_its_pause_grows_to_a_cap() {
        let mut now = Instant::now();
        let mut lane = Lane::default();
        lane.push(&key("bad"), 1);
        lane.push(&key("bad"), 2);
        let mut last = Duration::ZERO;
        for attempt in 1..40 {
            let (bad, seq) = lane.next(now).unwrap();
            assert_eq!(seq, 1);
            let (failures, pause) = lane.failed(&bad, now);
            assert_eq!(failures, attempt);
            assert!(pause >= last && pause <= LONGEST_PAUSE);
            assert_eq!(lane.next_due(), Some(now + pause));
            assert!(lane.next(now).is_none());
            lane.push(&key("good"), i64::from(attempt) + 100);
            let (good, _) = lane.next(now).unwrap();
            lane.delivered(&good);
            now += pause;
            last = pause;
        }
        assert_eq!(last, LONGEST_PAUSE);
    }

    #[test]
    fn a_lane_is_bounded_and_parks_while_its_subscriber_is_away() {
        let now = Instant::now();
        let mut lane = Lane::default();
        for seq in 0..20 {
            lane.push(&key(&seq.to_string()), seq);
        }
        let taken: Vec<_> = std::iter::from_fn(|| lane.next(now)).collect();
        assert_eq!(taken.len(), CONCURRENCY);
        for (key, _) in &taken {
            lane.absent(key, true);
        }
        assert!(lane.next(now).is_none());
        lane.unpark();
        assert!(lane.next(now).is_some());
    }
}
