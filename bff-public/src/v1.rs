//! Version 1: frozen. Its shapes never change; its answers say until when it will be there and what comes after.

mod cursor;
pub(crate) mod orders;
pub(crate) mod restaurants;

use axum::response::{IntoResponse, Response};
use gateway_core::openapi::{Describe, Operation};
use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::clients;

/// RFC 9745: since when this version has been deprecated, 1 November 2026 00:00 UTC.
const DEPRECATION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("deprecation"),
    HeaderValue::from_static("@1793491200"),
);
/// RFC 8594: when it may go away.
const SUNSET: (HeaderName, HeaderValue) = (
    HeaderName::from_static("sunset"),
    HeaderValue::from_static("Mon, 01 Nov 2027 00:00:00 GMT"),
);

/// An answer whose version is deprecated; says so, and where its successor is.
pub(crate) struct Deprecated<T> {
    answer: T,
    successor: String,
}

fn deprecated<T>(answer: T, successor: impl Into<String>) -> Deprecated<T> {
    Deprecated {
        answer,
        successor: successor.into(),
    }
}

impl<T: IntoResponse> IntoResponse for Deprecated<T> {
    fn into_response(self) -> Response {
        let mut response = self.answer.into_response();
        let headers = response.headers_mut();
        for (name, value) in [DEPRECATION, SUNSET] {
            headers.insert(name, value);
        }
        let link = format!("<{}>; rel=\"successor-version\"", self.successor);
        if let Ok(link) = HeaderValue::try_from(link) {
            headers.insert(http::header::LINK, link);
        }
        response
    }
}

impl<T: Describe> Describe for Deprecated<T> {
    fn describe(operation: &mut Operation<'_>) {
        T::describe(operation);
        operation.deprecate();
        let text =
            |description: &str| json!({"description": description, "schema": {"type": "string"}});
        for status in ["200", "304"] {
            let since = "Since when this version has been deprecated (RFC 9745).";
            operation.add_header(status, "Deprecation", text(since));
            operation.add_header(status, "Sunset", text("When it may go away (RFC 8594)."));
            operation.add_header(status, "Link", text("Its successor (RFC 8288)."));
        }
    }
}

// Shapes that several answers share.

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MoneyV1")]
struct Money {
    amount: String,
    currency: String,
}

impl From<clients::Money> for Money {
    fn from(clients::Money { amount, currency }: clients::Money) -> Self {
        Self { amount, currency }
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AddressV1")]
struct Address {
    street1: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    street2: Option<String>,
    city: String,
    state: String,
    zip: String,
}

impl From<clients::Address> for Address {
    fn from(address: clients::Address) -> Self {
        let clients::Address {
            street1,
            street2,
            city,
            state,
            zip,
        } = address;
        Self {
            street1,
            street2,
            city,
            state,
            zip,
        }
    }
}
