//! What may cross the gateway: hop-by-hop fields never (RFC 9110, 7.6.1), credentials never, and the truth about the way.

use std::net::IpAddr;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALT_SVC,
    AUTHORIZATION, CONNECTION, COOKIE, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SERVER,
    SET_COOKIE, STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::context::RequestContext;

const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// A service gets the caller's identity from us, never the credentials that the client showed.
const CREDENTIALS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, HeaderName::from_static("x-api-key")];

/// What a service says about how it is built and how it is doing is not for clients; and what it says to browsers about a
/// whole host is not its to say: it gets no cookie of theirs, does not know their origins, and is not where they connect to.
const INTERNAL: [HeaderName; 14] = [
    SERVER,
    HeaderName::from_static("x-powered-by"),
    HeaderName::from_static("x-aspnet-version"),
    HeaderName::from_static("x-runtime"),
    HeaderName::from_static("server-timing"),
    SET_COOKIE,
    ALT_SVC,
    STRICT_TRANSPORT_SECURITY,
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

const OUR_VIA: HeaderValue = HeaderValue::from_static("1.1 gateway");

pub(super) fn prepare_request(headers: &mut HeaderMap, context: &RequestContext) {
    remove_hop_by_hop(headers);
    for name in CREDENTIALS {
        headers.remove(name);
    }
    // The one that the edge has settled on.
    let host = headers.remove(HOST);
    forwarded(headers, context.client_address(), host);
    headers.append(VIA, OUR_VIA);
}

pub(super) fn prepare_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    for name in INTERNAL {
        headers.remove(name);
    }
    headers.append(VIA, OUR_VIA);
}

/// The listed fields, and those that `Connection` names.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// `Forwarded` (RFC 7239) and its older cousins. A client's own were removed at the edge.
fn forwarded(headers: &mut HeaderMap, client: IpAddr, host: Option<HeaderValue>) {
    let node = match client {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    };
    let mut text = format!("for={node};proto=http");
    if let Some(name) = host
        .as_ref()
        .and_then(|host| host.to_str().ok())
        .filter(|name| !name.contains(['"', '\\']))
    {
        text.push_str(&format!(";host=\"{name}\""));
    }
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(http::header::FORWARDED, value);
    }
    if let Ok(value) = HeaderValue::from_str(&client.to_string()) {
        headers.insert(HeaderName::from_static("x-forwarded-for"), value);
    }
    headers.insert(
        HeaderName::from_static("x-forwarded-proto"),
        HeaderValue::from_static("http"),
    );
    if let Some(host) = host {
        headers.insert(HeaderName::from_static("x-forwarded-host"), host);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::time::Duration;

    use super::*;

    #[test]
    fn hop_by_hop_fields_and_credentials_stay_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Bearer secret"),
            ("cookie", "a=b"),
            ("x-api-key", "secret"),
            ("host", "gadgets.example"),
            ("accept", "*/*"),
        ] {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let context = RequestContext::for_tests(Duration::from_secs(1));
        prepare_request(&mut headers, &context);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "accept",
                "forwarded",
                "via",
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-proto"
            ]
        );
        assert_eq!(
            headers["forwarded"],
            "for=127.0.0.1;proto=http;host=\"gadgets.example\""
        );
    }

    #[test]
    fn an_ipv6_client_is_quoted() {
        let mut headers = HeaderMap::new();
        forwarded(&mut headers, "2001:db8::1".parse().unwrap(), None);
        assert_eq!(headers["forwarded"], "for=\"[2001:db8::1]\";proto=http");
        assert_eq!(headers["x-forwarded-for"], "2001:db8::1");
    }
}
