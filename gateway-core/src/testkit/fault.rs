//! How a service can fail, and what a client is to see of it. How each failure is done on the wire is here, too.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::answer::Answer;

/// More than test gateways read of an answer, which is 64 KiB.
const TOO_LARGE: usize = 128 * 1024;

/// A word that a service says when it fails, and that nobody outside may ever read.
pub(super) const INTERNAL_WORD: &str = "a-word-of-the-inside";

/// Between two bytes of an answer that never ends.
const DRIP: Duration = Duration::from_millis(20);

/// One way in which a call to a service fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens.
    Refused,
    /// The connection breaks when the request has arrived.
    Reset,
    /// There is never an answer.
    Hang,
    /// There is an answer, byte by byte, and it never ends.
    Drip,
    ServerError,
    NotFound,
    /// The right media type around what cannot be read.
    Garbage,
    WrongType,
    TooLarge,
}

impl Fault {
    pub const ALL: [Self; 9] = [
        Self::Refused,
        Self::Reset,
        Self::Hang,
        Self::Drip,
        Self::ServerError,
        Self::NotFound,
        Self::Garbage,
        Self::WrongType,
        Self::TooLarge,
    ];

    /// What a section says of it.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Refused | Self::Reset => "unreachable",
            Self::Hang | Self::Drip => "timeout",
            Self::ServerError => "upstream_error",
            Self::NotFound => "not_found",
            Self::Garbage | Self::WrongType => "invalid_response",
            Self::TooLarge => "response_too_large",
        }
    }

    /// The status and the name of the problem when it befalls a required part.
    pub(super) fn problem(self) -> (u16, &'static str) {
        match self {
            Self::Refused | Self::Reset => (503, "upstream-unavailable"),
            Self::Hang | Self::Drip => (504, "upstream-timeout"),
            Self::ServerError
            | Self::NotFound
            | Self::Garbage
            | Self::WrongType
            | Self::TooLarge => (502, "bad-upstream-answer"),
        }
    }

    /// Whether only the deadline ends it.
    pub(super) fn takes_all_time(self) -> bool {
        matches!(self, Self::Hang | Self::Drip)
    }

    /// What is on the wire in place of an answer; `None` when the connection breaks.
    pub(super) async fn instead(self, is_grpc: bool) -> Option<Response> {
        let json = "application/json";
        let media_type = if is_grpc { "application/grpc" } else { json };
        let answer = match self {
            // What nobody listens to does not come here.
            Self::Refused | Self::Reset => return None,
            Self::Hang => std::future::pending().await,
            Self::Drip => {
                // White space in front of JSON; of a gRPC message the head, which says that there is more.
                let head: &[u8] = if is_grpc { &[0, 0, 0, 4, 0] } else { b" " };
                let drops = stream::repeat(Bytes::from_static(b" ")).then(|byte| async {
                    tokio::time::sleep(DRIP).await;
                    byte
                });
                let body = stream::iter([Bytes::copy_from_slice(head)])
                    .chain(drops)
                    .map(Ok::<_, Infallible>);
                let mut response = Response::new(Body::from_stream(body));
                let media_type = http::HeaderValue::from_static(media_type);
                response
                    .headers_mut()
                    .insert(http::header::CONTENT_TYPE, media_type);
                return Some(response);
            }
            Self::ServerError if is_grpc => Answer::grpc_refused(13),
            Self::ServerError => Answer::refused(500, "internal", json!({"detail": INTERNAL_WORD})),
            Self::NotFound if is_grpc => Answer::grpc_refused(5),
            Self::NotFound => Answer::refused(404, "not-found", json!({"title": INTERNAL_WORD})),
            Self::Garbage if is_grpc => Answer::grpc(&[0xff; 8]),
            Self::Garbage => Answer::of(200, json, format!("{{\"{INTERNAL_WORD}\":")),
            Self::WrongType => Answer::of(200, "text/html", format!("<p>{INTERNAL_WORD}")),
            Self::TooLarge if is_grpc => Answer::grpc(&vec![b'x'; TOO_LARGE]),
            Self::TooLarge => Answer::of(200, json, format!("\"{}\"", "x".repeat(TOO_LARGE))),
        };
        Some(answer.into_response())
    }
}
