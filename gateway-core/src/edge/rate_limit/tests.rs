//! Limits on a clock that only the test moves.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use governor::clock::FakeRelativeClock;
use http::HeaderMap;

use super::{Counted, Denied, LimitId, RateLimitHeaders, RateLimiter, RouteKey};
use crate::auth::{ApiKeyPrincipal, Principal, TokenPrincipal};
use crate::config::{Access, PolicyConfig, RateLimitConfig, RateLimitKey};
use crate::deadline::Deadline;
use crate::metrics::Metrics;

const HERE: &str = "192.0.2.1";
const ROUTE: RouteKey = RouteKey("route");

struct Fixture {
    limiter: RateLimiter<FakeRelativeClock>,
    clock: FakeRelativeClock,
}

fn limit(key: RateLimitKey, requests: u32, window: u64, burst: u32) -> RateLimitConfig {
    RateLimitConfig {
        key,
        requests,
        window: Duration::from_secs(window),
        burst,
    }
}

/// A request over a limit, and what its answer says.
#[derive(Debug)]
struct Refused {
    retry_after: Duration,
    headers: RateLimitHeaders,
}

fn policy(limits: &[&str]) -> PolicyConfig {
    PolicyConfig {
        access: Access::Public,
        limits: limits.iter().map(|&name| name.to_owned()).collect(),
        cost: NonZeroU32::new(3).unwrap(),
        deadline: None,
        max_body_bytes: None,
        cors: None,
        csrf: None,
        compression: true,
    }
}

impl Fixture {
    fn new(limits: &[(&str, RateLimitConfig)]) -> Self {
        let config: BTreeMap<String, RateLimitConfig> = limits
            .iter()
            .map(|(name, config)| ((*name).to_owned(), config.clone()))
            .collect();
        let clock = FakeRelativeClock::default();
        Self {
            limiter: RateLimiter::with_clock(&config, |_| 1, None, &Metrics::new(1), &clock),
            clock,
        }
    }

    fn ids(&self, names: &[&str]) -> Vec<LimitId> {
        names.iter().map(|name| self.limiter.names[*name]).collect()
    }

    fn count(
        &self,
        names: &[&str],
        cost: u32,
        route: RouteKey,
        principal: &Principal,
        address: IpAddr,
    ) -> Result<RateLimitHeaders, Refused> {
        let request = Counted {
            route,
            cost: NonZeroU32::new(cost).unwrap(),
            principal,
            address,
            deadline: Deadline::after(Duration::from_secs(1)),
        };
        let mut told = RateLimitHeaders::default();
        let checked = self
            .limiter
            .check(&self.ids(names), &request, &mut told)
            .now_or_never()
            .expect("limits of this process are never waited for");
        match checked {
            Ok(()) => Ok(told),
            Err(Denied { retry_after }) => Err(Refused {
                retry_after,
                headers: told,
            }),
        }
    }

    fn check(
        &self,
        names: &[&str],
        principal: &Principal,
        address: &str,
    ) -> Result<RateLimitHeaders, Refused> {
        self.count(names, 1, ROUTE, principal, address.parse().unwrap())
    }

    /// How many requests in a row are let through, at most 100.
    fn admitted(&self, names: &[&str], principal: &Principal, address: &str) -> usize {
        (0..100)
            .take_while(|_| self.check(names, principal, address).is_ok())
            .count()
    }
}

fn person(subject: &str, issuer: &str) -> Principal {
    Principal::Token(Arc::new(TokenPrincipal {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        name: subject.to_owned(),
        scopes: Vec::new(),
        roles: Vec::new(),
        attributes: BTreeMap::new(),
        expires_at: u64::MAX,
        token_id: None,
    }))
}

fn machine(owner: &str, key_id: &str) -> Principal {
    Principal::ApiKey(Arc::new(ApiKeyPrincipal {
        key_id: key_id.to_owned(),
        owner: owner.to_owned(),
        scopes: Vec::new(),
        attributes: BTreeMap::new(),
    }))
}

#[test]
fn a_burst_passes_at_once_and_then_the_pace_holds() {
    let fixture = Fixture::new(&[("address", limit(RateLimitKey::Address, 10, 1, 3))]);
    let nobody = Principal::Anonymous;
    assert_eq!(fixture.admitted(&["address"], &nobody, HERE), 3);

    let denied = fixture.check(&["address"], &nobody, HERE).unwrap_err();
    assert_eq!(denied.retry_after, Duration::from_millis(100));
    fixture.clock.advance(Duration::from_millis(99));
    let denied = fixture.check(&["address"], &nobody, HERE).unwrap_err();
    assert_eq!(denied.retry_after, Duration::from_millis(1));
    fixture.clock.advance(denied.retry_after);
    assert_eq!(fixture.admitted(&["address"], &nobody, HERE), 1);

    fixture.clock.advance(Duration::from_secs(60));
    assert_eq!(fixture.admitted(&["address"], &nobody, HERE), 3);
}

