//! What a service of a test answers, as JSON or as gRPC. When it answers something else is `fault.rs`.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full};
use serde_json::Value;

/// An answer of a service.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) trailers: Option<HeaderMap>,
    /// How long the service takes for it; forever without an end.
    pub(super) after: Option<Duration>,
}

impl Answer {
    /// `body` as JSON; below a status of 400 and above as a problem.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        let media_type = if status < 400 {
            "application/json"
        } else {
            "application/problem+json"
        };
        Self::of(status, media_type, body.to_string())
    }

    /// 200 and `body` as JSON.
    #[must_use]
    pub fn ok(body: &Value) -> Self {
        Self::json(200, body)
    }

    /// A refusal in a service's own words: a problem of the type `/problems/{slug}` with the members of `more`.
    #[must_use]
    pub fn refused(status: u16, slug: &str, more: Value) -> Self {
        let mut problem = serde_json::json!({
            "type": format!("/problems/{slug}"), "title": "Refused", "status": status,
        });
        if let (Value::Object(problem), Value::Object(more)) = (&mut problem, more) {
            problem.extend(more);
        }
        Self::json(status, &problem)
    }

    /// The same JSON with another value at a place (RFC 6901), which has to be there.
    #[must_use]
    pub fn changed(self, pointer: &str, value: &Value) -> Self {
        let mut body: Value = serde_json::from_slice(&self.body).unwrap();
        let place = body.pointer_mut(pointer);
        *place.expect("the answer has this place") = value.clone();
        Self {
            body: body.to_string().into(),
            ..self
        }
    }

    /// A unary answer of gRPC with an encoded message.
    #[must_use]
    pub fn grpc(message: &[u8]) -> Self {
        let length = u32::try_from(message.len()).unwrap();
        let mut framed = vec![0];
        framed.extend(length.to_be_bytes());
        framed.extend(message);
        let mut answer = Self::of(200, "application/grpc", framed);
        answer.trailers = Some(grpc_status(0));
        answer
    }

    /// A gRPC call that the service refuses with `code`.
    #[must_use]
    pub fn grpc_refused(code: u16) -> Self {
        let mut answer = Self::of(200, "application/grpc", Bytes::new());
        answer.trailers = Some(grpc_status(code));
        answer
    }

    /// None: the request is kept until the gateway gives it up.
    #[must_use]
    pub fn never() -> Self {
        let mut answer = Self::of(200, "text/plain", Bytes::new());
        answer.after = None;
        answer
    }

    /// The service takes its time.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.after = Some(delay);
        self
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let name = HeaderName::from_static(name);
        self.headers
            .insert(name, HeaderValue::from_str(value).unwrap());
        self
    }

    pub(super) fn of(status: u16, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        let headers = HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static(media_type),
        )]);
        Self {
            status,
            headers,
            body: body.into(),
            trailers: None,
            after: Some(Duration::ZERO),
        }
    }

    pub(super) fn into_response(self) -> Response {
        let body = Full::new(self.body);
        let body = match self.trailers {
            Some(trailers) => Body::new(body.with_trailers(async { Some(Ok(trailers)) })),
            None => Body::new(body),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status.try_into().unwrap();
        *response.headers_mut() = self.headers;
        response
    }
}

fn grpc_status(code: u16) -> HeaderMap {
    HeaderMap::from_iter([(
        HeaderName::from_static("grpc-status"),
        HeaderValue::from(code),
    )])
}
