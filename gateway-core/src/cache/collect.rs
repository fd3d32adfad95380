//! A response body that is copied while it streams to the client, and handed over once it is complete.
//! What is done with the copy is decided in `cache.rs`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};

/// Passes a body on and collects it; `complete` gets the copy, unless the body fails, is dropped early, has trailers or
/// is larger than the bound.
pub(super) struct Collecting<C> {
    inner: Body,
    copy: Option<Copy<C>>,
}

struct Copy<C> {
    bytes: Vec<u8>,
    /// As declared by `Content-Length`.
    expected: Option<usize>,
    max: usize,
    complete: C,
}

impl<C: FnOnce(Bytes) + Send + Unpin + 'static> Collecting<C> {
    pub(super) fn body(inner: Body, expected: Option<usize>, max: usize, complete: C) -> Body {
        let mut collecting = Self {
            copy: Some(Copy {
                bytes: Vec::with_capacity(expected.unwrap_or(0).min(max)),
                expected,
                max,
                complete,
            }),
            inner,
        };
        // Nobody polls a body that has ended already.
        if collecting.inner.is_end_stream() {
            collecting.finish();
        }
        Body::new(collecting)
    }

    fn take_in(&mut self, frame: &Frame<Bytes>) {
        let Some(copy) = &mut self.copy else {
            return;
        };
        let Some(data) = frame.data_ref() else {
            // Trailers are not stored, and without them the answer is not the same.
            self.copy = None;
            return;
        };
        if copy.bytes.len() + data.len() > copy.max {
            self.copy = None;
            return;
        }
        copy.bytes.extend_from_slice(data);
        // A server may not poll again once all that was declared is there.
        if copy.expected == Some(copy.bytes.len()) || self.inner.is_end_stream() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if let Some(copy) = self.copy.take()
            && copy
                .expected
                .is_none_or(|expected| expected == copy.bytes.len())
        {
            // Boxed, so that no spare capacity is kept for as long as the entry.
            (copy.complete)(Bytes::from(copy.bytes.into_boxed_slice()));
        }
    }
}

impl<C: FnOnce(Bytes) + Send + Unpin + 'static> HttpBody for Collecting<C> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => self.take_in(frame),
            Some(Err(_)) => self.copy = None,
            None => self.finish(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
