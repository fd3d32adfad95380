//! The errors of the token and revocation endpoints as RFC 6749, 5.2 has them. Not here: those that travel in a redirect
//! (`authorize.rs`), and problem details, which only the `/dev` routes use.

use std::error::Error;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::parameters::Repeated;
use crate::grants::GrantError;
use crate::keys::KeyError;

/// Why no token is handed out. The description tells a client's author what to change, never a secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum OAuthError {
    #[error("{0}")]
    InvalidRequest(String),
    #[error("the client could not be authenticated")]
    InvalidClient,
    #[error("{0}")]
    InvalidGrant(&'static str),
    #[error("the client may not use this grant")]
    UnauthorizedClient,
    #[error("the grant_type is not supported")]
    UnsupportedGrantType,
    #[error("{0}")]
    InvalidScope(String),
    #[error("the request could not be completed")]
    Server(#[source] Box<dyn Error + Send + Sync>),
}

impl OAuthError {
    fn code(&self) -> &'static str {
        match self {
            OAuthError::InvalidRequest(_) => "invalid_request",
            OAuthError::InvalidClient => "invalid_client",
            OAuthError::InvalidGrant(_) => "invalid_grant",
            OAuthError::UnauthorizedClient => "unauthorized_client",
            OAuthError::UnsupportedGrantType => "unsupported_grant_type",
            OAuthError::InvalidScope(_) => "invalid_scope",
            OAuthError::Server(_) => "server_error",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            OAuthError::InvalidClient => StatusCode::UNAUTHORIZED,
            OAuthError::Server(_) => StatusCode::INTERNAL_SERVER_ERROR,
            OAuthError::InvalidRequest(_)
            | OAuthError::InvalidGrant(_)
            | OAuthError::UnauthorizedClient
            | OAuthError::UnsupportedGrantType
            | OAuthError::InvalidScope(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<Repeated> for OAuthError {
    fn from(fault: Repeated) -> Self {
        OAuthError::InvalidRequest(fault.to_string())
    }
}

impl From<GrantError> for OAuthError {
    fn from(fault: GrantError) -> Self {
        match fault {
            GrantError::Invalid(reason) => OAuthError::InvalidGrant(reason),
            GrantError::Scope => OAuthError::InvalidScope(fault.to_string()),
            GrantError::Storage(_) | GrantError::Randomness(_) => {
                OAuthError::Server(Box::new(fault))
            }
        }
    }
}

impl From<KeyError> for OAuthError {
    fn from(fault: KeyError) -> Self {
        OAuthError::Server(Box::new(fault))
    }
}

impl From<sqlx::Error> for OAuthError {
    fn from(fault: sqlx::Error) -> Self {
        OAuthError::Server(Box::new(fault))
    }
}

#[derive(Serialize)]
struct Body {
    error: &'static str,
    error_description: String,
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        if let OAuthError::Server(cause) = &self {
            tracing::error!(error = %cause, cause = ?cause.source(), "token request failed");
        }
        let body = Body {
            error: self.code(),
            error_description: self.to_string(),
        };
        let mut response = (self.status(), Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(self, OAuthError::InvalidClient) {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"ftgo-identity\""),
            );
        }
        response
    }
}
