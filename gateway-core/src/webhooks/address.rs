//! Which addresses messages may go to: partners choose them, so none may lead into our own network (server-side request forgery,
//! OWASP API7). What is asked of an address when it is registered and whenever it is connected to; sending is `send.rs`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The longest address.
const MAX_LENGTH: usize = 2048;
/// For a name that is looked up while somebody waits.
const LOOKUP: Duration = Duration::from_secs(2);

/// Why an address cannot be used, in words for who has chosen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    #[error("has to be an absolute URL with at most {MAX_LENGTH} characters")]
    NoUrl,
    #[error("has to begin with https://")]
    NotHttps,
    #[error("must not have a user name, a password or a fragment")]
    Credentials,
    #[error("has to lead to a public address")]
    NotPublic,
    #[error("its host's name cannot be resolved")]
    Unresolved,
}

/// Whether a connection may be made. Without TLS only on this machine, and to this machine only where that is allowed.
pub(super) fn may_connect(to: IpAddr, tls: bool, loopback: bool) -> bool {
    match to.is_loopback() {
        true => loopback,
        false => tls && is_public(to),
    }
}

/// Reads an address, and checks what can be checked without asking anybody.
pub(super) fn check(url: &str, loopback: bool) -> Result<Url, AddressFault> {
    let parsed = Url::parse(url).map_err(|_| AddressFault::NoUrl)?;
    if url.len() > MAX_LENGTH || parsed.host_str().is_none_or(str::is_empty) {
        return Err(AddressFault::NoUrl);
    }
    let tls = parsed.scheme() == "https";
    let plain = parsed.scheme() == "http" && loopback;
    if !(tls || plain) {
        return Err(AddressFault::NotHttps);
    }
    let has_fragment = parsed.fragment().is_some();
    if has_fragment || !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(AddressFault::Credentials);
    }
    match literal(&parsed) {
        Some(address) if !may_connect(address, tls, loopback) => Err(AddressFault::NotPublic),
        _ => Ok(parsed),
    }
}

/// Looks the host's name up, and checks everything that it stands for.
pub(super) async fn resolve(url: &Url, loopback: bool) -> Result<(), AddressFault> {
    if literal(url).is_some() {
        return Ok(());
    }
    let host = url.host_str().unwrap_or_default();
    let tls = url.scheme() == "https";
    let found = tokio::time::timeout(LOOKUP, lookup(host)).await;
    let found = found.ok().and_then(Result::ok).unwrap_or_default();
    if found.is_empty() {
        return Err(AddressFault::Unresolved);
    }
    let all = found.iter().all(|to| may_connect(to.ip(), tls, loopback));
    if all {
        Ok(())
    } else {
        Err(AddressFault::NotPublic)
    }
}

/// An IP address in place of a name; the client connects to it without asking a resolver.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

async fn lookup(host: &str) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, 0)).await?.collect())
}

/// The resolver of a client: what it gives was checked, and is what is connected to. A name that stands for anything else, too, is
/// refused as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    pub(super) tls: bool,
    pub(super) loopback: bool,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let Self { tls, loopback } = *self;
        Box::pin(async move {
            let found = lookup(name.as_str()).await?;
            if found.iter().any(|to| !may_connect(to.ip(), tls, loopback)) {
                return Err(AddressFault::NotPublic.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address belongs to the public internet (IANA's special-purpose registries, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        // This network, private use, loopback, multicast and everything above it.
        [0 | 10 | 127 | 224..=255, ..] => true,
        // Carrier-grade NAT (RFC 6598).
        [100, 64..=127, ..] => true,
        // Link-local; clouds have their metadata there.
        [169, 254, ..] => true,
        [172, 16..=31, ..] | [192, 168, ..] => true,
        // Protocol assignments, documentation, 6to4 relays.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        // Benchmarks.
        [198, 18 | 19, ..] => true,
        _ => false,
    };
    !special
}

/// Global unicast only. So IPv4 in other clothes (`::ffff:0:0/96`, `64:ff9b::/96`), unique local and link-local addresses are out.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let special = match first {
        // Protocol assignments (Teredo and the like) and documentation.
        0x2001 => second < 0x0200 || second == 0x0db8,
        // 6to4: IPv4 inside.
        0x2002 => true,
        // Documentation.
        0x3fff => second < 0x1000,
        _ => false,
    };
    first & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::net::IpAddr;

    use reqwest::Url;
    use reqwest::dns::Resolve;

    use super::{AddressFault, Guard, check, is_public, resolve};

    #[test]
    fn only_the_public_internet_is_public() {
        #[rustfmt::skip]
        let inside = [
            "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "169.254.169.254", "172.16.0.1",
            "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255",
            "198.51.100.1", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255",
            "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::10.0.0.1", "64:ff9b::a00:1",
            "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:a00:1::", "3fff::1", "fc00::1", "fd00:ec2::254",
            "fe80::1", "fec0::1", "ff02::1",
        ];
        for address in inside {
            assert!(!is_public(address.parse::<IpAddr>().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "100.63.0.1", "172.32.0.1", "2606:4700::1111"] {
            assert!(is_public(address.parse::<IpAddr>().unwrap()), "{address}");
        }
    }

    #[test]
    fn addresses_are_judged_however_they_are_written() {
        #[rustfmt::skip]
        let inside = [
            "https://127.0.0.1/", "https://2130706433/", "https://0x7f.1/", "https://017700000001/", "https://[::1]/",
            "https://[::ffff:10.0.0.1]/", "https://[::ffff:7f00:1]/", "https://169.254.169.254/latest/meta-data",
            "https://10.0.0.1:8443/", "https://192.168.1.1./",
        ];
        for url in inside {
            assert_eq!(check(url, false), Err(AddressFault::NotPublic), "{url}");
        }
        let faults = [
            ("http://example.com/", AddressFault::NotHttps),
            ("ftp://example.com/", AddressFault::NotHttps),
            ("file:///etc/passwd", AddressFault::NoUrl),
            ("https://", AddressFault::NoUrl),
            ("/hook", AddressFault::NoUrl),
            ("https://me@example.com/", AddressFault::Credentials),
            ("https://example.com/#x", AddressFault::Credentials),
        ];
        for (url, fault) in faults {
            assert_eq!(check(url, false), Err(fault), "{url}");
        }
        assert!(check("https://example.com:8443/hook?a=b", false).is_ok());
    }

    #[test]
    fn a_development_machine_may_tell_itself_and_nobody_else() {
        for url in [
            "http://127.0.0.1:9000/",
            "http://[::1]/",
            "https://127.0.0.1/",
        ] {
            assert!(check(url, true).is_ok(), "{url}");
        }
        for url in [
            "http://8.8.8.8/",
            "http://10.0.0.1/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert_eq!(check(url, true), Err(AddressFault::NotPublic), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_is_what_it_stands_for() {
        let url = Url::parse("https://localhost/").unwrap();
        assert_eq!(resolve(&url, false).await, Err(AddressFault::NotPublic));
        assert_eq!(resolve(&url, true).await, Ok(()));
        let guard = |loopback| Guard {
            tls: true,
            loopback,
        };
        let name = || "localhost".parse().unwrap();
        assert!(guard(false).resolve(name()).await.is_err());
        assert!(guard(true).resolve(name()).await.is_ok());
    }
}
