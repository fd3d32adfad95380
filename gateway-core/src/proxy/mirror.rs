//! Copies of forwarded requests for another upstream, which so sees real work before anybody depends on it. Nobody waits for
//! its answers and nothing of them is used; when it is slow, its copy breaks off, never the request.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::failure;
use super::upload::Upload;
use crate::context::RequestContext;
use crate::route::MirrorRule;
use crate::upstream::{CallKind, Judged, Outgoing, Stack, Upstreams, read_away};
use crate::waterfall::CallTarget;

/// As many frames of a body may wait for the copy's upstream; they are the request's own memory, and few are in flight.
const AHEAD: usize = 32;

/// Where the copy of one request goes.
#[derive(Clone)]
pub(super) struct Mirror {
    stack: Stack,
    template: &'static str,
}

/// The request's body has ended early, or went on faster than the copy's upstream took it.
#[derive(Debug, thiserror::Error)]
#[error("the copy of the body broke off")]
struct BrokeOff;

enum Piece {
    Frame(Frame<Bytes>),
    End,
}

impl Mirror {
    /// For a request under `rule`, when its turn has come.
    pub(super) fn of(
        rule: &MirrorRule,
        template: &'static str,
        upstreams: &Upstreams,
    ) -> Option<Self> {
        let is_chosen = rule.share >= 1.0 || fastrand::f64() < rule.share;
        is_chosen.then_some(())?;
        let stack = upstreams.stack(rule.upstream)?.clone();
        Some(Self { stack, template })
    }

    /// Sends a copy of `request` as its body is read.
    pub(super) fn copy(&self, request: &mut Request<Body>, context: &RequestContext) {
        let body = std::mem::take(request.body_mut());
        let (body, copied) = if body.is_end_stream() {
            (body, Body::empty())
        } else {
            let (copy, rest) = channel(AHEAD);
            let copied = Copied {
                rest,
                length: body.size_hint(),
            };
            let copy = Some(copy);
            (Body::new(Observed { body, copy }), Body::new(copied))
        };
        *request.body_mut() = body;
        let mut copied = Request::new(copied);
        *copied.method_mut() = request.method().clone();
        *copied.headers_mut() = request.headers().clone();
        // Both sides would have to agree on when the body may go.
        copied.headers_mut().remove(http::header::EXPECT);
        let path = request.uri().path_and_query().cloned();
        *copied.uri_mut() = self
            .stack
            .uri(path.unwrap_or_else(|| uri::PathAndQuery::from_static("/")));
        tokio::spawn(self.clone().send(copied, context.renewed()));
    }

    /// Sends a copy, and reads and forgets the answer: the connection is good for another one then.
    async fn send(self, mut request: Request<Body>, context: RequestContext) {
        let kind = CallKind::of(request.method());
        let target = CallTarget::Http {
            method: request.method().clone(),
            template: Some(self.template),
        };
        let mut attempt = self.stack.begin(&context, target);
        let upload = Upload::watch(request.body_mut());
        let request = Box::new(request.map(Outgoing::stream));
        let result = self
            .stack
            .send(request, &mut attempt, kind, Judged::AtEnd)
            .await;
        attempt.finished(failure::outcome(&result, &upload));
        let Ok(response) = result else {
            // It is in the metrics of its upstream.
            return;
        };
        let max = self.stack.max_response_bytes();
        read_away(response.into_body(), max, context.deadline().at()).await;
    }
}

/// A body that is copied as it is read.
struct Observed {
    body: Body,
    /// Gone when all is copied, or the copy has broken off.
    copy: Option<Sender<Piece>>,
}

impl Observed {
    fn tell(&mut self, piece: Piece) {
        // Full or not wanted any more: it is only a copy.
        if let Some(copy) = &self.copy
            && copy.try_send(piece).is_err()
        {
            self.copy = None;
        }
    }
}

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                let frame = match (frame.data_ref(), frame.trailers_ref()) {
                    (Some(data), _) => Frame::data(data.clone()),
                    (None, trailers) => {
                        Frame::trailers(trailers.map_or_else(HeaderMap::new, Clone::clone))
                    }
                };
                self.tell(Piece::Frame(frame));
                // Nobody polls again once all that was announced is there.
                if self.body.is_end_stream() {
                    self.tell(Piece::End);
                    self.copy = None;
                }
            }
            Poll::Ready(None) => {
                self.tell(Piece::End);
                self.copy = None;
            }
            Poll::Ready(Some(Err(_))) => self.copy = None,
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

/// The copy, as its upstream reads it.
struct Copied {
    rest: Receiver<Piece>,
    /// As the request announced it.
    length: SizeHint,
}

impl HttpBody for Copied {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        self.rest.poll_recv(cx).map(|piece| match piece {
            Some(Piece::Frame(frame)) => Some(Ok(frame)),
            Some(Piece::End) => None,
            None => Some(Err(BrokeOff)),
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.length
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::time::Duration;

    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::*;

    fn pair(body: Body) -> (Observed, Copied) {
        let (copy, rest) = channel(AHEAD);
        let length = body.size_hint();
        let copy = Some(copy);
        (Observed { body, copy }, Copied { rest, length })
    }

    #[tokio::test]
    async fn a_copy_says_as_little_of_the_caller_as_its_request() {
        let context = RequestContext::for_tests(Duration::from_secs(1));
        assert!(!context.renewed().is_for_everybody());
        assert!(context.for_everybody().renewed().is_for_everybody());
    }

    #[tokio::test]
    async fn what_is_read_is_copied() {
        for body in [
            Body::from("all of it"),
            Body::from_stream(stream::iter(["all ", "of it"].map(Ok::<_, std::io::Error>))),
        ] {
            let (body, copied) = pair(body);
            assert_eq!(body.collect().await.unwrap().to_bytes(), "all of it");
            assert_eq!(copied.collect().await.unwrap().to_bytes(), "all of it");
        }
    }

    #[tokio::test]
    async fn a_copy_that_is_not_whole_breaks_off() {
        // Nobody takes the copy: the request goes on without it.
        let many = (0..=AHEAD).map(|_| Ok::<_, std::io::Error>("part"));
        let (body, copied) = pair(Body::from_stream(stream::iter(many)));
        let whole = body.collect().await.unwrap().to_bytes();
        assert_eq!(whole.len(), 4 * (AHEAD + 1));
        assert!(copied.collect().await.is_err());

        let (mut body, copied) = pair(Body::from_stream(stream::iter(
            ["one", "two"].map(Ok::<_, std::io::Error>),
        )));
        assert!(body.frame().await.is_some());
        drop(body);
        assert!(copied.collect().await.is_err());

        let broken = stream::iter([Ok("one"), Err(std::io::Error::other("gone"))]);
        let (body, copied) = pair(Body::from_stream(broken));
        assert!(body.collect().await.is_err());
        assert!(copied.collect().await.is_err());
    }
}
