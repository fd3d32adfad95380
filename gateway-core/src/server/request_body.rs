//! A request's body with a bound on how long it may be without progress. Its size is `edge/body_limit.rs`'s.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

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

/// Fails when nothing comes for `patience`. Time in which nobody reads it does not count.
pub(super) struct BodyInProgress {
    body: Incoming,
    patience: Duration,
    waiting_since: Option<Instant>,
    timer: Timer,
}

impl BodyInProgress {
    pub(super) fn new(body: Incoming, patience: Duration) -> Self {
        Self {
            body,
            patience,
            waiting_since: None,
            timer: Timer::default(),
        }
    }
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
