//! Building the table, with every conflict reported, and matching a request once. Policies are applied by `edge.rs`.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};
use serde::Serialize;

use super::{DeclaredRoute, Destination, MirrorRule, Rewrite, TagTemplate};
use crate::config::{
    Access, CacheRule, Config, ConfigFault, ConfigFaults, CsrfRule, PolicyConfig, RouteCache,
    covers,
};
use crate::edge::{Cors, RateLimiter, RouteLimits};
use crate::intern::intern;
use crate::metrics::{Metrics, RouteMetrics};

/// One route: what a request has to fulfil, and what happens to it then.
pub(crate) struct Route {
    pub(crate) index: usize,
    pub(crate) name: &'static str,
    pub(crate) path: String,
    pub(crate) methods: Vec<Method>,
    pub(crate) action: Action,
    pub(crate) access: Access,
    pub(crate) limits: RouteLimits,
    pub(crate) deadline: Duration,
    pub(crate) max_body_bytes: u64,
    /// Which other origins' scripts may use it; `None` = none.
    pub(crate) cors: Option<Cors>,
    pub(crate) csrf: CsrfRule,
    pub(crate) compression: bool,
    /// The same for everybody: credentials are not looked at.
    pub(crate) open: bool,
    /// It has JSON to offer and nothing else.
    pub(crate) only_json: bool,
    pub(crate) metrics: RouteMetrics,
}

impl Route {
    /// Whether anything that is done depends on who is calling.
    pub(crate) fn asks_who(&self) -> bool {
        let limits = &self.limits;
        !matches!(self.access, Access::Public)
            || !(self.open || self.action.is_for_everybody())
            || !limits.after.is_empty()
            || limits.plan.is_some()
    }

    pub(crate) fn is_forwarded_for_anybody(&self) -> bool {
        matches!(self.access, Access::Public) && matches!(self.action, Action::Proxy(_))
    }
}

pub(crate) enum Action {
    /// A handler in a BFF's code.
    Composed,
    Proxy(ProxyRule),
}

impl Action {
    /// Whether its answers are the same for everybody.
    pub(crate) fn is_for_everybody(&self) -> bool {
        matches!(self, Self::Proxy(rule) if rule.cache.share == RouteCache::Shared)
    }
}

pub(crate) struct ProxyRule {
    pub(crate) destination: Destination,
    /// Where copies of its requests go.
    pub(crate) mirror: Option<MirrorRule>,
    pub(crate) rewrite: Option<Rewrite>,
    /// The path upstream with its placeholders.
    pub(crate) template: &'static str,
    pub(crate) cache: CacheRule,
    /// What its answers depend on, and what its commands change.
    pub(crate) tags: Vec<TagTemplate>,
    /// Whether WebSockets may be opened through it.
    pub(crate) websocket: bool,
}

/// A line of `/routes` on the admin listener.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteSummary {
    pub name: &'static str,
    pub methods: Vec<String>,
    pub path: String,
    /// `composed`, or the upstream that a passthrough route forwards to.
    pub action: String,
    pub access: String,
    pub deadline_ms: u64,
    pub max_body_bytes: u64,
}

pub(crate) struct RouteTable {
    routes: Vec<Arc<Route>>,
    paths: matchit::Router<PathEntry>,
    unmatched: RouteLimits,
}

struct PathEntry {
    methods: Vec<(Method, usize)>,
    allow: HeaderValue,
}

/// A route and the values of its placeholders.
pub(crate) struct Matched<'table, 'path> {
    pub(crate) route: &'table Arc<Route>,
    pub(crate) parameters: matchit::Params<'table, 'path>,
    methods: &'table [(Method, usize)],
}

impl<'table> Matched<'table, '_> {
    /// What the path can do; HEAD comes with GET.
    pub(crate) fn methods(&self) -> impl Iterator<Item = &'table Method> {
        let has = |wanted: Method| self.methods.iter().any(|(method, _)| *method == wanted);
        let head = (has(Method::GET) && !has(Method::HEAD)).then_some(&Method::HEAD);
        self.methods.iter().map(|(method, _)| method).chain(head)
    }
}

pub(crate) enum NoMatch {
    Path,
    Method { allow: HeaderValue },
}

