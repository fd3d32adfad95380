//! A request on its way to a service: its body, and what is kept of it so that it can be sent again.
//! Whether it may be sent again is decided in `retry.rs`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};

/// A body that is whole and can be sent again, or a stream that can't.
pub(crate) enum Outgoing {
    Whole(Option<Bytes>),
    Stream(Body, Awaited),
}

/// Whether the next step is the client's, who is sending the body.
#[derive(Clone, Default)]
pub(crate) struct Awaited(Arc<AtomicBool>);

impl Awaited {
    pub(super) fn is_awaited(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Outgoing {
    pub(crate) fn empty() -> Self {
        Self::Whole(None)
    }

    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// A client's body streams; where there is none, nothing has to.
    pub(crate) fn stream(body: Body) -> Self {
        if body.is_end_stream() {
            Self::empty()
        } else {
            Self::Stream(body, Awaited::default())
        }
    }

    /// How it stands with a body that streams, also when the body itself is gone.
    pub(super) fn awaited(&self) -> Option<Awaited> {
        match self {
            Self::Whole(_) => None,
            Self::Stream(_, awaited) => Some(awaited.clone()),
        }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(body, awaited) => {
                let polled = Pin::new(body).poll_frame(cx);
                awaited.0.store(polled.is_pending(), Ordering::Relaxed);
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Stream(body, _) => body.size_hint(),
        }
    }
}

/// What it takes to make a request once more. Much cheaper than a copy of its headers' map.
pub(super) struct Replay {
    method: Method,
    target: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Bytes>,
}

impl Replay {
    /// Nothing for a request whose body can be sent only once.
    pub(super) fn of(request: &Request<Outgoing>) -> Option<Self> {
        let Outgoing::Whole(body) = request.body() else {
            return None;
        };
        Some(Self {
            method: request.method().clone(),
            target: request.uri().clone(),
            headers: request
                .headers()
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            body: body.clone(),
        })
    }

    pub(super) fn request(&self) -> Box<Request<Outgoing>> {
        let mut request = Request::new(Outgoing::Whole(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        let headers = request.headers_mut();
        headers.reserve(self.headers.len());
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        Box::new(request)
    }
}

/// The path and query of a request's target.
pub(super) fn target(uri: &Uri) -> PathAndQuery {
    uri.path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"))
}
