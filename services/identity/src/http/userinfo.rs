//! The UserInfo endpoint (OpenID Connect Core, 5.3). Not here: which claims a scope opens (`token.rs`).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use crate::directory;
use crate::provider::Provider;
use crate::token::{self, PersonClaims, has_scope};

#[derive(Serialize)]
struct UserInfo {
    sub: &'static str,
    #[serde(flatten)]
    person: PersonClaims,
}

pub(super) async fn userinfo(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
) -> Response {
    let Some(token) = bearer(&headers) else {
        return refused(StatusCode::UNAUTHORIZED, "Bearer", None);
    };
    let verified = token::verify_access(&provider.keys.current(), &provider.issuer, token).ok();
    let known = verified.and_then(|access| Some((directory::find(&access.sub)?, access.scope)));
    let Some((subject, scope)) = known else {
        return refused(
            StatusCode::UNAUTHORIZED,
            "Bearer error=\"invalid_token\"",
            Some("invalid_token"),
        );
    };
    if !has_scope(&scope, "openid") {
        return refused(
            StatusCode::FORBIDDEN,
            "Bearer error=\"insufficient_scope\", scope=\"openid\"",
            Some("insufficient_scope"),
        );
    }
    let info = UserInfo {
        sub: subject.sub,
        person: PersonClaims::new(subject, &scope),
    };
    ([(CACHE_CONTROL, "no-store")], Json(info)).into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[derive(Serialize)]
struct Refusal {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

/// RFC 6750, 3: a request without a token learns nothing but the scheme.
fn refused(status: StatusCode, challenge: &'static str, error: Option<&'static str>) -> Response {
    let header = [(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))];
    (status, header, Json(Refusal { error })).into_response()
}
