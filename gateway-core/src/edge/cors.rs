//! Cross-origin resource sharing (Fetch Standard, 3.2): which other origins' scripts may use a route and read its answers.
//! That nobody forges requests with cookies is `csrf.rs`'s; this protects nothing by itself, it lets in.
//!
//! tower-http's layer would answer each preflight alike, before it is known whether there is such a route, and reads no
//! policy by route; so the few rules stand here.

use std::fmt::Write;

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::vary;
use crate::config::{CorsConfig, CorsOrigins};

/// One policy, its fields' values made once.
#[derive(Clone, Debug)]
pub(crate) struct Cors {
    origins: CorsOrigins,
    methods: Option<Vec<Method>>,
    headers: HeaderValue,
    exposed: HeaderValue,
    credentials: bool,
    max_age: HeaderValue,
}

/// The method that a preflight asks for; `None` for any other request.
pub(super) fn preflight(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    let wanted = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(wanted.as_bytes()).ok()
}

impl Cors {
    pub(crate) fn new(config: &CorsConfig) -> Self {
        Self {
            origins: config.origins.clone(),
            methods: config.methods.clone(),
            headers: list(config.headers.iter().map(HeaderName::as_str)),
            exposed: list(config.exposed.iter().map(HeaderName::as_str)),
            credentials: config.credentials,
            max_age: HeaderValue::from(config.max_age.as_secs()),
        }
    }

    /// The answer to a preflight for a path that has these methods. What makes it an allowance, the origin, is added with
    /// [`Self::mark`], as to every answer.
    pub(super) fn answer<'a>(
        &self,
        origin: Option<&HeaderValue>,
        methods: impl Iterator<Item = &'a Method>,
    ) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        vary::add(headers, "access-control-request-method");
        vary::add(headers, "access-control-request-headers");
        if !origin.is_some_and(|origin| self.allows(origin)) {
            return response;
        }
        let allowed = |method: &&Method| {
            self.methods
                .as_ref()
                .is_none_or(|methods| methods.contains(method))
        };
        let methods = list(methods.filter(allowed).map(Method::as_str));
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        response
    }

    /// Says on an answer, whatever its status, that the script that asked may read it; or nothing, but that others may
    /// get another answer.
    pub(super) fn mark(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        if self.origins != CorsOrigins::Any {
            // Also when this one is not let in: a cache keeps the answer for one that is.
            vary::add(headers, "origin");
        }
        let Some(origin) = origin.filter(|origin| self.allows(origin)) else {
            return;
        };
        let said = match self.origins {
            CorsOrigins::Any => HeaderValue::from_static("*"),
            CorsOrigins::Listed(_) => origin.clone(),
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, said);
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        if !self.exposed.is_empty() {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed.clone());
        }
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        match &self.origins {
            CorsOrigins::Any => true,
            CorsOrigins::Listed(listed) => listed.contains(origin),
        }
    }
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> HeaderValue {
    let mut text = String::new();
    for word in words {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}{word}");
    }
    // Names of methods and fields: always a legal value.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::time::Duration;

    use super::*;

    const METHODS: [Method; 3] = [Method::GET, Method::HEAD, Method::PUT];

    fn cors(origins: CorsOrigins, credentials: bool) -> Cors {
        Cors::new(&CorsConfig {
            origins,
            methods: None,
            headers: vec![HeaderName::from_static("content-type")],
            exposed: vec![HeaderName::from_static("etag")],
            credentials,
            max_age: Duration::from_secs(600),
        })
    }

    fn listed() -> CorsOrigins {
        CorsOrigins::Listed(vec![HeaderValue::from_static("https://app.example")])
    }

    fn marked(cors: &Cors, origin: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        cors.mark(&mut headers, origin.map(HeaderValue::from_static).as_ref());
        headers
    }

    #[test]
    fn only_listed_origins_are_named() {
        let policy = cors(listed(), true);
        let headers = marked(&policy, Some("https://app.example"));
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(headers[ACCESS_CONTROL_EXPOSE_HEADERS], "etag");
        for other in [
            None,
            Some("null"),
            Some("*"),
            Some("http://app.example"),
            Some("https://app.example:8443"),
            Some("https://app.example.evil.example"),
            Some("HTTPS://APP.EXAMPLE"),
        ] {
            let headers = marked(&policy, other);
            assert_eq!(headers.len(), 1, "{other:?}");
            assert_eq!(headers["vary"], "origin", "{other:?}");
        }
        let null = CorsOrigins::Listed(vec![HeaderValue::from_static("null")]);
        let headers = marked(&cors(null, false), Some("null"));
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "null");
    }

    #[test]
    fn an_answer_for_everybody_does_not_vary() {
        let headers = marked(&cors(CorsOrigins::Any, false), Some("https://app.example"));
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!headers.contains_key("vary"));
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }

    #[test]
    fn a_preflight_lists_what_the_path_has_and_the_policy_lets_in() {
        let origin = HeaderValue::from_static("https://app.example");
        let mut policy = cors(listed(), false);
        let response = policy.answer(Some(&origin), METHODS.iter());
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        let headers = response.headers();
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], "GET, HEAD, PUT");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_HEADERS], "content-type");
        assert_eq!(headers[ACCESS_CONTROL_MAX_AGE], "600");
        policy.methods = Some(vec![Method::GET, Method::POST]);
        let response = policy.answer(Some(&origin), METHODS.iter());
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_METHODS], "GET");
        let stranger = HeaderValue::from_static("https://evil.example");
        let response = policy.answer(Some(&stranger), METHODS.iter());
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert!(response.headers().keys().all(|name| name == "vary"));
    }

    #[test]
    fn a_preflight_is_told_from_other_requests() {
        let headers = |fields: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for name in fields {
                headers.insert(*name, HeaderValue::from_static("PUT"));
            }
            headers
        };
        let both = headers(&["origin", "access-control-request-method"]);
        assert_eq!(preflight(&Method::OPTIONS, &both), Some(Method::PUT));
        assert_eq!(preflight(&Method::GET, &both), None);
        for fields in [&[][..], &["origin"], &["access-control-request-method"]] {
            assert_eq!(preflight(&Method::OPTIONS, &headers(fields)), None);
        }
        let bad: HeaderMap = [
            (ORIGIN, "a".parse().unwrap()),
            (ACCESS_CONTROL_REQUEST_METHOD, "GE T".parse().unwrap()),
        ]
        .into_iter()
        .collect();
        assert_eq!(preflight(&Method::OPTIONS, &bad), None);
    }
}
