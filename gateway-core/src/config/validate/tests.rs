//! What a configuration is refused for, and that the files that are shipped are accepted. No socket is opened here.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use jsonwebtoken::Algorithm;

use crate::config::load::from_text_in;
use crate::config::{
    Access, Config, ConfigFaults, RateLimitKey, Requirement, RouteCache, UpstreamProtocol,
    from_files,
};

fn load(texts: &[&str]) -> Result<Config, ConfigFaults> {
    from_text_in(texts, &|name| {
        (name == "WIDGETS_URL").then(|| "http://10.0.0.7:8101".to_owned())
    })
}

fn report(text: &str) -> String {
    load(&[text]).unwrap_err().to_string()
}

#[test]
fn everything_optional_has_a_default() {
    let config = load(&[""]).unwrap();
    assert_eq!(config.server.address.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin.address.to_string(), "127.0.0.1:9080");
    assert!(config.server.workers >= 1);
    assert_eq!(config.server.header_timeout, Duration::from_secs(10));
    assert_eq!(config.server.max_uri_bytes, 8 * 1024);
    assert_eq!(config.server.max_header_bytes, 32 * 1024);
    assert_eq!(config.server.max_headers, 100);
    assert_eq!(config.server.max_body_bytes, 256 * 1024);
    assert_eq!(config.server.lame_duck, Duration::from_secs(1));
    assert_eq!(config.server.grace, Duration::from_secs(8));
    assert_eq!(config.deadline.default, Duration::from_secs(3));
    assert_eq!(config.deadline.reserve_min, Duration::from_millis(20));
    assert!((config.deadline.reserve_ratio - 0.1).abs() < 1e-9);
    assert_eq!(&*config.problem_base, "/problems");
    assert!(config.api_keys.is_none());
    assert!(config.warnings.is_empty());
}