#[test]
fn each_caller_has_a_bucket_of_its_own() {
    let fixture = Fixture::new(&[
        ("address", limit(RateLimitKey::Address, 1, 60, 2)),
        ("caller", limit(RateLimitKey::Principal, 1, 60, 2)),
        ("key", limit(RateLimitKey::ApiKey, 1, 60, 2)),
    ]);
    let nobody = Principal::Anonymous;
    for (limit, principal, address, expected) in [
        ("address", &nobody, "192.0.2.1", 2),
        ("address", &nobody, "192.0.2.2", 2),
        // The same address, mapped.
        ("address", &nobody, "::ffff:192.0.2.2", 0),
        ("address", &nobody, "2001:db8:0:1::1", 2),
        // The same /64, and its neighbour.
        ("address", &nobody, "2001:db8:0:1:ffff::2", 0),
        ("address", &nobody, "2001:db8:0:2::1", 2),
        ("caller", &person("a", "one"), HERE, 2),
        // Wherever the caller is.
        ("caller", &person("a", "one"), "192.0.2.9", 0),
        ("caller", &person("b", "one"), HERE, 2),
        // Another issuer's subject is somebody else; another key of the same owner is not.
        ("caller", &person("a", "two"), HERE, 2),
        ("caller", &machine("a", "key-1"), HERE, 2),
        ("caller", &machine("a", "key-2"), HERE, 0),
        // By key each of an owner's keys counts for itself; who has none is known as a principal.
        ("key", &machine("a", "key-1"), HERE, 2),
        ("key", &machine("a", "key-2"), HERE, 2),
        ("key", &machine("a", "key-2"), "192.0.2.9", 0),
        ("key", &person("a", "one"), HERE, 2),
        ("key", &person("a", "one"), "192.0.2.9", 0),
        // Who has no principal is known by the address.
        ("caller", &nobody, HERE, 2),
        ("caller", &nobody, HERE, 0),
        ("caller", &nobody, "192.0.2.7", 2),
    ] {
        assert_eq!(
            fixture.admitted(&[limit], principal, address),
            expected,
            "{limit} {principal:?} {address}"
        );
    }
}

#[test]
fn a_limit_by_route_is_one_bucket_for_everybody_on_the_route() {
    let fixture = Fixture::new(&[("total", limit(RateLimitKey::Route, 1, 60, 1))]);
    let check = |route, who: &Principal, address: &str| {
        fixture
            .count(
                &["total"],
                1,
                RouteKey(route),
                who,
                address.parse().unwrap(),
            )
            .is_ok()
    };
    assert!(check("one", &person("a", "one"), HERE));
    assert!(!check("one", &person("b", "one"), "192.0.2.2"));
    assert!(check("two", &person("b", "one"), "192.0.2.2"));
}

#[test]
fn a_denial_takes_nothing_from_the_other_policies() {
    let fixture = Fixture::new(&[
        ("a-wide", limit(RateLimitKey::Route, 1, 60, 10)),
        ("b-narrow", limit(RateLimitKey::Address, 1, 60, 2)),
        ("c-wide", limit(RateLimitKey::Route, 1, 60, 10)),
    ]);
    let nobody = Principal::Anonymous;
    let all = ["a-wide", "b-narrow", "c-wide"];
    assert_eq!(fixture.admitted(&all, &nobody, HERE), 2);
    for _ in 0..50 {
        assert!(fixture.check(&all, &nobody, HERE).is_err());
    }
    for wide in ["a-wide", "c-wide"] {
        assert_eq!(fixture.admitted(&[wide], &nobody, HERE), 8, "{wide}");
    }
}

