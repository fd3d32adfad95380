//! The fields behind a body, on their way through: none that says what only a head may say (RFC 9110, 6.5.1), and none that
//! could not have crossed in one. Heads are `headers.rs`'s.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::headers;
use crate::upstream::{Answer, BrokenBody};

/// Of fields that frame a message, route it, say how it is to be read, or what may be done with it.
fn belongs_to_a_head(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "age"
            | "cache-control"
            | "content-encoding"
            | "content-length"
            | "content-range"
            | "content-type"
            | "date"
            | "expect"
            | "expires"
            | "host"
            | "location"
            | "max-forwards"
            | "pragma"
            | "range"
            | "request-timeout"
            | "retry-after"
            | "traceparent"
            | "tracestate"
            | "trailer"
            | "vary"
            | "via"
            | "www-authenticate"
            | "x-request-id"
    ) || name.as_str().starts_with("if-")
}

/// What a service may be told behind a request's body.
pub(super) fn of_request(frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
    without(frame, |name| {
        belongs_to_a_head(name) || headers::is_for_us_to_say(name)
    })
}

/// What a client may be told behind an answer's body.
fn of_answer(frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
    without(frame, |name| {
        belongs_to_a_head(name) || headers::stays_here(name)
    })
}

/// Without the fields that do not cross; nothing when no other is left.
fn without(frame: Frame<Bytes>, stays: impl Fn(&HeaderName) -> bool) -> Option<Frame<Bytes>> {
    let mut fields = match frame.into_trailers() {
        Ok(fields) => fields,
        Err(data) => return Some(data),
    };
    let stay: Vec<HeaderName> = fields.keys().filter(|name| stays(name)).cloned().collect();
    for name in stay {
        fields.remove(name);
    }
    Some(fields)
        .filter(|fields| !HeaderMap::is_empty(fields))
        .map(Frame::trailers)
}

/// An answer's body, with what may come behind it.
pub(super) struct Filtered(pub(super) Answer);

impl HttpBody for Filtered {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        let polled = Pin::new(&mut self.0).poll_frame(cx);
        polled.map(|frame| match frame? {
            Ok(frame) => of_answer(frame).map(Ok),
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use http::HeaderValue;

    use super::*;

    fn trailers(names: &[&'static str]) -> Frame<Bytes> {
        let field = |name: &&'static str| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static("1"))
        };
        Frame::trailers(names.iter().map(field).collect())
    }

    fn names(frame: Frame<Bytes>) -> Vec<String> {
        let fields = frame.into_trailers().unwrap();
        fields.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn nobody_says_behind_a_body_who_is_calling() {
        let said = [
            "x-sum",
            "x-internal-token",
            "x_forwarded_for",
            "cookie",
            "x-api-key",
            "forwarded",
            "host",
            "if-match",
            "transfer-encoding",
        ];
        assert_eq!(names(of_request(trailers(&said)).unwrap()), ["x-sum"]);
        assert!(of_request(trailers(&said[1..])).is_none());
    }

    #[test]
    fn an_answer_says_behind_its_body_what_it_may_before_it() {
        let said = [
            "grpc-status",
            "set-cookie",
            "server-timing",
            "access-control-allow-origin",
            // These would end an HTTP/2 stream with an error.
            "connection",
            "keep-alive",
        ];
        assert_eq!(names(of_answer(trailers(&said)).unwrap()), ["grpc-status"]);
        let data = Frame::data(Bytes::from_static(b"abc"));
        assert!(of_answer(data).unwrap().is_data());
    }
}
