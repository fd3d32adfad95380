//! Headers that tell every client of its request: id, limits, timings. What browsers are told is `security_headers.rs`.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::access_log::Observation;
use crate::context::RequestContext;
use crate::digits::push_millis;
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
    let mut text = String::with_capacity(calls.len() * 40);
    for call in calls {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(call.part);
        text.push_str(";dur=");
        push_millis(&mut text, call.took);
        text.push_str(";desc=\"");
        text.push_str(call.outcome);
        text.push('"');
    }
    if text.is_empty() {
        None
    } else {
        HeaderValue::try_from(text).ok()
    }
}
