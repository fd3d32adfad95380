//! A request's body on its way through, and how it stands: when a call fails, this says whether the client did it.
//! The limit itself is set by the edge (`edge/body_limit.rs`); here it is only told from other failures.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::trailers;
use crate::extract::{is_length_limit, is_stalled};

/// Where an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The next step is the service's: it has not asked for more yet.
    Offered = 0,
    /// The service has asked for more, and the client has not sent it.
    Awaited = 1,
    /// All of it has been handed over.
    Ended = 2,
    /// It is longer than the route allows.
    TooLarge = 3,
    /// The client broke it off.
    Broken = 4,
    /// The client stopped sending it.
    Stalled = 5,
}

/// Looks at an upload from outside, also after its body is gone. Without a body there is nothing to look at.
#[derive(Clone, Debug)]
pub(super) struct Upload(Option<Arc<AtomicU8>>);

impl Upload {
    /// Looks at `body` from now on.
    pub(super) fn watch(body: &mut Body) -> Self {
        if body.is_end_stream() {
            return Self(None);
        }
        let progress = Arc::new(AtomicU8::new(Progress::Offered as u8));
        *body = Body::new(Watched {
            body: std::mem::take(body),
            progress: Arc::clone(&progress),
        });
        Self(Some(progress))
    }

    pub(super) fn progress(&self) -> Progress {
        let Some(progress) = &self.0 else {
            return Progress::Ended;
        };
        match progress.load(Ordering::Relaxed) {
            0 => Progress::Offered,
            1 => Progress::Awaited,
            2 => Progress::Ended,
            3 => Progress::TooLarge,
            5 => Progress::Stalled,
            _ => Progress::Broken,
        }
    }
}

struct Watched {
    body: Body,
    progress: Arc<AtomicU8>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let polled = polled.map(|frame| match frame? {
            Ok(frame) => trailers::of_request(frame).map(Ok),
            Err(error) => Some(Err(error)),
        });
        let progress = match &polled {
            Poll::Pending => Progress::Awaited,
            Poll::Ready(None) => Progress::Ended,
            // Nobody polls again once all that was announced is there.
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => Progress::Ended,
            Poll::Ready(Some(Ok(_))) => Progress::Offered,
            Poll::Ready(Some(Err(error))) if is_length_limit(error) => Progress::TooLarge,
            Poll::Ready(Some(Err(error))) if is_stalled(error) => Progress::Stalled,
            Poll::Ready(Some(Err(_))) => Progress::Broken,
        };
        self.progress.store(progress as u8, Ordering::Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use futures_util::{FutureExt, StreamExt, stream};
    use http_body_util::{BodyExt, Limited};

    use super::*;

    #[tokio::test]
    async fn it_is_known_whose_turn_it_is() {
        let mut body = Body::empty();
        let upload = Upload::watch(&mut body);
        assert_eq!(upload.progress(), Progress::Ended);
        drop(body);

        let frames = stream::iter([Ok::<_, std::io::Error>("abc")]).chain(stream::pending());
        let mut body = Body::from_stream(frames);
        let upload = Upload::watch(&mut body);
        assert_eq!(upload.progress(), Progress::Offered);
        assert!(body.frame().await.unwrap().is_ok());
        assert_eq!(upload.progress(), Progress::Offered);
        assert!(body.frame().now_or_never().is_none());
        assert_eq!(upload.progress(), Progress::Awaited);
        drop(body);
        assert_eq!(upload.progress(), Progress::Awaited);

        let mut body = Body::from("abc");
        let upload = Upload::watch(&mut body);
        assert!(body.collect().await.is_ok());
        assert_eq!(upload.progress(), Progress::Ended);
    }

    #[tokio::test]
    async fn a_limit_is_told_from_a_break() {
        let mut body = Body::new(Limited::new(Body::from("abc"), 2));
        let upload = Upload::watch(&mut body);
        assert!(body.collect().await.is_err());
        assert_eq!(upload.progress(), Progress::TooLarge);

        let broken = stream::iter([Err::<&str, _>(std::io::Error::other("gone"))]);
        let mut body = Body::from_stream(broken);
        let upload = Upload::watch(&mut body);
        assert!(body.collect().await.is_err());
        assert_eq!(upload.progress(), Progress::Broken);
    }
}
