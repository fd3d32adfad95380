//! Strict Host (RFC 9112, 3.2): a request that does not name exactly one host is refused before anything is routed by it.
//! What a service is told about it is `proxy/headers.rs`.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Request, Version};

use crate::error::Error;

/// Checks which host is meant, and leaves that one in the Host header.
pub(super) fn settle<B>(request: &mut Request<B>) -> Result<(), Error> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Error::bad_request("A request has one Host header."));
    }
    let named = first.map(|host| parse(host.as_bytes())).transpose()?;
    let target = request.uri().authority();
    let target = target
        .map(|authority| parse(authority.as_str().as_bytes()))
        .transpose()?;
    let http2 = request.version() == Version::HTTP_2;
    let host = match (target, named) {
        // RFC 9113, 8.3.1: `:authority` and Host are not two opinions.
        (Some(target), Some(named)) if http2 && target != named => {
            return Err(Error::bad_request("A request names one host."));
        }
        // RFC 9112, 3.2.2: of a target and a header the target wins; HTTP/2 needs no header.
        (Some(target), named) if http2 || named.is_some() => target,
        (None, Some(named)) => named,
        (Some(_) | None, _) => return Err(Error::bad_request("A request names its host.")),
    };
    let value = HeaderValue::from_str(host.as_str()).map_err(|_| invalid())?;
    request.headers_mut().insert(HOST, value);
    Ok(())
}

/// A name or an address, and maybe a port. What else the grammar allows (user names, commas, escapes) is no host of
/// anybody's, and could be read as something else in the lists that services are sent.
fn parse(text: &[u8]) -> Result<Authority, Error> {
    let authority = Authority::try_from(text).map_err(|_| invalid())?;
    let (name, port) = match authority.as_str().rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (authority.as_str(), ""),
    };
    let v6 = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let is_host = match v6 {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let letter = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
            !name.is_empty() && name.bytes().all(letter)
        }
    };
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    let is_port = port.is_empty() || digits && port.parse::<u16>().is_ok();
    if is_host && is_port {
        Ok(authority)
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
            assert!(parse(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "", "a b/c@d", "u@a", "a,b", "a;b", "a%41", "a:b", "a:70000", ":80", "[::1", "[x]",
            "::1", "a/b", "a?b", "a\u{e9}", "[a]b",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
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
