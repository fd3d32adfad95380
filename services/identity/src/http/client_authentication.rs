//! Which client a request to the token or revocation endpoint comes from (RFC 6749, 2.3): `client_secret_basic`,
//! `client_secret_post`, or `none` for public clients. Not here: what the client may then do.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use url::form_urlencoded;

use super::oauth_error::OAuthError;
use super::parameters::Parameters;
use crate::client::Client;
use crate::provider::Provider;

/// Reads the form of a request; anything else than a form is a fault.
pub(super) fn form(headers: &HeaderMap, body: &[u8]) -> Result<Parameters, OAuthError> {
    let is_form = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media| {
            media
                .trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
    if is_form {
        Ok(Parameters::parse(body))
    } else {
        Err(OAuthError::InvalidRequest(
            "the body must be application/x-www-form-urlencoded".to_owned(),
        ))
    }
}

/// The client that the request proves to come from.
pub(super) fn authenticate<'a>(
    provider: &'a Provider,
    headers: &HeaderMap,
    parameters: &Parameters,
) -> Result<&'a Client, OAuthError> {
    let named = parameters.get("client_id")?;
    let posted = parameters.get("client_secret")?;
    if let Some(header) = headers.get(AUTHORIZATION) {
        if posted.is_some() {
            return Err(OAuthError::InvalidRequest(
                "the client authenticates in two ways at once".to_owned(),
            ));
        }
        let (id, secret) = header
            .to_str()
            .ok()
            .and_then(basic_credentials)
            .ok_or(OAuthError::InvalidClient)?;
        if named.is_some_and(|named| named != id) {
            return Err(OAuthError::InvalidRequest(
                "client_id is not the client that authenticates".to_owned(),
            ));
        }
        return confidential(provider, &id, &secret);
    }
    let Some(id) = named else {
        return Err(OAuthError::InvalidClient);
    };
    match posted {
        Some(secret) => confidential(provider, id, secret),
        None => provider
            .client(id)
            .filter(|client| client.secret.is_none())
            .ok_or(OAuthError::InvalidClient),
    }
}

fn confidential<'a>(
    provider: &'a Provider,
    id: &str,
    secret: &str,
) -> Result<&'a Client, OAuthError> {
    provider
        .client(id)
        .filter(|client| client.has_secret(secret))
        .ok_or(OAuthError::InvalidClient)
}

/// RFC 6749, 2.3.1: both halves are form-encoded before they are joined and put into base64.
fn basic_credentials(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((form_decoded(id)?, form_decoded(secret)?))
}

fn form_decoded(text: &str) -> Option<String> {
    if text.contains(['&', '=']) {
        return None;
    }
    let pair = form_urlencoded::parse(text.as_bytes()).next();
    Some(pair.map_or_else(String::new, |(decoded, _)| decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::basic_credentials;

    fn header(credentials: &str) -> String {
        format!("Basic {}", STANDARD.encode(credentials))
    }

    #[test]
    fn credentials_are_form_decoded() {
        assert_eq!(
            basic_credentials(&header("partner%2D1:d%3Aemo+x")),
            Some(("partner-1".to_owned(), "d:emo x".to_owned()))
        );
        assert_eq!(
            basic_credentials(&header("partner-1:")),
            Some(("partner-1".to_owned(), String::new()))
        );
    }

    #[test]
    fn anything_else_is_no_credential() {
        assert_eq!(basic_credentials(&header("partner-1")), None);
        assert_eq!(basic_credentials("Bearer abc"), None);
        assert_eq!(basic_credentials("Basic !!!"), None);
        assert_eq!(basic_credentials("Basic"), None);
    }
}
