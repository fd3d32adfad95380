//! `Expect: 100-continue` end to end (RFC 9110, 10.1.1): a client's body is asked for when the service asks for it, not before.
//! hyper sends the client its 100 when the body is first read; so a body that waits here does it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::header::EXPECT;
use http::{HeaderMap, Request, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// A service that says nothing may not know the field: after this time it gets the body.
const PATIENCE: Duration = Duration::from_secs(1);

const WAITING: u8 = 0;
const OPEN: u8 = 1;
const REFUSED: u8 = 2;

/// What a body waits at.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: AtomicU8,
    reader: AtomicWaker,
}

/// The service has answered and did not want the body.
#[derive(Debug, thiserror::Error)]
#[error("the service has answered without the body")]
struct NotWanted;

/// Lets the body of a request that waits for a 100 wait, too.
pub(super) fn wait(request: &mut Request<Body>) -> Option<Gate> {
    if request.body().is_end_stream() || !is_expected(request.headers()) {
        return None;
    }
    let gate = Gate::default();
    let body = std::mem::take(request.body_mut());
    *request.body_mut() = Body::new(Gated {
        body,
        gate: gate.clone(),
        patience: None,
    });
    let opened = gate.clone();
    hyper::ext::on_informational(request, move |response| {
        if response.status() == StatusCode::CONTINUE {
            opened.settle(OPEN);
        }
    });
    Some(gate)
}

fn is_expected(headers: &HeaderMap) -> bool {
    headers
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

impl Gate {
    /// The first word counts.
    fn settle(&self, state: u8) {
        let settled =
            self.0
                .state
                .compare_exchange(WAITING, state, Ordering::AcqRel, Ordering::Acquire);
        if settled.is_ok() {
            self.0.reader.wake();
        }
    }

    fn is_waiting(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == WAITING
    }

    /// An answer in place of a 100: when it has been read the body is not wanted any more. Not before: the connection ends
    /// with a body that breaks off.
    pub(super) fn answered(self, body: Body) -> Body {
        if !self.is_waiting() {
            return body;
        }
        Body::new(Answered {
            body,
            refused: Refuse(self),
        })
    }
}

struct Gated {
    body: Body,
    gate: Gate,
    patience: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Gated {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.gate.is_waiting() {
            this.gate.0.reader.register(cx.waker());
            let patience = this
                .patience
                .get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
            if patience.as_mut().poll(cx).is_ready() {
                this.gate.settle(OPEN);
            }
        }
        match this.gate.0.state.load(Ordering::Acquire) {
            WAITING => Poll::Pending,
            OPEN => Pin::new(&mut this.body).poll_frame(cx),
            _ => Poll::Ready(Some(Err(axum::Error::new(NotWanted)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct Refuse(Gate);

impl Drop for Refuse {
    fn drop(&mut self) {
        self.0.settle(REFUSED);
    }
}

struct Answered {
    body: Body,
    #[expect(dead_code, reason = "it speaks when it is dropped")]
    refused: Refuse,
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
