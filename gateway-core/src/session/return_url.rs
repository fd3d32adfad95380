//! Where a browser goes after it has signed in: a path of this site, whatever a link says. Who is sent there is decided in
//! `session/login.rs`.

use std::fmt::Write;

use super::parameters::percent_decoded;

/// It travels in a cookie with the login's state.
const LONGEST: usize = 1024;
/// A text that is not plain after as many decodings is not one that anybody means.
const DECODINGS: usize = 4;

/// A path with query and fragment on our own host, in ASCII: fit for `Location`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReturnUrl(String);

impl Default for ReturnUrl {
    /// The start page.
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl ReturnUrl {
    /// Takes `text` when a browser can only understand a path of our own host by it, and not one below `session`, where it
    /// would be sent on again. It is strict: browsers forgive much, each in its own way (WHATWG URL, 4.4).
    pub(super) fn parse(text: &str, session: &str) -> Option<Self> {
        let path = text.split(['?', '#']).next().unwrap_or_default();
        if text.len() > LONGEST || text.contains(is_never_in_urls) || !is_plain(path) {
            return None;
        }
        // What somebody on the way decodes once more must not be another place, either.
        let mut decoded = path.as_bytes().to_vec();
        for _ in 0..DECODINGS {
            let again = percent_decoded(std::str::from_utf8(&decoded).ok()?)?;
            if again == decoded {
                let below = decoded.strip_prefix(session.as_bytes());
                let loops = below.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
                return (!loops).then(|| Self(in_ascii(text)));
            }
            let plain = std::str::from_utf8(&again)
                .is_ok_and(|path| !path.contains(is_never_in_urls) && is_plain(path));
            if !plain {
                return None;
            }
            decoded = again;
        }
        None
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Browsers take `\` for `/`, and drop tabs and line ends before they read a URL.
fn is_never_in_urls(c: char) -> bool {
    c == '\\' || c.is_control()
}

/// From the root, without empty and dot segments: there is nothing to resolve.
fn is_plain(path: &str) -> bool {
    let Some(segments) = path.strip_prefix('/') else {
        return false;
    };
    let mut segments = segments.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if segment == "." || segment == ".." || segment.is_empty() && !is_last {
            return false;
        }
    }
    true
}

/// With everything encoded that cannot stand in a header as it is.
fn in_ascii(text: &str) -> String {
    let mut url = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            url.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        ReturnUrl::parse(text, "/bff").map(|url| url.as_str().to_owned())
    }

    #[test]
    fn a_path_of_this_site_is_taken() {
        for url in [
            "/",
            "/widgets",
            "/widgets/",
            "/widgets/7?tab=parts#top",
            "/widgets?next=https%3A%2F%2Fexample.com",
            "/widgets?next=//example.com",
            "/search?q=a%2Fb",
            "/a%20b",
            "/bffs",
            "/a:b@c",
            "/.well-known/x",
            "/...",
        ] {
            assert_eq!(parsed(url).as_deref(), Some(url), "{url}");
        }
        assert_eq!(parsed("/caf\u{e9} 1").as_deref(), Some("/caf%C3%A9%201"));
        assert_eq!(ReturnUrl::default().as_str(), "/");
    }

    #[test]
    fn nothing_leads_off_the_site() {
        for url in [
            "",
            "widgets",
            "https://evil.example",
            "HTTPS://evil.example",
            "https:evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "\\/evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/\r\nSet-Cookie: a=b",
            "\t//evil.example",
            " //evil.example",
            "/\u{0}/evil.example",
            "/a//evil.example",
            "/./evil",
            "/..//evil.example",
            "/a/..//evil.example",
            "/%2Fevil.example",
            "/%2f%2fevil.example",
            "/%5Cevil.example",
            "/%5cevil.example",
            "/%252Fevil.example",
            "/%25252fevil.example",
            "/%2e%2e/evil",
            "/%2e./evil",
            "/%09/evil.example",
            "/%0d%0aSet-Cookie:a=b",
            "/a?x=\r\ny",
            "/a#\\",
            "/%",
            "/%zz",
            "/%ff",
            "/\u{85}",
            "/bff",
            "/bff/login",
            "/bff/login?returnUrl=/",
            "/bff?x",
            "/%62ff/login",
            "/b%66%66",
            "/%2562ff/login",
        ] {
            assert_eq!(parsed(url), None, "{url:?}");
        }
        assert_eq!(parsed(&format!("/{}", "a".repeat(LONGEST))), None);
    }
}
