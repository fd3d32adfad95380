//! A body that comes in small pieces with pauses between them. Trailers pass unharmed.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf as _, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

pub(super) struct Drip {
    inner: Body,
    bytes: usize,
    interval: Duration,
    /// What has come and is not passed on yet.
    rest: Bytes,
    pause: Pin<Box<Sleep>>,
}

impl Drip {
    pub(super) fn new(inner: Body, bytes: usize, interval: Duration) -> Drip {
        Drip {
            inner,
            bytes,
            interval,
            rest: Bytes::new(),
            pause: Box::pin(tokio::time::sleep(interval)),
        }
    }
}

impl HttpBody for Drip {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        ready!(self.pause.as_mut().poll(context));
        let next = Instant::now() + self.interval;
        self.pause.as_mut().reset(next);
        let piece = self.bytes.min(self.rest.len());
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let waiting = self.rest.remaining() as u64;
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + waiting);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + waiting);
        }
        hint
    }
}
