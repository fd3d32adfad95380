//! `[upstreams.…]`: where services are, and whether the numbers of their column make sense together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;

use super::check::Check;
use crate::config::raw::{
    RawBreaker, RawDiscovery, RawDns, RawEjection, RawHealth, RawProtocol, RawRetry, RawUpstream,
    Share, Text, child, element,
};
use crate::config::{
    BreakerConfig, Discovery, DnsConfig, EjectionConfig, HealthConfig, RetryConfig, UpstreamConfig,
    UpstreamProtocol,
};

pub(super) fn upstreams(
    raw: BTreeMap<String, RawUpstream>,
    names: RawDns,
    check: &mut Check<'_>,
) -> BTreeMap<String, UpstreamConfig> {
    let dns = dns(names, check);
    raw.into_iter()
        .map(|(name, raw)| {
            let at = child("upstreams", &name);
            check.name(&name, &at);
            let config = upstream(raw, &dns, &at, check);
            (name, config)
        })
        .collect()
}

fn upstream(raw: RawUpstream, dns: &DnsConfig, at: &str, check: &mut Check<'_>) -> UpstreamConfig {
    let timeout = raw
        .timeout
        .map(|timeout| check.positive(timeout, &child(at, "timeout")));
    let connect_timeout = check.positive(raw.connect_timeout, &child(at, "connect_timeout"));
    check.that(
        timeout.is_none_or(|timeout| connect_timeout <= timeout),
        &child(at, "connect_timeout"),
        || "longer than the timeout of the whole attempt".to_owned(),
    );
    check.that(
        raw.min_in_flight
            .is_none_or(|min| (1..=raw.max_in_flight).contains(&min)),
        &child(at, "min_in_flight"),
        || "has to be from 1 to max_in_flight".to_owned(),
    );
    let all = addresses(raw.address, raw.addresses, at, check);
    let address = all.first().cloned().unwrap_or_default();
    let discovery = match raw.discovery {
        RawDiscovery::Static => Discovery::Static(all),
        RawDiscovery::Dns => by_name(all, dns, at, check),
    };
    let most = raw.max_idle.min(raw.max_connections);
    check.that(
        raw.protocol != RawProtocol::Http1 || raw.warm <= most,
        &child(at, "warm"),
        || format!("has to be at most {most}, as max_idle and max_connections are"),
    );
    UpstreamConfig {
        address,
        discovery,
        protocol: match raw.protocol {
            RawProtocol::Http1 => UpstreamProtocol::Http1,
            RawProtocol::Http2 => UpstreamProtocol::Http2,
            RawProtocol::Grpc => UpstreamProtocol::Grpc,
        },
        connect_timeout,
        timeout,
        max_idle: raw.max_idle,
        idle_timeout: check.positive(raw.idle_timeout, &child(at, "idle_timeout")),
        max_connections: check.at_least_one(raw.max_connections, &child(at, "max_connections")),
        max_in_flight: check.at_least_one(raw.max_in_flight, &child(at, "max_in_flight")),
        min_in_flight: raw.min_in_flight,
        hedge_after: raw
            .hedge_after
            .map(|after| check.positive(after, &child(at, "hedge_after"))),
        warm: raw.warm,
        max_response_bytes: check.bytes(raw.max_response, &child(at, "max_response")),
        retry: retry(raw.retry, &child(at, "retry"), check),
        breaker: breaker(raw.breaker, &child(at, "breaker"), check),
        ejection: ejection(raw.ejection, &child(at, "ejection"), check),
        health: health(raw.health, &child(at, "health"), check),
    }
}

/// One address, or several of the same service.
fn addresses(
    one: Option<Text<Uri>>,
    several: Vec<Text<Uri>>,
    at: &str,
    check: &mut Check<'_>,
) -> Vec<Uri> {
    if one.is_none() && several.is_empty() {
        check.missing(&child(at, "address"));
    }
    check.that(
        one.is_none() || several.is_empty(),
        &child(at, "addresses"),
        || "not together with address: write one or the other".to_owned(),
    );
    if let Some(one) = &one {
        address(&one.0, &child(at, "address"), check);
    }
    let mut seen = BTreeSet::new();
    for (index, uri) in several.iter().enumerate() {
        let at = element(&child(at, "addresses"), index);
        address(&uri.0, &at, check);
        check.that(seen.insert(uri.0.to_string()), &at, || {
            "is there twice".to_owned()
        });
    }
    one.into_iter().chain(several).map(|uri| uri.0).collect()
}

fn by_name(mut all: Vec<Uri>, dns: &DnsConfig, at: &str, check: &mut Check<'_>) -> Discovery {
    check.that(all.len() < 2, &child(at, "addresses"), || {
        "with discovery = \"dns\" there is one name: write address".to_owned()
    });
    match all.pop() {
        // An address is what it is: nothing has to be looked up.
        Some(uri) if is_ip(&uri) => Discovery::Static(vec![uri]),
        name => Discovery::Dns {
            name: name.unwrap_or_default(),
            dns: dns.clone(),
        },
    }
}

fn is_ip(uri: &Uri) -> bool {
    uri.host()
        .is_some_and(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok())
}

