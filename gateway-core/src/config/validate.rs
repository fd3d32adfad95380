//! From what was written to what is valid: cross-checks, ranges and required keys, collecting every fault.
//! Text has been parsed before (`config/raw.rs`); conflicts with routes in code are found by `route.rs`.

mod access;
mod check;
mod edge;
mod events;
mod internal_token;
mod plans;
mod routes;
mod session;
mod subjects;
mod tracing;
mod upstreams;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http::Uri;
use jsonwebtoken::Algorithm;
use tracing_subscriber::EnvFilter;

use super::fault::ConfigFaults;
use super::raw::{
    RawApiKeys, RawCache, RawClientAuth, RawConfig, RawDeadline, RawGraphql, RawIssuer,
    RawPersistedDocuments, RawRateLimit, RawRateLimitKey, RawRedis, RawServer, RawTls, Text, child,
    element,
};
use super::{
    AdminConfig, ApiKeyConfig, ApiKeysConfig, CacheConfig, Config, DeadlineConfig, IssuerConfig,
    LogConfig, Origin, PLAN, RateLimitConfig, RateLimitKey, RedisConfig, ServerConfig, StoreConfig,
    TlsConfig,
};
use crate::auth::bind_partner;
use crate::graphql::{Limits, Persisted, Settings, SocketLimits};
use check::Check;

/// More is a mistake, and would not fit the limiter's clock either.
const YEAR: Duration = Duration::from_hours(366 * 24);

/// Makes the configuration; what it returns is only of use when no fault was reported.
pub(super) fn validate(raw: RawConfig, faults: &mut ConfigFaults) -> Config {
    let mut check = Check { faults };
    let mut warnings: Vec<String> = raw
        .development
        .relaxations
        .into_iter()
        .map(|relaxation| format!("development: {relaxation}"))
        .collect();

    let server = server(raw.server, &mut check);
    let admin = AdminConfig {
        address: raw.admin.address.0,
        hosts: raw.admin.hosts,
    };
    check.that(
        admin.address != server.address || admin.address.port() == 0,
        "admin.address",
        || "the same as server.address; operators' pages need a listener of their own".to_owned(),
    );
    check.that(
        EnvFilter::try_new(&raw.log.filter).is_ok(),
        "log.filter",
        || format!("`{}` is not a filter; write \"info\"", raw.log.filter),
    );
    let tracing = tracing::tracing(raw.tracing, &mut check);
    let deadline = deadline(&raw.deadline, &mut check);
    let issuers = issuers(raw.issuers, &mut warnings, &mut check);
    let api_keys = raw.api_keys.map(|keys| api_keys(keys, &mut check));
    let internal_token = internal_token::internal_token(raw.internal_token, &mut check);
    let upstreams = upstreams::upstreams(raw.upstreams, raw.dns, &mut check);
    let rate_limits = rate_limits(raw.rate_limits, &mut check);
    let plans = plans::plans(raw.plans, &mut check);
    let partners = plans::partners(raw.partners, &plans, &mut check);
    let mut api_keys = api_keys;
    for key in api_keys.iter_mut().flat_map(|config| &mut config.keys) {
        bind_partner(&partners, &key.owner, &mut key.attributes);
    }
    let redis = raw.redis.and_then(|raw| redis(raw, &mut check));
    let cache = cache(&raw.cache, &mut check);
    let shares = redis
        .as_ref()
        .is_some_and(|redis| redis.share_responses.is_some());
    check.that(
        !shares || cache.max_bytes > 0,
        "redis.share_responses",
        || "needs `cache.max_bytes`: nothing is stored".to_owned(),
    );
    let events = raw
        .events
        .map(|raw| events::events(raw, &upstreams, &mut check));
    let webhooks = webhooks::webhooks(raw.webhooks, &mut check);
    let graphql = graphql(raw.graphql, &mut check);
    let cors = edge::cors(&raw.cors, "cors", &mut check);
    let mut csrf = edge::csrf(raw.csrf, &mut check);
    let session = raw
        .session
        .and_then(|raw| session::session(raw, &issuers, &mut csrf, &mut check));
    let security_headers = edge::security_headers(&raw.security_headers, &mut check);
    let compression = edge::compression(&raw.compression, &mut check);
    let streams = edge::streams(raw.streams, &mut check);
    let app_version = edge::app_version(raw.app_version, &mut check);
    let names = routes::Names {
        upstreams: upstreams.keys().map(String::as_str).collect(),
        rate_limits: &rate_limits,
        plans: &plans,
        issuers: issuers
            .iter()
            .map(|issuer| issuer.issuer.as_str())
            .collect(),
        cors: (&raw.cors, cors.as_ref()),
    };
    let routes = routes::routes(raw.routes, &names, &mut check);
    let policies = routes::policies(raw.policies, &routes, &names, &mut check);
    let unmatched_limits = routes::unmatched(raw.unmatched, &names, &mut check);

    Config {
        server,
        admin,
        log: LogConfig {
            filter: raw.log.filter,
        },
        tracing,
        deadline,
        issuers,
        api_keys,
        internal_token,
        problem_base: problem_base(&raw.problems.base, &mut check),
        cors,
        csrf,
        session,
        security_headers,
        compression,
        streams,
        app_version,
        upstreams,
        rate_limits,
        plans,
        partners: Arc::new(partners),
        redis,
        store: StoreConfig {
            path: (!raw.store.path.is_empty()).then(|| raw.store.path.into()),
        },
        cache,
        events,
        webhooks,
        graphql,
        routes,
        policies,
        unmatched_limits,
        warnings,
        origin: Origin::default(),
    }
}

