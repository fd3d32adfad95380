//! Passthrough routes and the policies of composed ones: their names, paths and what they refer to.
//! Paths that collide are found when the table is built (`route.rs`), where the routes from code are known, too.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::access::access;
use super::check::Check;
use super::edge;
use crate::config::fault::suggest;
use crate::config::raw::{
    RawCors, RawPolicy, RawRoute, RawRouteCache, RawSwitch, RawUnmatched, Text, child, element,
};
use crate::config::{
    CacheRule, CorsConfig, MirrorConfig, PLAN, PassthroughConfig, PlanConfig, PolicyConfig,
    RateLimitConfig, RateLimitKey, RouteCache, StaleWindows, WeightedUpstream,
};

/// What a route can refer to.
pub(super) struct Names<'a> {
    pub(super) upstreams: Vec<&'a str>,
    pub(super) rate_limits: &'a BTreeMap<String, RateLimitConfig>,
    pub(super) plans: &'a BTreeMap<String, PlanConfig>,
    pub(super) issuers: Vec<&'a str>,
    /// What holds for routes that say nothing else: as it is written, and what it comes to.
    pub(super) cors: (&'a RawCors, Option<&'a Arc<CorsConfig>>),
}

pub(super) fn routes(
    raw: Vec<RawRoute>,
    names: &Names<'_>,
    check: &mut Check<'_>,
) -> Vec<PassthroughConfig> {
    let mut seen = BTreeSet::new();
    raw.into_iter()
        .enumerate()
        .map(|(index, raw)| {
            let at = element("routes", index);
            let route = route(raw, &at, names, check);
            check.that(
                route.name.is_empty() || seen.insert(route.name.clone()),
                &child(&at, "name"),
                || format!("`{}` is the name of another route", route.name),
            );
            route
        })
        .collect()
}

pub(super) fn policies(
    raw: BTreeMap<String, RawPolicy>,
    routes: &[PassthroughConfig],
    names: &Names<'_>,
    check: &mut Check<'_>,
) -> BTreeMap<String, PolicyConfig> {
    raw.into_iter()
        .map(|(name, raw)| {
            let at = child("policies", &name);
            check.name(&name, &at);
            check.that(!routes.iter().any(|route| route.name == name), &at, || {
                format!("`{name}` is a passthrough route, which carries its policy itself")
            });
            let policy = policy(raw, &at, names, check);
            (name, policy)
        })
        .collect()
}

