//! Token revocation (RFC 7009). Refresh tokens only: an access token says all by itself and ends soon.

use std::sync::Arc;

use axum::extract::State;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::client_authentication::{authenticate, form};
use super::oauth_error::OAuthError;
use crate::grants;
use crate::provider::{Provider, now};

pub(super) async fn revoke(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, OAuthError> {
    let parameters = form(&headers, &body)?;
    let client = authenticate(&provider, &headers, &parameters)?;
    let token = parameters
        .get("token")?
        .ok_or_else(|| OAuthError::InvalidRequest("token is missing".to_owned()))?;
    grants::revoke(&provider.database, &client.id, token, now()).await?;
    // Also for a token that nobody knows (RFC 7009, 2.2): the client wanted it to be of no use, and it is of none.
    Ok(StatusCode::OK)
}
