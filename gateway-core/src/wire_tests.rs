//! What clients and services see on the wire when a request is odd: statuses, who is at fault, and what does not cross.
//! The rules themselves, case by case, are tested beside their code.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod world;

use world::World;

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
