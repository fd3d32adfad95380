//! The merged route table: passthrough routes from the configuration and composed routes from code, each with its
//! policy. It matches method and path; what a matched route does is `proxy.rs` or a BFF's handler.

mod destination;
mod rewrite;
mod table;

use axum::Router;
use axum::handler::Handler;
use axum::routing::MethodFilter;
use http::{HeaderMap, Method};
use serde_json::Value;

use crate::config::Config;
use crate::openapi::{
    Described, Documented, Info, Operation, Page, Served, answers_in_json_alone, document,
};

pub(crate) use destination::{Destination, MirrorRule};
pub(crate) use rewrite::{Rewrite, TagTemplate};
pub use table::RouteSummary;
pub(crate) use table::{Action, Matched, NoMatch, ProxyRule, Route, RouteTable};

/// A composed route as a BFF's `routes.rs` declares it. Its policy is in the configuration, under the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredRoute {
    pub name: &'static str,
    pub method: Method,
    pub path: &'static str,
    /// The same for everybody: who asks is not found out.
    pub open: bool,
    /// It answers in JSON and nothing else, and 406 to who takes none.
    pub only_json: bool,
}

/// The composed routes of a BFF.
#[must_use]
pub struct Routes<S = ()> {
    router: Router<S>,
    declared: Vec<DeclaredRoute>,
    /// What documentation has to say of each of them.
    described: Vec<DescribedRoute>,
    /// The description of them, and where it is.
    document: Option<(Value, &'static str)>,
}

struct DescribedRoute {
    summary: &'static str,
    may_be_missing: bool,
    describe: fn(&mut Operation<'_>),
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    #[expect(
        clippy::new_without_default,
        reason = "a table of no routes is the start of a column, not a default"
    )]
    pub fn new() -> Self {
        Self {
            router: Router::new(),
            declared: Vec::new(),
            described: Vec::new(),
            document: None,
        }
    }

    /// `GET` (and `HEAD`) of `path`; variable segments are `{name}`.
    pub fn get<H, T, D>(self, name: &'static str, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, S> + Described<D>,
        T: 'static,
    {
        self.declare(name, Method::GET, MethodFilter::GET, path, handler)
    }

    /// `GET` (and `HEAD`) of a page or a file that is the same for everybody: no credentials are looked at, so it is there
    /// also while nobody can say what they are worth. Its policy has to say `access = "public"`.
    pub fn open<H, T, D>(mut self, name: &'static str, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, S> + Described<D>,
        T: 'static,
    {
        self = self.get(name, path, handler);
        if let Some(declared) = self.declared.last_mut() {
            declared.open = true;
        }
        self
    }

    pub fn post<H, T, D>(self, name: &'static str, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, S> + Described<D>,
        T: 'static,
    {
        self.declare(name, Method::POST, MethodFilter::POST, path, handler)
    }

    pub fn put<H, T, D>(self, name: &'static str, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, S> + Described<D>,
        T: 'static,
    {
        self.declare(name, Method::PUT, MethodFilter::PUT, path, handler)
    }

    pub fn delete<H, T, D>(self, name: &'static str, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, S> + Described<D>,
        T: 'static,
    {
        self.declare(name, Method::DELETE, MethodFilter::DELETE, path, handler)
    }

    /// What the route before is for, in one sentence, for those who read the documentation.
    pub fn about(mut self, summary: &'static str) -> Self {
        if let Some(described) = self.described.last_mut() {
            described.summary = summary;
        }
        self
    }

    /// Says of the route before that there may be none of what it shows (404), though no segment of its path says which one:
    /// it is the caller's own.
    pub fn may_be_missing(mut self) -> Self {
        if let Some(described) = self.described.last_mut() {
            described.may_be_missing = true;
        }
        self
    }

    /// `GET` of `path`: the description of all routes before this one (OpenAPI 3.1), made from the types of their handlers and
    /// the policies of `config`.
    pub fn openapi(
        mut self,
        name: &'static str,
        path: &'static str,
        config: &Config,
        info: &Info,
    ) -> Self {
        let routes: Vec<Documented<'_>> = self
            .declared
            .iter()
            .zip(&self.described)
            .map(|(route, described)| Documented {
                name: route.name,
                method: &route.method,
                path: route.path,
                summary: described.summary,
                may_be_missing: described.may_be_missing,
                describe: described.describe,
            })
            .collect();
        let document = document(info, &routes, config);
        let served = Served::new("application/json", document.to_string());
        self.document = Some((document, path));
        let handler = move |headers: HeaderMap| {
            let served = served.clone();
            async move { served.answer(&headers) }
        };
        self.get(name, path, handler).about("This document.")
    }

    /// `GET` of `path`: the description by [`Routes::openapi`], which stands before it, as a page for people. Everything that it
    /// needs is in it, and its policy (CSP) allows nothing else.
    pub fn docs(self, name: &'static str, path: &'static str) -> Self {
        let (document, at) = self
            .document
            .as_ref()
            .map_or((&Value::Null, ""), |(document, at)| (document, *at));
        let page = Page::new(document, at);
        let handler = move |headers: HeaderMap| {
            let page = page.clone();
            async move { page.answer(&headers) }
        };
        self.get(name, path, handler).about("This description.")
    }

    fn declare<H, T, D>(
        mut self,
        name: &'static str,
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, S> + Described<D>,
        T: 'static,
    {
        // A second handler for the same method and path would make axum panic; the table reports it as a fault.
        let taken = self
            .declared
            .iter()
            .any(|route| route.method == method && route.path == path);
        if !taken {
            self.router = self.router.route(path, axum::routing::on(filter, handler));
        }
        self.declared.push(DeclaredRoute {
            name,
            method,
            path,
            open: false,
            only_json: answers_in_json_alone(<H as Described<D>>::describe),
        });
        self.described.push(DescribedRoute {
            summary: "",
            may_be_missing: false,
            describe: <H as Described<D>>::describe,
        });
        self
    }

    /// Gives the handlers what they share: a BFF's clients.
    pub fn with_state(self, state: S) -> Routes {
        Routes {
            router: self.router.with_state(state),
            declared: self.declared,
            described: self.described,
            document: self.document,
        }
    }
}

impl Routes {
    pub(crate) fn into_parts(self) -> (Router, Vec<DeclaredRoute>) {
        (self.router, self.declared)
    }
}
