//! A body on its way to the one who asked, in the pieces in which it is collected. What is collected is `cache/fetch.rs`'s.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc;

use super::super::fills::Seat;
use super::super::memory::Share;

/// The one who asked gets the rest of the body as it comes, at their own pace.
pub(super) fn leave(to: &mpsc::UnboundedSender<Piece>, frame: Frame<Bytes>, body: Body) {
    let _ = to.send(Piece::Frame(frame));
    let _ = to.send(Piece::Rest(body));
}

/// The task that fetched the answer was ended from outside.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
struct BrokeOff;

/// What the one who asked gets of a body that is being collected.
pub(super) enum Piece {
    Frame(Frame<Bytes>),
    Broken(axum::Error),
    /// What is left of one that is not collected any more.
    Rest(Body),
    End,
}

/// A body that comes in pieces. It waits for nobody: what is in the channel is bounded by the largest body that is stored, and
/// what is in all of them by the share that each has.
pub(super) struct Passing {
    pub(super) pieces: mpsc::UnboundedReceiver<Piece>,
    /// How many bytes are still to come, when that is known.
    pub(super) left: Option<u64>,
    pub(super) rest: Option<Body>,
    pub(super) ended: bool,
    /// Of the bytes that may be collected; until there are no pieces any more.
    pub(super) share: Option<Arc<Share>>,
    /// Keeps the fetch going.
    pub(super) seat: Option<Seat>,
}

impl HttpBody for Passing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            if let Some(rest) = &mut self.rest {
                return Pin::new(rest).poll_frame(context);
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let piece = ready!(self.pieces.poll_recv(context));
            match piece {
                Some(Piece::Frame(frame)) => {
                    if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
                        *left = left.saturating_sub(data.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Piece::Rest(rest)) => {
                    self.share = None;
                    self.rest = Some(rest);
                }
                Some(Piece::End) => {
                    self.ended = true;
                    self.share = None;
                    self.seat = None;
                }
                Some(Piece::Broken(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(axum::Error::new(BrokeOff))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.rest.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.rest, self.left) {
            (Some(rest), _) => rest.size_hint(),
            (None, Some(left)) => SizeHint::with_exact(left),
            (None, None) => SizeHint::default(),
        }
    }
}
