//! Strict Host (RFC 9112, 3.2): a request that does not name exactly one host is refused before anything is routed by it.
//! What a service is told about it is `proxy/headers.rs`.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::{HeaderValue, Request, Version};
use memchr::memrchr;

use crate::error::Error;

/// Checks which host is meant, and leaves that one in the Host header.
pub(super) fn settle<B>(request: &mut Request<B>) -> Result<(), Error> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Error::bad_request("A request has one Host header."));
    }
    let named = first.map(|host| check(host.as_bytes())).transpose()?;
    let target = request.uri().authority();
    let target = target
        .map(|authority| check(authority.as_str().as_bytes()))
        .transpose()?;
    let http2 = request.version() == Version::HTTP_2;
    let host = match (target, named) {
        // RFC 9113, 8.3.1: `:authority` and Host are not two opinions.
        (Some(target), Some(named)) if http2 && !target.eq_ignore_ascii_case(named) => {
            return Err(Error::bad_request("A request names one host."));
        }
        // RFC 9112, 3.2.2: of a target and a header the target wins; HTTP/2 needs no header.
        (Some(target), named) if http2 || named.is_some() => target,
        // The header says it already.
        (None, Some(_)) => return Ok(()),
        (Some(_) | None, _) => return Err(Error::bad_request("A request names its host.")),
    };
    let value = HeaderValue::from_bytes(host).map_err(|_| invalid())?;
    request.headers_mut().insert(HOST, value);
    Ok(())
}

/// A name or an address, and maybe a port. What else the grammar allows (user names, commas, escapes) is no host of
/// anybody's, and could be read as something else in the lists that services are sent.
fn check(host: &[u8]) -> Result<&[u8], Error> {
    let (name, port) = match memrchr(b':', host) {
        Some(colon) if !host[colon..].contains(&b']') => (&host[..colon], &host[colon + 1..]),
        _ => (host, &b""[..]),
    };
    let v6 = name
        .strip_prefix(b"[")
        .and_then(|name| name.strip_suffix(b"]"));
    let is_host = match v6 {
        Some(address) => {
            std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
        }
        None => {
            let letter = |b: &u8| b.is_ascii_alphanumeric() || b".-_".contains(b);
            !name.is_empty() && name.iter().all(letter)
        }
    };
    let port = std::str::from_utf8(port).map_err(|_| invalid())?;
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    let is_port = port.is_empty() || digits && port.parse::<u16>().is_ok();
    if is_host && is_port {
        Ok(host)
    } else {
        Err(invalid())
    }
}

fn invalid() -> Error {
    Error::bad_request("The host is not valid.")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn settled(version: Version, target: &str, hosts: &[&str]) -> Option<String> {
        let mut builder = Request::builder().version(version).uri(target);
        for host in hosts {
            builder = builder.header(HOST, *host);
        }
        let mut request = builder.body(()).unwrap();
        settle(&mut request).ok()?;
        Some(request.headers()[HOST].to_str().unwrap().to_owned())
    }

    #[test]
    fn exactly_one_host() {
        let host = |hosts: &[&str]| settled(Version::HTTP_11, "/", hosts);
        assert_eq!(host(&["a.example"]).as_deref(), Some("a.example"));
        assert_eq!(host(&[]), None);
        assert_eq!(host(&[""]), None);
        assert_eq!(host(&["a.example", "a.example"]), None);
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_maybe_a_port() {
        for good in [
            "a",
            "A.example",
            "my_host-1",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:8080",
        ] {
            assert!(check(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "", "a b/c@d", "u@a", "a,b", "a;b", "a%41", "a:b", "a:70000", ":80", "[::1", "[x]",
            "::1", "a/b", "a?b", "a\u{e9}", "[a]b",
        ] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_target_wins_over_the_header() {
        let absolute = |version, hosts: &[&str]| settled(version, "http://good.example/", hosts);
        let good = Some("good.example".to_owned());
        assert_eq!(absolute(Version::HTTP_11, &["evil.example"]), good);
        assert_eq!(absolute(Version::HTTP_11, &[]), None);
        assert_eq!(absolute(Version::HTTP_2, &[]), good);
        assert_eq!(absolute(Version::HTTP_2, &["Good.example"]), good);
        assert_eq!(absolute(Version::HTTP_2, &["evil.example"]), None);
        let with_user = settled(Version::HTTP_11, "http://u@good.example/", &["a"]);
        assert_eq!(with_user, None);
    }
}
