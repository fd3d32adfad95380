//! The operations of one WebSocket that are under way, by the ids that the client has given them. What their results look
//! like on the wire is `socket.rs`'s.

use std::task::{Context, Poll};

use async_graphql::Response;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

pub(super) struct Operations {
    running: Vec<Operation>,
    max: usize,
    /// Who is asked first, so that nobody who has always something to say is heard alone.
    first: usize,
}

struct Operation {
    id: String,
    results: BoxStream<'static, Response>,
    /// Whether it has had a result.
    begun: bool,
}

/// What an operation says.
#[derive(Debug)]
pub(super) enum Said {
    Result {
        id: String,
        answer: Box<Response>,
        /// Whether it is the first one.
        first: bool,
    },
    /// It is over, and its id may be used again.
    Complete { id: String },
}

impl Operations {
    pub(super) fn new(max: usize) -> Self {
        Self {
            running: Vec::new(),
            max,
            first: 0,
        }
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.running.iter().any(|operation| operation.id == id)
    }

    pub(super) fn is_full(&self) -> bool {
        self.running.len() >= self.max
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(super) fn begin(&mut self, id: String, results: BoxStream<'static, Response>) {
        self.running.push(Operation {
            id,
            results,
            begun: false,
        });
    }

    /// Ends one; its results are wanted no more.
    pub(super) fn end(&mut self, id: &str) {
        self.running.retain(|operation| operation.id != id);
    }

    /// The next result of any of them; never, when there are none.
    pub(super) async fn next(&mut self) -> Said {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Said> {
        let count = self.running.len();
        for step in 0..count {
            let at = (self.first + step) % count;
            let operation = &mut self.running[at];
            match operation.results.poll_next_unpin(cx) {
                Poll::Pending => {}
                Poll::Ready(Some(answer)) => {
                    self.first = at + 1;
                    let first = !std::mem::replace(&mut operation.begun, true);
                    return Poll::Ready(Said::Result {
                        id: operation.id.clone(),
                        answer: Box::new(answer),
                        first,
                    });
                }
                Poll::Ready(None) => {
                    let id = self.running.remove(at).id;
                    return Poll::Ready(Said::Complete { id });
                }
            }
        }
        Poll::Pending
    }
}
