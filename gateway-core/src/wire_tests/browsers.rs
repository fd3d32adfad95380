//! What browsers are told and let do: cross-origin sharing, forged requests, headers for pages. Each rule's cases stand beside
//! its code; here it is seen that the edge keeps to them, also on what went wrong and on what services say.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::world::{Reply, World};

const APP: &str = "Origin: https://app.example";
const SHARED: &str = r#"
    [cors]
    origins = ["https://app.example"]
    credentials = true
    [policies.teapot]
    cors = "off"
    [policies.graphql]
    cors = { origins = ["*"], credentials = false }
    [rate_limits.few]
    key = "principal"
    rate = "1/h"
    burst = 1
    [policies.widget]
    limits = ["few"]
"#;

fn allowed(reply: &Reply) -> Vec<&str> {
    reply.all("access-control-allow-origin")
}

async fn preflight(world: &World, path: &str, method: &str, origin: &str) -> Reply {
    world
        .raw(&format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: gateway.example\r\nConnection: close\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: {method}\r\nAccess-Control-Request-Headers: x-anything\r\n\r\n"
        ))
        .await
}

#[tokio::test]
async fn a_preflight_is_answered_before_credentials_for_what_is_there() {
    let world = World::with(SHARED).await;
    for path in ["/parts/a", "/widgets/1"] {
        let reply = preflight(&world, path, "POST", "https://app.example").await;
        assert_eq!(reply.status, 204, "{reply:?}");
        assert_eq!(allowed(&reply), ["https://app.example"]);
        assert_eq!(
            reply.header("access-control-allow-credentials"),
            Some("true")
        );
        let methods = reply.header("access-control-allow-methods").unwrap();
        for method in ["GET", "HEAD", "POST"] {
            assert!(
                methods.split(", ").any(|known| known == method),
                "{methods}"
            );
        }
        let headers = reply.header("access-control-allow-headers").unwrap();
        assert!(headers.contains("authorization") && !headers.contains("anything"));
        assert_eq!(reply.header("access-control-max-age"), Some("600"));
        let vary = reply.all("vary").join(",");
        for field in [
            "origin",
            "access-control-request-method",
            "access-control-request-headers",
        ] {
            assert!(vary.contains(field), "{vary}");
        }
        assert_eq!(reply.body, "");
    }
    let stranger = preflight(&world, "/parts/a", "GET", "https://evil.example").await;
    assert_eq!((stranger.status, allowed(&stranger)), (204, vec![]));
    assert!(stranger.header("access-control-allow-methods").is_none());
    assert!(stranger.all("vary").contains(&"origin"));

    preflight(&world, "/nowhere", "GET", "https://app.example")
        .await
        .problem(404);
    preflight(&world, "/parts/a", "DELETE", "https://app.example")
        .await
        .problem(405);
    preflight(&world, "/teapot", "GET", "https://app.example")
        .await
        .problem(405);
    // Without its two fields it is a request like any other.
    let plain = "OPTIONS /parts/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    world.raw(plain).await.problem(405);
    assert_eq!(world.calls(), 0, "the service was asked");
}

#[tokio::test]
async fn scripts_of_listed_origins_read_what_went_wrong_too() {
    let world = World::with(SHARED).await;
    let anonymous = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{APP}\r\n\r\n")
    };
    let mut replies = vec![
        (401, world.raw(&anonymous("/parts/a")).await),
        (404, world.raw(&anonymous("/nowhere")).await),
    ];
    for (status, line) in [
        (200, "GET /widgets/1"),
        (429, "GET /widgets/1"),
        (405, "DELETE /parts/a"),
        (200, "GET /parts/a"),
        (502, "GET /parts/trace"),
    ] {
        replies.push((status, world.raw(&world.head(line, &[APP])).await));
    }
    for (status, reply) in &replies {
        assert_eq!(reply.status, *status, "{reply:?}");
        assert_eq!(allowed(reply), ["https://app.example"], "{reply:?}");
        assert!(reply.all("vary").contains(&"origin"), "{reply:?}");
        let exposed = reply.header("access-control-expose-headers").unwrap();
        for name in ["retry-after", "ratelimit", "x-request-id", "etag"] {
            assert!(exposed.split(", ").any(|known| known == name), "{exposed}");
        }
    }
    for (origin, path) in [
        ("Origin: https://evil.example", "/parts/a"),
        ("Origin: null", "/parts/a"),
        ("Accept: */*", "/parts/a"),
    ] {
        let head = world.head(&format!("GET {path}"), &[origin]);
        let reply = world.raw(&head).await;
        assert_eq!(allowed(&reply), [] as [&str; 0], "{reply:?}");
        assert!(reply.all("vary").contains(&"origin"), "{reply:?}");
    }
}

#[tokio::test]
async fn a_route_can_let_in_others_or_nobody() {
    let world = World::with(SHARED).await;
    let ask = async |path: &str| {
        let head = world.head(&format!("GET {path}"), &["Origin: https://other.example"]);
        world.raw(&head).await
    };
    let everybody = ask("/graphql").await;
    assert_eq!(allowed(&everybody), ["*"]);
    assert!(
        everybody
            .header("access-control-allow-credentials")
            .is_none()
    );
    let nobody = ask("/teapot").await;
    assert!(allowed(&nobody).is_empty() && nobody.all("vary").is_empty());
    // What a service thinks of it is not asked.
    let world = World::start().await;
    let reply = world.get("/parts/opinions").await;
    let theirs = |name: &String| name.starts_with("access-control");
    assert!(!reply.names().iter().any(theirs), "{reply:?}");
}

