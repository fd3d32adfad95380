//! Headers that tell every client of its request: id, limits, timings. What browsers are told is `security_headers.rs`.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::access_log::Observation;
use crate::context::RequestContext;
use crate::waterfall::UpstreamCall;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

pub(super) fn set(headers: &mut HeaderMap, observation: &Observation) {
    headers.insert(X_REQUEST_ID, observation.arrival().request_id.to_header());
    observation.rate_limits.apply(headers);
    // How the services behind us are doing is not for everybody.
    let known = observation
        .principal
        .is_some_and(|kind| kind != "anonymous");
    let context = observation.context.as_ref().filter(|_| known);
    let timing = |context: &RequestContext| {
        context.with_waterfall(|waterfall| server_timing(&waterfall.calls))
    };
    if let Some(value) = context.and_then(timing) {
        headers.insert(SERVER_TIMING, value);
    }
}

/// `part;dur=12.3;desc="ok"` for each upstream call (W3C Server Timing).
fn server_timing(calls: &[UpstreamCall]) -> Option<HeaderValue> {
    let mut text = String::new();
    for call in calls {
        let separator = if text.is_empty() { "" } else { ", " };
        let took = call.took.as_secs_f64() * 1e3;
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "{separator}{};dur={took:.1};desc=\"{}\"",
            call.part, call.outcome
        );
    }
    if text.is_empty() {
        None
    } else {
        HeaderValue::from_str(&text).ok()
    }
}
