//! Which policies for browsers are refused, and how a route's own differ from those of all. No socket is opened here.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use http::{HeaderValue, Method};

use crate::config::{Access, Hsts, load::from_text_in};
use crate::config::{AllowedPrincipal, Config, ConfigFaults, CorsOrigins, CsrfRule};

fn load(text: &str) -> Result<Config, ConfigFaults> {
    from_text_in(&[text], &|_| None)
}

fn report(text: &str) -> String {
    load(text).unwrap_err().to_string()
}

#[test]
fn nothing_is_let_in_by_default() {
    let config = load("[policies.a]\naccess = \"public\"").unwrap();
    assert_eq!(config.cors, None);
    assert_eq!(config.policies["a"].cors, None);
    assert_eq!(config.csrf.cookie, None);
    assert!(config.policies["a"].compression);
    assert_eq!(config.security_headers.hsts, Hsts::Tls);
    assert_eq!(config.security_headers.hsts_value, "max-age=31536000");
}

#[test]
fn a_route_differs_in_what_it_says() {
    let config = load(
        r#"
        [cors]
        origins = ["https://app.example"]
        max_age = "1m"
        [csrf]
        header_below = ["/api"]
        [policies.a]
        access = "public"
        [policies.b]
        access = "public"
        cors = "off"
        compression = "off"
        [policies.c]
        access = "public"
        cors = { origins = ["null", "http://other.example:8080"], methods = ["GET"], credentials = true }
        csrf = "exempt"
        "#,
    )
    .unwrap();
    let of = |name: &str| config.policies[name].cors.clone();
    assert_eq!(of("a"), config.cors);
    assert_eq!(of("b"), None);
    assert!(!config.policies["b"].compression);
    assert_eq!(config.policies["c"].csrf, Some(CsrfRule::Exempt));
    let c = of("c").unwrap();
    let listed = ["null", "http://other.example:8080"].map(HeaderValue::from_static);
    assert_eq!(c.origins, CorsOrigins::Listed(listed.to_vec()));
    assert_eq!(c.methods, Some(vec![Method::GET]));
    assert_eq!(c.max_age.as_secs(), 60);
    assert!(c.credentials && !config.cors.as_ref().unwrap().credentials);
    let csrf = &config.csrf;
    for (path, rule) in [
        ("/api", CsrfRule::OriginAndHeader),
        ("/api/{*rest}", CsrfRule::OriginAndHeader),
        ("/apiary", CsrfRule::Origin),
        ("/", CsrfRule::Origin),
    ] {
        assert_eq!(csrf.rule_for(path), rule, "{path}");
    }
}

#[test]
fn what_browsers_would_misunderstand_is_a_fault() {
    for (text, at) in [
        (
            "[cors]\norigins = [\"*\"]\ncredentials = true",
            "cors.credentials: goes with a list",
        ),
        (
            "[cors]\norigins = [\"*\", \"null\"]",
            "cors.origins[0]: `*` stands alone",
        ),
        (
            "[cors]\norigins = [\"https://a.example/\"]",
            "cors.origins[0]: `https://a.example/` is not how browsers write an origin; write `https://a.example`",
        ),
        (
            "[cors]\norigins = [\"https://A.example:443\"]",
            "write `https://a.example`",
        ),
        (
            "[cors]\norigins = [\"a.example\"]",
            "cors.origins[0]: `a.example` is not an origin",
        ),
        (
            "[cors]\norigins = [\"https://*.example\"]",
            "cors.origins[0]",
        ),
        (
            "[cors]\norigins = [\"null\", \"null\"]",
            "cors.origins[1]: `null` is there twice",
        ),
        ("[cors]\nmax_age = \"2d\"", "cors.max_age"),
        ("[cors]\nmethods = []", "cors.methods: is empty"),
        (
            "[cors]\nheaders = [\"Cookie\"]",
            "cors.headers[0]: browsers never",
        ),
        (
            "[cors]\nheaders = [\"a b\"]",
            "cors.headers[0]: `a b` cannot be",
        ),
        (
            "[policies.a]\naccess = \"public\"\ncors = \"on\"",
            "policies.a.cors: unknown value `on`",
        ),
        (
            "[policies.a]\naccess = \"public\"\ncors = { origins = [\"*\"], credentials = true }",
            "policies.a.cors.credentials",
        ),
        (
            "[policies.a]\naccess = \"public\"\ncors = { origin = [\"*\"] }",
            "policies.a.cors.origin: unknown key; did you mean `origins`?",
        ),
        ("[csrf]\ncookie = \"a b\"", "csrf.cookie"),
        ("[csrf]\nheader_below = [\"api\"]", "csrf.header_below[0]"),
        (
            "[csrf]\norigins = [\"https://a.example:443\"]",
            "csrf.origins[0]",
        ),
        (
            "[security_headers]\nreferrer_policy = \"\"",
            "security_headers.referrer_policy",
        ),
        (
            "[security_headers]\npermissions_policy = \"a\\nb\"",
            "security_headers.permissions_policy",
        ),
        (
            "[compression]\ncodings = [\"gzip\", \"gzip\"]",
            "compression.codings[1]: is there twice",
        ),
        (
            "[compression]\ncodings = [\"deflate\"]",
            "compression.codings[0]: unknown value `deflate`",
        ),
    ] {
        let report = report(text);
        assert!(report.contains(at), "{text}: {report}");
    }
}

