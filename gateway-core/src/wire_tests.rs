//! What clients and services see on the wire when a request is odd: statuses, who is at fault, and what does not cross.
//! The rules themselves, case by case, are tested beside their code.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod browsers;
mod caching;
mod compression;
mod destinations;
mod proxy;
mod replicas;
mod sharing;
mod site;
mod world;

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use world::{World, reply};

const JSON: &str = "Content-Type: application/json";

#[tokio::test]
async fn a_path_that_does_not_fit_is_a_problem() {
    let world = World::start().await;
    assert_eq!(world.get("/widgets/7").await.body, "7");
    for path in ["/widgets/%ff", "/widgets/seven", "/widgets/-1"] {
        let problem = world.get(path).await.problem(400);
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("path") && !detail.contains("u32"),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn an_encoded_letter_gets_nobody_past_a_stricter_route() {
    let strict = |name: &str, path: &str| {
        format!(
            "[[routes]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"parts\"\n\
             access = {{ roles = [\"admin\"] }}\n"
        )
    };
    let open = "[[routes]]\nname = \"parts\"\npath = \"/parts/{*rest}\"\nupstream = \"parts\"\n\
                access = \"authenticated\"\n";
    let more = [
        open,
        &strict("admin", "/parts/admin"),
        &strict("purge", "/parts/all:purge"),
    ];
    let world = World::with(&more.concat()).await;
    for path in ["/parts/admin", "/parts/%61dmin", "/parts/%61%64%6D%69n"] {
        world.get(path).await.problem(403);
    }
    // Whether the two are the same is the service's to say: nobody has to know.
    world.get("/parts/all:purge").await.problem(403);
    world.get("/parts/all%3Apurge").await.problem(400);
    assert_eq!(world.calls(), 0, "the service was asked");
    // Elsewhere it is the service's, and comes there as it was meant.
    for (path, expected) in [
        ("/parts/x%3Ay/%70ath", "/parts/x%3Ay/path"),
        ("/parts/%7Eann/path?%61", "/parts/~ann/path?%61"),
    ] {
        let reply = world.get(path).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, expected));
    }
}

#[tokio::test]
async fn an_error_that_is_no_problem_becomes_one() {
    let world = World::start().await;
    let reply = world.get("/teapot").await;
    reply.problem(418);
    assert!(!reply.body.contains("secret"), "{reply:?}");
    let graphql = world.get("/graphql").await;
    assert_eq!(
        (graphql.status, graphql.body.as_str()),
        (400, "{\"errors\":[]}")
    );
}

#[tokio::test]
async fn an_upload_over_the_limit_is_too_large_announced_or_not() {
    let world = World::start().await;
    let body = "x".repeat(2000);
    let announced = world.send("POST /parts/echo", &[], &body).await;
    announced.problem(413);
    assert_eq!(world.calls(), 0, "the service was asked");
    let head = world.head("POST /parts/echo", &["Transfer-Encoding: chunked"]);
    let chunked = format!("{head}7d0\r\n{body}\r\n0\r\n\r\n");
    let chunked = world.raw(&chunked).await;
    chunked.problem(413);
    assert_eq!(chunked.outcome(), "\"client\"");
    let fits = world.send("POST /parts/echo", &[], "fits").await;
    assert_eq!((fits.status, fits.body.as_str()), (200, "fits"));
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_the_clients_fault() {
    let world = World::start().await;
    let mut socket = world.connect().await;
    let head = world.head("POST /parts/echo", &["Content-Length: 10"]);
    socket.write_all((head + "abc").as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let reply = reply(socket).await;
    reply.problem(400);
    assert_eq!(reply.outcome(), "\"client\"");
}

#[tokio::test]
async fn an_upload_that_does_not_get_on_is_the_clients_timeout() {
    let world = World::start().await;
    let mut socket = world.connect().await;
    let head = world.head("POST /parts/echo", &["Content-Length: 10"]);
    socket.write_all((head + "abc").as_bytes()).await.unwrap();
    let reply = reply(socket).await;
    reply.problem(408);
    assert_eq!(reply.outcome(), "\"client\"");
    // A service that has got everything and says nothing is late by itself.
    let late = world.send("POST /parts/hang", &[], "abc").await;
    late.problem(504);
    assert_eq!(late.outcome(), "\"timeout\"");
}

#[tokio::test]
async fn what_a_failing_service_says_stays_here() {
    let world = World::start().await;
    let reply = world.get("/parts/trace").await;
    reply.problem(502);
    assert_eq!(reply.outcome(), "\"upstream_error\"");
    assert!(!format!("{reply:?}").contains("ecret"), "{reply:?}");
    assert_eq!(reply.header("server"), None);

    let busy = world.get("/parts/busy").await;
    busy.problem(503);
    assert_eq!(busy.header("retry-after"), Some("7"));
    // A service does not know the client's credentials: it is us whom it does not believe.
    world.get("/parts/unauthenticated").await.problem(502);

    let chatty = world.get("/parts/chatty").await;
    assert_eq!(chatty.status, 200);
    assert!(!format!("{chatty:?}").contains("secret"), "{chatty:?}");
}

#[tokio::test]
async fn a_service_that_keeps_failing_is_not_asked_and_the_client_is_told_so() {
    let world = World::start().await;
    for _ in 0..20 {
        world.get("/parts/trace").await.problem(502);
    }
    let asked = world.calls();
    for path in ["/parts/a", "/composed/a"] {
        let reply = world.get(path).await;
        let problem = reply.problem(503);
        assert_eq!(problem["type"], "/problems/upstream-circuit-open");
        let wait: u32 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=2).contains(&wait), "{wait}");
        assert_eq!(reply.outcome(), "\"open_circuit\"");
    }
    assert_eq!(world.calls(), asked);
    // Other services are not concerned.
    assert_eq!(world.get("/label/good").await.body, "good");
}

