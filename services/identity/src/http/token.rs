//! The token endpoint: client credentials, authorization code with PKCE, refresh (RFC 6749, 3.2). Not here: `/dev/token`,
//! which asks for no proof at all.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde::Serialize;

use super::client_authentication::{authenticate, form};
use super::oauth_error::OAuthError;
use super::parameters::Parameters;
use crate::client::{Client, Grant};
use crate::directory::{self, Subject};
use crate::grants::{self, Granted};
use crate::provider::{Provider, now};
use crate::token::{AccessToken, IdToken, has_scope};

/// Short, since a browser's client refreshes it by itself. Seconds.
const PERSON_TOKEN_LIFE: i64 = 300;
/// A partner has no refresh token; it asks again. Seconds.
const PARTNER_TOKEN_LIFE: i64 = 3600;

/// A successful answer (RFC 6749, 5.1).
#[derive(Serialize)]
pub(super) struct TokenAnswer {
    pub(super) access_token: String,
    pub(super) token_type: &'static str,
    pub(super) expires_in: i64,
    pub(super) scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id_token: Option<String>,
}

impl IntoResponse for TokenAnswer {
    fn into_response(self) -> Response {
        let mut response = Json(self).into_response();
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

pub(super) async fn exchange(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<TokenAnswer, OAuthError> {
    let parameters = form(&headers, &body)?;
    let requested = required(&parameters, "grant_type")?;
    let grant = Grant::ALL
        .into_iter()
        .find(|grant| grant.name() == requested);
    let client = authenticate(&provider, &headers, &parameters)?;
    let grant = grant.ok_or(OAuthError::UnsupportedGrantType)?;
    if !client.may(grant) {
        return Err(OAuthError::UnauthorizedClient);
    }
    match grant {
        Grant::ClientCredentials => client_credentials(&provider, client, &parameters),
        Grant::AuthorizationCode => authorization_code(&provider, client, &parameters).await,
        Grant::RefreshToken => refresh_token(&provider, client, &parameters).await,
    }
}

fn client_credentials(
    provider: &Provider,
    client: &Client,
    parameters: &Parameters,
) -> Result<TokenAnswer, OAuthError> {
    // Such a client acts for itself: it is its own subject.
    let subject = directory::find(&client.id).ok_or(OAuthError::UnauthorizedClient)?;
    let allowed = subject.role.scopes();
    let scope = match parameters.get("scope")? {
        None => allowed.join(" "),
        Some(requested) if requested.split(' ').all(|name| allowed.contains(&name)) => {
            requested.to_owned()
        }
        Some(_) => {
            return Err(OAuthError::InvalidScope(format!(
                "this client may have: {}",
                allowed.join(" ")
            )));
        }
    };
    let access_token = AccessToken {
        issuer: &provider.issuer,
        subject,
        client_id: &client.id,
        audience: &audience(subject),
        scope: &scope,
        expires_in: PARTNER_TOKEN_LIFE,
        sid: None,
    }
    .sign(&provider.keys.current(), client.algorithm, now())?;
    Ok(TokenAnswer {
        access_token,
        token_type: "Bearer",
        expires_in: PARTNER_TOKEN_LIFE,
        scope,
        refresh_token: None,
        id_token: None,
    })
}

async fn authorization_code(
    provider: &Provider,
    client: &Client,
    parameters: &Parameters,
) -> Result<TokenAnswer, OAuthError> {
    let granted = grants::redeem_code(
        &provider.database,
        &client.id,
        required(parameters, "code")?,
        required(parameters, "redirect_uri")?,
        required(parameters, "code_verifier")?,
        now(),
    )
    .await?;
    person_answer(provider, client, granted)
}

async fn refresh_token(
    provider: &Provider,
    client: &Client,
    parameters: &Parameters,
) -> Result<TokenAnswer, OAuthError> {
    let granted = grants::refresh(
        &provider.database,
        &client.id,
        required(parameters, "refresh_token")?,
        parameters.get("scope")?,
        now(),
    )
    .await?;
    person_answer(provider, client, granted)
}

fn person_answer(
    provider: &Provider,
    client: &Client,
    granted: Granted,
) -> Result<TokenAnswer, OAuthError> {
    let authorization = granted.authorization;
    let subject = directory::find(&authorization.sub)
        .ok_or(OAuthError::InvalidGrant("the person is gone"))?;
    let keys = provider.keys.current();
    let now = now();
    let access_token = AccessToken {
        issuer: &provider.issuer,
        subject,
        client_id: &client.id,
        audience: &audience(subject),
        scope: &authorization.scope,
        expires_in: PERSON_TOKEN_LIFE,
        sid: Some(&authorization.sid),
    }
    .sign(&keys, client.algorithm, now)?;
    let id_token = if has_scope(&authorization.scope, "openid") {
        let token = IdToken {
            issuer: &provider.issuer,
            subject,
            client_id: &client.id,
            scope: &authorization.scope,
            nonce: granted.nonce.as_deref(),
            auth_time: authorization.auth_time,
            sid: &authorization.sid,
        };
        Some(token.sign(&keys, client.algorithm, now)?)
    } else {
        None
    };
    Ok(TokenAnswer {
        access_token,
        token_type: "Bearer",
        expires_in: PERSON_TOKEN_LIFE,
        scope: authorization.scope,
        refresh_token: Some(granted.refresh_token),
        id_token,
    })
}

/// The audiences of a subject's tokens.
pub(super) fn audience(subject: &Subject) -> Vec<String> {
    subject
        .role
        .audience()
        .iter()
        .map(|name| (*name).to_owned())
        .collect()
}

fn required<'a>(parameters: &'a Parameters, name: &'static str) -> Result<&'a str, OAuthError> {
    parameters
        .get(name)?
        .ok_or_else(|| OAuthError::InvalidRequest(format!("{name} is missing")))
}
