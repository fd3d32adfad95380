//! Event streams (text/event-stream) on their way out: how long one may be silent, how long it may last, and a last event that
//! says why it ends. Composed and forwarded ones alike; WebSockets are `proxy/tunnel.rs`'s.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::deadline::StreamEnd;
use crate::streams;

/// Whether an answer is a stream of events that has not ended yet.
pub(super) fn is_one(response: &Response) -> bool {
    says_so(response.headers()) && !response.body().is_end_stream()
}

/// Whether an answer's media type is that of event streams (RFC 9110, 8.3.1: case does not matter).
pub(super) fn says_so(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next();
        essence.is_some_and(|essence| {
            essence
                .trim_ascii()
                .eq_ignore_ascii_case(b"text/event-stream")
        })
    })
}

/// Bounds an answer that is an event stream. `drain` fires when connections have to end, `revoked` when its caller's
/// credential is not believed any more.
pub(super) fn bound(
    response: Response,
    idle: Duration,
    end: StreamEnd,
    drain: &CancellationToken,
    revoked: impl Future<Output = ()> + Send + 'static,
) -> Response {
    let drain = Box::pin(drain.clone().cancelled_owned());
    let coded = response.headers().contains_key(CONTENT_ENCODING);
    response.map(|body| {
        Body::new(EventStream {
            body: Some(body),
            idle,
            end,
            silent: Box::pin(sleep_until(Instant::now() + idle)),
            over: Box::pin(sleep_until(end.at)),
            drain,
            revoked: Box::pin(revoked),
            tail: (!coded).then_some([b'\n'; 2]),
        })
    })
}

struct EventStream {
    /// Gone with the last event.
    body: Option<Body>,
    idle: Duration,
    end: StreamEnd,
    silent: Pin<Box<Sleep>>,
    over: Pin<Box<Sleep>>,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
    revoked: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The last two bytes but carriage returns; `None` where nobody reads bytes as they are: a service has coded them.
    tail: Option<[u8; 2]>,
}

impl EventStream {
    /// Why it has to end now, whatever there is still to say.
    fn ended(&mut self, cx: &mut Context<'_>) -> Option<&'static str> {
        if self.over.as_mut().poll(cx).is_ready() {
            return Some(if self.end.by_credential {
                "credentials_expired"
            } else {
                "lifetime"
            });
        }
        if self.revoked.as_mut().poll(cx).is_ready() {
            return Some("credentials_revoked");
        }
        self.drain
            .as_mut()
            .poll(cx)
            .is_ready()
            .then_some("going_away")
    }

    /// The last event. In the middle of one nothing can be said: what has come of it would be taken for the whole.
    fn end(&mut self, reason: &str) -> Option<Result<Frame<Bytes>, axum::Error>> {
        self.body = None;
        if self.tail != Some(*b"\n\n") {
            return None;
        }
        Some(Ok(Frame::data(streams::end(reason))))
    }

    fn note(&mut self, data: &[u8]) {
        let Some(tail) = &mut self.tail else {
            return;
        };
        let mut last = data.iter().rev().filter(|byte| **byte != b'\r').copied();
        match (last.next(), last.next()) {
            (Some(last), Some(before)) => *tail = [before, last],
            (Some(last), None) => *tail = [tail[1], last],
            (None, _) => {}
        }
    }
}

impl HttpBody for EventStream {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.body.is_none() {
            return Poll::Ready(None);
        }
        // Before what comes next is looked at: a source that always has more does not outlive its time.
        if let Some(reason) = this.ended(cx) {
            return Poll::Ready(this.end(reason));
        }
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            this.note(data);
            let silent = Instant::now() + this.idle;
            this.silent.as_mut().reset(silent);
        }
        if polled.is_ready() || this.silent.as_mut().poll(cx).is_pending() {
            return polled;
        }
        Poll::Ready(this.end("idle"))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::future::pending;

    use futures_util::{StreamExt, stream};
    use http_body_util::BodyExt;

    use super::*;

