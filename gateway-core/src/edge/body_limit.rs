//! The size of request bodies: announced ones are refused before a byte is read, streamed ones when they pass the limit.

use axum::body::Body;
use http::Request;
use http::header::CONTENT_LENGTH;
use http_body_util::Limited;

use crate::error::{ClientError, Error};

/// The limit that applies to a request, for the error that names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimit(u64);

impl BodyLimit {
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }
}

pub(super) fn apply(request: Request<Body>, limit: u64) -> Result<Request<Body>, Error> {
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(ClientError::BodyTooLarge { limit }.into());
    }
    let bytes = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut request = request.map(|body| Body::new(Limited::new(body, bytes)));
    request.extensions_mut().insert(BodyLimit(limit));
    Ok(request)
}
