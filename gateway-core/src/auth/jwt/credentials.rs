//! Where credentials may stand in a request, and that there is at most one. Whether they are good is decided in
//! `auth/jwt.rs`.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;

use crate::error::{ClientError, Error};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credentials<'a> {
    None,
    /// From `Authorization: Bearer`: a JWT or an API key.
    Bearer(&'a str),
    /// From `X-API-Key`.
    ApiKey(&'a str),
}

impl<'a> Credentials<'a> {
    /// Two credentials are refused: whoever checks one and acts on the other has been confused.
    pub(super) fn find(headers: &'a HeaderMap) -> Result<Self, Error> {
        let authorization = only(headers, &AUTHORIZATION)?;
        let api_key = only(headers, &X_API_KEY)?;
        match (authorization, api_key) {
            (None, None) => Ok(Self::None),
            (Some(_), Some(_)) => Err(Error::bad_request(
                "Authorization and X-API-Key exclude one another",
            )),
            (None, Some(key)) => match key.to_str() {
                Ok(key) => Ok(Self::ApiKey(key)),
                Err(_) => Err(ClientError::InvalidToken("not text").into()),
            },
            (Some(authorization), None) => bearer(authorization).map(Self::Bearer),
        }
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Error> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Error::bad_request(format!("{name} is there twice"))),
    }
}

fn bearer(authorization: &HeaderValue) -> Result<&str, Error> {
    let text = authorization
        .to_str()
        .map_err(|_| ClientError::InvalidToken("not text"))?;
    let (scheme, token) = match memchr(b' ', text.as_bytes()) {
        Some(space) => (&text[..space], &text[space..]),
        None => (text, ""),
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        // RFC 6750, 3.1: no error code for a scheme that is not ours.
        return Err(ClientError::Unauthenticated.into());
    }
    let token = token.trim_matches(' ');
    if token.is_empty() || memchr(b' ', token.as_bytes()).is_some() {
        return Err(ClientError::InvalidToken("not one token").into());
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::Credentials;
    use crate::error::{ClientError, Error};

    #[test]
    fn credentials_are_found_once_or_refused() {
        let cases: [(&[(&str, &str)], &str); 14] = [
            (&[], "none"),
            (&[("accept", "*/*")], "none"),
            (&[("authorization", "Bearer abc")], "bearer abc"),
            (&[("authorization", "bEARER   abc ")], "bearer abc"),
            (&[("x-api-key", "acme_live_1")], "key acme_live_1"),
            (&[("authorization", "Bearer")], "invalid"),
            (&[("authorization", "Bearer a b")], "invalid"),
            (&[("authorization", "Bearer \u{e9}")], "invalid"),
            (&[("x-api-key", "\u{e9}")], "invalid"),
            (&[("authorization", "Basic abc")], "unauthenticated"),
            (&[("authorization", "")], "unauthenticated"),
            (
                &[("authorization", "Bearer a"), ("authorization", "Bearer a")],
                "bad request",
            ),
            (&[("x-api-key", "a"), ("x-api-key", "a")], "bad request"),
            (
                &[("authorization", "Bearer a"), ("x-api-key", "a")],
                "bad request",
            ),
        ];
        for (fields, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(
                    HeaderName::try_from(*name).unwrap(),
                    HeaderValue::from_bytes(value.as_bytes()).unwrap(),
                );
            }
            let found = match Credentials::find(&headers) {
                Ok(Credentials::None) => "none".to_owned(),
                Ok(Credentials::Bearer(token)) => format!("bearer {token}"),
                Ok(Credentials::ApiKey(key)) => format!("key {key}"),
                Err(Error::Client(ClientError::InvalidToken(_))) => "invalid".to_owned(),
                Err(Error::Client(ClientError::Unauthenticated)) => "unauthenticated".to_owned(),
                Err(Error::Client(ClientError::BadRequest(_))) => "bad request".to_owned(),
                Err(other) => other.to_string(),
            };
            assert_eq!(found, expected, "{fields:?}");
        }
    }
}
