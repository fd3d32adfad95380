//! WebSockets through the proxy (RFC 6455): which handshakes go upstream, and what is made of the answer. The bytes of an
//! open one are `tunnel.rs`'s; who may open one is decided at the edge, like for any request.
//!
//! HTTP/1.1 only: extended CONNECT (RFC 8441) is not offered in our HTTP/2 settings, so clients do not try it.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};
use hyper::upgrade::OnUpgrade;

use crate::error::{ClientError, Error};

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Whether a request asks for a WebSocket. Other protocols are not known here, and not passed on.
pub(crate) fn asks<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && has_token(request.headers(), &CONNECTION, "upgrade")
        && has_token(request.headers(), &UPGRADE, "websocket")
}

/// Checks a handshake and takes the client's side of the connection for later.
pub(crate) fn take(request: &mut Request<Body>) -> Result<OnUpgrade, Error> {
    let headers = request.headers();
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(ClientError::UpgradeRequired.into());
    }
    if headers.get_all(SEC_WEBSOCKET_KEY).iter().count() != 1 {
        return Err(Error::bad_request(
            "A WebSocket handshake has one Sec-WebSocket-Key.",
        ));
    }
    Ok(hyper::upgrade::on(request))
}

/// Asks the next hop for it, or tells the client: these fields are about one hop.
pub(crate) fn mark(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
}

/// Whether the service has agreed.
pub(super) fn agreed(response: &Response) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
}

fn has_token(headers: &HeaderMap, name: &http::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn a_handshake_is_told_from_other_requests() {
        let request = |method: &str, version, connection: &str, upgrade: &str| {
            Request::builder()
                .method(method)
                .version(version)
                .header(CONNECTION, connection)
                .header(UPGRADE, upgrade)
                .body(())
                .unwrap()
        };
        let v11 = Version::HTTP_11;
        for (request, asked) in [
            (request("GET", v11, "Upgrade", "websocket"), true),
            (
                request("GET", v11, "keep-alive, upgrade", "h2c, WebSocket"),
                true,
            ),
            (request("GET", v11, "keep-alive", "websocket"), false),
            (request("GET", v11, "Upgrade", "h2c"), false),
            (request("POST", v11, "Upgrade", "websocket"), false),
            // RFC 9110, 7.8: ignored there.
            (
                request("GET", Version::HTTP_10, "Upgrade", "websocket"),
                false,
            ),
        ] {
            assert_eq!(asks(&request), asked, "{request:?}");
        }
    }
}