#[test]
fn a_dear_request_counts_as_several() {
    let fixture = Fixture::new(&[("address", limit(RateLimitKey::Address, 10, 10, 10))]);
    let send = |cost| {
        let address = HERE.parse().unwrap();
        fixture.count(&["address"], cost, ROUTE, &Principal::Anonymous, address)
    };
    let left = |headers: &RateLimitHeaders| headers.limit.clone();
    assert_eq!(left(&send(4).unwrap()), r#""address";r=6;t=4"#);
    assert_eq!(left(&send(4).unwrap()), r#""address";r=2;t=8"#);
    // Two are missing; what is left is still there for a cheaper one.
    let denied = send(4).unwrap_err();
    assert_eq!(denied.retry_after, Duration::from_secs(2));
    assert_eq!(left(&denied.headers), r#""address";r=2;t=8"#);
    assert_eq!(left(&send(2).unwrap()), r#""address";r=0;t=10"#);
    fixture.clock.advance(Duration::from_secs(4));
    assert!(send(4).is_ok());
    assert!(send(1).is_err());
}

#[test]
fn limits_that_need_no_credentials_come_before_them() {
    let fixture = Fixture::new(&[
        ("address", limit(RateLimitKey::Address, 1, 60, 2)),
        ("caller", limit(RateLimitKey::Principal, 1, 60, 2)),
        ("key", limit(RateLimitKey::ApiKey, 1, 60, 2)),
        ("total", limit(RateLimitKey::Route, 1, 60, 2)),
    ]);
    let limits = ["key", "total", "caller", "address", "unknown"];
    let resolved = fixture.limiter.resolve(&policy(&limits));
    assert_eq!(resolved.before, fixture.ids(&["total", "address"]));
    assert_eq!(resolved.after, fixture.ids(&["key", "caller"]));
    assert_eq!(resolved.cost.get(), 3);
    // In the order of the checks, for answers that come before the last of them, too.
    assert_eq!(
        resolved.policy,
        r#""total";q=2;w=120, "address";q=2;w=120, "key";q=2;w=120, "caller";q=2;w=120"#
    );
    assert_eq!(fixture.limiter.resolve(&policy(&[])).policy, "");
}

#[test]
fn headers_of_both_phases_are_one_list() {
    let fixture = Fixture::new(&[
        ("address", limit(RateLimitKey::Address, 10, 1, 10)),
        ("caller", limit(RateLimitKey::Principal, 10, 60, 2)),
    ]);
    let caller = person("a", "one");
    let request = Counted {
        route: ROUTE,
        cost: NonZeroU32::MIN,
        principal: &caller,
        address: HERE.parse().unwrap(),
        deadline: Deadline::after(Duration::from_secs(1)),
    };
    let mut told = RateLimitHeaders::default();
    for phase in [&["address"][..], &[], &["caller"]] {
        let ids = fixture.ids(phase);
        let checked = fixture.limiter.check(&ids, &request, &mut told);
        assert_eq!(checked.now_or_never(), Some(Ok(())));
    }
    assert_eq!(told.limit, r#""address";r=9;t=1, "caller";r=1;t=6"#);
}

#[test]
fn headers_say_what_is_left_of_each_policy() {
    let fixture = Fixture::new(&[
        ("address", limit(RateLimitKey::Address, 200, 1, 400)),
        ("caller", limit(RateLimitKey::Principal, 10, 60, 2)),
    ]);
    let caller = person("a", "one");
    let mut headers = HeaderMap::new();
    let mut told = fixture
        .check(&["address", "caller"], &caller, HERE)
        .unwrap();
    told.apply(&mut headers);
    assert!(!headers.contains_key("ratelimit-policy"));
    let route = policy(&["address", "caller"]);
    told.policy = fixture.limiter.resolve(&route).policy;
    told.apply(&mut headers);
    assert_eq!(
        headers["ratelimit-policy"],
        r#""address";q=400;w=2, "caller";q=2;w=12"#
    );
    assert_eq!(
        headers["ratelimit"],
        r#""address";r=399;t=1, "caller";r=1;t=6"#
    );

    fixture
        .check(&["address", "caller"], &caller, HERE)
        .unwrap();
    let denied = fixture
        .check(&["address", "caller"], &caller, HERE)
        .unwrap_err();
    assert_eq!(denied.retry_after, Duration::from_secs(6));
    denied.headers.apply(&mut headers);
    assert_eq!(headers["ratelimit"], r#""caller";r=0;t=12"#);

    let none = fixture.check(&[], &caller, HERE).unwrap();
    assert_eq!(none, RateLimitHeaders::default());
}

#[test]
fn buckets_are_forgotten_when_full_and_bounded_when_not() {
    let fixture = Fixture::new(&[("address", limit(RateLimitKey::Address, 1, 1, 1))]);
    let nobody = Principal::Anonymous;
    let held = || fixture.limiter.policies[0].limiter.len();
    for last in 0..=255 {
        fixture
            .check(&["address"], &nobody, &format!("192.0.2.{last}"))
            .unwrap();
    }
    fixture.limiter.forget_idle();
    assert_eq!(held(), 256);
    fixture.clock.advance(Duration::from_secs(5));
    fixture.limiter.forget_idle();
    assert_eq!(held(), 0);

    for address in 0..400_000_u32 {
        let address = IpAddr::from(address.to_be_bytes());
        fixture
            .count(&["address"], 1, ROUTE, &nobody, address)
            .unwrap();
    }
    assert!(held() <= 64 * 4096, "{}", held());
    // Being forgotten is a matter of chance for the crowd, never for everybody.
    assert!(held() > 200_000, "{}", held());
}

#[test]
fn what_is_worth_more_than_a_bucket_takes_a_whole_one() {
    let limits = [("here", limit(RateLimitKey::Address, 1, 1, 5))];
    let fixture = Fixture::new(&limits);
    let count = |cost| {
        let address = HERE.parse().unwrap();
        fixture.count(&["here"], cost, ROUTE, &Principal::Anonymous, address)
    };
    assert!(count(7).is_ok());
    assert!(count(1).is_err());
    let refused = count(7).unwrap_err();
    assert_eq!(refused.retry_after, Duration::from_secs(5));
    fixture.clock.advance(refused.retry_after);
    assert!(count(7).is_ok());
}
