//! What one connection is busy with, so that its timers know whom they are waiting for. Who sets the timers is
//! `client_io.rs` (HTTP/1) and `connection.rs` (HTTP/2).

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// An HTTP/2 client that has asked for more has taken what came before: in pieces no larger than this it is seen soon enough that
/// it takes its answer at all.
const PIECE: usize = 16 << 10;

/// Requests being answered, and since when there are none.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    running: AtomicUsize,
    served: AtomicUsize,
    /// Milliseconds after `opened`.
    idle_since: AtomicU64,
    /// Whether nothing but the connection's end says that an answer has ended.
    ends_with_connection: AtomicBool,
    /// Whether what is being written may be a piece of a body.
    in_body: AtomicBool,
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
            in_body: AtomicBool::new(false),
            ends_with_connection: AtomicBool::new(false),
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

    /// Whether a body has given something since all was sent.
    pub(super) fn writes_body(&self) -> bool {
        self.in_body.load(Ordering::Relaxed)
    }

    /// A client of HTTP/1.0, which knows no chunks, has asked.
    pub(super) fn knows_no_chunks(&self) {
        self.ends_with_connection.store(true, Ordering::Relaxed);
    }

    /// Whether an orderly end of the connection makes an answer whole.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.ends_with_connection.load(Ordering::Relaxed)
    }

    /// All that was given has been sent: what is written next begins with a head, unless a body gives more.
    pub(super) fn sent_all(&self) {
        self.in_body.store(false, Ordering::Relaxed);
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
            rest: Bytes::new(),
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
    /// What has come and not been given yet.
    rest: Bytes,
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
            let polled = Pin::new(&mut this.body).poll_frame(cx);
            if polled.is_ready() {
                this.running.activity.in_body.store(true, Ordering::Relaxed);
            }
            return polled;
        }
        this.running.asked();
        let frame = if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                ended => return Poll::Ready(ended),
            }
        } else {
            Frame::data(std::mem::take(&mut this.rest))
        };
        let frame = match frame.into_data() {
            Ok(mut data) => {
                if data.len() > PIECE {
                    this.rest = data.split_off(PIECE);
                }
                Frame::data(data)
            }
            Err(trailers) => trailers,
        };
        if !this.is_end_stream() {
            this.running.gave();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
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