const SESSIONS: &str = r#"
    [csrf]
    cookie = "__Host-session"
    header_below = ["/parts"]
    [policies.change]
    access = "public"
    [[routes]]
    name = "parts"
    path = "/parts/{*rest}"
    methods = ["GET", "POST"]
    upstream = "parts"
    access = "public"
    [[routes]]
    name = "logout-token"
    path = "/backchannel"
    methods = ["POST"]
    upstream = "parts"
    rewrite = "/echo"
    access = "public"
    csrf = "exempt"
"#;

async fn with_cookie(world: &World, line: &str, fields: &[&str]) -> Reply {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    world
        .raw(&format!(
            "{line} HTTP/1.1\r\nHost: gateway.example\r\nConnection: close\r\n\
             Cookie: theme=dark; __Host-session=secret\r\nContent-Type: application/json\r\n\
             Content-Length: 10\r\n{fields}\r\n{{\"size\":7}}"
        ))
        .await
}

#[tokio::test]
async fn what_another_site_can_make_a_browser_send_is_refused() {
    let world = World::with(SESSIONS).await;
    let same = "Sec-Fetch-Site: same-origin";
    let header = "X-CSRF: 1";
    for (line, fields, passes) in [
        ("POST /widgets/1", &[][..], false),
        ("POST /widgets/1", &["Sec-Fetch-Site: cross-site"], false),
        ("POST /widgets/1", &["Sec-Fetch-Site: same-site"], false),
        ("POST /widgets/1", &["Origin: http://evil.example"], false),
        ("POST /widgets/1", &[same], true),
        ("POST /widgets/1", &["Origin: http://gateway.example"], true),
        (
            "POST /widgets/1",
            &["Origin: https://gateway.example"],
            false,
        ),
        ("POST /parts/echo", &[same], false),
        ("POST /parts/echo", &[header], false),
        ("POST /parts/echo", &[same, header], true),
        ("GET /parts/echo", &["Sec-Fetch-Site: cross-site"], true),
        ("POST /backchannel", &["Sec-Fetch-Site: cross-site"], true),
        // A handshake is a GET, and carries cookies from everywhere.
        (
            "GET /parts/echo",
            &["Upgrade: websocket", "Origin: http://evil.example"],
            false,
        ),
        ("GET /parts/echo", &["Upgrade: websocket", same], false),
    ] {
        let calls = world.calls();
        let reply = with_cookie(&world, line, fields).await;
        if passes {
            assert_eq!(reply.status, 200, "{line} {fields:?}: {reply:?}");
        } else {
            let problem = reply.problem(403);
            assert_eq!(problem["type"], "/problems/cross-site-request", "{line}");
            assert_eq!(
                world.calls(),
                calls,
                "{line} {fields:?}: the service was asked"
            );
        }
    }
}

#[tokio::test]
async fn other_credentials_are_judged_by_themselves_and_the_cookie_stays_here() {
    let world = World::with(SESSIONS).await;
    let cross = "Sec-Fetch-Site: cross-site";
    let cookie = "Cookie: __Host-session=secret";
    let body = ["Content-Length: 0", cross];
    // No cookie, nothing to forge with.
    let head = format!(
        "POST /parts/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n{cross}\r\n\r\n"
    );
    assert_eq!(world.raw(&head).await.status, 200);
    // A key, with the cookie beside it.
    let head = world.head("POST /parts/echo", &[body[0], body[1], cookie]);
    assert_eq!(world.raw(&head).await.status, 200);
    // A token that is no good is no session either.
    let head = format!(
        "POST /parts/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n{cross}\r\n{cookie}\r\n\
         Authorization: Bearer nonsense\r\n\r\n"
    );
    world.raw(&head).await.problem(401);
    let fine = with_cookie(
        &world,
        "POST /parts/echo",
        &["Sec-Fetch-Site: same-origin", "X-CSRF: 1"],
    );
    assert_eq!(fine.await.status, 200);
    let seen = format!("{:?}", world.last_seen());
    assert!(
        !seen.contains("secret") && !seen.contains("theme"),
        "{seen}"
    );
}

#[tokio::test]
async fn browsers_are_told_what_not_to_do_once() {
    let world = World::with("[security_headers]\nhsts = \"always\"").await;
    let always = [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cross-origin-resource-policy", "same-origin"),
        ("strict-transport-security", "max-age=31536000"),
    ];
    for (path, status, of_page) in [
        ("/widgets/7", 200, false),
        ("/nowhere", 404, false),
        ("/parts/a", 200, false),
        ("/parts/trace", 502, false),
        ("/html", 200, true),
        ("/parts/opinions", 200, true),
    ] {
        let reply = world.get(path).await;
        assert_eq!(reply.status, status, "{reply:?}");
        for (name, value) in always {
            assert_eq!(reply.all(name), [value], "{path}: {name}");
        }
        let theirs = path == "/parts/opinions";
        let csp = if theirs {
            "default-src 'self'"
        } else {
            "default-src 'none'; frame-ancestors 'none'"
        };
        assert_eq!(reply.all("content-security-policy"), [csp], "{path}");
        let referrer = if theirs { "origin" } else { "no-referrer" };
        assert_eq!(reply.all("referrer-policy"), [referrer], "{path}");
        let page = ["permissions-policy", "cross-origin-opener-policy"];
        for name in page {
            assert_eq!(
                reply.all(name).len(),
                usize::from(of_page),
                "{path}: {name}"
            );
        }
        if status >= 400 {
            assert_eq!(reply.all("cache-control"), ["no-store"], "{path}");
        }
        for name in ["server", "x-powered-by", "set-cookie"] {
            assert!(reply.all(name).is_empty(), "{path}: {name}");
        }
    }
    let plain = World::start().await.get("/widgets/7").await;
    assert!(plain.all("strict-transport-security").is_empty());
}
