//! The checks of `[cors]`, `[csrf]`, `[security_headers]` and `[compression]`, and of what a route says otherwise.
//! What a rule means for a request is in `edge/*`.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use super::check::Check;
use crate::config::raw::{
    RawAppVersion, RawCoding, RawCompression, RawCors, RawCsrf, RawCsrfRule, RawHsts,
    RawResourcePolicy, RawRouteCors, RawSecurityHeaders, RawStreams, Text, child, element,
};
use crate::config::{
    AppVersion, AppVersionConfig, Coding, CompressionConfig, CorsConfig, CorsOrigins, CsrfConfig,
    CsrfRule, Hsts, SecurityHeadersConfig, StreamConfig,
};

/// Browsers cap it at a day or less.
const MAX_AGE: Duration = Duration::from_hours(24);

/// What scripts may never be allowed, or never need to be (Fetch Standard 2.2.2, forbidden request-headers).
const NEVER: [&str; 7] = [
    "cookie",
    "set-cookie",
    "host",
    "origin",
    "connection",
    "content-length",
    "transfer-encoding",
];

/// `None` when no other origin is let in.
pub(super) fn cors(raw: &RawCors, at: &str, check: &mut Check<'_>) -> Option<Arc<CorsConfig>> {
    let origins = cors_origins(&raw.origins, &child(at, "origins"), check);
    check.that(
        !(raw.credentials && origins == CorsOrigins::Any),
        &child(at, "credentials"),
        || {
            "goes with a list of origins only: with `*` every site could act as its visitors"
                .to_owned()
        },
    );
    let max_age = raw.max_age.0;
    check.that(
        max_age <= MAX_AGE && max_age.subsec_nanos() == 0,
        &child(at, "max_age"),
        || "has to be whole seconds, at most 1d".to_owned(),
    );
    if let Some(methods) = &raw.methods {
        check.not_empty(
            methods,
            &child(at, "methods"),
            "is empty; leave it out for all methods that a path has",
        );
    }
    let config = CorsConfig {
        origins,
        methods: raw
            .methods
            .as_ref()
            .map(|methods| methods.iter().map(|method| method.0.clone()).collect()),
        headers: names(&raw.headers, &child(at, "headers"), check),
        exposed: names(&raw.exposed_headers, &child(at, "exposed_headers"), check),
        credentials: raw.credentials,
        max_age,
    };
    (config.origins != CorsOrigins::Listed(Vec::new())).then(|| Arc::new(config))
}

/// A route's own, or that of all.
pub(super) fn route_cors(
    raw: Option<RawRouteCors>,
    of_all: &RawCors,
    resolved: Option<&Arc<CorsConfig>>,
    at: &str,
    check: &mut Check<'_>,
) -> Option<Arc<CorsConfig>> {
    let other = match raw {
        None => return resolved.cloned(),
        Some(RawRouteCors::Off) => return None,
        Some(RawRouteCors::Other(other)) => other,
    };
    let merged = RawCors {
        origins: other.origins.unwrap_or_else(|| of_all.origins.clone()),
        methods: other.methods.or_else(|| of_all.methods.clone()),
        headers: other.headers.unwrap_or_else(|| of_all.headers.clone()),
        exposed_headers: other
            .exposed_headers
            .unwrap_or_else(|| of_all.exposed_headers.clone()),
        credentials: other.credentials.unwrap_or(of_all.credentials),
        max_age: other.max_age.unwrap_or_else(|| of_all.max_age.clone()),
    };
    cors(&merged, &child(at, "cors"), check)
}

fn cors_origins(raw: &[String], at: &str, check: &mut Check<'_>) -> CorsOrigins {
    if let [only] = raw
        && only == "*"
    {
        return CorsOrigins::Any;
    }
    let listed = raw.iter().enumerate().filter_map(|(index, text)| {
        let at = element(at, index);
        check.that(text != "*", &at, || {
            "`*` stands alone: the others are in it already".to_owned()
        });
        check.that(!raw[..index].contains(text), &at, || {
            format!("`{text}` is there twice")
        });
        // What a sandboxed frame or a file has for an origin: anybody can make one, so it has to be spelled out.
        if text != "null" && text != "*" {
            origin(text, &at, check);
        }
        HeaderValue::from_str(text).ok()
    });
    CorsOrigins::Listed(listed.collect())
}

/// An origin as browsers write it (RFC 6454, 6.2): compared byte by byte, so another spelling would never match.
fn origin(text: &str, at: &str, check: &mut Check<'_>) {
    let parsed = text.parse::<Uri>().ok();
    let serialized = parsed.as_ref().and_then(|uri| {
        let scheme = uri.scheme_str()?;
        let host = uri.host().filter(|host| !host.contains('*'))?;
        let port = match (scheme, uri.port_u16()) {
            ("https", Some(443)) | ("http", Some(80)) | (_, None) => String::new(),
            (_, Some(port)) => format!(":{port}"),
        };
        Some(format!("{scheme}://{}{port}", host.to_ascii_lowercase()))
    });
    match serialized {
        Some(serialized) if serialized == text => {}
        Some(serialized) => check.fault(
            at,
            format!("`{text}` is not how browsers write an origin; write `{serialized}`"),
        ),
        None => check.fault(
            at,
            format!("`{text}` is not an origin; write `https://app.example.com`"),
        ),
    }
}

fn names(raw: &[Text<HeaderName>], at: &str, check: &mut Check<'_>) -> Vec<HeaderName> {
    for (index, name) in raw.iter().enumerate() {
        check.that(
            !NEVER.contains(&name.0.as_str()),
            &element(at, index),
            || format!("browsers never let scripts have `{}`", name.0),
        );
    }
    raw.iter().map(|name| name.0.clone()).collect()
}