#[test]
fn callers_are_named_beyond_doubt() {
    let with = |issuers: &[&str], principal: &str| {
        let mut text = String::new();
        for issuer in issuers {
            text.push_str(&format!(
                "[[issuers]]\nissuer = \"{issuer}\"\naudiences = [\"a\"]\nsubject_prefix = \"{issuer}#\"\n"
            ));
        }
        text.push_str(&format!(
            "[policies.a]\naccess = {{ principals = [{principal}] }}"
        ));
        load(&text).map(
            |mut config| match config.policies.remove("a").unwrap().access {
                Access::Principals(needed) => needed.principals,
                Access::Public => Vec::new(),
            },
        )
    };
    let (one, other) = ("https://one.example", "https://other.example");
    let ada = |issuer: &str| AllowedPrincipal::Subject {
        issuer: issuer.to_owned(),
        subject: "ada".to_owned(),
    };
    assert_eq!(with(&[one], r#"{ subject = "ada" }"#).unwrap(), [ada(one)]);
    let named = r#"{ subject = "ada", issuer = "https://other.example" }"#;
    assert_eq!(with(&[one, other], named).unwrap(), [ada(other)]);
    let acme = with(&[], r#"{ owner = "acme" }, { key_id = "k" }"#).unwrap();
    let owner = AllowedPrincipal::Owner("acme".to_owned());
    assert_eq!(acme, [owner, AllowedPrincipal::Key("k".to_owned())]);
    for (issuers, principal, at) in [
        (
            &[one, other][..],
            r#"{ subject = "ada" }"#,
            ".issuer: is required",
        ),
        (&[], r#"{ subject = "ada" }"#, ".issuer: there are no"),
        (&[one], named, "did you mean `https://one.example`?"),
        (&[one], "{}", "[0]: names one caller"),
        (
            &[one],
            r#"{ subject = "ada", owner = "acme" }"#,
            "[0]: names one caller",
        ),
        (&[one], r#"{ owner = "" }"#, "[0].owner: is empty"),
        (
            &[one],
            r#"{ owner = "a", issuer = "https://one.example" }"#,
            ".issuer: goes with",
        ),
        (&[one], r#"{ key = "k" }"#, "[0].key: unknown key"),
    ] {
        let report = with(issuers, principal).unwrap_err().to_string();
        let at = format!("policies.a.access.principals{at}");
        let at = at.replace(
            "principalsdid",
            "principals[0].issuer: no issuer is named `https://other.example`; did",
        );
        let at = at.replace("principals.", "principals[0].");
        assert!(report.contains(&at), "{principal}: {report}");
    }
}