#[tokio::test]
async fn a_services_refusal_is_passed_on_in_our_form() {
    let world = World::start().await;
    let reply = world.get("/parts/conflict").await;
    let problem = reply.problem(409);
    assert_eq!(problem["type"], "/problems/too-late");
    assert_eq!(problem["detail"], "The part has left.");
    assert_eq!(problem["instance"], "/parts/conflict");
    assert!(!reply.body.contains("secret"), "{reply:?}");

    let gone = world.get("/parts/gone").await;
    gone.problem(410);
    assert!(!gone.body.contains("secret"), "{gone:?}");
    let limited = world.get("/parts/limited").await;
    limited.problem(429);
    assert_eq!(limited.header("retry-after"), Some("3"));
    assert_eq!(world.get("/parts/not-modified").await.status, 304);
}

#[tokio::test]
async fn challenges_name_a_realm() {
    let world = World::start().await;
    for (field, challenge) in [
        ("Accept: */*", r#"Bearer realm="gateway""#),
        (
            "Authorization: Bearer garbage",
            r#"Bearer realm="gateway", error="invalid_token""#,
        ),
    ] {
        let reply = world
            .raw(&format!(
                "GET /widgets/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{field}\r\n\r\n"
            ))
            .await;
        reply.problem(401);
        assert_eq!(reply.header("www-authenticate"), Some(challenge));
    }
}

#[tokio::test]
async fn what_is_no_routes_is_limited_too_and_told_what_is_left() {
    let world = World::with(
        "[rate_limits.few]\nkey = \"address\"\nrate = \"1/h\"\nburst = 2\n[unmatched]\nlimits = [\"few\"]\n",
    )
    .await;
    for (line, left, status) in [
        ("GET /nowhere", "\"few\";r=1;", 404),
        ("DELETE /widgets/1", "\"few\";r=0;", 405),
        ("GET /widgets//1", "\"few\";r=0;", 429),
    ] {
        let reply = world.send(line, &[], "").await;
        let told = reply.header("ratelimit").unwrap();
        assert!(told.starts_with(left), "{line}: {told}");
        assert_eq!(reply.header("ratelimit-policy"), Some("\"few\";q=2;w=7200"));
        reply.problem(status);
    }
    assert_eq!(world.send("GET /widgets/1", &[], "").await.status, 200);
}

#[tokio::test]
async fn what_is_wrong_is_told_in_the_order_of_the_api() {
    let world = World::start().await;
    let large = "x".repeat(2000);
    // Media type before size, size before syntax; whose it is before all of them.
    world
        .send("POST /widgets/1", &["Content-Type: text/plain"], &large)
        .await
        .problem(415);
    world
        .send("POST /widgets/1", &[JSON], &large)
        .await
        .problem(413);
    world
        .send("POST /widgets/2", &[JSON], &large)
        .await
        .problem(404);
    world
        .send("POST /widgets/1", &[JSON], "{")
        .await
        .problem(400);

    let soon = "Request-Timeout: soon";
    world
        .raw(&world.head("GET /widgets/1", &[soon]))
        .await
        .problem(400);
    let anonymous =
        format!("GET /widgets/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{soon}\r\n\r\n");
    world.raw(&anonymous).await.problem(401);
}

#[tokio::test]
async fn the_target_says_which_host_is_meant() {
    let world = World::start().await;
    let head = world.head("GET http://good.example:8080/parts/a", &[]);
    assert_eq!(world.raw(&head).await.status, 200);
    assert_eq!(world.last_seen()["x-forwarded-host"], "good.example:8080");
    let head = world.head("GET /parts/a", &[]);
    assert_eq!(world.raw(&head).await.status, 200);
    assert_eq!(world.last_seen()["x-forwarded-host"], "gateway.example");
    for host in [
        "a b/c@d",
        "user@host",
        "a,b",
        "host:port",
        "[::1",
        "a/b",
        "",
    ] {
        let request = format!("GET /parts/a HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        world.raw(&request).await.problem(400);
    }
}

#[tokio::test]
async fn only_the_gateway_says_where_a_request_comes_from() {
    let world = World::start().await;
    let claims = [
        "Forwarded: for=203.0.113.7",
        "X-Forwarded-For: 203.0.113.7",
        "X-Forwarded-Ssl: on",
        "X-Forwarded-User: admin",
        "X_Forwarded_Email: admin@acme.example",
        "True-Client-IP: 203.0.113.7",
        "X-Client-IP: 203.0.113.7",
        "X-Real-IP: 203.0.113.7",
        "CF-Connecting-IP: 203.0.113.7",
        "X-Original-URL: /admin",
        "X-Rewrite-URL: /admin",
        "X-Original-Host: admin",
        "X-HTTP-Method-Override: DELETE",
        "X-Internal-Token: admin",
    ];
    assert_eq!(
        world.raw(&world.head("GET /parts/a", &claims)).await.status,
        200
    );
    let seen = format!("{:?}", world.last_seen());
    for claim in ["203.0.113.7", "admin", "DELETE", "ssl"] {
        assert!(!seen.contains(claim), "{claim}: {seen}");
    }
}

#[tokio::test]
async fn a_tracestate_goes_on_with_its_traceparent_alone() {
    let world = World::start().await;
    let parent = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let states = ["tracestate: a=1,b=2", "tracestate: c=3"];
    for path in ["/parts/a", "/composed/a"] {
        let head = world.head(&format!("GET {path}"), &[parent, states[0], states[1]]);
        assert_eq!(world.raw(&head).await.status, 200, "{path}");
        let seen = world.last_seen();
        assert_eq!(seen["tracestate"], "a=1,b=2,c=3", "{path}");
        let trace = seen["traceparent"].to_str().unwrap();
        assert!(trace.contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{path}");
        for fields in [
            &[states[0]][..],
            &["traceparent: nonsense", states[0]],
            &[parent, parent, states[0]],
            &[parent, "tracestate: nonsense"],
        ] {
            let head = world.head(&format!("GET {path}"), fields);
            assert_eq!(world.raw(&head).await.status, 200, "{path}");
            assert!(!world.last_seen().contains_key("tracestate"), "{fields:?}");
        }
    }
}

#[tokio::test]
async fn a_grpc_answer_that_is_no_good_is_not_the_services_refusal() {
    let world = World::start().await;
    assert_eq!(world.get("/label/good").await.body, "good");
    for (case, outcome) in [
        ("large", "\"response_too_large\""),
        ("broken", "\"invalid_response\""),
        ("empty", "\"invalid_response\""),
    ] {
        let reply = world.get(&format!("/label/{case}")).await;
        reply.problem(502);
        assert_eq!(reply.outcome(), outcome, "{case}");
    }
    // What the service itself says with the same codes is its own word.
    for (case, status, outcome) in [
        ("internal", "500", "\"upstream_error\""),
        ("range", "400", "\"refused\""),
    ] {
        let reply = world.get(&format!("/label/{case}")).await;
        assert_eq!(reply.problem(422)["errors"][0]["pointer"], status, "{case}");
        assert_eq!(reply.outcome(), outcome, "{case}");
    }
}

#[tokio::test]
async fn a_refusal_is_not_counted_as_the_services_fault() {
    let world = World::start().await;
    for path in ["/parts/conflict", "/composed/conflict"] {
        assert_eq!(world.get(path).await.outcome(), "\"refused\"", "{path}");
    }
    // It has never seen the client's credentials: what it does not like are ours.
    for path in ["/parts/unauthenticated", "/composed/unauthenticated"] {
        let outcome = world.get(path).await;
        assert_eq!(outcome.outcome(), "\"upstream_error\"", "{path}");
    }
}

#[tokio::test]
async fn a_proxied_body_is_never_held_back() {
    let world = World::start().await;
    let mut socket = world.connect().await;
    let head = world.head("POST /parts/echo", &["Content-Length: 6"]);
    socket.write_all((head + "abc").as_bytes()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), async {
        while world.calls() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    socket.write_all(b"def").await.unwrap();
    assert_eq!(reply(socket).await.body, "abcdef");
}
