//! Problem details (RFC 9457): the only place in the gateway that picks a status for a failure.
//! What can fail is listed in `error.rs`; a BFF adds domain words in its own `error.rs`.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE,
    WWW_AUTHENTICATE,
};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::context::RequestId;
use crate::error::{ClientError, Error, ErrorSource, FieldError, GatewayError, Refusal};
use crate::upstream::{UpstreamError, UpstreamErrorKind};

/// The media type of every error answer.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error answer before the edge has added `instance` and `requestId`.
#[derive(Clone, Debug)]
pub struct Problem {
    pub status: StatusCode,
    /// The last segment of `type`, for example `not-found`.
    pub slug: String,
    pub title: &'static str,
    pub detail: Option<String>,
    pub errors: Vec<FieldError>,
    /// Where to get a newer version of the app, when that is what is wrong.
    pub store_url: Option<String>,
    pub source: ErrorSource,
    /// For the log, never for the client.
    pub cause: String,
    /// The upstream at fault.
    pub upstream: Option<&'static str>,
    headers: Vec<(http::HeaderName, HeaderValue)>,
}

const UNAVAILABLE: &str = "A service behind the gateway is not available";

/// RFC 9457 members, in the order in which they are written.
#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// Empty when the request's target is not known.
    #[serde(skip_serializing_if = "str::is_empty")]
    instance: &'a str,
    #[serde(rename = "requestId")]
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(rename = "storeUrl", skip_serializing_if = "Option::is_none")]
    store_url: Option<&'a str>,
}

impl Problem {
    fn new(status: StatusCode, slug: &str, title: &'static str, source: ErrorSource) -> Self {
        Self {
            status,
            slug: slug.to_owned(),
            title,
            detail: None,
            errors: Vec::new(),
            store_url: None,
            source,
            cause: String::new(),
            upstream: None,
            headers: Vec::new(),
        }
    }

    fn client(status: StatusCode, slug: &str, title: &'static str) -> Self {
        Self::new(status, slug, title, ErrorSource::Client)
    }

    /// An error of which nothing is known but its status.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let (source, title) = if status.is_client_error() {
            (ErrorSource::Client, "The request cannot be served")
        } else {
            (ErrorSource::Gateway, "Something is wrong in the gateway")
        };
        let slug = status.canonical_reason().map_or_else(
            || "error".to_owned(),
            |reason| {
                reason
                    .to_ascii_lowercase()
                    .replace(|c: char| !c.is_ascii_alphanumeric(), "-")
            },
        );
        let mut problem = Self::new(status, &slug, title, source);
        problem.cause = format!("a handler answered {status} without a problem");
        problem
    }

    #[must_use]
    fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub(crate) fn header(mut self, name: http::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    #[must_use]
    fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// An answer of this kind, for documentation.
    pub(crate) fn example(&self, base: &str) -> serde_json::Value {
        let body = Body {
            r#type: format!("{}/{}", base.trim_end_matches('/'), self.slug),
            title: self.title,
            status: self.status.as_u16(),
            detail: self.detail.as_deref(),
            instance: "/the/path/of/the/request",
            request_id: "01a203b0-d0a0-7090-84e3-3c97b3d178c7",
            errors: &self.errors,
            store_url: self.store_url.as_deref(),
        };
        serde_json::to_value(&body).unwrap_or_default()
    }

    /// What the answer has in its header besides.
    pub(crate) fn headers(&self) -> &[(http::HeaderName, HeaderValue)] {
        &self.headers
    }

    /// The answer for this problem on a request for `instance`; its type is `base` and the problem's name.
    pub fn render(&self, base: &str, instance: &str, request_id: &RequestId) -> Response {
        let body = Body {
            r#type: format!("{}/{}", base.trim_end_matches('/'), self.slug),
            title: self.title,
            status: self.status.as_u16(),
            detail: self.detail.as_deref(),
            instance,
            request_id: request_id.as_str(),
            errors: &self.errors,
            store_url: self.store_url.as_deref(),
        };
        // The members are strings and numbers: this cannot fail, and if it did an empty body beats a wrong status.
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, bytes).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
        response
    }
}

