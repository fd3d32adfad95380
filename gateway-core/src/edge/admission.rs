//! Load shedding: how many requests are worked on at once. Limits per caller are `rate_limit.rs`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::error::{Error, GatewayError};

/// One of the places for running requests; given back when its last holder has dropped it.
#[derive(Clone, Debug)]
pub(crate) struct Permit {
    _place: Arc<Place>,
}

#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

/// Takes a place, or says at once that there is none.
pub(super) fn admit(running: &Arc<AtomicUsize>, limit: usize) -> Result<Permit, Error> {
    let before = running.fetch_add(1, Ordering::Relaxed);
    let permit = Permit {
        _place: Arc::new(Place(Arc::clone(running))),
    };
    if before < limit {
        Ok(permit)
    } else {
        Err(GatewayError::Overloaded.into())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Permit {
    /// Keeps the place until the answer's body has been sent: a slow download is work, too.
    pub(super) fn held_by(self, response: Response) -> Response {
        response.map(|body| {
            Body::new(Held {
                body,
                _permit: self,
            })
        })
    }
}

struct Held {
    body: Body,
    _permit: Permit,
}

impl HttpBody for Held {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_is_given_out_once_and_comes_back() {
        let running = Arc::new(AtomicUsize::new(0));
        let first = admit(&running, 1);
        assert!(first.is_ok());
        assert!(matches!(
            admit(&running, 1),
            Err(Error::Gateway(GatewayError::Overloaded))
        ));
        drop(first);
        assert!(admit(&running, 1).is_ok());
        assert_eq!(running.load(Ordering::Relaxed), 0);
    }
}
