//! One stream at work, as the body of its answer: it has no task of its own, and little memory while nothing happens.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::message::{Messages, end, heartbeat};
use super::pauses::Pauses;
use super::places::Place;
use super::{Beginning, Begun, Source, Start};
use crate::context::RequestContext;
use crate::error::Error;
use crate::events::{Notice, Subscription};

/// How long clients wait with coming back, in milliseconds: from this, and up to as much again by chance, so that those
/// whom a restart has cut off do not all come at once.
const RETRY: u64 = 2_000;

/// What was missed, being fetched; `None` when it is not the client's any more.
type CatchingUp = Pin<Box<dyn Future<Output = Option<Begun>> + Send>>;

pub(super) struct Live<S> {
    source: Arc<S>,
    context: RequestContext,
    /// The time for what is asked of services later.
    budget: Duration,
    subscription: Subscription,
    /// Everything up to here is told.
    position: u64,
    first: Option<Bytes>,
    catching_up: Option<CatchingUp>,
    silent_until: Pin<Box<Sleep>>,
    place: Place,
    ended: bool,
}

impl<S: Source> Live<S> {
    pub(super) fn new(
        source: Arc<S>,
        context: RequestContext,
        budget: Duration,
        subscription: Subscription,
        begun: Begun,
        place: Place,
    ) -> Self {
        let retry = RETRY + fastrand::u64(..RETRY);
        Self {
            source,
            context,
            budget,
            subscription,
            position: begun.position,
            first: Some(begun.messages.first(retry, begun.position)),
            catching_up: None,
            silent_until: Box::pin(sleep(place.heartbeat())),
            place,
            ended: false,
        }
    }

    /// What there is to say, perhaps for the last time.
    fn poll_messages(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(first);
        }
        loop {
            if let Some(catching_up) = &mut self.catching_up {
                let Poll::Ready(caught_up) = catching_up.as_mut().poll(cx) else {
                    // What happens meanwhile waits in the queue.
                    return Poll::Pending;
                };
                self.catching_up = None;
                let Some(Begun { messages, position }) = caught_up else {
                    self.ended = true;
                    return Poll::Ready(end("gone"));
                };
                self.position = position;
                if !messages.is_empty() {
                    return Poll::Ready(messages.into_bytes());
                }
            }
            match self.subscription.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Notice::Missed) => self.catch_up(),
                Poll::Ready(Notice::Changed(event)) => {
                    match event.position {
                        Some(position) if position <= self.position => continue,
                        Some(position) => self.position = position,
                        // It is in no log, and cannot be told twice.
                        None => {}
                    }
                    let mut messages = Messages::default();
                    self.source.tell(&event, &mut messages);
                    if !messages.is_empty() {
                        return Poll::Ready(messages.into_bytes());
                    }
                }
            }
        }
    }

    fn catch_up(&mut self) {
        let source = Arc::clone(&self.source);
        let (context, budget) = (self.context.clone(), self.budget);
        let position = self.position;
        self.catching_up = Some(Box::pin(async move {
            let mut pauses = Pauses::default();
            loop {
                pauses.wait().await;
                let beginning = Beginning {
                    context: context.anew(budget),
                    start: Start::After(position),
                    heard: None,
                };
                match Arc::clone(&source).begin(beginning).await {
                    Ok(begun) => return Some(begun),
                    Err(Error::Client(error)) => {
                        tracing::debug!(%error, "a stream ends: its client may not have the rest");
                        return None;
                    }
                    Err(Error::Upstream(_) | Error::Gateway(_)) => {}
                }
            }
        }));
    }
}

impl<S: Source> Body for Live<S> {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        // Read before the queue is seen to be empty: what was heard up to here, and is for this stream, is in the queue.
        let heard = || this.subscription.heard_by_now();
        let is_silent = this.silent_until.as_mut().poll(cx).is_ready();
        let heard = is_silent.then(heard).flatten();
        let said = match this.poll_messages(cx) {
            Poll::Ready(said) => said,
            Poll::Pending if is_silent => {
                let known = heard.filter(|_| this.catching_up.is_none());
                this.position = known.unwrap_or(0).max(this.position);
                heartbeat(known.map(|_| this.position))
            }
            Poll::Pending => return Poll::Pending,
        };
        let silent_until = Instant::now() + this.place.heartbeat();
        this.silent_until.set(sleep_until(silent_until));
        // Polled, so that this task is woken.
        let _ = this.silent_until.as_mut().poll(cx);
        Poll::Ready(Some(Ok(Frame::data(said))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
