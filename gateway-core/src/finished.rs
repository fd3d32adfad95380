//! A request that has ended, as operators may see it, and the last ones of a process. It is made by
//! `edge/access_log.rs` and read by the log, traces and the console; none of them sees the request itself.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::{Method, Version};
use tokio::time::Instant;

use crate::context::RequestId;
use crate::error::ErrorSource;
use crate::route::Route;
use crate::trace::TraceContext;
use crate::waterfall::{PartOutcome, Waterfall};

/// How many requests each worker remembers, of the ordinary ones and of the notable ones.
const REMEMBERED: usize = 64;

/// From when on a request is notable for its time alone.
const SLOW: Duration = Duration::from_millis(500);

/// What the log says of a request whose client went away before there was an answer. It is nobody's status on the wire.
pub(crate) const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What it says of a request that was still without an answer when the grace period of a drain was over. Nobody's status on the
/// wire either; a failure of ours.
pub(crate) const CUT: u16 = 503;

/// The longest segment of a path that is shown: a UUID.
const MAX_SEGMENT: usize = 36;

/// Everything that is told about one request.
pub(crate) struct FinishedRequest {
    /// Absent when no route was found.
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// Whom the client wanted to speak with; only for recorded traces.
    pub(crate) authority: Option<Box<str>>,
    /// Without the query, and with what could be a secret left out.
    pub(crate) path: String,
    /// What was sent; when nothing was: 499 when the client had gone before, 503 when it was cut at the end of a drain.
    pub(crate) status: u16,
    /// Of the answer's body, as sent.
    pub(crate) bytes: u64,
    /// Whether all of the answer went out.
    pub(crate) complete: bool,
    /// The kind of caller; absent when it did not come to that.
    pub(crate) principal: Option<&'static str>,
    pub(crate) request_id: RequestId,
    pub(crate) trace: TraceContext,
    pub(crate) arrived: Instant,
    /// From the request's head to the answer's last byte.
    pub(crate) took: Duration,
    /// What its client had to wait for: all of the answer, of a stream of events its head.
    pub(crate) waited: Duration,
    pub(crate) is_stream: bool,
    pub(crate) fault: Option<Fault>,
    pub(crate) waterfall: Waterfall,
}

/// Who is at fault, and what for the log.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) source: ErrorSource,
    pub(crate) cause: String,
    pub(crate) upstream: Option<&'static str>,
}

impl FinishedRequest {
    /// When it arrived, by the clock on the wall. It is reckoned backwards from now, so that a request costs no look at
    /// that clock: a step of the clock since then shifts it.
    pub(crate) fn arrived_at(&self) -> SystemTime {
        SystemTime::now()
            .checked_sub(self.arrived.elapsed())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Whether the client was still there for the head of the answer.
    pub(crate) fn is_answered(&self) -> bool {
        self.status != CLIENT_CLOSED_REQUEST
    }

    /// Whether an operator would want to look at it: it was slow, incomplete, or something failed on our side or behind.
    pub(crate) fn is_notable(&self) -> bool {
        let ours = |fault: &Fault| fault.source != ErrorSource::Client;
        let lost = |outcome| !matches!(outcome, PartOutcome::Ok | PartOutcome::Cancelled);
        self.status >= CLIENT_CLOSED_REQUEST
            || self.waited >= SLOW
            // That its client leaves is how a stream of events usually ends.
            || !(self.complete || self.is_stream)
            || self.fault.as_ref().is_some_and(ours)
            || self.waterfall.parts.iter().any(|part| lost(part.outcome))
    }
}

/// `path` as it may be shown. A segment of at most 36 letters, digits, `.`, `-` and `_` is the name of something, or its
/// id; others may hold anything, also tokens, keys and addresses of people, and are left out.
pub(crate) fn shown_path(path: &str) -> Cow<'_, str> {
    let letter = |b: u8| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    let plain = |segment: &[u8]| segment.len() <= MAX_SEGMENT && segment.iter().all(|b| letter(*b));
    if path.as_bytes().split(|b| *b == b'/').all(plain) {
        return Cow::Borrowed(path);
    }
    let shown: Vec<&str> = path
        .split('/')
        .map(|segment| {
            if plain(segment.as_bytes()) {
                segment
            } else {
                "…"
            }
        })
        .collect();
    Cow::Owned(shown.join("/"))
}

/// The last requests of a process. Each worker writes to a place of its own, so that nobody waits but for who reads.
pub(crate) struct RecentRequests {
    workers: Vec<Mutex<Remembered>>,
}