fn address(address: &Uri, at: &str, check: &mut Check<'_>) {
    if *address == Uri::default() {
        return;
    }
    check.that(
        address.scheme_str() == Some("http") && address.host().is_some_and(|host| !host.is_empty()),
        at,
        || r#"has to be scheme and authority: "http://10.0.0.7:8101" (TLS to upstreams is the mesh's job)"#.to_owned(),
    );
    let authority = address
        .authority()
        .map_or("", |authority| authority.as_str());
    let host_ends = authority.rfind(']').unwrap_or(0);
    let has_port = authority[host_ends..].contains(':');
    check.that(
        !has_port || address.port_u16().is_some_and(|port| port > 0),
        at,
        || "has to have a port from 1 to 65535, or none (80)".to_owned(),
    );
    check.that(
        matches!(address.path(), "" | "/") && address.query().is_none(),
        at,
        || "has no place for a path; a route's `rewrite` has".to_owned(),
    );
    check.no_credentials(address, at);
}

fn retry(raw: RawRetry, at: &str, check: &mut Check<'_>) -> RetryConfig {
    check.that(raw.retries <= 10, &child(at, "retries"), || {
        "has to be at most 10".to_owned()
    });
    check.that(
        raw.min_per_second <= 1_000,
        &child(at, "min_per_second"),
        || "has to be at most 1000".to_owned(),
    );
    let backoff = check.positive(raw.backoff, &child(at, "backoff"));
    let max_backoff = at_least(
        raw.max_backoff,
        backoff,
        &child(at, "max_backoff"),
        "backoff",
        check,
    );
    RetryConfig {
        retries: raw.retries,
        budget: raw.budget.0.0,
        min_per_second: raw.min_per_second,
        backoff,
        max_backoff,
    }
}

fn breaker(raw: RawBreaker, at: &str, check: &mut Check<'_>) -> Option<BreakerConfig> {
    let window = check.positive(raw.window, &child(at, "window"));
    check.that(
        (Duration::from_millis(100)..=Duration::from_hours(1)).contains(&window),
        &child(at, "window"),
        || "has to be from 100ms to 1h".to_owned(),
    );
    check.that(raw.min_calls >= 1, &child(at, "min_calls"), || {
        "has to be at least 1".to_owned()
    });
    check.that(
        (1..=100).contains(&raw.probes),
        &child(at, "probes"),
        || "has to be from 1 to 100".to_owned(),
    );
    let failure_rate = rate(&raw.failure_rate, &child(at, "failure_rate"), check);
    let open = check.positive(raw.open, &child(at, "open"));
    let max_open = at_least(raw.max_open, open, &child(at, "max_open"), "open", check);
    raw.enabled.then_some(BreakerConfig {
        window,
        min_calls: raw.min_calls,
        failure_rate,
        open,
        max_open,
        probes: raw.probes,
        min_timeout: raw.min_timeout.0,
    })
}

fn ejection(raw: RawEjection, at: &str, check: &mut Check<'_>) -> EjectionConfig {
    check.that(raw.failures >= 1, &child(at, "failures"), || {
        "has to be at least 1".to_owned()
    });
    let base = check.positive(raw.base, &child(at, "base"));
    EjectionConfig {
        failures: raw.failures,
        failure_rate: rate(&raw.failure_rate, &child(at, "failure_rate"), check),
        base,
        max: at_least(raw.max, base, &child(at, "max"), "base", check),
        max_share: raw.max_share.0.0,
    }
}

fn health(raw: RawHealth, at: &str, check: &mut Check<'_>) -> Option<HealthConfig> {
    let interval = check.positive(raw.interval, &child(at, "interval"));
    let timeout = check.positive(raw.timeout, &child(at, "timeout"));
    for (key, number) in [("unhealthy", raw.unhealthy), ("healthy", raw.healthy)] {
        check.that(number >= 1, &child(at, key), || {
            "has to be at least 1".to_owned()
        });
    }
    let path = raw.path?;
    let parsed = PathAndQuery::try_from(path.as_str());
    check.that(
        path.starts_with('/') && parsed.is_ok(),
        &child(at, "path"),
        || r#"has to be a path such as "/health""#.to_owned(),
    );
    Some(HealthConfig {
        path: parsed.ok()?,
        interval,
        timeout,
        unhealthy: raw.unhealthy,
        healthy: raw.healthy,
    })
}

fn dns(raw: RawDns, check: &mut Check<'_>) -> DnsConfig {
    let min_refresh = check.positive(raw.min_refresh, "dns.min_refresh");
    DnsConfig {
        name_servers: raw.name_servers.into_iter().map(|at| at.0).collect(),
        timeout: check.positive(raw.timeout, "dns.timeout"),
        min_refresh,
        max_refresh: at_least(
            raw.max_refresh,
            min_refresh,
            "dns.max_refresh",
            "min_refresh",
            check,
        ),
    }
}

/// With a share of nothing, a single success would be too many failures.
fn rate(share: &Text<Share>, at: &str, check: &mut Check<'_>) -> f64 {
    check.that(share.0.0 > 0.0, at, || "has to be more than 0%".to_owned());
    share.0.0
}

fn at_least(
    duration: Text<Duration>,
    least: Duration,
    at: &str,
    than: &str,
    check: &mut Check<'_>,
) -> Duration {
    check.that(duration.0 >= least, at, || format!("shorter than {than}"));
    duration.0
}
