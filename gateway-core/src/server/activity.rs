//! What one connection is busy with, so that its timers know whom they are waiting for. Who sets the timers is
//! `client_io.rs` (HTTP/1) and `connection.rs` (HTTP/2).

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// Requests being answered, and since when there are none.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    running: AtomicUsize,
    served: AtomicUsize,
    /// Milliseconds after `opened`.
    idle_since: AtomicU64,
    /// Answers that have given a piece and not been asked for the next, by number: the client has no room for it.
    unasked: Mutex<BTreeMap<usize, Instant>>,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            running: AtomicUsize::new(0),
            served: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            unasked: Mutex::new(BTreeMap::new()),
        })
    }

    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        let number = self.served.fetch_add(1, Ordering::Relaxed);
        Running {
            activity: Arc::clone(self),
            number,
            unasked: false,
        }
    }

    /// Since when the client has had no room for the answer that has waited longest.
    pub(super) fn unasked_since(&self) -> Option<Instant> {
        self.unasked().values().min().copied()
    }

    fn unasked(&self) -> MutexGuard<'_, BTreeMap<usize, Instant>> {
        self.unasked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when nothing is being answered; `None` while something is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        if self.running.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let since = Duration::from_millis(self.idle_since.load(Ordering::Relaxed));
        Some(self.opened + since)
    }

    /// How many requests have come this far.
    pub(super) fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }
}

/// A request being answered; it ends when its answer's body does.
#[derive(Debug)]
pub(super) struct Running {
    activity: Arc<Activity>,
    number: usize,
    unasked: bool,
}

impl Running {
    /// Ends with the body. `multiplexed`: that the client does not take it is not seen at the socket, and noted here.
    pub(super) fn until_sent(self, body: Body, multiplexed: bool) -> TrackedBody {
        TrackedBody {
            body,
            running: self,
            multiplexed,
        }
    }

    fn asked(&mut self) {
        if std::mem::take(&mut self.unasked) {
            self.activity.unasked().remove(&self.number);
        }
    }

    fn gave(&mut self) {
        self.unasked = true;
        self.activity.unasked().insert(self.number, Instant::now());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.asked();
        let activity = &self.activity;
        let since = activity.opened.elapsed().as_millis();
        activity
            .idle_since
            .store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
        activity.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer's body, that says when it is done with.
pub(super) struct TrackedBody {
    body: Body,
    running: Running,
    multiplexed: bool,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if !this.multiplexed {
            return Pin::new(&mut this.body).poll_frame(cx);
        }
        this.running.asked();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(Some(Ok(_)))) && !this.body.is_end_stream() {
            this.running.gave();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A timer whose deadline moves with every request. Moving it later costs nothing until the old deadline comes.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Whether `deadline` has passed; if not, the task is woken when it does.
    pub(super) fn passed(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            sleep.as_mut().reset(deadline);
        }
        false
    }
}