fn route(raw: RawRoute, at: &str, names: &Names<'_>, check: &mut Check<'_>) -> PassthroughConfig {
    let name = check.required(raw.name, &child(at, "name"));
    if !name.is_empty() {
        check.name(&name, &child(at, "name"));
    }
    let path = check.required(raw.path, &child(at, "path"));
    let placeholders = template(&path, &child(at, "path"), check);
    if let Some(rewrite) = &raw.rewrite {
        let at = child(at, "rewrite");
        for placeholder in template(rewrite, &at, check) {
            check.that(placeholders.contains(&placeholder), &at, || {
                format!("`{{{placeholder}}}` is not in the route's path")
            });
        }
    }
    let upstreams = upstreams(raw.upstream, raw.weights, at, names, check);
    let mirror = raw.mirror.map(|raw| {
        let at = child(at, "mirror");
        let upstream = check.required(raw.upstream, &child(&at, "upstream"));
        known(&upstream, &child(&at, "upstream"), names, check);
        let share = raw.share.0.0;
        check.that(share > 0.0, &child(&at, "share"), || {
            "has to be more than 0%".to_owned()
        });
        MirrorConfig { upstream, share }
    });
    let methods: Vec<Method> = raw.methods.into_iter().map(|method| method.0).collect();
    check.not_empty(&methods, &child(at, "methods"), "is empty");
    for (index, method) in methods.iter().enumerate() {
        check.that(
            !methods[..index].contains(method),
            &element(&child(at, "methods"), index),
            || format!("`{method}` is there twice"),
        );
    }
    let cache = match raw.cache {
        RawRouteCache::Off => RouteCache::Off,
        RawRouteCache::Private => RouteCache::Private,
        RawRouteCache::Shared => RouteCache::Shared,
    };
    check.that(
        cache == RouteCache::Off || methods.contains(&Method::GET),
        &child(at, "cache"),
        || "needs GET among the methods: nothing else is stored".to_owned(),
    );
    for (window, key) in [
        (&raw.stale_while_revalidate, "stale_while_revalidate"),
        (&raw.stale_if_error, "stale_if_error"),
    ] {
        check.that(
            window.is_none() || cache != RouteCache::Off,
            &child(at, key),
            || "needs `cache`: nothing is stored".to_owned(),
        );
    }
    check.that(
        raw.tags.is_empty()
            || cache != RouteCache::Off
            || methods.iter().any(|method| !method.is_safe()),
        &child(at, "tags"),
        || "needs `cache`, or a method that changes something".to_owned(),
    );
    let window = |window: Option<Text<Duration>>| window.map_or(Duration::ZERO, |text| text.0);
    let cache = CacheRule {
        share: cache,
        stale: StaleWindows {
            while_revalidate: window(raw.stale_while_revalidate),
            if_error: window(raw.stale_if_error),
        },
    };
    let websocket = raw.upgrade.is_some();
    check.that(
        !websocket || methods.contains(&Method::GET) && cache.share == RouteCache::Off,
        &child(at, "upgrade"),
        || "needs GET among the methods, and no cache".to_owned(),
    );
    check.that(!websocket || mirror.is_none(), &child(at, "mirror"), || {
        "does not go together with `upgrade`: there is no copy of a conversation".to_owned()
    });
    let policy = policy(
        RawPolicy {
            access: raw.access,
            limits: raw.limits,
            cost: raw.cost,
            deadline: raw.deadline,
            max_body: raw.max_body,
            cors: raw.cors,
            csrf: raw.csrf,
            compression: raw.compression,
        },
        at,
        names,
        check,
    );
    PassthroughConfig {
        name,
        path,
        methods,
        upstreams,
        mirror,
        rewrite: raw.rewrite,
        policy,
        cache,
        tags: raw.tags,
        websocket,
    }
}

/// The limits of what is no route's. Who sends it is not asked.
pub(super) fn unmatched(
    raw: RawUnmatched,
    names: &Names<'_>,
    check: &mut Check<'_>,
) -> Vec<String> {
    for (index, limit) in raw.limits.iter().enumerate() {
        let at = element("unmatched.limits", index);
        check.that(!raw.limits[..index].contains(limit), &at, || {
            format!("`{limit}` is there twice")
        });
        match names.rate_limits.get(limit) {
            Some(known) => check.that(
                matches!(known.key, RateLimitKey::Address | RateLimitKey::Route),
                &at,
                || format!("`{limit}` goes by who is calling, which nobody looks at here"),
            ),
            None => no_such_limit(limit, &at, names, check),
        }
    }
    raw.limits
}

fn no_such_limit(limit: &str, at: &str, names: &Names<'_>, check: &mut Check<'_>) {
    // A limit with a fault of its own is not missing.
    if !check.faults.explains(&child("rate_limits", limit)) {
        let hint = suggest(limit, names.rate_limits.keys().map(String::as_str));
        check.fault(at, format!("no rate limit is named `{limit}`; {hint}"));
    }
}

/// Where a route forwards to: one upstream, or several with weights.
fn upstreams(
    one: Option<String>,
    weights: BTreeMap<String, u32>,
    at: &str,
    names: &Names<'_>,
    check: &mut Check<'_>,
) -> Vec<WeightedUpstream> {
    let at_weights = child(at, "weights");
    if weights.is_empty() {
        let name = check.required(one, &child(at, "upstream"));
        known(&name, &child(at, "upstream"), names, check);
        return vec![WeightedUpstream { name, weight: 1 }];
    }
    check.that(one.is_none(), &at_weights, || {
        "says where the route goes, and so does `upstream`; leave one of them out".to_owned()
    });
    check.that(
        weights.values().any(|weight| *weight > 0),
        &at_weights,
        || "needs an upstream with more than 0: no request would go anywhere".to_owned(),
    );
    for name in weights.keys() {
        known(name, &child(&at_weights, name), names, check);
    }
    let weighted = |(name, weight)| WeightedUpstream { name, weight };
    weights.into_iter().map(weighted).collect()
}

