//! The body of an answer, and what is held until it ends: the connection, which then goes back into the pool, the call's
//! place within the limit, and the attempt that is still to be judged.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::breaker::Verdict;
use super::flight::{Flight, GRPC_STATUS};
use super::limit::Permit;
use super::pool::Lease;
use crate::deadline::Deadline;

/// What is read of an answer that nobody wants: longer ones, and slower ones, cost a connection.
const FORGOTTEN_BYTES: usize = 64 << 10;
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(1);

/// Reads the rest of an answer that nobody wants, in a task of its own, so that its connection is good for another one.
pub(crate) fn forget<B>(body: B)
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
{
    if !body.is_end_stream() {
        let until = Instant::now() + FORGOTTEN_WITHIN;
        tokio::spawn(read_away(body, FORGOTTEN_BYTES, until));
    }
}

/// Reads `body` to its end, or gives it up: after `max` bytes, or at `until`.
pub(crate) async fn read_away<B>(mut body: B, max: usize, until: Instant)
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let mut left = max;
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    // Given up or not: nobody waits for it.
    let _ = timeout_at(until, rest).await;
}

/// Why the body of an answer has no end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenBody {
    #[error(transparent)]
    Connection(hyper::Error),
    /// Over HTTP/2, which lets a service do so when it needs no more of the request (RFC 9113, 8.1), but not before its answer
    /// is whole.
    #[error("the service ended the stream before its answer had ended")]
    CutOff,
}

pub(crate) struct Answer {
    body: Incoming,
    deadline: Deadline,
    /// Of HTTP/1.1 only: an HTTP/2 connection belongs to nobody.
    lease: Option<Lease>,
    flight: Option<Flight>,
    permit: Option<Permit>,
}

impl Answer {
    pub(super) fn new(
        body: Incoming,
        deadline: Deadline,
        lease: Option<Lease>,
        flight: Flight,
    ) -> Self {
        let mut answer = Self {
            body,
            deadline,
            lease,
            flight: Some(flight),
            permit: None,
        };
        if answer.body.is_end_stream() {
            answer.ended();
        }
        answer
    }

    /// Keeps the call's place until the body has ended.
    pub(super) fn hold(&mut self, permit: Permit) {
        if !self.body.is_end_stream() {
            self.permit = Some(permit);
        }
    }

    /// The time within which somebody who reads all of it has to be done.
    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Of a body without a next frame: hyper takes an HTTP/2 stream that was reset without an error for one that has ended. (Of an
    /// HTTP/1.1 body it does not know beforehand that it ends.)
    fn is_cut_off(&self) -> bool {
        self.lease.is_none() && self.flight.is_some() && !self.body.is_end_stream()
    }

    fn ended(&mut self) {
        // Said more than once, of which only the first time costs something.
        if let Some(mut flight) = self.flight.take() {
            let now = Instant::now();
            flight.settle(Verdict::Success, now);
            if let Some(lease) = self.lease.take() {
                lease.give_back(now);
            }
        }
        self.permit = None;
    }

    fn broke(&mut self) {
        self.lease = None;
        if let Some(mut flight) = self.flight.take() {
            flight.failed();
        }
        self.permit = None;
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        let polled = Pin::new(&mut self.body)
            .poll_frame(cx)
            .map_err(BrokenBody::Connection);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) if self.is_cut_off() => {
                self.broke();
                return Poll::Ready(Some(Err(BrokenBody::CutOff)));
            }
            Poll::Ready(None) => self.ended(),
            Poll::Ready(Some(Err(_))) => self.broke(),
            Poll::Ready(Some(Ok(frame))) => {
                let trailers = frame.trailers_ref();
                let coded = trailers.filter(|trailers| trailers.contains_key(GRPC_STATUS));
                if let (Some(trailers), Some(flight)) = (coded, &mut self.flight) {
                    flight.coded(trailers);
                }
                if self.body.is_end_stream() {
                    self.ended();
                }
            }
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