/// A handler's error travels to the edge inside the response's extensions; the edge knows the request and renders it.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let problem = Problem::from(&self);
        let mut response = problem.status.into_response();
        response.extensions_mut().insert(problem);
        response
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let mut problem = match error {
            Error::Client(client) => from_client(client),
            Error::Upstream(upstream) => {
                let mut problem = from_upstream(&upstream.kind);
                problem.upstream = Some(upstream.upstream);
                problem
            }
            Error::Gateway(gateway) => from_gateway(gateway),
        };
        problem.cause = chain(error);
        problem
    }
}

fn from_client(error: &ClientError) -> Problem {
    match error {
        ClientError::BadRequest(detail) => {
            Problem::client(StatusCode::BAD_REQUEST, "bad-request", "Bad request").detail(detail)
        }
        ClientError::Unauthenticated => Problem::client(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "Credentials needed",
        )
        // RFC 6750, 3: a challenge has at least one parameter.
        .header(
            WWW_AUTHENTICATE,
            HeaderValue::from_static(r#"Bearer realm="gateway""#),
        ),
        // RFC 6750, 3.1: the client learns that the token is not valid, never why.
        ClientError::InvalidToken(_) => {
            Problem::client(StatusCode::UNAUTHORIZED, "invalid-token", "Invalid token").header(
                WWW_AUTHENTICATE,
                HeaderValue::from_static(r#"Bearer realm="gateway", error="invalid_token""#),
            )
        }
        ClientError::InsufficientScope { scope } => {
            let challenge =
                format!(r#"Bearer realm="gateway", error="insufficient_scope", scope="{scope}""#);
            Problem::client(
                StatusCode::FORBIDDEN,
                "insufficient-scope",
                "Insufficient scope",
            )
            .header(
                WWW_AUTHENTICATE,
                HeaderValue::from_str(&challenge).unwrap_or(HeaderValue::from_static(
                    r#"Bearer realm="gateway", error="insufficient_scope""#,
                )),
            )
        }
        ClientError::Forbidden(detail) => {
            Problem::client(StatusCode::FORBIDDEN, "forbidden", "Forbidden").detail(*detail)
        }
        ClientError::CrossSite(detail) => Problem::client(
            StatusCode::FORBIDDEN,
            "cross-site-request",
            "The request may have been forged by another site",
        )
        .detail(*detail),
        ClientError::SignInFailed(_) => Problem::client(
            StatusCode::BAD_REQUEST,
            "sign-in-failed",
            "Signing in did not work",
        )
        .detail(
            "Begin again: this sign-in has expired, was begun in another browser, or was refused.",
        ),
        ClientError::LogoutTokenRefused(_) => Problem::client(
            StatusCode::BAD_REQUEST,
            "logout-token-refused",
            "The logout token is not accepted",
        ),
        ClientError::NotFound => Problem::client(StatusCode::NOT_FOUND, "not-found", "Not found"),
        ClientError::MethodNotAllowed { allow } => Problem::client(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Method not allowed",
        )
        .header(ALLOW, allow.clone()),
        ClientError::ParametersDisagree(detail) => Problem::client(
            StatusCode::UNPROCESSABLE_ENTITY,
            "parameters-disagree",
            "The parameters do not go together",
        )
        .detail(detail),
        ClientError::NotAcceptable => Problem::client(
            StatusCode::NOT_ACCEPTABLE,
            "not-acceptable",
            "Not acceptable",
        ),
        ClientError::BodyTimeout => Problem::client(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            "The request body came too slowly",
        ),
        ClientError::UnsupportedMediaType { expected } => Problem::client(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Unsupported media type",
        )
        .detail(format!("The body has to be {expected}.")),
        ClientError::BodyTooLarge { limit } => Problem::client(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "Body too large",
        )
        .detail(format!("A body may have {limit} bytes here.")),
        ClientError::HeadTooLarge => Problem::client(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "head-too-large",
            "The request head is too large",
        ),
        ClientError::HeadTimeout => Problem::client(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            "The request head came too slowly",
        ),
        ClientError::ExpectationFailed => Problem::client(
            StatusCode::EXPECTATION_FAILED,
            "expectation-failed",
            "The expectation is not known here",
        ),
        // RFC 6455, 4.4.
        ClientError::UpgradeRequired => Problem::client(
            StatusCode::UPGRADE_REQUIRED,
            "upgrade-required",
            "The WebSocket's version is not known here",
        )
        .header(UPGRADE, HeaderValue::from_static("websocket"))
        .header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
        // RFC 9112, 6.1.
        ClientError::UnknownTransferCoding => Problem::client(
            StatusCode::NOT_IMPLEMENTED,
            "unknown-transfer-coding",
            "The transfer coding is not known here",
        ),
        ClientError::UriTooLong => {
            Problem::client(StatusCode::URI_TOO_LONG, "uri-too-long", "URI too long")
        }
        ClientError::Unprocessable(errors) => {
            let mut problem = Problem::client(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unprocessable",
                "The body does not fit the schema",
            );
            problem.errors.clone_from(errors);
            problem
        }
        ClientError::RateLimited { retry_after } => Problem::client(
            StatusCode::TOO_MANY_REQUESTS,
            "rate-limited",
            "Too many requests",
        )
        .retry_after(*retry_after),
        ClientError::QuotaUsedUp { retry_after } => Problem::client(
            StatusCode::TOO_MANY_REQUESTS,
            "quota-used-up",
            "The day's quota is used up",
        )
        .retry_after(*retry_after),
        ClientError::PreconditionRequired => Problem::client(
            StatusCode::PRECONDITION_REQUIRED,
            "precondition-required",
            "The version that is to be replaced has to be named",
        )
        .detail("Send If-Match with the ETag of the version that you mean to replace."),
        ClientError::IdempotencyKeyReused => Problem::client(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-key-reused",
            "The idempotency key came with another request before",
        )
        .detail(
            "Idempotency-Key: came with another body within the last 24 hours. A key names one request, whose answer is given \
             again: another request needs another key.",
        ),
        ClientError::IdempotencyKeyInUse => Problem::client(
            StatusCode::CONFLICT,
            "idempotency-key-in-use",
            "A request with this idempotency key is being worked on",
        )
        .retry_after(Duration::from_secs(1)),
        ClientError::AppVersionUnsupported { store_url } => {
            let mut problem = Problem::client(
                StatusCode::FORBIDDEN,
                "app-version-unsupported",
                "This version of the app is not served any more",
            )
            .detail("A newer version is at storeUrl.");
            problem.store_url = Some(store_url.clone());
            problem
        }
        // One of the caller's own has to end first; when, is the caller's to know.
        ClientError::TooManyStreams => Problem::client(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-streams",
            "The caller has too many streams open",
        )
        .retry_after(Duration::from_secs(5)),
        ClientError::Refused(refusal) => {
            let slug = refusal.slug.as_deref().unwrap_or("refused");
            let mut problem = Problem::client(refusal.status, slug, "Refused by the service");
            problem.detail.clone_from(&refusal.detail);
            problem.errors.clone_from(&refusal.errors);
            problem
        }
    }
}

/// An upstream that cannot be reached is 503, one that is late 504, one that answers nonsense 502; never a 500 of ours.
fn from_upstream(kind: &UpstreamErrorKind) -> Problem {
    let (status, slug, title) = match kind {
        UpstreamErrorKind::Unreachable | UpstreamErrorKind::Reset => (
            StatusCode::SERVICE_UNAVAILABLE,
            "upstream-unavailable",
            UNAVAILABLE,
        ),
        UpstreamErrorKind::Timeout => (
            StatusCode::GATEWAY_TIMEOUT,
            "upstream-timeout",
            "A service behind the gateway did not answer in time",
        ),
        UpstreamErrorKind::OpenCircuit { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "upstream-circuit-open",
            "A service behind the gateway is given time to recover",
        ),
        UpstreamErrorKind::OverLimit => (
            StatusCode::SERVICE_UNAVAILABLE,
            "upstream-overloaded",
            "Too many calls to a service behind the gateway",
        ),
        UpstreamErrorKind::Status(_)
        | UpstreamErrorKind::Undecodable
        | UpstreamErrorKind::TooLarge => (
            StatusCode::BAD_GATEWAY,
            "bad-upstream-answer",
            "A service behind the gateway gave a bad answer",
        ),
    };
    let problem = Problem::new(status, slug, title, ErrorSource::Upstream);
    match kind {
        UpstreamErrorKind::Unreachable
        | UpstreamErrorKind::Reset
        | UpstreamErrorKind::OverLimit => problem.retry_after(Duration::from_secs(1)),
        UpstreamErrorKind::OpenCircuit { retry_after } => {
            problem.retry_after((*retry_after).max(Duration::from_secs(1)))
        }
        UpstreamErrorKind::Timeout
        | UpstreamErrorKind::Status(_)
        | UpstreamErrorKind::Undecodable
        | UpstreamErrorKind::TooLarge => problem,
    }
}

fn from_gateway(error: &GatewayError) -> Problem {
    let gateway = |status, slug, title| Problem::new(status, slug, title, ErrorSource::Gateway);
    match error {
        GatewayError::Overloaded => gateway(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "The gateway is at its limit",
        )
        .retry_after(Duration::from_secs(1)),
        GatewayError::KeysUnavailable => gateway(
            StatusCode::SERVICE_UNAVAILABLE,
            "keys-unavailable",
            "Credentials cannot be checked at the moment",
        )
        .retry_after(Duration::from_secs(1)),
        GatewayError::SessionsUnavailable => gateway(
            StatusCode::SERVICE_UNAVAILABLE,
            "sessions-unavailable",
            "Sessions cannot be looked up at the moment",
        )
        .retry_after(Duration::from_secs(1)),
        GatewayError::IdentityProviderUnavailable => gateway(
            StatusCode::SERVICE_UNAVAILABLE,
            "identity-provider-unavailable",
            "The identity provider does not answer at the moment",
        )
        .retry_after(Duration::from_secs(1)),
        GatewayError::DeadlineExceeded => gateway(
            StatusCode::GATEWAY_TIMEOUT,
            "deadline-exceeded",
            "The request's deadline passed",
        ),
        // RFC 9111, 5.2.1.7.
        GatewayError::NotCached => gateway(
            StatusCode::GATEWAY_TIMEOUT,
            "not-cached",
            "The cache has no answer",
        ),
        GatewayError::Bug(_) => gateway(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something is wrong in the gateway",
        ),
    }
}

impl Problem {
    /// For a service that failed, and may have said when to come back. A 503 that says so asks for patience: that is
    /// passed on.
    pub(crate) fn of_failed(error: UpstreamError, retry_after: Option<HeaderValue>) -> Self {
        let busy = error
            .refusal()
            .is_some_and(|refusal| refusal.status == StatusCode::SERVICE_UNAVAILABLE);
        let problem = Self::from(&Error::from(error));
        match retry_after.filter(|_| busy) {
            None => problem,
            Some(wait) => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                slug: "upstream-unavailable".to_owned(),
                title: UNAVAILABLE,
                ..problem
            }
            .header(RETRY_AFTER, wait),
        }
    }
}

impl Refusal {
    /// Whether it would be refused again: what is refused for reasons of the moment, or of the caller's permissions, may be
    /// granted the next time.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(
            self.status,
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_EARLY
                | StatusCode::TOO_MANY_REQUESTS
        )
    }
}

/// An error and its sources in one line, for the log or a terminal: `it: because of this: because of that`.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    /// Every status and name that is written in this file, as `| 404 | `not-found` |`.
    #[test]
    fn every_problem_is_in_the_list_of_status_codes() {
        let documented = include_str!("../../docs/status-codes.md");
        let code = include_str!("problem.rs");
        let mut known = 0;
        for after in code.split("StatusCode::").skip(1) {
            let Some((status, rest)) = after.split_once(',') else {
                continue;
            };
            let Some((name, _)) = rest
                .trim_start()
                .strip_prefix('"')
                .and_then(|rest| rest.split_once('"'))
            else {
                continue;
            };
            known += 1;
            assert!(
                documented.contains(&format!("| `{name}` |")),
                "docs/status-codes.md does not explain {status} {name}"
            );
        }
        assert!(known > 20, "only {known} problems were found");
    }
}
