//! Headers that every answer carries: request id, limits, timings, and what keeps browsers from guessing.

use std::fmt::Write;

use http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::access_log::Observation;
use crate::context::RequestContext;
use crate::waterfall::UpstreamCall;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

pub(super) fn set(headers: &mut HeaderMap, observation: &Observation) {
    headers.insert(X_REQUEST_ID, observation.arrival().request_id.to_header());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // A page of ours brings its own policy; data needs none.
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'",
        ));
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
