//! The reference clients of GraphQL's transports, from npm, against the binary of bff-web: graphql-http's audits, graphql-ws,
//! graphql-sse, and bare WebSockets for every code by which one is closed.

use anyhow::{Context, Result};
use ftgo_tests::System;
use ftgo_tests::bff::Bff;
use ftgo_tests::node::Script;
use ftgo_tests::process::BffProcess;
use futures_util::future::try_join_all;
use serde_json::{Value, json};

const FOLLOW: &str = "subscription($id: ID!) { orderChanged(id: $id) { id state } }";

/// FTGO, the binary of bff-web before it, and the clients.
struct Scene {
    system: System,
    web: BffProcess,
    clients: Script,
}

impl Scene {
    async fn start(more: &str) -> Result<Self> {
        let system = System::start().await?;
        Ok(Self {
            web: BffProcess::start_with(Bff::Web, &system, more).await?,
            clients: Script::start("clients.mjs", &[])?,
            system,
        })
    }

    fn http(&self) -> String {
        format!("{}/graphql", self.web.base)
    }

    fn socket(&self) -> String {
        self.http().replacen("http", "ws", 1)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn graphql_http_finds_nothing_to_complain_of() -> Result<()> {
    let scene = Scene::start("").await?;
    let with = json!({"url": scene.http()});
    let found = scene.clients.step("audit", with).await?;
    let found = found.as_array().context("no audits")?;
    let bad: Vec<_> = found
        .iter()
        .filter(|audit| audit["status"] != "ok")
        .collect();
    assert_eq!(bad, Vec::<&Value>::new(), "of {}", found.len());
    // So many as there are in graphql-http 1.23: none was left out.
    assert!(found.len() >= 60, "{}", found.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn graphql_ws_and_graphql_sse_are_served() -> Result<()> {
    let scene = Scene::start("").await?;
    let token = scene.system.token("consumer-1").await?;
    let input = System::order_for(&scene.system.open_restaurant(&token).await?);
    for (client, url) in [("socket", scene.socket()), ("events", scene.http())] {
        let ask = async |operation: Value, wanted: Option<&str>| {
            let with =
                json!({"url": url, "token": token, "operation": operation, "wanted": wanted});
            scene.clients.step(client, with).await
        };
        // A query; two operations of which one is meant; an error beside data.
        let me = ask(json!({"query": "{ me { id } }"}), None).await?;
        let answer = json!({"data": {"me": {"id": "consumer-1"}}});
        assert_eq!(me["results"], json!([answer]), "{me}");
        let two = json!({"query": "query A { a: __typename } query B { b: __typename }", "operationName": "B"});
        let two = ask(two, None).await?;
        assert_eq!(two["results"], json!([{"data": {"b": "Query"}}]), "{two}");
        let partial = "{ me { id } tickets(restaurantId: \"restaurant-1\") { nodes { id } } }";
        let partial = ask(json!({"query": partial}), None).await?;
        let partial = &partial["results"][0];
        assert_eq!(partial["data"]["me"]["id"], "consumer-1", "{partial}");
        let code = &partial["errors"][0]["extensions"]["code"];
        assert_eq!(code, "FORBIDDEN", "{partial}");

        // A mutation, then what comes of it, as it comes.
        let place =
            "mutation($input: PlaceOrderInput!) { placeOrder(input: $input) { orderId state } }";
        let place = json!({"query": place, "variables": {"input": input}});
        let placed = ask(place, None).await?;
        let placed = &placed["results"][0]["data"]["placeOrder"];
        assert_eq!(placed["state"], "APPROVAL_PENDING", "{placed}");
        let operation = json!({"query": FOLLOW, "variables": {"id": placed["orderId"]}});
        let followed = ask(operation, Some("APPROVED")).await?;
        let states = followed["results"].as_array().context("no results")?;
        let last = states.last().context("no result")?;
        let approved = json!({"id": placed["orderId"], "state": "APPROVED"});
        assert_eq!(last["data"]["orderChanged"], approved, "{followed}");

        // What cannot be executed is an error, and the end.
        for (query, code) in [
            ("{ me { nothing } }", "GRAPHQL_VALIDATION_FAILED"),
            ("{ me", "GRAPHQL_PARSE_FAILED"),
            (
                "subscription { a: __typename b: __typename }",
                "BAD_REQUEST",
            ),
        ] {
            let refused = ask(json!({"query": query}), None).await?;
            let error = match client {
                "socket" => &refused["refused"][0],
                _ => &refused["results"][0]["errors"][0],
            };
            assert_eq!(error["extensions"]["code"], code, "{client}: {refused}");
            let data = refused["results"][0].get("data");
            assert_eq!(data, None, "{client}: {refused}");
        }
    }

    // Pings are answered, and a client that leaves is told goodbye.
    let kept = json!({"url": scene.socket(), "token": token});
    let kept = scene.clients.step("kept", kept).await?;
    assert_eq!(kept["closed"], 1000, "{kept}");
    // What is no request has a status, also for who wants events.
    let none = json!({"url": scene.http(), "token": token, "operation": {"query": 7}});
    let none = scene.clients.step("events", none).await?;
    assert_eq!(none["refused"]["status"], 400, "{none}");
    let query = json!({"query": "{ me { id } }"});
    let stranger = json!({"url": scene.http(), "token": "nonsense", "operation": query});
    let stranger = scene.clients.step("events", stranger).await?;
    assert_eq!(stranger["refused"]["status"], 401, "{stranger}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_is_closed_with_the_code_that_the_protocol_has_for_it() -> Result<()> {
    // All of them are one caller's, and open at the same time.
    let more = "[graphql]\ninit_timeout = \"2s\"\n[streams]\nmax_per_caller = 100\n";
    let scene = Scene::start(more).await?;
    let token = scene.system.token("consumer-1").await?;
    let order = scene.system.approved_order(&token).await?;
    let short = scene.system.token_with("consumer-1", "&expires_in=2");
    let short = short.await?;
    let url = scene.socket();
    let init = json!({"type": "connection_init"});
    let subscribe = |payload: Value| json!({"id": "1", "type": "subscribe", "payload": payload});
    let follow = subscribe(json!({"query": FOLLOW, "variables": {"id": order}}));
    let me = json!({"query": "{ me { id } }"});

    // What is said by whom, and the code of the end.
    let says = |says: Value| json!({"token": token, "says": says});
    let mut cases = vec![
        ("nothing", says(json!([])), 4408),
        ("a ping, and no more", says(json!([{"type": "ping"}])), 4408),
        (
            "a question first",
            says(json!([subscribe(me.clone())])),
            4401,
        ),
        ("two beginnings", says(json!([init, init])), 4429),
        (
            "one name for two",
            json!({"token": token, "says": [init, follow, follow], "unanswered": [1]}),
            4409,
        ),
        (
            "what is followed until the token ends",
            json!({"token": short, "says": [init, follow], "unanswered": [1]}),
            4403,
        ),
        (
            "bytes",
            json!({"token": token, "says": [init, {"type": "ping"}], "binary": 1}),
            4400,
        ),
        (
            "no protocol",
            json!({"token": token, "protocols": []}),
            4406,
        ),
    ];
    let invalid = [
        ("half of JSON", json!("{")),
        ("a list", json!([])),
        ("null", Value::Null),
        ("no type", json!({})),
        ("an unknown type", json!({"type": "start"})),
        ("a type of servers", json!({"type": "connection_ack"})),
        ("no id", json!({"type": "subscribe", "payload": me})),
        (
            "an empty id",
            json!({"id": "", "type": "subscribe", "payload": me}),
        ),
        (
            "a number as id",
            json!({"id": 1, "type": "subscribe", "payload": me}),
        ),
        ("no payload", json!({"id": "1", "type": "subscribe"})),
        ("no query", subscribe(json!({"variables": {}}))),
        ("a number as query", subscribe(json!({"query": 7}))),
        (
            "a list as variables",
            subscribe(json!({"query": "{ me { id } }", "variables": []})),
        ),
        (
            "a number as name",
            subscribe(json!({"query": "{ me { id } }", "operationName": 7})),
        ),
        ("the end of nothing", json!({"type": "complete"})),
        (
            "a ping with a word",
            json!({"type": "ping", "payload": "word"}),
        ),
    ];
    for (name, said) in invalid {
        cases.push((name, says(json!([init, said])), 4400));
    }
    let probes = cases.into_iter().map(async |(name, mut with, code)| {
        with["url"] = url.as_str().into();
        let ended = scene.clients.step("bare", with).await?;
        anyhow::ensure!(ended["code"] == code, "{name}: {ended}");
        Ok(())
    });
    try_join_all(probes).await?;

    // Whoever only speaks another protocol is shown none, and takes that for a refusal.
    let other = json!({"url": url, "token": token, "protocols": ["graphql-ws"]});
    let other = scene.clients.step("bare", other).await?;
    let refused = other["refused"].as_str().unwrap_or_default();
    assert!(refused.contains("subprotocol"), "{other}");

    // Pings are answered with what they carry, before and after the beginning; to end what has ended is no fault.
    let polite = json!([
        {"type": "ping", "payload": {"at": [1, null]}},
        init,
        {"type": "pong"},
        {"type": "ping"},
        {"id": "9", "type": "complete"},
        follow,
        {"id": "1", "type": "complete"},
        subscribe(json!({"query": "{ me { id } }", "extensions": {}, "operationName": null})),
    ]);
    let with =
        json!({"url": url, "token": token, "says": polite, "unanswered": [2, 4, 6], "enough": 6});
    let ended = scene.clients.step("bare", with).await?;
    let heard = ended["heard"].as_array().context("nothing heard")?;
    assert_eq!(ended["code"], 1000, "{ended}");
    assert_eq!(ended["protocol"], "graphql-transport-ws");
    let pong = json!({"type": "pong", "payload": {"at": [1, null]}});
    assert_eq!(heard[0], pong);
    assert_eq!(heard[1], json!({"type": "connection_ack"}));
    assert_eq!(heard[2], json!({"type": "pong"}));
    let seen = &heard[3]["payload"]["data"]["orderChanged"]["id"];
    assert_eq!(seen, order.as_str(), "{ended}");
    let answer = json!({"data": {"me": {"id": "consumer-1"}}});
    let next = json!({"id": "1", "type": "next", "payload": answer});
    assert_eq!(heard[4], next);
    assert_eq!(heard[5], json!({"id": "1", "type": "complete"}));
    Ok(())
}