#[test]
fn a_whole_file_becomes_domain_types() {
    let config = load(&[r#"
        [[issuers]]
        issuer = "https://login.example.com"
        audiences = ["acme-mobile", "acme-web"]
        algorithms = ["EdDSA", "PS256"]

        [api_keys]
        prefix = "acme"
        [[api_keys.keys]]
        id = "a"
        owner = "partner-a"
        hash = "sha256:00000000000000000000000000000000000000000000000000000000000000ff"
        scopes = ["widgets:read"]
        attributes = { account = "7" }

        [upstreams.widgets]
        address = "${WIDGETS_URL}"
        [upstreams.gadgets]
        address = "${GADGETS_URL:-http://127.0.0.1:8104}"
        protocol = "grpc"
        timeout = "750ms"

        [rate_limits.caller]
        key = "principal"
        rate = "20/10s"
        burst = 5

        [[routes]]
        name = "widget"
        path = "/api/widgets/{id}"
        methods = ["GET", "PUT"]
        upstream = "widgets"
        rewrite = "/widgets/{id}"
        access = { scopes = ["widgets:read"], roles = ["member"] }
        limits = ["caller"]
        cache = "shared"
        deadline = "1s"
        max_body = "1MiB"

        [policies.overview]
        access = "public"
    "#])
    .unwrap();

    let issuer = &config.issuers[0];
    assert_eq!(issuer.algorithms, [Algorithm::EdDSA, Algorithm::PS256]);
    assert_eq!(issuer.token_types, ["at+jwt"]);
    let key = &config.api_keys.as_ref().unwrap().keys[0];
    assert_eq!((key.hash[0], key.hash[31]), (0, 255));
    assert_eq!(key.attributes["account"], "7");
    assert_eq!(
        config.upstreams["widgets"].address.to_string(),
        "http://10.0.0.7:8101/"
    );
    let gadgets = &config.upstreams["gadgets"];
    assert_eq!(gadgets.protocol, UpstreamProtocol::Grpc);
    assert_eq!(gadgets.timeout, Some(Duration::from_millis(750)));
    assert_eq!(gadgets.connect_timeout, Duration::from_millis(500));
    let limit = &config.rate_limits["caller"];
    assert_eq!(limit.key, RateLimitKey::Principal);
    assert_eq!((limit.requests, limit.burst), (20, 5));
    assert_eq!(limit.window, Duration::from_secs(10));
    let route = &config.routes[0];
    assert_eq!(route.methods, [Method::GET, Method::PUT]);
    assert_eq!(route.cache.share, RouteCache::Shared);
    assert_eq!(route.policy.max_body_bytes, Some(1 << 20));
    assert_eq!(
        route.policy.access,
        Access::Principals(Requirement {
            all_scopes: vec!["widgets:read".to_owned()],
            any_scopes: vec![],
            roles: vec!["member".to_owned()],
            principals: vec![],
        })
    );
    assert_eq!(config.policies["overview"].access, Access::Public);
}

#[test]
fn all_faults_are_in_one_report_each_with_its_path() {
    let text = r#"
        [server]
        header_timout = "10s"
        max_body = "1 megabyte"
        workers = "four"

        [sever]
        address = "127.0.0.1:1"

        [[issuers]]
        issuer = "login.example.com"
        algorithms = ["RS256", "HS256", "none", "ES265"]

        [api_keys]
        prefix = "acme"
        [[api_keys.keys]]
        id = "a"
        hash = "acme_live_secret"

        [upstreams.widgets]
        address = "https://10.0.0.7/base"
        connect_timeout = "5s"
        timeout = "2s"

        [upstreams.gadgets]
        adress = "http://10.0.0.8"

        [rate_limits.caller]
        key = "principle"
        rate = "0/s"
        burst = 0

        [[routes]]
        name = "widget"
        path = "/api/widgets/{id}"
        methods = ["GET", "GTE", "TRACE"]
        upstream = "widget"
        rewrite = "/widgets/{key}"
        access = { scope = ["widgets:read"] }
        limits = ["calller"]

        [[routes]]
        name = "widget"
        path = "api/widgets"
        upstream = "gadgets"
        cache = "share"

        [policies.overview]
        access = {}
        limits = ["${LIMIT}"]
    "#;
    let expected = r#"
policies.overview.limits[0]: the environment variable `LIMIT` is not set
api_keys.keys[0].hash: not a digest; write `sha256:` and 64 hexadecimal digits, never the key itself
issuers[0].algorithms[1]: `HS256` is refused: tokens need an asymmetric signature; there are `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`
issuers[0].algorithms[2]: `none` is refused: tokens need an asymmetric signature; there are `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`
issuers[0].algorithms[3]: unknown algorithm `ES265`; did you mean `ES256`?
rate_limits.caller.key: unknown value `principle`; did you mean `principal`?
routes[0].access.scope: unknown key; did you mean `scopes`?
routes[0].methods[1]: unknown method `GTE`; did you mean `GET`?
routes[0].methods[2]: `TRACE` is never forwarded
routes[1].cache: unknown value `share`; did you mean `shared`?
server.header_timout: unknown key; did you mean `header_timeout`?
server.max_body: `1 megabyte` is not a size; write a number and a unit: "512B", "16KiB", "1MiB" or "2GiB"
server.workers: invalid type: string "four", expected usize
sever: unknown key; did you mean `server`?
upstreams.gadgets.adress: unknown key; did you mean `address`?
issuers[0].issuer: has to be an http or https URL
issuers[0].audiences: is empty; without it every token of the issuer would do, also one meant for another service
api_keys.keys[0].owner: is required
upstreams.gadgets.address: is required
upstreams.widgets.connect_timeout: longer than the timeout of the whole attempt
upstreams.widgets.address: has to be scheme and authority: "http://10.0.0.7:8101" (TLS to upstreams is the mesh's job)
rate_limits.caller.rate: has to allow at least one request in a time above zero
rate_limits.caller.burst: has to be at least 1, or nothing would ever pass
routes[0].rewrite: `{key}` is not in the route's path
routes[0].upstream: no upstream is named `widget`; did you mean `widgets`?
routes[0].limits[0]: no rate limit is named `calller`; did you mean `caller`?
routes[1].path: has to begin with `/`
routes[1].access: is required: "public", "authenticated" or { scopes = […], any_scopes = […], roles = […], principals = […] }
routes[1].name: `widget` is the name of another route
policies.overview.access: asks for nothing; write "authenticated" for any principal, or "public"
"#;
    assert_eq!(report(text), expected.trim());
}

#[test]
fn where_a_route_goes_is_said_once_and_exists() {
    let text = r#"
        [upstreams.widgets]
        address = "http://127.0.0.1:1"
        [[routes]]
        name = "both"
        path = "/a"
        access = "public"
        upstream = "widgets"
        weights = { widgets = 1, widgts = 1 }
        [[routes]]
        name = "nowhere"
        path = "/b"
        access = "public"
        weights = { widgets = 0 }
        mirror = { upstream = "gadgets", share = "0%" }
        [[routes]]
        name = "no-copy"
        path = "/c"
        access = "public"
        upstream = "widgets"
        mirror = { share = "5%" }
        [[routes]]
        name = "talk"
        path = "/d"
        access = "public"
        upstream = "widgets"
        upgrade = "websocket"
        mirror = { upstream = "widgets" }
    "#;
    let expected = r#"
routes[0].weights: says where the route goes, and so does `upstream`; leave one of them out
routes[0].weights.widgts: no upstream is named `widgts`; did you mean `widgets`?
routes[1].weights: needs an upstream with more than 0: no request would go anywhere
routes[1].mirror.upstream: no upstream is named `gadgets`; did you mean `widgets`?
routes[1].mirror.share: has to be more than 0%
routes[2].mirror.upstream: is required
routes[3].mirror: does not go together with `upgrade`: there is no copy of a conversation
"#;
    assert_eq!(report(text), expected.trim());
}

#[test]
fn paths_are_what_a_normalized_request_can_match() {
    for (path, fault) in [
        ("/a/{b", "`{b` is not a placeholder"),
        ("/a/x{b}", "`x{b}` is not a placeholder"),
        ("/a/{}", "`{}` is not a placeholder"),
        ("/{*rest}/b", "`{*rest}` takes all the rest"),
        ("/{a}/{a}", "`{a}` is there twice"),
        ("/a//b", "has an empty or a dot segment"),
        ("/a/../b", "has an empty or a dot segment"),
        ("/a?b=c", "is a plain path"),
        ("/%61", "is a plain path"),
    ] {
        let report = report(&format!(
            r#"
            [upstreams.widgets]
            address = "http://127.0.0.1:1"
            [[routes]]
            name = "widget"
            path = "{path}"
            upstream = "widgets"
            access = "public"
            "#
        ));
        assert!(
            report.starts_with("routes[0].path: ") && report.contains(fault),
            "{path}: {report}"
        );
        assert_eq!(report.lines().count(), 1, "{path}: {report}");
    }
}

#[test]
fn a_route_that_stores_nothing_has_nothing_to_say_of_it() {
    let route = |more: &str| {
        format!(
            r#"
            [upstreams.widgets]
            address = "http://127.0.0.1:1"
            [[routes]]
            name = "widget"
            path = "/{{id}}"
            upstream = "widgets"
            access = "public"
            {more}
            "#
        )
    };
    for (more, fault) in [
        (
            "stale_while_revalidate = \"1s\"",
            "routes[0].stale_while_revalidate: needs `cache`: nothing is stored",
        ),
        (
            "stale_if_error = \"1s\"",
            "routes[0].stale_if_error: needs `cache`: nothing is stored",
        ),
        (
            "tags = [\"widget:{id}\"]",
            "routes[0].tags: needs `cache`, or a method that changes something",
        ),
    ] {
        assert_eq!(report(&route(more)), fault);
    }
    let config = load(&[&route(
        "cache = \"shared\"\nstale_while_revalidate = \"1s\"\nstale_if_error = \"2s\"\ntags = [\"widget:{id}\"]",
    )])
    .unwrap();
    let route_of = &config.routes[0];
    assert_eq!(
        route_of.cache.stale.while_revalidate,
        Duration::from_secs(1)
    );
    assert_eq!(route_of.cache.stale.if_error, Duration::from_secs(2));
    // Who changes something may say what, also when nothing is stored there.
    assert!(load(&[&route("methods = [\"PUT\"]\ntags = [\"widget:{id}\"]")]).is_ok());
}

#[test]
fn text_that_is_not_toml_is_reported_with_its_place() {
    let report = load(&["[server]\n", "[admin]\naddress = \n"])
        .unwrap_err()
        .to_string();
    assert!(report.starts_with("text 2:2:"), "{report}");
    assert_eq!(report.lines().count(), 1, "{report}");
}

#[test]
fn a_file_that_cannot_be_read_is_the_only_thing_reported() {
    let report = from_files(&[shipped("nowhere.toml"), shipped("demo.toml")])
        .unwrap_err()
        .to_string();
    assert!(
        report.contains("nowhere.toml: cannot be read: "),
        "{report}"
    );
    assert_eq!(report.lines().count(), 1, "{report}");
    assert_eq!(
        from_files(&[]).unwrap_err().to_string(),
        "--config: no configuration file was named"
    );
}

#[test]
fn later_files_are_merged_over_earlier_ones() {
    let config = load(&[
        r#"
        [server]
        address = "127.0.0.1:1"
        max_headers = 50
        [rate_limits.caller]
        key = "principal"
        rate = "5/s"
        burst = 7
        [[issuers]]
        issuer = "https://one.example.com"
        audiences = ["a"]
        [[issuers]]
        issuer = "https://two.example.com"
        audiences = ["a"]
        subject_prefix = "two:"
        "#,
        r#"
        [server]
        address = "127.0.0.1:2"
        [rate_limits.caller]
        rate = "500/s"
        [[issuers]]
        issuer = "https://three.example.com"
        audiences = ["a"]
        [development]
        relaxations = ["limits are ample"]
        "#,
    ])
    .unwrap();
    assert_eq!(config.server.address.to_string(), "127.0.0.1:2");
    assert_eq!(config.server.max_headers, 50);
    assert_eq!(config.rate_limits["caller"].requests, 500);
    assert_eq!(config.rate_limits["caller"].burst, 7);
    assert_eq!(config.issuers.len(), 1);
    assert_eq!(config.warnings, ["development: limits are ample"]);
}

#[test]
fn keys_fetched_over_plain_http_from_elsewhere_are_warned_about() {
    let issuer = |url: &str| {
        load(&[&format!(
            "[[issuers]]\nissuer = \"{url}\"\naudiences = [\"a\"]\n"
        )])
        .unwrap()
        .warnings
    };
    assert!(issuer("https://login.example.com").is_empty());
    assert!(issuer("http://127.0.0.1:8100").is_empty());
    assert!(issuer("http://[::1]:8100").is_empty());
    assert_eq!(
        issuer("http://login.internal"),
        [
            "issuers[0].issuer: keys are fetched over plain HTTP from login.internal; use https outside a trusted network"
        ]
    );
}

#[test]
fn an_address_has_a_port_that_there_is_or_none() {
    let at = |address: &str| format!("[upstreams.widgets]\naddress = \"{address}\"\n");
    for wrong in [
        "http://10.0.0.7:81011",
        "http://widgets:",
        "http://widgets:0",
        "http://[::1]:0",
    ] {
        let report = report(&at(wrong));
        assert!(
            report.contains("has to have a port from 1 to 65535"),
            "{wrong}: {report}"
        );
    }
    for right in [
        "http://10.0.0.7:8101",
        "http://widgets",
        "http://[::1]",
        "http://[::1]:81",
    ] {
        assert!(load(&[&at(right)]).is_ok(), "{right}");
    }
}

#[test]
fn no_more_connections_are_kept_ready_than_are_kept() {
    let with = |more: &str| format!("[upstreams.widgets]\naddress = \"http://widgets\"\n{more}\n");
    for more in ["warm = 5\nmax_idle = 4", "warm = 5\nmax_connections = 4"] {
        let report = report(&with(more));
        assert!(
            report.starts_with("upstreams.widgets.warm: has to be at most 4"),
            "{report}"
        );
    }
    assert!(load(&[&with("warm = 5\nmax_idle = 4\nprotocol = \"http2\"")]).is_ok());
}

#[test]
fn a_secret_in_an_address_is_not_repeated() {
    let report = report(
        r#"
        [upstreams.widgets]
        address = "http://user:hunter2@10.0.0.7"
        [upstreams.gadgets]
        address = "http://user:hunter2@10.0.0.7 "
        "#,
    );
    assert!(!report.contains("hunter2"), "{report}");
    assert_eq!(report.lines().count(), 2, "{report}");
}

#[test]
fn a_redis_is_named_with_its_replicas_and_never_with_its_password() {
    let text = r#"
        [redis]
        url = "redis://user:hunter2@10.0.0.7:6380/2"
        replicas = 3
        "#;
    let redis = load(&[text]).unwrap().redis.unwrap();
    assert_eq!(redis.replicas.get(), 3);
    assert_eq!(redis.timeout, Duration::from_millis(25));
    assert_eq!(
        format!("{} {:?}", redis.server, redis.server),
        "10.0.0.7:6380 10.0.0.7:6380"
    );
    assert!(!format!("{redis:?}").contains("hunter2"), "{redis:?}");
    assert!(load(&[""]).unwrap().redis.is_none());
    // Responses are shared when it says so.
    assert_eq!(redis.share_responses, None);
    let sharing = [text, "[redis]\nshare_responses = true"];
    let redis = load(&sharing).unwrap().redis.unwrap();
    assert_eq!(redis.share_responses, Some(Duration::from_mins(1)));
    let fault = load(&[sharing[0], sharing[1], "[cache]\nmax_bytes = \"0B\""]).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "redis.share_responses: needs `cache.max_bytes`: nothing is stored"
    );

    for (text, expected) in [
        (
            "[redis]",
            "redis.url: is required\nredis.replicas: is required",
        ),
        (
            "[redis]\nurl = \"http://user:hunter2@10.0.0.7\"\nreplicas = 0\ntimeout = \"2s\"\nprefix = \"A b\"",
            "redis.url: not a Redis URL; write redis://user:password@host:port/database, or rediss:// for TLS\n\
             redis.replicas: has to be at least 1\n\
             redis.timeout: has to be at most 1s: requests wait for it\n\
             redis.prefix: `A b` is not a name; use lower-case letters, digits, `-` and `_`",
        ),
    ] {
        assert_eq!(report(text), expected);
    }
}

#[test]
fn a_route_costs_no_more_than_its_limits_grant_at_once() {
    let limits = r#"
        [rate_limits.caller]
        key = "api_key"
        rate = "10/s"
        [policies.gadgets]
        access = "public"
        limits = ["caller"]
        "#;
    let with = |cost: u32| load(&[limits, &format!("[policies.gadgets]\ncost = {cost}")]);
    assert_eq!(with(10).unwrap().policies["gadgets"].cost.get(), 10);
    assert_eq!(
        with(11).unwrap_err().to_string(),
        "policies.gadgets.cost: more than the burst of `caller` (10): no request would ever pass"
    );
    assert_eq!(
        with(0).unwrap_err().to_string(),
        "policies.gadgets.cost: has to be at least 1"
    );
    assert_eq!(load(&[limits]).unwrap().policies["gadgets"].cost.get(), 1);
}

#[test]
fn trusted_proxies_are_networks_or_addresses() {
    let config =
        load(&["[server]\ntrusted_proxies = [\"10.1.2.3/8\", \"192.0.2.1\", \"fd00::/8\"]"])
            .unwrap();
    let networks: Vec<String> = config
        .server
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.1/32", "fd00::/8"]);
    assert_eq!(
        report("[server]\ntrusted_proxies = [\"10.0.0.0/33\"]"),
        "server.trusted_proxies[0]: `10.0.0.0/33` is not a network; write \"10.0.0.0/8\", \"fd00::/8\" or an address"
    );
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../config")
        .join(name)
}

#[test]
fn every_shipped_file_is_valid_and_warns_of_nothing() {
    for name in ["mobile.toml", "web.toml", "public.toml", "example.toml"] {
        let config =
            from_files(&[shipped(name)]).unwrap_or_else(|faults| panic!("{name}: {faults}"));
        assert!(config.warnings.is_empty(), "{name}: {:?}", config.warnings);
        assert!(!config.issuers.is_empty(), "{name}");
        for (route, policy) in &config.policies {
            assert!(!policy.limits.is_empty(), "{name}: {route} has no limit");
        }
    }
}

#[test]
fn what_has_to_outlive_a_restart_does_without_being_asked_to() {
    for (name, file) in [
        ("mobile.toml", "state/bff-mobile.db"),
        ("public.toml", "state/bff-public.db"),
    ] {
        let config = from_files(&[shipped(name)]).unwrap();
        assert_eq!(
            config.store.path.as_deref(),
            Some(Path::new(file)),
            "{name}"
        );
    }
}

#[test]
fn the_demo_only_changes_what_it_warns_about() {
    for name in ["mobile.toml", "web.toml", "public.toml"] {
        let demo = from_files(&[shipped(name), shipped("demo.toml")])
            .unwrap_or_else(|faults| panic!("{name}: {faults}"));
        let shipped = from_files(&[shipped(name)]).unwrap();
        let mut changed: Vec<String> = demo
            .rate_limits
            .iter()
            .filter(|(limit, demo)| {
                shipped
                    .rate_limits
                    .get(*limit)
                    .is_none_or(|shipped| shipped.requests != demo.requests)
            })
            .map(|(limit, _)| format!("rate_limits.{limit}"))
            .collect();
        if demo.graphql != shipped.graphql {
            changed.push("graphql.introspection".to_owned());
        }
        if demo.webhooks != shipped.webhooks {
            changed.push("webhooks.allow_loopback".to_owned());
        }
        assert_eq!(changed.len(), demo.warnings.len(), "{name}");
        for (key, warning) in changed.iter().zip(&demo.warnings) {
            assert!(
                warning.starts_with(&format!("development: {key} ")),
                "{name}: {warning}"
            );
        }
        assert_eq!(demo.policies.len(), shipped.policies.len(), "{name}");
        assert_eq!(demo.server.address, shipped.server.address, "{name}");
    }
}

/// Asks each table for its keys by writing one that it cannot know.
#[test]
fn the_example_documents_every_key() {
    let example = fs::read_to_string(shipped("example.toml")).unwrap();
    let documented = |key: &str| {
        example.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            let header = line.trim_matches(['[', ']']);
            line.starts_with(&format!("{key} = "))
                || line.starts_with(&format!("{key}  "))
                || header.split('.').any(|part| part == key)
        })
    };
    const UNKNOWN: &str = "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz = 1";
    let mut keys = 0;
    for table in [
        "",
        "[server]",
        "[admin]",
        "[log]",
        "[problems]",
        "[deadline]",
        "[[issuers]]",
        "[api_keys]",
        "[[api_keys.keys]]",
        "[internal_token]",
        "[cors]",
        "[csrf]",
        "[security_headers]",
        "[compression]",
        "[streams]",
        "[upstreams.x]",
        "[rate_limits.x]",
        "[redis]",
        "[cache]",
        "[[routes]]",
        "[routes.access]",
        "[policies.x]",
        "[development]",
    ] {
        let table = table.replace("[routes.access]", "[[routes]]\n[routes.access]");
        let report = report(&format!("{table}\n{UNKNOWN}"));
        let listed = report
            .lines()
            .find(|line| line.contains("zzz: unknown key; "))
            .unwrap_or_else(|| panic!("{table}: {report}"));
        let (_, listed) = listed.split_once("unknown key; ").unwrap();
        for key in listed.split('`').skip(1).step_by(2) {
            keys += 1;
            assert!(documented(key), "{table}: {key} is not in example.toml");
        }
    }
    assert!(keys > 60, "{keys}");
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
}