impl RouteTable {
    pub(crate) fn build(
        config: &Config,
        declared: &[DeclaredRoute],
        limiter: &RateLimiter,
        metrics: &Metrics,
    ) -> Result<Self, ConfigFaults> {
        let mut builder = Builder {
            config,
            limiter,
            metrics,
            routes: Vec::new(),
            faults: Vec::new(),
        };
        for route in declared {
            builder.composed(route);
        }
        for name in config
            .policies
            .keys()
            .filter(|name| !declared.iter().any(|route| route.name == **name))
        {
            builder.fault(
                format!("policies.{name}"),
                "there is no composed route of this name in the code",
            );
        }
        for (index, route) in config.routes.iter().enumerate() {
            builder.passthrough(index, route);
        }
        builder.finish()
    }

    /// What holds for requests that are none of its routes'.
    pub(crate) fn unmatched(&self) -> &RouteLimits {
        &self.unmatched
    }

    /// In the order in which they are shown.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter()
    }

    pub(crate) fn find<'path>(
        &self,
        method: &Method,
        path: &'path str,
    ) -> Result<Matched<'_, 'path>, NoMatch> {
        let found = self.paths.at(path).map_err(|_| NoMatch::Path)?;
        let wanted = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let entry = found.value;
        match entry.methods.iter().find(|(allowed, _)| allowed == wanted) {
            Some((_, index)) => Ok(Matched {
                route: &self.routes[*index],
                parameters: found.params,
                methods: &entry.methods,
            }),
            None => Err(NoMatch::Method {
                allow: entry.allow.clone(),
            }),
        }
    }

    pub(crate) fn summaries(&self) -> Vec<RouteSummary> {
        self.routes.iter().map(|route| route.summary()).collect()
    }
}

impl Route {
    fn summary(&self) -> RouteSummary {
        RouteSummary {
            name: self.name,
            methods: self.methods.iter().map(ToString::to_string).collect(),
            path: self.path.clone(),
            action: match &self.action {
                Action::Composed => "composed".to_owned(),
                Action::Proxy(rule) => format!("proxy to {}", rule.destination),
            },
            access: match &self.access {
                Access::Public => "public".to_owned(),
                Access::Principals(needed) => describe(needed),
            },
            deadline_ms: u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX),
            max_body_bytes: self.max_body_bytes,
        }
    }
}

fn describe(needed: &crate::config::Requirement) -> String {
    let mut parts = Vec::new();
    if !needed.all_scopes.is_empty() {
        parts.push(format!("scopes {}", needed.all_scopes.join(" ")));
    }
    if !needed.any_scopes.is_empty() {
        parts.push(format!("any scope of {}", needed.any_scopes.join(" ")));
    }
    if !needed.roles.is_empty() {
        parts.push(format!("any role of {}", needed.roles.join(" ")));
    }
    if !needed.principals.is_empty() {
        parts.push(format!("one of {} named callers", needed.principals.len()));
    }
    if parts.is_empty() {
        "authenticated".to_owned()
    } else {
        parts.join(", ")
    }
}

struct Builder<'a> {
    config: &'a Config,
    limiter: &'a RateLimiter,
    metrics: &'a Metrics,
    routes: Vec<Route>,
    faults: Vec<ConfigFault>,
}

