//! Forged requests (CSRF): what a browser sends with the cookie that authenticates has to come from pages of our own origin.
//! Sources: OWASP's CSRF prevention (Fetch Metadata, Origin, custom header), RFC 10017, Fetch Metadata Request Headers.
//! What the cookie is worth is decided by whoever checks sessions; which other origins may read answers is `cors.rs`'s.

use http::header::{AUTHORIZATION, HOST, ORIGIN, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::config::{CsrfConfig, CsrfRule};
use crate::error::ClientError;
use crate::session::cookies;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_USER: HeaderName = HeaderName::from_static("sec-fetch-user");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_CSRF: HeaderName = HeaderName::from_static("x-csrf");

/// By what a request would be authenticated. Whoever authenticates by cookie asks this first: with `Field` a cookie is
/// not looked at, so that a request is judged by one credential and forged by none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    None,
    /// `Authorization` or `X-API-Key`: no page of another site can make a browser add them.
    Field,
    /// The cookie that `[csrf]` names: browsers add it by themselves.
    Cookie,
}

impl Credential {
    pub(crate) fn of(headers: &HeaderMap, config: &CsrfConfig) -> Self {
        if headers.contains_key(AUTHORIZATION) || headers.contains_key(X_API_KEY) {
            return Self::Field;
        }
        match &config.cookie {
            Some(name) if cookies(headers).any(|(found, _)| found == name.as_bytes()) => {
                Self::Cookie
            }
            _ => Self::None,
        }
    }
}

/// Where the browser says that a request comes from (`Sec-Fetch-Site`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Site {
    SameOrigin,
    /// No page: an address that was typed in, a bookmark.
    None,
    /// `same-site` (another origin), `cross-site`, and what is not understood.
    Other,
}

impl Site {
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(SEC_FETCH_SITE).iter();
        let first = values.next()?;
        Some(match (first.as_bytes(), values.next()) {
            (b"same-origin", None) => Self::SameOrigin,
            (b"none", None) => Self::None,
            _ => Self::Other,
        })
    }
}

/// Our own origin: what is configured, or what the request's host and scheme say.
pub(super) struct Own<'a> {
    pub(super) listed: &'a [String],
    pub(super) secure: bool,
}

impl Own<'_> {
    fn is(&self, origin: &HeaderValue, headers: &HeaderMap) -> bool {
        if !self.listed.is_empty() {
            return self.listed.iter().any(|own| origin == own.as_str());
        }
        let (scheme, port) = if self.secure {
            ("https://", ":443")
        } else {
            ("http://", ":80")
        };
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_ascii_lowercase);
        let (Some(origin), Some(host)) = (text(origin), headers.get(HOST).and_then(text)) else {
            return false;
        };
        // Browsers leave the scheme's own port out.
        origin.strip_prefix(scheme) == Some(host.strip_suffix(port).unwrap_or(&host))
    }
}

/// Checks a request that is authenticated by the cookie.
pub(super) fn check(
    rule: CsrfRule,
    method: &Method,
    headers: &HeaderMap,
    own: &Own<'_>,
) -> Result<(), ClientError> {
    if rule == CsrfRule::Exempt {
        return Ok(());
    }
    // Browsers let every page open a WebSocket to everywhere, with cookies, and no field of its own.
    if is_handshake(method, headers) {
        return handshake(headers, own);
    }
    if method.is_safe() {
        return Ok(());
    }
    same_origin(headers, own)?;
    if rule == CsrfRule::OriginAndHeader && !has_header(headers) {
        return Err(ClientError::CrossSite("The header X-CSRF: 1 is missing."));
    }
    Ok(())
}

fn is_handshake(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::CONNECT
        || headers.get_all(UPGRADE).iter().any(|value| {
            value
                .as_bytes()
                .to_ascii_lowercase()
                .windows(9)
                .any(|word| word == b"websocket")
        })
}

fn handshake(headers: &HeaderMap, own: &Own<'_>) -> Result<(), ClientError> {
    let fits = only(headers, &ORIGIN).is_some_and(|origin| own.is(origin, headers))
        && matches!(Site::of(headers), None | Some(Site::SameOrigin));
    if fits {
        Ok(())
    } else {
        Err(ClientError::CrossSite(
            "A WebSocket with a cookie needs the gateway's own Origin.",
        ))
    }
}

fn same_origin(headers: &HeaderMap, own: &Own<'_>) -> Result<(), ClientError> {
    let is =
        |name: &HeaderName, value: &str| only(headers, name).is_some_and(|found| found == value);
    let fits = match Site::of(headers) {
        Some(Site::SameOrigin) => true,
        // What no page has asked for has to be something that a person did.
        Some(Site::None) => is(&SEC_FETCH_MODE, "navigate") && is(&SEC_FETCH_USER, "?1"),
        Some(Site::Other) => false,
        // An older browser; all send Origin with unsafe methods.
        None => only(headers, &ORIGIN).is_some_and(|origin| own.is(origin, headers)),
    };
    if fits {
        Ok(())
    } else {
        Err(ClientError::CrossSite(
            "With a cookie, requests that change something come from the gateway's own pages.",
        ))
    }
}

fn has_header(headers: &HeaderMap) -> bool {
    only(headers, &X_CSRF).is_some_and(|value| value == "1")
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests;
