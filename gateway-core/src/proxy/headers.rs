//! What may cross the gateway: hop-by-hop fields never (RFC 9110, 7.6.1), credentials never, and the truth about the way.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, CONNECTION, COOKIE, FORWARDED, HOST, TE, TRAILER, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use crate::context::RequestContext;
use crate::digits::push_address;
use crate::edge::is_reserved;

/// `Trailer` is none of them: it announces what comes after the body, and that crosses.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// A service gets the caller's identity from us, never the credentials that the client showed.
static CREDENTIALS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, HeaderName::from_static("x-api-key")];

/// What a service says about how it is built and how it is doing is not for clients; and what it says to browsers about a
/// whole host is not its to say: it gets no cookie of theirs, does not know their origins, and is not where they connect to.
fn is_internal(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "server"
            | "x-powered-by"
            | "x-aspnet-version"
            | "x-runtime"
            | "server-timing"
            | "set-cookie"
            | "alt-svc"
            | "strict-transport-security"
            | "access-control-allow-origin"
            | "access-control-allow-credentials"
            | "access-control-allow-headers"
            | "access-control-allow-methods"
            | "access-control-expose-headers"
            | "access-control-max-age"
    )
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// How many fields are still added to a request or an answer on its way: a map that has room does not grow twice.
const ADDED: usize = 12;

/// How a request came here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop {
    pub(super) version: Version,
    pub(super) over_tls: bool,
    /// Whether fields after the body can be of use to the client.
    pub(super) trailers: bool,
}

/// Whether a client likes trailers (RFC 9110, 10.1.4).
pub(super) fn likes_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Whether a client shows credentials, which stay here.
pub(super) fn show_credentials(headers: &HeaderMap) -> bool {
    CREDENTIALS.iter().any(|name| headers.contains_key(name))
}

/// Whether a client's field does not come to the service as it is.
pub(super) fn is_altered(name: &HeaderName) -> bool {
    const SET: [HeaderName; 6] = [
        HOST,
        FORWARDED,
        X_FORWARDED_FOR,
        X_FORWARDED_PROTO,
        X_FORWARDED_HOST,
        VIA,
    ];
    SET.contains(name) || CREDENTIALS.contains(name) || is_hop_by_hop(name)
}

/// Whether a client's `Connection` says nothing but how long it is to stay: no field is taken away for it.
pub(super) fn has_plain_connection(headers: &HeaderMap) -> bool {
    headers.get_all(CONNECTION).iter().all(|value| {
        let value = value.as_bytes();
        value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
    })
}

/// The scheme by which a client came, as a service is told.
pub(super) fn proto(over_tls: bool) -> HeaderValue {
    HeaderValue::from_static(if over_tls { "https" } else { "http" })
}

/// Whether only we tell a service what the field says, or nobody does.
pub(super) fn is_for_us_to_say(name: &HeaderName) -> bool {
    is_hop_by_hop(name) || CREDENTIALS.contains(name) || is_reserved(name.as_str())
}

/// Whether a field of a service's answer does not come to its client.
pub(super) fn stays_here(name: &HeaderName) -> bool {
    is_hop_by_hop(name) || is_internal(name)
}

pub(super) fn prepare_request(headers: &mut HeaderMap, context: &RequestContext, hop: Hop) {
    remove_hop_by_hop(headers, |name| CREDENTIALS.contains(name));
    headers.reserve(ADDED);
    if hop.trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    // The one that the edge has settled on.
    let host = headers.remove(HOST);
    forwarded(headers, context.client_address(), host, hop.over_tls);
    headers.append(VIA, via(hop.version));
}

/// `trailers`: the client gets those that the answer announces.
pub(super) fn prepare_response(headers: &mut HeaderMap, version: Version, trailers: bool) {
    remove_hop_by_hop(headers, is_internal);
    headers.reserve(ADDED);
    if !trailers {
        headers.remove(TRAILER);
    }
    headers.append(VIA, via(version));
}

/// The version in which a message came here (RFC 9110, 7.6.3).
fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_09 | Version::HTTP_10 => "1.0 gateway",
        Version::HTTP_2 => "2 gateway",
        _ => "1.1 gateway",
    })
}

/// The fields that `Connection` names, the hop-by-hop ones, and `others`. Looks through the fields that are there, once:
/// there are fewer of them than of those that must not be.
fn remove_hop_by_hop(headers: &mut HeaderMap, others: impl Fn(&HeaderName) -> bool) {
    if headers.contains_key(CONNECTION) {
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
    }
    let stays = |name: &&HeaderName| is_hop_by_hop(name) || others(name);
    let stay: Vec<HeaderName> = headers.keys().filter(stays).cloned().collect();
    for name in stay {
        headers.remove(name);
    }
}

/// `Forwarded` (RFC 7239) and its older cousins. A client's own were removed at the edge.
fn forwarded(headers: &mut HeaderMap, client: IpAddr, host: Option<HeaderValue>, over_tls: bool) {
    let proto = if over_tls { "https" } else { "http" };
    let mut text = String::with_capacity(96);
    text.push_str(if client.is_ipv6() { "for=\"[" } else { "for=" });
    let start = text.len();
    push_address(&mut text, client);
    if let Ok(value) = HeaderValue::from_str(&text[start..]) {
        headers.insert(X_FORWARDED_FOR, value);
    }
    text.push_str(if client.is_ipv6() { "]\"" } else { "" });
    text.push_str(";proto=");
    text.push_str(proto);
    if let Some(name) = host
        .as_ref()
        .and_then(|host| host.to_str().ok())
        .filter(|name| !name.contains(['"', '\\']))
    {
        text.push_str(";host=\"");
        text.push_str(name);
        text.push('"');
    }
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(FORWARDED, value);
    }
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    if let Some(host) = host {
        headers.insert(X_FORWARDED_HOST, host);
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
        let hop = Hop {
            version: Version::HTTP_2,
            over_tls: true,
            trailers: likes_trailers(&headers),
        };
        prepare_request(&mut headers, &context, hop);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "accept",
                "connection",
                "forwarded",
                "te",
                "via",
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-proto"
            ]
        );
        assert_eq!(
            headers["forwarded"],
            "for=127.0.0.1;proto=https;host=\"gadgets.example\""
        );
    }

    #[test]
    fn an_ipv6_client_is_quoted() {
        let mut headers = HeaderMap::new();
        forwarded(&mut headers, "2001:db8::1".parse().unwrap(), None, false);
        assert_eq!(headers["forwarded"], "for=\"[2001:db8::1]\";proto=http");
        assert_eq!(headers["x-forwarded-for"], "2001:db8::1");
    }
}
