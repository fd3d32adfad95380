//! A request's body on its way through, and how it stands: when a call fails, this says whether the client did it.
//! The limit itself is set by the edge (`edge/body_limit.rs`); here it is only told from other failures.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

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

/// Looks at an upload from outside, also after its body is gone.
#[derive(Clone, Debug)]
pub(super) struct Upload(Arc<AtomicU8>);

impl Upload {
    /// The same body, watched.
    pub(super) fn watch(body: Body) -> (Body, Self) {
        let start = if body.is_end_stream() {
            Progress::Ended
        } else {
            Progress::Offered
        };
        let upload = Self(Arc::new(AtomicU8::new(start as u8)));
        let watched = Body::new(Watched {
            body,
            upload: upload.clone(),
        });
        (watched, upload)
    }

    pub(super) fn progress(&self) -> Progress {
        match self.0.load(Ordering::Relaxed) {
            0 => Progress::Offered,
            1 => Progress::Awaited,
            2 => Progress::Ended,
            3 => Progress::TooLarge,
            5 => Progress::Stalled,
            _ => Progress::Broken,
        }
    }

    fn is(&self, progress: Progress) {
        self.0.store(progress as u8, Ordering::Relaxed);
    }
}

struct Watched {
    body: Body,
    upload: Upload,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.upload.is(match &polled {
            Poll::Pending => Progress::Awaited,
            Poll::Ready(None) => Progress::Ended,
            // Nobody polls again once all that was announced is there.
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => Progress::Ended,
            Poll::Ready(Some(Ok(_))) => Progress::Offered,
            Poll::Ready(Some(Err(error))) if is_length_limit(error) => Progress::TooLarge,
            Poll::Ready(Some(Err(error))) if is_stalled(error) => Progress::Stalled,
            Poll::Ready(Some(Err(_))) => Progress::Broken,
        });
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
        let (body, upload) = Upload::watch(Body::empty());
        assert_eq!(upload.progress(), Progress::Ended);
        drop(body);

        let frames = stream::iter([Ok::<_, std::io::Error>("abc")]).chain(stream::pending());
        let (mut body, upload) = Upload::watch(Body::from_stream(frames));
        assert_eq!(upload.progress(), Progress::Offered);
        assert!(body.frame().await.unwrap().is_ok());
        assert_eq!(upload.progress(), Progress::Offered);
        assert!(body.frame().now_or_never().is_none());
        assert_eq!(upload.progress(), Progress::Awaited);
        drop(body);
        assert_eq!(upload.progress(), Progress::Awaited);

        let (body, upload) = Upload::watch(Body::from("abc"));
        assert!(body.collect().await.is_ok());
        assert_eq!(upload.progress(), Progress::Ended);
    }

    #[tokio::test]
    async fn a_limit_is_told_from_a_break() {
        let limited = Body::new(Limited::new(Body::from("abc"), 2));
        let (body, upload) = Upload::watch(limited);
        assert!(body.collect().await.is_err());
        assert_eq!(upload.progress(), Progress::TooLarge);

        let broken = stream::iter([Err::<&str, _>(std::io::Error::other("gone"))]);
        let (body, upload) = Upload::watch(Body::from_stream(broken));
        assert!(body.collect().await.is_err());
        assert_eq!(upload.progress(), Progress::Broken);
    }
}