#[test]
fn an_internal_token_needs_a_key_that_can_sign() {
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let p256 = pem(p256.to_pkcs8v1().unwrap().as_ref());
    let ed = pem(Ed25519KeyPair::generate()
        .unwrap()
        .to_pkcs8v1()
        .unwrap()
        .as_ref());
    for key in [&p256, &ed] {
        let text = format!("[internal_token]\nkey = '''{key}'''\nattributes = [\"team\"]");
        let token = load(&[&text]).unwrap().internal_token.unwrap();
        assert_eq!(
            (token.key_id.as_str(), token.lifetime.as_secs()),
            ("gateway", 60)
        );
        assert_eq!(token.attributes, ["team"]);
        assert!(!format!("{token:?}").contains(&key[40..60]));
    }
    for absent in ["", "[internal_token]\nkey = \"\"\nkey_file = \"\""] {
        assert!(load(&[absent]).unwrap().internal_token.is_none());
    }

    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let p384 = pem(p384.to_pkcs8v1().unwrap().as_ref());
    for useless in [p384.as_str(), "secret-text"] {
        let report = report(&format!("[internal_token]\nkey = '''{useless}'''"));
        assert!(
            report.starts_with("internal_token.key: not a private key"),
            "{report}"
        );
        assert!(!report.contains(useless), "{report}");
    }
    let lifetime = report("[internal_token]\nlifetime = \"10m\"");
    assert!(
        lifetime.starts_with("internal_token.lifetime: "),
        "{lifetime}"
    );
}

#[test]
fn the_key_of_the_internal_token_can_be_in_a_file() {
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let file = std::env::temp_dir().join(format!("internal-token-{}.pem", uuid::Uuid::now_v7()));
    fs::write(&file, pem(p256.to_pkcs8v1().unwrap().as_ref())).unwrap();
    let text = format!("[internal_token]\nkey_file = \"{}\"", file.display());
    let loaded = load(&[&text]);
    fs::remove_file(&file).unwrap();
    assert!(loaded.unwrap().internal_token.is_some());

    let gone = report(&text);
    assert!(
        gone.starts_with("internal_token.key_file: cannot be read"),
        "{gone}"
    );
    let both = report(&format!("{text}\nkey = \"x\""));
    assert!(both.contains("write one of them"), "{both}");
}
