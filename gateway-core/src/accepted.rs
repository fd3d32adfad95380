//! 202: the answer to a command that was accepted and is not finished. What the command does is a service's business.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, LOCATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::idempotency::IDEMPOTENT_REPLAYED;
use crate::openapi::{Describe, Operation};

/// 202 with `T` as JSON; stored by nobody.
#[must_use]
#[derive(Debug)]
pub struct Accepted<T> {
    body: T,
    location: Option<String>,
    replayed: bool,
}

impl<T> Accepted<T> {
    pub fn new(body: T) -> Self {
        Self {
            body,
            location: None,
            replayed: false,
        }
    }

    /// Where to look for what comes of it: a path, its variable segments encoded.
    pub fn at(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }

    /// Whether this has been answered before, to the same idempotency key.
    pub fn replayed(mut self, replayed: bool) -> Self {
        self.replayed = replayed;
        self
    }
}

impl<T: Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        let mut response = (StatusCode::ACCEPTED, Json(self.body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(location) = self
            .location
            .and_then(|path| HeaderValue::try_from(path).ok())
        {
            headers.insert(LOCATION, location);
        }
        // Sooner there is nothing to see.
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        if self.replayed {
            headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

impl<T: JsonSchema> Describe for Accepted<T> {
    fn describe(operation: &mut Operation<'_>) {
        let headers = json!({
            "Location": {
                "description": "Where to look for what comes of it.",
                "schema": {"type": "string", "format": "uri-reference"},
            },
            "Retry-After": {
                "description": "Seconds after which looking there is worth it.",
                "schema": {"type": "integer", "minimum": 1},
            },
            "Idempotent-Replayed": {
                "description": "`true` when the same key has had this answer before.",
                "schema": {"type": "string", "const": "true"},
            },
        });
        operation.answer::<T>(202, "Accepted; the work goes on.", headers);
    }
}
