//! Version 2: what partners are to use now. Fields may be added; none goes away or changes its meaning.

pub(crate) mod menus;
pub(crate) mod orders;
pub(crate) mod place_order;
pub(crate) mod restaurants;
pub(crate) mod usage;
pub(crate) mod webhooks;

use axum::Json;
use axum::response::{IntoResponse, Response};
use gateway_core::compose::Answer;
use gateway_core::encode::with_parameters;
use gateway_core::error::Error;
use gateway_core::openapi::{Describe, Operation};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, LINK};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::clients;

/// What ids of orders, restaurants and webhooks look like.
const ID: &str = "^[A-Za-z0-9_-][A-Za-z0-9._~-]*$";
/// What `nextCursor` looks like in any list.
const CURSOR: &str = "^[a-z0-9]+$";
/// What a cursor of orders looks like; one that was left out may be empty.
const ORDERS_CURSOR: &str = "^(o[0-9a-f]{16}([0-9a-f]{2})+)?$";
/// What a cursor of restaurants looks like.
const RESTAURANTS_CURSOR: &str = "^(r[0-9a-f]{32}([0-9a-f]{2})+)?$";
/// States of orders, separated by commas.
const STATES: &str = "^ *(APPROVAL_PENDING|APPROVED|REJECTED|CANCEL_PENDING|CANCELLED|REVISION_PENDING)? *(, *(APPROVAL_PENDING|APPROVED|REJECTED|CANCEL_PENDING|CANCELLED|REVISION_PENDING)? *)*$";

/// A part of a list, and where the next part begins.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PageOf{T}")]
pub(crate) struct Page<T> {
    items: Vec<T>,
    /// Opaque; `null` on the last page.
    #[schemars(regex(pattern = CURSOR))]
    next_cursor: Option<String>,
}

/// A page that says in its header, too, where the others are (RFC 8288).
pub(crate) struct Linked<T> {
    page: Answer<Page<T>>,
    links: String,
}

/// `first` is the address of the first page, with all parameters but the cursor; `next` the cursor of the next one.
fn linked<T>(page: Answer<Page<T>>, first: &str, next: Option<&str>) -> Linked<T> {
    let mut links = String::new();
    if let Some(cursor) = next {
        let next = with_parameters(first.to_owned(), [("cursor", Some(cursor))]);
        links = format!("<{next}>; rel=\"next\", ");
    }
    links.push_str(&format!("<{first}>; rel=\"first\""));
    Linked { page, links }
}

impl<T> IntoResponse for Linked<T> {
    fn into_response(self) -> Response {
        let mut response = self.page.into_response();
        if let Ok(links) = HeaderValue::try_from(self.links) {
            response.headers_mut().insert(LINK, links);
        }
        response
    }
}

impl<T: JsonSchema> Describe for Linked<T> {
    fn describe(operation: &mut Operation<'_>) {
        <Answer<Page<T>> as Describe>::describe(operation);
        let links = json!({
            "description": "Where the first page is, and the next one if there is one (RFC 8288).",
            "schema": {"type": "string"},
        });
        operation.add_header("200", "Link", links);
    }
}

/// Different from one moment to the next: stored by nobody.
pub(crate) struct Uncached<T>(Json<T>);

impl<T> Uncached<T> {
    fn new(answer: T) -> Self {
        Self(Json(answer))
    }
}

impl<T: Serialize> IntoResponse for Uncached<T> {
    fn into_response(self) -> Response {
        let no_store = HeaderValue::from_static("no-store");
        ([(CACHE_CONTROL, no_store)], self.0).into_response()
    }
}

impl<T: JsonSchema> Describe for Uncached<T> {
    fn describe(operation: &mut Operation<'_>) {
        <Json<T> as Describe>::describe(operation);
    }
}

/// How large a page is to be.
///
/// # Errors
/// 400 for less than 1 and more than 100.
fn limit(wanted: Option<u32>) -> Result<u32, Error> {
    match wanted.unwrap_or(20) {
        limit @ 1..=100 => Ok(limit),
        _ => Err(Error::bad_request("limit: has to be from 1 to 100.")),
    }
}

/// A parameter that was left empty restricts nothing.
fn given(parameter: Option<&String>) -> Option<&str> {
    parameter
        .map(String::as_str)
        .filter(|text| !text.is_empty())
}

/// # Errors
/// 400 for what is no time.
fn moment<'a>(name: &str, parameter: Option<&'a String>) -> Result<Option<&'a str>, Error> {
    let moment = given(parameter);
    if moment.is_some_and(|text| chrono::DateTime::parse_from_rfc3339(text).is_err()) {
        return Err(Error::bad_request(format!(
            "{name}: has to be a time in RFC 3339, such as 2030-01-31T18:30:00Z."
        )));
    }
    Ok(moment)
}

// Shapes that several answers share. They are of this version alone: another one may need others.

/// An exact amount: decimal digits in text, never a float.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Money {
    #[schemars(regex(pattern = r"^-?[0-9]{1,12}(\.[0-9]{1,2})?$"))]
    amount: String,
    /// ISO 4217 code.
    #[schemars(regex(pattern = "^[A-Z]{3}$"))]
    currency: String,
}

impl From<clients::Money> for Money {
    fn from(clients::Money { amount, currency }: clients::Money) -> Self {
        Self { amount, currency }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Address {
    #[schemars(length(min = 1, max = 200))]
    street1: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    street2: Option<String>,
    #[schemars(length(min = 1, max = 200))]
    city: String,
    #[schemars(length(min = 1, max = 200))]
    state: String,
    #[schemars(length(min = 1, max = 200))]
    zip: String,
}

impl From<clients::Address> for Address {
    fn from(address: clients::Address) -> Self {
        Self {
            street1: address.street1,
            street2: address.street2,
            city: address.city,
            state: address.state,
            zip: address.zip,
        }
    }
}

/// WGS 84, in degrees.
#[derive(Serialize, JsonSchema)]
struct Location {
    lat: f64,
    lng: f64,
}

impl From<clients::Location> for Location {
    fn from(clients::Location { lat, lng }: clients::Location) -> Self {
        Self { lat, lng }
    }
}