fn server(raw: RawServer, check: &mut Check<'_>) -> ServerConfig {
    let max_header_bytes = check.bytes(raw.max_header_bytes, "server.max_header_bytes");
    let max_uri_bytes = check.bytes(raw.max_uri, "server.max_uri");
    // The smallest buffer that hyper reads a request head into.
    check.that(
        max_header_bytes >= 8 << 10,
        "server.max_header_bytes",
        || "has to be at least 8KiB".to_owned(),
    );
    check.that(max_uri_bytes <= max_header_bytes, "server.max_uri", || {
        "larger than server.max_header_bytes, which counts the request line, too".to_owned()
    });
    check.that(raw.workers <= 1024, "server.workers", || {
        "has to be at most 1024; 0 = one per core".to_owned()
    });
    ServerConfig {
        address: raw.address.0,
        trusted_proxies: raw
            .trusted_proxies
            .iter()
            .map(|network| network.0.trunc())
            .collect(),
        workers: if raw.workers == 0 {
            thread::available_parallelism().map_or(1, usize::from)
        } else {
            raw.workers
        },
        header_timeout: check.positive(raw.header_timeout, "server.header_timeout"),
        idle_timeout: check.positive(raw.idle_timeout, "server.idle_timeout"),
        body_timeout: check.positive(raw.body_timeout, "server.body_timeout"),
        max_connections: check.at_least_one(raw.max_connections, "server.max_connections"),
        max_requests: check.at_least_one(raw.max_requests, "server.max_requests"),
        max_wait: raw.max_wait.0,
        max_uri_bytes,
        max_header_bytes,
        max_headers: check.at_least_one(raw.max_headers, "server.max_headers"),
        max_body_bytes: raw.max_body.0.0,
        lame_duck: raw.lame_duck.0,
        grace: raw.grace.0,
        tls: raw.tls.map(|raw| tls(raw, check)),
    }
}

/// Whether the files hold what they should is found when they are read (`server/tls.rs`), at the start and later.
fn tls(raw: RawTls, check: &mut Check<'_>) -> TlsConfig {
    if raw.certificate.is_none() {
        check.missing("server.tls.certificate");
    }
    if raw.key.is_none() {
        check.missing("server.tls.key");
    }
    check.that(
        raw.client_auth.is_none() || raw.client_ca.is_some(),
        "server.tls.client_auth",
        || "needs server.tls.client_ca".to_owned(),
    );
    let handshake_timeout = raw
        .handshake_timeout
        .unwrap_or(Text(Duration::from_secs(10)));
    TlsConfig {
        certificate: raw.certificate.unwrap_or_default(),
        key: raw.key.unwrap_or_default(),
        client_ca: raw.client_ca,
        require_client: raw.client_auth != Some(RawClientAuth::Optional),
        handshake_timeout: check.positive(handshake_timeout, "server.tls.handshake_timeout"),
    }
}