    fn events(pieces: &'static [&'static str]) -> Response {
        let pieces = stream::iter(pieces.iter().map(|piece| Ok::<_, axum::Error>(*piece)));
        let mut response = Response::new(Body::from_stream(pieces.chain(stream::pending())));
        response.headers_mut().insert(
            CONTENT_TYPE,
            http::HeaderValue::from_static("text/event-stream; charset=utf-8"),
        );
        response
    }

    fn end(seconds: u64, by_credential: bool) -> StreamEnd {
        StreamEnd {
            at: Instant::now() + Duration::from_secs(seconds),
            by_credential,
        }
    }

    async fn text(response: Response) -> String {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_an_event_that_says_why() {
        let idle = Duration::from_secs(60);
        let never = CancellationToken::new();
        for (after, by_credential, drain, revoked, reason) in [
            (5, false, &never, 600, "lifetime"),
            (5, true, &never, 600, "credentials_expired"),
            (500, false, &never, 600, "idle"),
            (500, true, &never, 5, "credentials_revoked"),
        ] {
            let response = events(&["data: 1\n", "\n"]);
            let revoked = tokio::time::sleep(Duration::from_secs(revoked));
            let bounded = bound(response, idle, end(after, by_credential), drain, revoked);
            let last = format!("data: 1\n\nevent: end\ndata: {{\"reason\":\"{reason}\"}}\n\n");
            assert_eq!(text(bounded).await, last);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_said_in_the_middle_of_an_event() {
        let drain = CancellationToken::new();
        for pieces in [&["data: 1\n\ndata: 2\n"][..], &["data: 1"]] {
            let response = events(pieces);
            let idle = Duration::from_secs(60);
            let bounded = bound(response, idle, end(5, false), &drain, pending());
            assert_eq!(text(bounded).await, pieces.concat());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_said_between_coded_bytes() {
        let drain = CancellationToken::new();
        let mut response = events(&[]);
        let coding = http::HeaderValue::from_static("gzip");
        response.headers_mut().insert(CONTENT_ENCODING, coding);
        let idle = Duration::from_secs(60);
        let bounded = bound(response, idle, end(5, false), &drain, pending());
        assert_eq!(text(bounded).await, "");
    }

    #[test]
    fn media_types_have_no_case() {
        for (media_type, is_stream) in [
            ("Text/Event-Stream; charset=utf-8", true),
            ("text/event-stream", true),
            ("text/event-streams", false),
            ("text/plain", false),
        ] {
            let mut response = events(&[]);
            let media_type = http::HeaderValue::from_static(media_type);
            response.headers_mut().insert(CONTENT_TYPE, media_type);
            assert_eq!(is_one(&response), is_stream);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_always_has_more_ends_as_well() {
        for by in ["time", "drain", "revocation"] {
            let drain = CancellationToken::new();
            let pieces = stream::repeat_with(|| Ok::<_, axum::Error>("data: 1\n\n"));
            let response = Response::new(Body::from_stream(pieces));
            let revoked = drain.clone();
            let (drained, revoked) = match by {
                "drain" => (drain.clone(), CancellationToken::new()),
                _ => (CancellationToken::new(), revoked),
            };
            let idle = Duration::from_secs(60);
            let revoked = revoked.cancelled_owned();
            let mut body = bound(response, idle, end(5, false), &drained, revoked).into_body();
            for _ in 0..10 {
                let frame = body.frame().await.unwrap().unwrap();
                assert_eq!(frame.into_data().unwrap(), "data: 1\n\n");
            }
            match by {
                "time" => tokio::time::advance(Duration::from_secs(5)).await,
                _ => drain.cancel(),
            }
            let rest = body.collect().await.unwrap().to_bytes();
            let reason = match by {
                "time" => "lifetime",
                "drain" => "going_away",
                _ => "credentials_revoked",
            };
            let last = format!("event: end\ndata: {{\"reason\":\"{reason}\"}}\n\n");
            assert_eq!(rest, last, "{by}");
        }
    }

    #[test]
    fn other_answers_take_their_time() {
        let mut response = events(&["slow"]);
        assert!(is_one(&response));
        response.headers_mut().remove(CONTENT_TYPE);
        assert!(!is_one(&response));
        let mut ended = events(&[]);
        *ended.body_mut() = Body::empty();
        assert!(!is_one(&ended));
    }
}
