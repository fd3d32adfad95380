//! Who may talk to the admin listener through a browser: nobody by another site's name, and nobody from another site.
//! Which addresses reach it at all is the network's business.
//!
//! A page of a stranger cannot read what a listener on loopback answers, unless its name is made to resolve to 127.0.0.1
//! (DNS rebinding): then the browser takes us for that site. It still sends the stranger's name in `Host`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, StatusCode};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses by another name with 421, and changes from another site with 403.
pub(super) async fn check(
    State(hosts): State<Arc<[String]>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let host = headers
        .get(HOST)
        .and_then(|value| value.to_str().ok())
        .or_else(|| request.uri().authority().map(Authority::as_str));
    if !host.is_some_and(|host| is_ours(host, &hosts)) {
        let text = "this listener is not known by that name: see admin.hosts\n";
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    if !request.method().is_safe() && is_from_elsewhere(headers) {
        let text = "pages of other sites may not change anything here\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    next.run(request).await
}

/// Nobody can make these names resolve to us but who runs the machine or its network: addresses, names of loopback,
/// names without a dot (as containers have), and those that are configured.
fn is_ours(host: &str, configured: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    // A name may end in the root's dot.
    let name = authority.host().trim_end_matches('.');
    let address = name.trim_start_matches('[').trim_end_matches(']');
    !name.is_empty()
        && (address.parse::<IpAddr>().is_ok()
            || !name.contains('.')
            || name.to_ascii_lowercase().ends_with(".localhost")
            || configured
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name)))
}

fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    match headers.get(SEC_FETCH_SITE) {
        Some(site) => site != "same-origin" && site != "none",
        // An old browser says at least this with a change; tools say neither.
        None => headers.contains_key(ORIGIN),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn addresses_and_names_that_strangers_cannot_take_are_ours() {
        let configured = ["Gateway.Internal.Example".to_owned()];
        for (host, expected) in [
            ("127.0.0.1:9080", true),
            ("10.1.2.3", true),
            ("[::1]:9080", true),
            ("localhost:9080", true),
            ("bff-web:9080", true),
            ("a.localhost", true),
            ("gateway.internal.example:9080", true),
            ("gateway.internal.example.", true),
            ("rebound.example", false),
            ("rebound.example.:9080", false),
            ("127.0.0.1.rebound.example", false),
            ("localhost.rebound.example", false),
            ("notlocalhost.example", false),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(is_ours(host, &configured), expected, "{host:?}");
        }
    }

    #[test]
    fn tools_and_our_own_page_may_change_things() {
        for (name, value, elsewhere) in [
            ("sec-fetch-site", "same-origin", false),
            ("sec-fetch-site", "none", false),
            ("sec-fetch-site", "same-site", true),
            ("sec-fetch-site", "cross-site", true),
            ("origin", "null", true),
            ("user-agent", "curl", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
            assert_eq!(is_from_elsewhere(&headers), elsewhere, "{name}: {value}");
        }
    }
}