pub(super) fn csrf(raw: RawCsrf, check: &mut Check<'_>) -> CsrfConfig {
    if let Some(cookie) = &raw.cookie {
        let is_token = !cookie.is_empty() && HeaderName::from_bytes(cookie.as_bytes()).is_ok();
        check.that(is_token, "csrf.cookie", || {
            format!("`{cookie}` cannot be the name of a cookie")
        });
    }
    for (index, prefix) in raw.header_below.iter().enumerate() {
        check.that(
            prefix.starts_with('/') && (prefix == "/" || !prefix.ends_with('/')),
            &element("csrf.header_below", index),
            || "has to be a path such as `/api`".to_owned(),
        );
    }
    for (index, text) in raw.origins.iter().enumerate() {
        origin(text, &element("csrf.origins", index), check);
    }
    CsrfConfig {
        cookie: raw.cookie,
        header_below: raw.header_below,
        origins: raw.origins,
    }
}

/// What a route says itself.
pub(super) fn csrf_rule(raw: RawCsrfRule) -> CsrfRule {
    match raw {
        RawCsrfRule::Exempt => CsrfRule::Exempt,
        RawCsrfRule::Origin => CsrfRule::Origin,
        RawCsrfRule::Header => CsrfRule::OriginAndHeader,
    }
}

pub(super) fn security_headers(
    raw: &RawSecurityHeaders,
    check: &mut Check<'_>,
) -> SecurityHeadersConfig {
    let max_age = raw.hsts_max_age.0;
    check.that(
        max_age.subsec_nanos() == 0 && max_age >= Duration::from_secs(1),
        "security_headers.hsts_max_age",
        || "has to be whole seconds, at least 1s".to_owned(),
    );
    let mut value = format!("max-age={}", max_age.as_secs());
    if raw.hsts_subdomains {
        value.push_str("; includeSubDomains");
    }
    let mut text = |text: &str, key: &str| {
        let value = HeaderValue::from_str(text);
        check.that(
            value.is_ok() && !text.trim().is_empty(),
            &child("security_headers", key),
            || "is not the value of a header".to_owned(),
        );
        value.unwrap_or(HeaderValue::from_static(""))
    };
    SecurityHeadersConfig {
        hsts: match raw.hsts {
            RawHsts::Off => Hsts::Off,
            RawHsts::Tls => Hsts::Tls,
            RawHsts::Always => Hsts::Always,
        },
        hsts_value: text(&value, "hsts_max_age"),
        referrer_policy: text(&raw.referrer_policy, "referrer_policy"),
        permissions_policy: text(&raw.permissions_policy, "permissions_policy"),
        resource_policy: HeaderValue::from_static(match raw.resource_policy {
            RawResourcePolicy::SameOrigin => "same-origin",
            RawResourcePolicy::SameSite => "same-site",
            RawResourcePolicy::CrossOrigin => "cross-origin",
        }),
    }
}

pub(super) fn compression(raw: &RawCompression, check: &mut Check<'_>) -> CompressionConfig {
    for (index, coding) in raw.codings.iter().enumerate() {
        check.that(
            !raw.codings[..index].contains(coding),
            &element("compression.codings", index),
            || "is there twice".to_owned(),
        );
    }
    CompressionConfig {
        codings: raw
            .codings
            .iter()
            .map(|coding| match coding {
                RawCoding::Zstd => Coding::Zstd,
                RawCoding::Br => Coding::Brotli,
                RawCoding::Gzip => Coding::Gzip,
            })
            .collect(),
        min_bytes: raw.min_size.0.0,
    }
}

/// A gate that cannot tell where to go on is a wall.
pub(super) fn app_version(raw: RawAppVersion, check: &mut Check<'_>) -> AppVersionConfig {
    let mut version = |text: Option<String>, at: &str| {
        // Left empty by the environment.
        let text = text.filter(|text| !text.is_empty())?;
        let version = AppVersion::parse(&text);
        check.that(version.is_some(), at, || {
            format!("`{text}` is not a version; write \"1.2.3\"")
        });
        version
    };
    let minimum = version(raw.minimum, "app_version.minimum");
    let recommended = version(raw.recommended, "app_version.recommended");
    check.that(
        minimum.is_none_or(|minimum| recommended.is_none_or(|newer| newer >= minimum)),
        "app_version.recommended",
        || "older than app_version.minimum".to_owned(),
    );
    check.that(
        minimum.is_none() || raw.store_url.is_some(),
        "app_version.store_url",
        || "is needed with app_version.minimum: who is refused is told where to go".to_owned(),
    );
    AppVersionConfig {
        minimum,
        // Digits and dots: always a legal value.
        recommended: recommended.and_then(|version| {
            let header = HeaderValue::try_from(version.to_string()).ok()?;
            Some((version, header))
        }),
        store_url: raw
            .store_url
            .map(|url| url.0.to_string())
            .unwrap_or_default(),
    }
}

pub(super) fn streams(raw: RawStreams, check: &mut Check<'_>) -> StreamConfig {
    StreamConfig {
        idle: check.positive(raw.idle, "streams.idle"),
        lifetime: check.positive(raw.lifetime, "streams.lifetime"),
        max_frame_bytes: check.bytes(raw.max_frame, "streams.max_frame") as u64,
        heartbeat: check.positive(raw.heartbeat, "streams.heartbeat"),
        max_per_caller: check.at_least_one(raw.max_per_caller, "streams.max_per_caller"),
    }
}

#[cfg(test)]
mod tests;