struct Remembered {
    ordinary: VecDeque<Arc<FinishedRequest>>,
    /// Kept apart: the flood of ordinary ones would wash them away.
    notable: VecDeque<Arc<FinishedRequest>>,
}

impl RecentRequests {
    pub(crate) fn new(workers: usize) -> Self {
        let empty = || Remembered {
            ordinary: VecDeque::with_capacity(REMEMBERED),
            notable: VecDeque::with_capacity(REMEMBERED),
        };
        Self {
            workers: (0..workers).map(|_| Mutex::new(empty())).collect(),
        }
    }

    /// Remembers a request that `worker` has served, in place of its oldest one.
    pub(crate) fn push(&self, worker: usize, request: Arc<FinishedRequest>) {
        let Some(remembered) = self.workers.get(worker) else {
            return;
        };
        let notable = request.is_notable();
        let forgotten = {
            let mut remembered = remembered.lock().unwrap_or_else(PoisonError::into_inner);
            let ring = if notable {
                &mut remembered.notable
            } else {
                &mut remembered.ordinary
            };
            let forgotten = if ring.len() < REMEMBERED {
                None
            } else {
                ring.pop_front()
            };
            ring.push_back(request);
            forgotten
        };
        // Outside of the lock.
        drop(forgotten);
    }

    /// All that are remembered, the latest to arrive first.
    pub(crate) fn latest(&self) -> Vec<Arc<FinishedRequest>> {
        let mut all = Vec::new();
        for worker in &self.workers {
            let remembered = worker.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(remembered.ordinary.iter().map(Arc::clone));
            all.extend(remembered.notable.iter().map(Arc::clone));
        }
        all.sort_by_key(|request| std::cmp::Reverse(request.arrived));
        all
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use http::HeaderMap;

    use super::*;
    use crate::trace::Sampling;

    fn request(status: u16) -> Arc<FinishedRequest> {
        let none = HeaderMap::new();
        Arc::new(FinishedRequest {
            route: None,
            method: Method::GET,
            version: Version::HTTP_11,
            authority: None,
            path: "/".to_owned(),
            status,
            bytes: 0,
            complete: true,
            principal: None,
            request_id: RequestId::from_headers(&none),
            trace: TraceContext::from_headers(&none, Sampling::Off),
            arrived: Instant::now(),
            took: Duration::ZERO,
            waited: Duration::ZERO,
            is_stream: false,
            fault: None,
            waterfall: Waterfall::default(),
        })
    }

    #[test]
    fn a_flood_does_not_wash_failures_away() {
        let recent = RecentRequests::new(2);
        recent.push(0, request(503));
        for _ in 0..1000 {
            recent.push(0, request(200));
        }
        recent.push(1, request(404));
        let latest = recent.latest();
        assert_eq!(latest.len(), 1 + REMEMBERED + 1);
        assert_eq!(latest[0].status, 404);
        assert!(latest.iter().any(|request| request.status == 503));
        assert!(latest.is_sorted_by(|a, b| a.arrived >= b.arrived));
    }

    #[test]
    fn a_long_stream_that_its_client_has_left_is_nothing_to_look_at() {
        let ended = |took: u64, waited: u64, is_stream| FinishedRequest {
            took: Duration::from_secs(took),
            waited: Duration::from_secs(waited),
            complete: false,
            is_stream,
            ..Arc::into_inner(request(200)).unwrap()
        };
        assert!(!ended(3600, 0, true).is_notable());
        assert!(ended(3600, 2, true).is_notable());
        assert!(ended(3600, 3600, false).is_notable());
        assert!(ended(0, 0, false).is_notable());
    }

    #[test]
    fn what_could_be_a_secret_is_not_shown() {
        for (path, expected) in [
            ("/", "/"),
            ("/v1/widgets/17.json", "/v1/widgets/17.json"),
            (
                "/widgets/01a203b1-2b9c-7198-9fb7-c95b04393acb/parts",
                "/widgets/01a203b1-2b9c-7198-9fb7-c95b04393acb/parts",
            ),
            (
                "/invitations/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl/accept",
                "/invitations/…/accept",
            ),
            ("/people/somebody@example.com", "/people/…"),
            ("/people/some%20body", "/people/…"),
            ("user:password@host:1", "…"),
        ] {
            assert_eq!(shown_path(path), expected);
        }
    }
}