/// Whether `upstream` is the name of one.
fn known(upstream: &str, at: &str, names: &Names<'_>, check: &mut Check<'_>) {
    if upstream.is_empty()
        || names.upstreams.contains(&upstream)
        || check.faults.explains(&child("upstreams", upstream))
    {
        return;
    }
    let hint = suggest(upstream, names.upstreams.iter().copied());
    check.fault(at, format!("no upstream is named `{upstream}`; {hint}"));
}

fn policy(raw: RawPolicy, at: &str, names: &Names<'_>, check: &mut Check<'_>) -> PolicyConfig {
    let at_policy = at;
    let limits = child(at, "limits");
    let cost = raw.cost.map_or(Some(NonZeroU32::MIN), NonZeroU32::new);
    check.that(cost.is_some(), &child(at, "cost"), || {
        "has to be at least 1".to_owned()
    });
    let cost = cost.unwrap_or(NonZeroU32::MIN);
    for (index, limit) in raw.limits.iter().enumerate() {
        let at = element(&limits, index);
        check.that(!raw.limits[..index].contains(limit), &at, || {
            format!("`{limit}` is there twice")
        });
        if limit == PLAN {
            for (name, plan) in names.plans {
                check.that(cost.get() <= plan.burst, &child(at_policy, "cost"), || {
                    format!(
                        "more than the burst of the plan `{name}` ({}): no request would ever pass",
                        plan.burst
                    )
                });
            }
            continue;
        }
        match names.rate_limits.get(limit) {
            Some(known) => check.that(cost.get() <= known.burst, &child(at_policy, "cost"), || {
                format!(
                    "more than the burst of `{limit}` ({}): no request would ever pass",
                    known.burst
                )
            }),
            None => no_such_limit(limit, &at, names, check),
        }
    }
    PolicyConfig {
        access: access(raw.access, &names.issuers, at, check),
        limits: raw.limits,
        cost,
        deadline: raw
            .deadline
            .map(|deadline| check.positive(deadline, &child(at, "deadline"))),
        max_body_bytes: raw.max_body.map(|size| size.0.0),
        cors: edge::route_cors(raw.cors, names.cors.0, names.cors.1, at, check),
        csrf: raw.csrf.map(edge::csrf_rule),
        compression: !matches!(raw.compression, Some(RawSwitch::Off)),
    }
}

/// The placeholders of a path such as `/api/things/{id}` or `/api/files/{*rest}`.
fn template(path: &str, at: &str, check: &mut Check<'_>) -> Vec<String> {
    let mut placeholders = Vec::new();
    if path.is_empty() {
        return placeholders;
    }
    check.that(path.starts_with('/'), at, || {
        "has to begin with `/`".to_owned()
    });
    check.that(
        !path.contains(['?', '#', '%', ' ']) && path.is_ascii(),
        at,
        || "is a plain path: no query, fragment, space or percent-encoding".to_owned(),
    );
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        check.that(
            !matches!(*segment, "." | "..") && (last || !segment.is_empty()),
            at,
            || "has an empty or a dot segment: no normalized path would ever match".to_owned(),
        );
        if !segment.contains(['{', '}']) {
            continue;
        }
        let inside = segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        let name = inside.map(|inside| inside.strip_prefix('*').unwrap_or(inside));
        let Some(name) = name.filter(|name| is_placeholder(name)) else {
            check.fault(
                at,
                format!("`{segment}` is not a placeholder; a whole segment is `{{id}}` or, at the end, `{{*rest}}`"),
            );
            continue;
        };
        check.that(last || !segment.starts_with("{*"), at, || {
            format!("`{segment}` takes all the rest: it has to be the last segment")
        });
        check.that(!placeholders.iter().any(|seen| seen == name), at, || {
            format!("`{{{name}}}` is there twice")
        });
        placeholders.push(name.to_owned());
    }
    placeholders
}

fn is_placeholder(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
