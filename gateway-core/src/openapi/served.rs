//! What is made once, when the gateway starts, and served as it is: the document and its page.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};

/// A text that stays the same for as long as the gateway runs.
#[derive(Clone)]
pub(crate) struct Served {
    media_type: HeaderValue,
    text: Bytes,
    etag: HeaderValue,
}

impl Served {
    pub(crate) fn new(media_type: &'static str, text: String) -> Self {
        Self {
            media_type: HeaderValue::from_static(media_type),
            etag: crate::compose::weak_etag(text.as_bytes()),
            text: text.into(),
        }
    }

    /// 304 for whoever has it already.
    pub(crate) fn answer(&self, headers: &HeaderMap) -> Response {
        let known = headers
            .get(IF_NONE_MATCH)
            .is_some_and(|value| crate::compose::matches_weakly(value, &self.etag));
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let media_type = [(CONTENT_TYPE, self.media_type.clone())];
            (media_type, self.text.clone()).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, no-cache"));
        response
    }
}
