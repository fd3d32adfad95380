//! Where a request comes from: the peer, or what trusted proxies say in `Forwarded` or `X-Forwarded-For`, as far as they
//! are trusted. What the headers say to services is set again by `proxy/headers.rs`.

use std::net::{IpAddr, SocketAddr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address: the rightmost one on the request's way that is not a trusted proxy's. Each proxy adds its peer
/// at the right, so everything left of an address that is not trusted is hearsay.
///
/// A proxy that writes one of the two headers may pass the client's own text of the other on. So when both are there and
/// disagree, neither is believed.
pub(super) fn find(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let forwarded = headers
        .contains_key(FORWARDED)
        .then(|| walk(forwarded(headers), peer, trusted));
    let x_forwarded_for = headers
        .contains_key(X_FORWARDED_FOR)
        .then(|| walk(x_forwarded_for(headers), peer, trusted));
    match (forwarded, x_forwarded_for) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(address), _) | (None, Some(address)) => address,
        (None, None) => peer,
    }
}

/// Whether a peer is a proxy whose word is believed.
pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// Goes along `hops`, from the nearest to the farthest, for as long as they are trusted. A hop without an address
/// (`unknown`, `_hidden`, nonsense) ends the way at the last one that has one.
fn walk(hops: impl Iterator<Item = Option<IpAddr>>, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let mut nearest = peer;
    for hop in hops {
        match hop {
            Some(address) => nearest = address,
            None => return nearest,
        }
        if !is_trusted(nearest, trusted) {
            return nearest;
        }
    }
    nearest
}

/// Addresses of all `X-Forwarded-For` lines, from the right.
fn x_forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .rev()
        .flat_map(|line| line.to_str().unwrap_or("?").rsplit(','))
        .map(|node| address(node.trim()))
}

/// Addresses of all `Forwarded` lines (RFC 7239, section 4), from the right.
fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    headers.get_all(FORWARDED).iter().rev().flat_map(|line| {
        // A quotation that does not end could swallow what a proxy has added: such a line says nothing.
        let elements = line.to_str().ok().and_then(|line| split(line, ','));
        let elements = elements.map_or_else(
            || vec![None],
            |elements| elements.into_iter().rev().map(element).collect(),
        );
        elements.into_iter()
    })
}

/// The address in `for=…` of one element.
fn element(element: &str) -> Option<IpAddr> {
    split(element, ';')?.into_iter().find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("for") {
            return None;
        }
        let value = value.trim();
        let unquoted = value
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        address(unquoted.unwrap_or(value))
    })
}

/// Splits at `separator` outside of quoted strings; `None` when a quotation does not end.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

/// An address with or without a port, IPv6 with or without brackets.
fn address(node: &str) -> Option<IpAddr> {
    let bare = |text: &str| text.parse::<IpAddr>().ok();
    bare(node)
        .or_else(|| bare(node.strip_prefix('[')?.strip_suffix(']')?))
        .or_else(|| node.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use http::{HeaderMap, HeaderName, HeaderValue};
    use ipnet::IpNet;

    use super::find;

    const PROXY: &str = "10.0.0.1";

    fn client(peer: &str, lines: &[(&str, &str)]) -> String {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"]
            .iter()
            .map(|network| network.parse().unwrap())
            .collect();
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        find(&headers, peer.parse().unwrap(), &trusted).to_string()
    }

    #[test]
    fn only_a_trusted_peer_is_listened_to() {
        for lines in [
            [("x-forwarded-for", "198.51.100.7")],
            [("forwarded", "for=198.51.100.7")],
        ] {
            assert_eq!(client("192.0.2.1", &lines), "192.0.2.1");
            assert_eq!(client(PROXY, &lines), "198.51.100.7");
            assert_eq!(client("::ffff:10.0.0.1", &lines), "198.51.100.7");
            assert_eq!(client("fd00::1", &lines), "198.51.100.7");
        }
        assert_eq!(client(PROXY, &[]), PROXY);
    }

    #[test]
    fn the_rightmost_address_that_is_not_trusted_is_the_client() {
        for (line, expected) in [
            // What a client made up stands left of its own address.
            ("1.1.1.1, 198.51.100.7", "198.51.100.7"),
            ("1.1.1.1, 198.51.100.7, 10.0.0.9", "198.51.100.7"),
            ("10.0.0.8, 10.0.0.9", "10.0.0.8"),
            ("198.51.100.7:4711", "198.51.100.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            // Nonsense ends the way at the last hop that is known.
            ("1.1.1.1, nonsense", PROXY),
            ("1.1.1.1, nonsense, 10.0.0.9", "10.0.0.9"),
            ("1.1.1.1,", PROXY),
            ("", PROXY),
        ] {
            assert_eq!(
                client(PROXY, &[("x-forwarded-for", line)]),
                expected,
                "{line}"
            );
        }
        let lines = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "198.51.100.7"),
        ];
        assert_eq!(client(PROXY, &lines), "198.51.100.7");
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        for (line, expected) in [
            ("for=198.51.100.7;proto=https;by=10.0.0.1", "198.51.100.7"),
            ("proto=https; For=\"198.51.100.7:4711\"", "198.51.100.7"),
            ("for=1.1.1.1, for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=198.51.100.7, for=10.0.0.9", "198.51.100.7"),
            ("for=\"a,b\", for=198.51.100.7", "198.51.100.7"),
            ("for=1.1.1.1, for=unknown", PROXY),
            ("for=1.1.1.1, for=_hidden", PROXY),
            ("for=1.1.1.1, proto=https", PROXY),
            // A quotation left open must not swallow what the proxy added, nor stand for the client.
            ("for=\"1.1.1.1, for=198.51.100.7", PROXY),
        ] {
            assert_eq!(client(PROXY, &[("forwarded", line)]), expected, "{line}");
        }
    }

    #[test]
    fn headers_that_disagree_are_not_believed() {
        let lines = |one, other| client(PROXY, &[("forwarded", one), ("x-forwarded-for", other)]);
        assert_eq!(lines("for=198.51.100.7", "198.51.100.7"), "198.51.100.7");
        assert_eq!(lines("for=1.1.1.1", "198.51.100.7"), PROXY);
        assert_eq!(lines("for=198.51.100.7", "1.1.1.1"), PROXY);
    }
}