fn deadline(raw: &RawDeadline, check: &mut Check<'_>) -> DeadlineConfig {
    let default = check.positive(raw.default.clone(), "deadline.default");
    check.that(raw.reserve_min.0 < default, "deadline.reserve_min", || {
        "leaves nothing of deadline.default".to_owned()
    });
    check.that(raw.reserve.0.0 <= 0.9, "deadline.reserve", || {
        "has to be at most 90%, or optional parts have no time".to_owned()
    });
    DeadlineConfig {
        default,
        reserve_ratio: raw.reserve.0.0,
        reserve_min: raw.reserve_min.0,
    }
}

fn problem_base(base: &str, check: &mut Check<'_>) -> Arc<str> {
    let absolute = base.starts_with("https://") || base.starts_with("http://");
    check.that(
        (base.starts_with('/') || absolute) && base.parse::<Uri>().is_ok(),
        "problems.base",
        || r#"has to be a path such as "/problems" or a URL"#.to_owned(),
    );
    Arc::from(base.trim_end_matches('/'))
}

fn issuers(
    raw: Vec<RawIssuer>,
    warnings: &mut Vec<String>,
    check: &mut Check<'_>,
) -> Vec<IssuerConfig> {
    let mut seen = BTreeSet::new();
    let mut issuers: Vec<IssuerConfig> = raw
        .into_iter()
        .enumerate()
        .map(|(index, raw)| {
            let at = element("issuers", index);
            let issuer = issuer(raw, &at, warnings, check);
            check.that(
                issuer.issuer.is_empty() || seen.insert(issuer.issuer.clone()),
                &child(&at, "issuer"),
                || format!("`{}` is there twice", issuer.issuer),
            );
            issuer
        })
        .collect();
    subjects::settle(&mut issuers, check);
    issuers
}

fn issuer(
    raw: RawIssuer,
    at: &str,
    warnings: &mut Vec<String>,
    check: &mut Check<'_>,
) -> IssuerConfig {
    let issuer = check.required(raw.issuer, &child(at, "issuer"));
    let jwks_uri = raw.jwks_uri.map(|uri| uri.0);
    if !issuer.is_empty() {
        match issuer.parse::<Uri>() {
            Ok(url) => {
                check.that(url.query().is_none(), &child(at, "issuer"), || {
                    "an issuer has no query".to_owned()
                });
                key_source(&url, &child(at, "issuer"), warnings, check);
            }
            Err(error) => check.fault(&child(at, "issuer"), format!("not a URL: {error}")),
        }
    }
    if let Some(uri) = &jwks_uri {
        key_source(uri, &child(at, "jwks_uri"), warnings, check);
    }

    let audiences = child(at, "audiences");
    check.not_empty(
        &raw.audiences,
        &audiences,
        "is empty; without it every token of the issuer would do, also one meant for another service",
    );
    check.words(&raw.audiences, &audiences);
    let algorithms: Vec<Algorithm> = raw.algorithms.into_iter().map(|alg| alg.0).collect();
    check.not_empty(
        &algorithms,
        &child(at, "algorithms"),
        "is empty; name the algorithms that the issuer signs with",
    );
    check.words(&raw.token_types, &child(at, "token_types"));

    let refresh = check.positive(raw.refresh, &child(at, "refresh"));
    check.that(
        raw.leeway.0 <= Duration::from_mins(5),
        &child(at, "leeway"),
        || "has to be at most 5m".to_owned(),
    );
    check.that(raw.max_stale.0 >= refresh, &child(at, "max_stale"), || {
        "shorter than refresh: keys would expire before they are fetched again".to_owned()
    });
    IssuerConfig {
        issuer,
        subject_prefix: raw.subject_prefix,
        // Known when all issuers are.
        reserved_prefixes: Vec::new(),
        jwks_uri,
        audiences: raw.audiences,
        algorithms,
        token_types: raw.token_types,
        partner_claim: raw.partner_claim,
        leeway: raw.leeway.0,
        refresh,
        cooldown: check.positive(raw.cooldown, &child(at, "cooldown")),
        max_stale: raw.max_stale.0,
    }
}

