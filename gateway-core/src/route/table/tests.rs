//! Matching, and what is reported when the table cannot be built.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use http::Method;

use super::{NoMatch, RouteTable};
use crate::config::{self, Config, ConfigFaults};
use crate::edge::RateLimiter;
use crate::metrics::Metrics;
use crate::route::DeclaredRoute;

const BASE: &str = r#"
[server]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[upstreams.widgets]
address = "http://127.0.0.1:1"
[policies.show]
access = "public"
"#;

const SHOW: DeclaredRoute = DeclaredRoute {
    name: "show",
    method: Method::GET,
    path: "/widgets/{id}",
    open: false,
    only_json: false,
};

fn config(more: &str) -> Config {
    config::from_text(&[BASE, more]).unwrap()
}

fn build(config: &Config, declared: &[DeclaredRoute]) -> Result<RouteTable, ConfigFaults> {
    let limiter = RateLimiter::new(config, None, &Metrics::new(1));
    RouteTable::build(config, declared, &limiter, &Metrics::new(1))
}

fn faults(config: &Config, declared: &[DeclaredRoute]) -> String {
    build(config, declared).err().unwrap().to_string()
}

#[test]
fn a_path_matches_by_method_and_head_is_get() {
    let table = build(&config(""), &[SHOW]).unwrap();
    assert_eq!(
        table
            .find(&Method::GET, "/widgets/1")
            .ok()
            .unwrap()
            .route
            .name,
        "show"
    );
    assert_eq!(
        table
            .find(&Method::HEAD, "/widgets/1")
            .ok()
            .unwrap()
            .route
            .name,
        "show"
    );
    assert!(matches!(
        table.find(&Method::GET, "/gadgets"),
        Err(NoMatch::Path)
    ));
    let Err(NoMatch::Method { allow }) = table.find(&Method::PUT, "/widgets/1") else {
        panic!("matched")
    };
    assert_eq!(allow, "GET, HEAD");
}

#[test]
fn routes_from_code_and_configuration_share_a_path() {
    let with_put = config(
        r#"
[[routes]]
name = "replace"
path = "/widgets/{id}"
methods = ["PUT"]
upstream = "widgets"
access = "public"
"#,
    );
    let table = build(&with_put, &[SHOW]).unwrap();
    assert_eq!(
        table
            .find(&Method::PUT, "/widgets/1")
            .ok()
            .unwrap()
            .route
            .name,
        "replace"
    );
    assert_eq!(
        table
            .find(&Method::GET, "/widgets/1")
            .ok()
            .unwrap()
            .route
            .name,
        "show"
    );
}

#[test]
fn every_conflict_is_reported_at_once() {
    let conflicting = config(
        r#"
[[routes]]
name = "again"
path = "/widgets/{id}"
methods = ["GET"]
upstream = "widgets"
access = "public"
[[routes]]
name = "other-placeholder"
path = "/widgets/{number}"
methods = ["GET"]
upstream = "widgets"
access = "public"
[policies.nothing]
access = "public"
"#,
    );
    let report = faults(&conflicting, &[SHOW]);
    for part in ["again", "other-placeholder", "policies.nothing"] {
        assert!(report.contains(part), "{part} is missing in: {report}");
    }
}

#[test]
fn a_composed_route_without_a_policy_is_a_fault() {
    let hidden = DeclaredRoute {
        name: "hidden",
        method: Method::GET,
        path: "/hidden",
        ..SHOW
    };
    assert!(faults(&config(""), &[SHOW, hidden]).contains("policies.hidden"));
}

#[test]
fn what_is_the_same_for_everybody_is_public() {
    let open = DeclaredRoute { open: true, ..SHOW };
    assert!(build(&config(""), std::slice::from_ref(&open)).is_ok());
    let closed = config("[policies.show]\naccess = \"authenticated\"\n");
    assert!(faults(&closed, &[open]).contains("policies.show.access"));
}
