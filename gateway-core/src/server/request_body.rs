//! A request's body with a bound on how long it may be without progress. Its size is `edge/body_limit.rs`'s.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::activity::Timer;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the request body is broken")]
    Broken(#[source] hyper::Error),
    #[error("the request body came too slowly")]
    Stalled,
}

/// Tells, after a request has been answered, whether all of its body had been read, if it had one.
pub(super) struct Reading(Option<Arc<AtomicBool>>);

impl Reading {
    /// Without an end to the body nobody knows where the next request would begin.
    pub(super) fn ended(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|ended| ended.load(Ordering::Relaxed))
    }
}

/// `body` as the edge gets it: it fails when nothing comes for `patience`. Where there is no body, none is carried through
/// all that looks after bodies.
pub(super) fn watched(body: Incoming, patience: Duration) -> (Body, Reading) {
    if body.is_end_stream() {
        return (Body::empty(), Reading(None));
    }
    let ended = Arc::<AtomicBool>::default();
    let body = BodyInProgress {
        body,
        patience,
        waiting_since: None,
        timer: Timer::default(),
        ended: Arc::clone(&ended),
    };
    (Body::new(body), Reading(Some(ended)))
}

/// Time in which nobody reads it does not count.
struct BodyInProgress {
    body: Incoming,
    patience: Duration,
    waiting_since: Option<Instant>,
    timer: Timer,
    /// Set at the end.
    ended: Arc<AtomicBool>,
}

impl HttpBody for BodyInProgress {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.waiting_since = None;
            if frame.is_none() || this.body.is_end_stream() {
                this.ended.store(true, Ordering::Relaxed);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broken)));
        }
        let since = *this.waiting_since.get_or_insert_with(Instant::now);
        if this.timer.passed(since + this.patience, cx) {
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
