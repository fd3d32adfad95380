//! The size of request bodies: streamed ones end in an error when they pass the limit, announced ones are refused before
//! a byte is read. When that is, is up to who reads (`extract.rs`, `proxy.rs`): what comes first is told first.

use axum::body::Body;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Body as _;
use http_body_util::Limited;

use crate::error::{ClientError, Error};

/// The limit that applies to a request, for the error that names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimit(pub(super) u64);

impl BodyLimit {
    #[cfg(test)]
    pub(crate) fn of_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(self) -> u64 {
        self.0
    }

    /// Refuses a body that is announced to be too large.
    pub(crate) fn check_announced(self, headers: &HeaderMap) -> Result<(), Error> {
        let announced = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse::<u64>().ok());
        if announced.is_some_and(|length| length > self.0) {
            return Err(ClientError::BodyTooLarge { limit: self.0 }.into());
        }
        Ok(())
    }
}

pub(super) fn apply(body: &mut Body, limit: BodyLimit) {
    if body.is_end_stream() {
        return;
    }
    let bytes = usize::try_from(limit.0).unwrap_or(usize::MAX);
    *body = Body::new(Limited::new(std::mem::take(body), bytes));
}