/// Whoever can change the keys on their way can sign any token: plain HTTP is for one machine, or a trusted network.
fn key_source(url: &Uri, at: &str, warnings: &mut Vec<String>, check: &mut Check<'_>) {
    let scheme = url.scheme_str().unwrap_or_default();
    let host = url.host().unwrap_or_default();
    check.that(
        (scheme == "https" || scheme == "http") && !host.is_empty(),
        at,
        || "has to be an http or https URL".to_owned(),
    );
    check.no_credentials(url, at);
    let loopback = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    if scheme == "http" && !loopback {
        warnings.push(format!(
            "{at}: keys are fetched over plain HTTP from {host}; use https outside a trusted network"
        ));
    }
}

fn api_keys(raw: RawApiKeys, check: &mut Check<'_>) -> ApiKeysConfig {
    let prefix = check.required(raw.prefix, "api_keys.prefix");
    check.that(
        prefix.is_empty() || prefix.bytes().all(|byte| byte.is_ascii_lowercase()),
        "api_keys.prefix",
        || "has to be lower-case letters".to_owned(),
    );
    let mut ids = BTreeSet::new();
    let mut hashes = BTreeSet::new();
    let keys = raw
        .keys
        .into_iter()
        .enumerate()
        .map(|(index, raw)| {
            let at = element("api_keys.keys", index);
            let id = check.required(raw.id, &child(&at, "id"));
            check.that(
                id.is_empty() || ids.insert(id.clone()),
                &child(&at, "id"),
                || format!("`{id}` is there twice"),
            );
            if raw.hash.is_none() {
                check.missing(&child(&at, "hash"));
            }
            let hash = raw.hash.map(|hash| hash.0);
            check.that(
                hash.is_none_or(|hash| hashes.insert(hash)),
                &child(&at, "hash"),
                || "the same as another key's".to_owned(),
            );
            check.words(&raw.scopes, &child(&at, "scopes"));
            ApiKeyConfig {
                id,
                owner: check.required(raw.owner, &child(&at, "owner")),
                hash: hash.unwrap_or_default(),
                scopes: raw.scopes,
                attributes: raw.attributes,
            }
        })
        .collect();
    ApiKeysConfig { prefix, keys }
}

fn rate_limits(
    raw: BTreeMap<String, RawRateLimit>,
    check: &mut Check<'_>,
) -> BTreeMap<String, RateLimitConfig> {
    let mut limits = BTreeMap::new();
    for (name, raw) in raw {
        let at = child("rate_limits", &name);
        check.name(&name, &at);
        check.that(name != PLAN, &at, || {
            "is the name for the caller's plan".to_owned()
        });
        if raw.key.is_none() {
            check.missing(&child(&at, "key"));
        }
        if raw.rate.is_none() {
            check.missing(&child(&at, "rate"));
        }
        let (requests, window) = raw.rate.map_or((1, Duration::from_secs(1)), |rate| {
            (rate.0.requests, rate.0.window)
        });
        check.that(
            requests >= 1 && !window.is_zero() && window.as_nanos() >= u128::from(requests),
            &child(&at, "rate"),
            || "has to allow at least one request in a time above zero".to_owned(),
        );
        let burst = raw.burst.unwrap_or(requests);
        check.that(raw.burst != Some(0), &child(&at, "burst"), || {
            "has to be at least 1, or nothing would ever pass".to_owned()
        });
        let refill = window.as_nanos() / u128::from(requests.max(1)) * u128::from(burst);
        check.that(refill <= YEAR.as_nanos(), &child(&at, "burst"), || {
            "takes more than a year to be granted again".to_owned()
        });
        limits.insert(
            name,
            RateLimitConfig {
                key: match raw.key {
                    Some(RawRateLimitKey::Principal) => RateLimitKey::Principal,
                    Some(RawRateLimitKey::ApiKey) => RateLimitKey::ApiKey,
                    Some(RawRateLimitKey::Route) => RateLimitKey::Route,
                    Some(RawRateLimitKey::Address) | None => RateLimitKey::Address,
                },
                requests,
                window,
                burst,
            },
        );
    }
    limits
}