impl Builder<'_> {
    fn fault(&mut self, path: String, message: impl Into<String>) {
        self.faults.push(ConfigFault {
            path,
            message: message.into(),
        });
    }

    fn composed(&mut self, declared: &DeclaredRoute) {
        let Some(policy) = self.config.policies.get(declared.name) else {
            self.fault(
                format!("policies.{}", declared.name),
                format!(
                    "the route {} {} needs a policy; write `access` for it",
                    declared.method, declared.path
                ),
            );
            return;
        };
        if declared.open && policy.access != Access::Public {
            self.fault(
                format!("policies.{}.access", declared.name),
                "has to be \"public\": the route is the same for everybody",
            );
        }
        self.push(
            declared.name,
            declared.path,
            vec![declared.method.clone()],
            Action::Composed,
            policy,
        );
        if let Some(route) = self.routes.last_mut() {
            route.open = declared.open;
            route.only_json = declared.only_json;
        }
    }

    fn passthrough(&mut self, index: usize, route: &crate::config::PassthroughConfig) {
        let rewrite = match route
            .rewrite
            .as_deref()
            .map(|template| Rewrite::parse(template, &route.path))
            .transpose()
        {
            Ok(rewrite) => rewrite,
            Err(fault) => return self.fault(format!("routes[{index}].rewrite"), fault.to_string()),
        };
        let mut tags = Vec::new();
        for (at, tag) in route.tags.iter().enumerate() {
            match TagTemplate::parse(tag, &route.path) {
                Ok(tag) => tags.push(tag),
                Err(fault) => {
                    self.fault(format!("routes[{index}].tags[{at}]"), fault.to_string());
                }
            }
        }
        let action = Action::Proxy(ProxyRule {
            destination: Destination::new(&route.upstreams),
            mirror: route.mirror.as_ref().map(MirrorRule::from),
            rewrite,
            template: intern(route.rewrite.as_deref().unwrap_or(&route.path)),
            cache: route.cache,
            tags,
            websocket: route.websocket,
        });
        self.push(
            &route.name,
            &route.path,
            route.methods.clone(),
            action,
            &route.policy,
        );
    }

    fn push(
        &mut self,
        name: &str,
        path: &str,
        methods: Vec<Method>,
        action: Action,
        policy: &PolicyConfig,
    ) {
        let name = intern(name);
        self.routes.push(Route {
            index: self.routes.len(),
            name,
            path: path.to_owned(),
            methods,
            action,
            access: policy.access.clone(),
            limits: self.limiter.resolve(policy),
            deadline: policy.deadline.unwrap_or(self.config.deadline.default),
            max_body_bytes: policy
                .max_body_bytes
                .unwrap_or(self.config.server.max_body_bytes),
            cors: policy.cors.as_deref().map(Cors::new),
            csrf: policy
                .csrf
                .unwrap_or_else(|| self.config.csrf.rule_for(path)),
            compression: policy.compression,
            open: false,
            only_json: false,
            metrics: self.metrics.route(name),
        });
    }

    fn finish(mut self) -> Result<RouteTable, ConfigFaults> {
        // A prefix that is misspelt would leave its routes with less.
        for (index, prefix) in self.config.csrf.header_below.iter().enumerate() {
            if !self.routes.iter().any(|route| covers(prefix, &route.path)) {
                self.fault(
                    format!("csrf.header_below[{index}]"),
                    format!("no route is below `{prefix}`"),
                );
            }
        }
        let mut by_path: BTreeMap<String, Vec<(Method, usize)>> = BTreeMap::new();
        let mut faults = Vec::new();
        for route in &self.routes {
            let taken = by_path.entry(route.path.clone()).or_default();
            for method in &route.methods {
                if let Some((_, other)) = taken.iter().find(|(known, _)| known == method) {
                    faults.push(ConfigFault {
                        path: format!("routes.{}", route.name),
                        message: format!(
                            "{method} {} is already the route `{}`",
                            route.path, self.routes[*other].name
                        ),
                    });
                } else {
                    taken.push((method.clone(), route.index));
                }
            }
        }
        let mut paths = matchit::Router::new();
        for (path, methods) in by_path {
            let allow = allow(&methods);
            let name = methods
                .first()
                .map_or("", |(_, index)| self.routes[*index].name);
            if let Err(conflict) = paths.insert(&path, PathEntry { methods, allow }) {
                faults.push(ConfigFault {
                    path: format!("routes.{name}"),
                    message: format!("{path}: {conflict}"),
                });
            }
        }
        self.faults.extend(faults);
        if self.faults.is_empty() {
            let limits = &self.config.unmatched_limits;
            Ok(RouteTable {
                routes: self.routes.into_iter().map(Arc::new).collect(),
                paths,
                unmatched: self.limiter.resolve_named(limits, NonZeroU32::MIN),
            })
        } else {
            Err(ConfigFaults(self.faults))
        }
    }
}

/// `Allow` lists what a path can do (RFC 9110, 10.2.1); HEAD comes with GET.
fn allow(methods: &[(Method, usize)]) -> HeaderValue {
    let mut names: Vec<&str> = methods.iter().map(|(method, _)| method.as_str()).collect();
    if names.contains(&"GET") && !names.contains(&"HEAD") {
        names.push("HEAD");
    }
    names.sort_unstable();
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;
