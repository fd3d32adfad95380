//! What the app sees, one file for each screen or action: the shape of the answer and the calls that make it.

pub(crate) mod change_order;
mod contradictions;
pub(crate) mod courier;
pub(crate) mod courier_plan;
pub(crate) mod home;
pub(crate) mod order_details;
pub(crate) mod order_events;
pub(crate) mod order_history;
pub(crate) mod place_order;
mod polling;
pub(crate) mod restaurants;

use gateway_core::error::Error;

/// What a cursor of orders looks like; one that was left out may be empty.
const ORDERS_CURSOR: &str = "^(o[0-9a-f]{16}([0-9a-f]{2})+)?$";
/// What a cursor of restaurants looks like.
const RESTAURANTS_CURSOR: &str = "^(r[0-9a-f]{32}([0-9a-f]{2})+)?$";
/// States of orders, separated by commas.
const STATES: &str = "^ *(APPROVAL_PENDING|APPROVED|REJECTED|CANCEL_PENDING|CANCELLED|REVISION_PENDING)? *(, *(APPROVAL_PENDING|APPROVED|REJECTED|CANCEL_PENDING|CANCELLED|REVISION_PENDING)? *)*$";

/// The largest page that the app may ask for.
const MAX_LIMIT: u32 = 100;

/// The size of a page: 20, or what the app asks for, from 1 to 100.
fn limit(asked: Option<u32>) -> Result<u32, Error> {
    match asked.unwrap_or(20) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(Error::bad_request(format!(
            "limit: has to be from 1 to {MAX_LIMIT}."
        ))),
    }
}

/// A parameter that was left empty restricts nothing.
fn given(parameter: Option<&String>) -> Option<&str> {
    parameter
        .map(String::as_str)
        .filter(|text| !text.is_empty())
}

/// A parameter that is a moment.
fn moment<'a>(name: &str, parameter: Option<&'a String>) -> Result<Option<&'a str>, Error> {
    let Some(text) = given(parameter) else {
        return Ok(None);
    };
    match chrono::DateTime::parse_from_rfc3339(text) {
        Ok(_) => Ok(Some(text)),
        Err(_) => Err(Error::bad_request(format!(
            "{name}: has to be a time in RFC 3339, such as 2030-01-31T18:30:00Z."
        ))),
    }
}