fn graphql(raw: RawGraphql, check: &mut Check<'_>) -> Settings {
    const TRUSTED: &str = "graphql.trusted_documents";
    let limits = Limits {
        depth: check.at_least_one(raw.max_depth, "graphql.max_depth"),
        complexity: check.at_least_one(raw.max_complexity, "graphql.max_complexity"),
        directives: raw.max_directives,
        aliases: raw.max_aliases,
        tokens: check.at_least_one(raw.max_tokens, "graphql.max_tokens"),
        bytes: check.bytes(raw.max_document, "graphql.max_document"),
        batch: raw.max_batch,
        introspection: raw.introspection,
    };
    let named = !raw.trusted_documents.is_empty();
    let persisted = match raw.persisted_documents {
        RawPersistedDocuments::Off => Persisted::Off,
        RawPersistedDocuments::Automatic => Persisted::Automatic,
        RawPersistedDocuments::Trusted => {
            check.that(named, TRUSTED, || {
                "is missing: with persisted_documents = \"trusted\" nothing else may be asked"
                    .to_owned()
            });
            // What the file says is read by `load.rs`.
            Persisted::Trusted(Arc::default())
        }
    };
    let trusted = matches!(persisted, Persisted::Trusted(_));
    check.that(trusted || !named, TRUSTED, || {
        "has an effect with persisted_documents = \"trusted\" only".to_owned()
    });
    Settings {
        limits,
        persisted,
        document_cache_bytes: raw.document_cache.0.0,
        sockets: SocketLimits {
            init_timeout: check.positive(raw.init_timeout, "graphql.init_timeout"),
            operations: check.at_least_one(raw.max_operations, "graphql.max_operations"),
            operations_per_second: check.at_least_one(
                raw.max_operations_per_second,
                "graphql.max_operations_per_second",
            ),
        },
    }
}

/// A request should not notice that a store is slow.
const MAX_STORE_TIMEOUT: Duration = Duration::from_secs(1);

fn redis(raw: RawRedis, check: &mut Check<'_>) -> Option<RedisConfig> {
    if raw.url.is_none() {
        check.missing("redis.url");
    }
    // Without it a replica would not know its share, and an outage of the store would multiply every limit.
    if raw.replicas.is_none() {
        check.missing("redis.replicas");
    }
    check.that(raw.replicas != Some(0), "redis.replicas", || {
        "has to be at least 1".to_owned()
    });
    let timeout = check.positive(raw.timeout, "redis.timeout");
    check.that(timeout <= MAX_STORE_TIMEOUT, "redis.timeout", || {
        "has to be at most 1s: requests wait for it".to_owned()
    });
    if let Some(prefix) = &raw.prefix {
        check.name(prefix, "redis.prefix");
    }
    let max_response_age = check.positive(raw.max_response_age, "redis.max_response_age");
    Some(RedisConfig {
        server: raw.url?.0,
        timeout,
        replicas: NonZeroU32::new(raw.replicas?)?,
        prefix: raw.prefix,
        share_responses: raw.share_responses.then_some(max_response_age),
    })
}

fn cache(raw: &RawCache, check: &mut Check<'_>) -> CacheConfig {
    let max_bytes = raw.max_bytes.0.0;
    check.that(
        max_bytes == 0 || raw.max_entry.0.0 <= max_bytes,
        "cache.max_entry",
        || "larger than cache.max_bytes".to_owned(),
    );
    CacheConfig {
        max_bytes,
        max_entry_bytes: check.bytes(raw.max_entry.clone(), "cache.max_entry"),
        parts_max_bytes: raw.parts_max_bytes.0.0,
    }
}

#[cfg(test)]
mod tests;
