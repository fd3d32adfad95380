//! What the edge has to know of a request from its first look to its answer's last byte: who may read the answer, over what
//! it goes, and in which codings. Who is calling is found out by `auth`, where from by `client_addr.rs`.

use http::header::{FORWARDED, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::compression::Accepted;
use super::csrf::{Credential, Site};
use crate::config::Config;

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client's side of a request, read before anything is removed from it.
pub(super) struct Client {
    /// Whose script asks, as the browser says it.
    pub(super) origin: Option<HeaderValue>,
    /// Whether the answer goes over TLS, as far as we or a trusted proxy can say.
    pub(super) secure: bool,
    pub(super) accepted: Accepted,
    pub(super) credential: Credential,
    /// Another site may have made the browser send this, with the cookie that authenticates it.
    forgeable: bool,
}

impl Client {
    /// `trusted`: the peer is a proxy whose word is believed.
    pub(super) fn of(headers: &HeaderMap, config: &Config, trusted: bool) -> Self {
        let credential = Credential::of(headers, &config.csrf);
        Self {
            origin: headers.get(ORIGIN).cloned(),
            secure: config.server.tls.is_some() || trusted && said_to_be_secure(headers),
            accepted: Accepted::of(headers),
            credential,
            forgeable: credential == Credential::Cookie
                && !matches!(Site::of(headers), Some(Site::SameOrigin | Site::None)),
        }
    }

    /// Whether the length of an answer may depend on what is in it. Who can make a victim's browser ask again and again, and
    /// see how long the coded answers are, learns what they contain (BREACH).
    pub(super) fn may_measure(&self) -> bool {
        self.forgeable
    }
}

/// What the nearest proxy has said: the rightmost one. If its two ways to say it disagree, one of them is the client's own.
fn said_to_be_secure(headers: &HeaderMap) -> bool {
    let last = |name: &HeaderName| {
        let line = headers.get_all(name).iter().next_back()?.to_str().ok()?;
        line.rsplit(',').next()
    };
    let x_forwarded =
        last(&X_FORWARDED_PROTO).map(|proto| proto.trim().eq_ignore_ascii_case("https"));
    let forwarded = last(&FORWARDED).and_then(|element| {
        element.split(';').find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("proto")
                .then(|| value.trim().trim_matches('"').eq_ignore_ascii_case("https"))
        })
    });
    match (x_forwarded, forwarded) {
        (Some(one), Some(other)) => one && other,
        (Some(secure), None) | (None, Some(secure)) => secure,
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn a_trusted_proxy_says_whether_it_was_tls() {
        for (fields, secure) in [
            (&[][..], false),
            (&[("x-forwarded-proto", "https")], true),
            (&[("x-forwarded-proto", "http")], false),
            (&[("x-forwarded-proto", "https, http")], false),
            (&[("x-forwarded-proto", "http, HTTPS")], true),
            (&[("forwarded", "for=192.0.2.1;proto=https")], true),
            (
                &[(
                    "forwarded",
                    "for=192.0.2.1;proto=https, for=192.0.2.2;Proto=\"http\"",
                )],
                false,
            ),
            (&[("forwarded", "for=192.0.2.1")], false),
            (
                &[("forwarded", "proto=https"), ("x-forwarded-proto", "http")],
                false,
            ),
            (
                &[("forwarded", "proto=https"), ("x-forwarded-proto", "https")],
                true,
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().unwrap());
            }
            assert_eq!(said_to_be_secure(&headers), secure, "{fields:?}");
        }
    }
}
