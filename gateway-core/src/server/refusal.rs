//! The answer to a request that never became one: its head cannot be read, so the edge has not seen it. It gets a problem
//! document, one line in the access log and one sample all the same. Which requests these are is `connection.rs`'s.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use http::HeaderMap;
use http_body_util::BodyExt;

use crate::context::RequestId;
use crate::edge::EdgeSlot;
use crate::error::{ClientError, Error};
use crate::metrics::{Metrics, RouteMetrics};
use crate::problem::Problem;

/// What requests without a route are counted as.
const UNMATCHED: &str = "unmatched";

#[derive(Clone)]
pub(super) struct Refusals {
    /// Knows the base of problem types.
    edge: Arc<EdgeSlot>,
    metrics: Arc<RouteMetrics>,
}

impl Refusals {
    pub(super) fn new(edge: &Arc<EdgeSlot>, metrics: &Metrics) -> Self {
        Self {
            edge: Arc::clone(edge),
            metrics: Arc::clone(&metrics.unmatched),
        }
    }

    /// The whole answer as it goes over the wire, logged and counted.
    pub(super) fn answer(&self, error: ClientError, peer: SocketAddr) -> Vec<u8> {
        let problem = Problem::from(&Error::from(error));
        let request_id = RequestId::from_headers(&HeaderMap::new());
        let response = problem.render(self.edge.load().problem_base(), "", &request_id);
        let (head, body) = response.into_parts();
        // It is one piece in memory.
        let body = body
            .collect()
            .now_or_never()
            .and_then(Result::ok)
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        let mut text = format!(
            "HTTP/1.1 {}\r\nx-request-id: {}\r\nx-content-type-options: nosniff\r\ncontent-length: {}\r\nconnection: close\r\ndate: {}\r\n",
            head.status,
            request_id.as_str(),
            body.len(),
            httpdate::fmt_http_date(std::time::SystemTime::now()),
        );
        for (name, value) in &head.headers {
            if name != http::header::CONTENT_LENGTH {
                // Writing to a string does not fail, and the values are ours.
                let _ = write!(text, "{name}: {}\r\n", value.to_str().unwrap_or_default());
            }
        }
        text.push_str("\r\n");
        self.metrics
            .observe_refused(head.status.as_u16(), body.len() as u64);
        tracing::info!(
            target: "access",
            route = UNMATCHED,
            status = head.status.as_u16(),
            duration_ms = 0.0,
            bytes = body.len() as u64,
            complete = true,
            principal = "unknown",
            request_id = request_id.as_str(),
            error_source = problem.source.as_str(),
            error = problem.cause,
            %peer,
            "request"
        );
        let mut answer = text.into_bytes();
        answer.extend_from_slice(&body);
        answer
    }
}
