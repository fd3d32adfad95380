//! The checks of `[session]`: a provider that is known, addresses that browsers can use, and a cookie that stays with us.
//! What sessions do is in `session.rs`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Uri};

use super::check::Check;
use crate::config::fault::suggest;
use crate::config::raw::{RawSession, child};
use crate::config::{ClientSecret, CsrfConfig, IssuerConfig, SessionConfig};
use crate::session;

/// What browsers do for a cookie with this name: no other host can set it (RFC 6265bis, 4.1.3.2).
const PREFIX: &str = "__Host-";
/// What the gateway says itself to the provider.
const OWN: [&str; 10] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
];

/// `None` without a secret. What is authenticated by the session's cookie is checked as `[csrf]` says.
pub(super) fn session(
    raw: RawSession,
    issuers: &[IssuerConfig],
    csrf: &mut CsrfConfig,
    check: &mut Check<'_>,
) -> Option<Arc<SessionConfig>> {
    cookie(&raw.cookie, csrf, check);
    let issuer = issuer(raw.issuer, issuers, check);
    let public_url = public_url(raw.public_url, check);
    check.words(&raw.scopes, "session.scopes");
    check.that(
        raw.scopes.iter().any(|scope| scope == "openid"),
        "session.scopes",
        || "has to contain \"openid\"".to_owned(),
    );
    for name in raw.parameters.keys() {
        check.that(
            !OWN.contains(&name.as_str())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
            &child("session.parameters", name),
            || "is not for the configuration to say".to_owned(),
        );
    }
    let idle = check.positive(raw.idle, "session.idle");
    let lifetime = check.positive(raw.lifetime, "session.lifetime");
    check.that(idle <= lifetime, "session.idle", || {
        "longer than session.lifetime".to_owned()
    });
    for (duration, key) in [(idle, "session.idle"), (lifetime, "session.lifetime")] {
        check.that(duration.subsec_nanos() == 0, key, || {
            "has to be whole seconds".to_owned()
        });
    }
    check.that(
        raw.refresh_before.0 <= Duration::from_mins(10),
        "session.refresh_before",
        || "has to be at most 10m".to_owned(),
    );
    let client_id = check.required(raw.client_id, "session.client_id");
    let max_sessions = check.at_least_one(raw.max_sessions, "session.max_sessions");
    if raw.client_secret.is_empty() {
        return None;
    }
    Some(Arc::new(SessionConfig {
        issuer,
        client_id,
        client_secret: ClientSecret(raw.client_secret),
        redirect_uri: format!("{public_url}{}", session::CALLBACK),
        after_logout: format!("{public_url}/"),
        scopes: raw.scopes,
        parameters: raw.parameters,
        cookie: raw.cookie,
        idle,
        lifetime,
        refresh_before: raw.refresh_before.0,
        max_sessions,
    }))
}

fn cookie(name: &str, csrf: &mut CsrfConfig, check: &mut Check<'_>) {
    let is_token = HeaderName::from_bytes(name.as_bytes()).is_ok();
    check.that(
        is_token && name.len() > PREFIX.len() && name.starts_with(PREFIX),
        "session.cookie",
        || format!("has to begin with `{PREFIX}`, so that browsers keep it for this host alone"),
    );
    let own = csrf.cookie.get_or_insert_with(|| name.to_owned());
    check.that(own == name, "csrf.cookie", || {
        "is another one than session.cookie; leave it out".to_owned()
    });
}

fn issuer(raw: Option<String>, known: &[IssuerConfig], check: &mut Check<'_>) -> String {
    let at = "session.issuer";
    match (raw, known) {
        (Some(issuer), _) => {
            let names = || known.iter().map(|known| known.issuer.as_str());
            check.that(names().any(|name| name == issuer), at, || {
                format!(
                    "no issuer is named `{issuer}`; {}",
                    suggest(&issuer, names())
                )
            });
            issuer
        }
        (None, [only]) => only.issuer.clone(),
        (None, []) => {
            check.fault(at, "there are no [[issuers]]");
            String::new()
        }
        (None, _) => {
            check.fault(at, "is required where there are several [[issuers]]");
            String::new()
        }
    }
}

/// Our own origin, without a slash at its end.
fn public_url(raw: Option<String>, check: &mut Check<'_>) -> String {
    let at = "session.public_url";
    let text = check.required(raw, at);
    if text.is_empty() {
        return text;
    }
    let parsed = text.parse::<Uri>().ok();
    let origin = parsed.as_ref().filter(|url| {
        url.query().is_none() && matches!(url.path(), "" | "/") && url.authority().is_some()
    });
    let host = origin.and_then(Uri::host).unwrap_or_default();
    let is_loopback = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match origin.and_then(Uri::scheme_str) {
        Some("https") => {}
        Some("http") if is_loopback => {}
        Some("http") => check.fault(
            at,
            "has to be https: browsers send the cookie over TLS only",
        ),
        _ => check.fault(at, "has to be an origin such as https://www.example.com"),
    }
    if let Some(url) = origin {
        check.no_credentials(url, at);
    }
    text.trim_end_matches('/').to_owned()
}
