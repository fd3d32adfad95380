//! GraphQL and passthrough routes of `bff-web`, over real sockets and real services. WebSockets, and what streams count as,
//! are in `web/socket.rs`; what the reference clients of GraphQL's transports make of it is `web/clients.rs`.

mod clients;
pub(crate) mod socket;

use anyhow::{Context, Result};
use ftgo_runner::service::Service;
use ftgo_tests::System;
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_placed_and_read_through_graphql() -> Result<()> {
    let system = System::start().await?;
    let token = system.token("consumer-1").await?;
    let order = System::order_for(&system.open_restaurant(&token).await?);
    let url = system.web_url("/graphql");

    let place = json!({
        "query": "mutation($input: PlaceOrderInput!) { placeOrder(input: $input) { orderId state } }",
        "variables": {"input": order},
    });
    let placed = system.http.post(&url, &token, &place).await?;
    let id = placed.body["data"]["placeOrder"]["orderId"]
        .as_str()
        .with_context(|| format!("{placed:?}"))?
        .to_owned();
    system.order_becomes(&token, &id, "APPROVED").await?;

    let read = json!({
        "query": "query($id: ID!) { order(id: $id) { state id ticket { state } restaurant { name } } }",
        "variables": {"id": id},
    });
    let answer = system.http.post(&url, &token, &read).await?;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["errors"], serde_json::Value::Null, "{answer:?}");
    assert_eq!(answer.body["data"]["order"]["id"], id.as_str());
    assert_eq!(
        answer.body["data"]["order"]["ticket"]["state"],
        "AWAITING_ACCEPTANCE"
    );

    // One service gone: what it owns is null and says why; the rest is there.
    system.services.stop_service(Service::Kitchen).await?;
    let partial = system.http.post(&url, &token, &read).await?;
    assert_eq!(partial.status, 200);
    assert_eq!(
        partial.body["data"]["order"]["state"], "APPROVED",
        "{partial:?}"
    );
    assert!(partial.body["data"]["order"]["ticket"].is_null());
    assert_eq!(
        partial.body["errors"][0]["extensions"]["code"], "UPSTREAM_UNAVAILABLE",
        "{partial:?}"
    );
    assert_eq!(
        partial.body["errors"][0]["extensions"]["requestId"].as_str(),
        partial.header("x-request-id"),
        "{partial:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_prepared_by_the_restaurants_staff() -> Result<()> {
    let system = System::start().await?;
    let consumer = system.token("consumer-1").await?;
    let order = System::order_for(&system.open_restaurant(&consumer).await?);
    let url = system.web_url("/graphql");
    let ask = async |token: &str, query: &str, variables: serde_json::Value| {
        let body = json!({"query": query, "variables": variables});
        let answer = system.http.post(&url, token, &body).await?;
        anyhow::ensure!(answer.body["errors"].is_null(), "{answer:?}");
        Ok::<_, anyhow::Error>(answer.body["data"].clone())
    };
    let place = "mutation($input: PlaceOrderInput!) { placeOrder(input: $input) { orderId } }";
    let placed = ask(&consumer, place, json!({"input": order})).await?;
    let id = placed["placeOrder"]["orderId"].as_str().context("no id")?;
    system.order_becomes(&consumer, id, "APPROVED").await?;

    let mine = "query($r: ID!) { me { restaurants { id menu { items { id } } } }
        tickets(restaurantId: $r, state: AWAITING_ACCEPTANCE, first: 100) { nodes { id lineItems { quantity } } } }";
    let mut staff = None;
    for name in ["staff-1", "staff-2"] {
        let token = system.token(name).await?;
        let seen = ask(&token, mine, json!({"r": order["restaurantId"]})).await?;
        assert_eq!(
            seen["me"]["restaurants"].as_array().map(Vec::len),
            Some(3),
            "{seen}"
        );
        let nodes = seen["tickets"]["nodes"].as_array();
        if nodes.is_some_and(|nodes| nodes.iter().any(|ticket| ticket["id"] == id)) {
            staff = Some(token);
        }
    }
    let staff = staff.context("nobody's ticket")?;
    let moves =
        "mutation($id: ID!) { acceptTicket(id: $id, readyBy: \"2099-01-01T00:00:00Z\") { state }
        markPreparing(id: $id) { state } markReady(id: $id) { state } }";
    let moved = ask(&staff, moves, json!({"id": id})).await?;
    assert_eq!(moved["acceptTicket"]["state"], "ACCEPTED");
    assert_eq!(moved["markReady"]["state"], "READY_FOR_PICKUP");
    let read = "query($id: ID!) { order(id: $id) {
        ticket { state } consumer { firstName } bill { state amount { amount } } total { amount } } }";
    let read = ask(&consumer, read, json!({"id": id})).await?;
    let order = &read["order"];
    assert_eq!(order["ticket"]["state"], "READY_FOR_PICKUP", "{read}");
    assert_eq!(order["consumer"]["firstName"], "Consumer", "{read}");
    assert_eq!(order["bill"]["amount"], order["total"], "{read}");

    // The menu: whoever has not seen the last version changes nothing.
    let menu = "query($r: ID!) { restaurant(id: $r) { version openingHours { day }
        menu { items { id name description price { amount currency } } } } }";
    let restaurant_id = &placed_at(&system, &consumer, id).await?;
    let seen = ask(&staff, menu, json!({"r": restaurant_id})).await?["restaurant"].clone();
    let mut items = seen["menu"]["items"].clone();
    items[0]["price"]["amount"] = json!("99.00");
    let revise = "mutation($input: ReviseMenuInput!) { reviseMenu(input: $input) { version menu { items { price { amount } } } } }";
    let input = json!({"restaurantId": restaurant_id, "version": seen["version"], "items": items});
    let revised = ask(&staff, revise, json!({"input": input})).await?;
    assert_eq!(
        revised["reviseMenu"]["menu"]["items"][0]["price"]["amount"],
        "99.00"
    );
    items[0]["price"]["amount"] = json!("98.00");
    let stale = json!({"restaurantId": restaurant_id, "version": seen["version"], "items": items});
    let body = json!({"query": revise, "variables": {"input": stale}});
    let refused = system.http.post(&url, &staff, &body).await?;
    assert_eq!(
        refused.body["errors"][0]["extensions"]["code"], "PRECONDITION_FAILED",
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_followed_while_it_moves() -> Result<()> {
    let system = System::start().await?;
    let consumer = system.token("consumer-1").await?;
    let order = System::order_for(&system.open_restaurant(&consumer).await?);
    let place = "mutation($input: PlaceOrderInput!) { placeOrder(input: $input) { orderId } }";
    let body = json!({"query": place, "variables": {"input": order}});
    let url = system.web_url("/graphql");
    let placed = system.http.post(&url, &consumer, &body).await?;
    let id = placed.body["data"]["placeOrder"]["orderId"]
        .as_str()
        .context("no id")?;

    let follow = async |token: &str, query: &str, variables: serde_json::Value| {
        let body = json!({"query": query, "variables": variables});
        let request = system.http.request(Method::POST, &url).json(&body);
        let request = request
            .bearer_auth(token)
            .header("accept", "text/event-stream");
        Ok::<_, anyhow::Error>(request.send().await?)
    };
    let query = "subscription($id: ID!) { orderChanged(id: $id) { state id ticket { state } } }";
    let mut changes = follow(&consumer, query, json!({"id": id})).await?;
    until(&mut changes, "\"state\":\"APPROVED\"").await?;
    let mut staff = None;
    for name in ["staff-1", "staff-2"] {
        let token = system.token(name).await?;
        let query =
            "subscription($r: ID!) { ticketsChanged(restaurantId: $r) { ticket { id state } } }";
        let variables = json!({"r": order["restaurantId"]});
        let mut tickets = follow(&token, query, variables).await?;
        let first = tickets.chunk().await?.context("no event")?;
        if first.starts_with(b"event: next\ndata: {\"data\":{\"ticketsChanged\":{\"ticket\":null") {
            staff = Some((token, tickets));
        } else {
            let refused = String::from_utf8_lossy(&first);
            anyhow::ensure!(refused.contains("NOT_FOUND"), "{refused}");
        }
    }
    let (token, mut tickets) = staff.context("nobody's restaurant")?;
    system.order_becomes(&consumer, id, "APPROVED").await?;
    let accept =
        "mutation($id: ID!) { acceptTicket(id: $id, readyBy: \"2099-01-01T00:00:00Z\") { state } }";
    let body = json!({"query": accept, "variables": {"id": id}});
    let accepted = system.http.post(&url, &token, &body).await?;
    anyhow::ensure!(accepted.body["errors"].is_null(), "{accepted:?}");
    until(&mut changes, "\"ticket\":{\"state\":\"ACCEPTED\"}").await?;
    until(&mut tickets, "\"state\":\"ACCEPTED\"").await?;

    // Another's order cannot be followed, nor any without credentials.
    let other = system.token("consumer-2").await?;
    let mut refused = follow(&other, query, json!({"id": id})).await?;
    until(&mut refused, "NOT_FOUND").await?;
    let body = json!({"query": query, "variables": {"id": id}});
    let request = system.http.request(Method::POST, &url).json(&body);
    let request = request.header("accept", "text/event-stream");
    until(&mut request.send().await?, "UNAUTHENTICATED").await?;
    Ok(())
}

/// Reads a stream of events until one contains `wanted`.
async fn until(stream: &mut reqwest::Response, wanted: &str) -> Result<()> {
    let mut heard = String::new();
    let reading = async {
        while let Some(piece) = stream.chunk().await? {
            heard.push_str(&String::from_utf8_lossy(&piece));
            if heard.contains(wanted) {
                return Ok(());
            }
        }
        anyhow::bail!("the stream ended")
    };
    let read = tokio::time::timeout(std::time::Duration::from_secs(20), reading).await;
    read.context("nothing came")
        .flatten()
        .with_context(|| format!("waiting for {wanted}: {heard}"))
}

async fn placed_at(system: &System, token: &str, id: &str) -> Result<String> {
    let query = json!({"query": "query($id: ID!) { order(id: $id) { restaurant { id } } }", "variables": {"id": id}});
    let url = system.web_url("/graphql");
    let answer = system.http.post(&url, token, &query).await?;
    let id = answer.body["data"]["order"]["restaurant"]["id"].as_str();
    Ok(id.context("no restaurant")?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn graphql_over_http_keeps_its_rules() -> Result<()> {
    let system = System::start().await?;
    let token = system.token("consumer-1").await?;
    let url = system.web_url("/graphql");
    let get = |query: &str| {
        let url = format!("{url}?query={}", gateway_core::encode::query_value(query));
        system
            .http
            .send(system.http.request(Method::GET, &url).bearer_auth(&token))
    };
    let names = get("{ __typename }").await?;
    assert_eq!(names.status, 200, "{names:?}");
    let mutation = get("mutation { placeOrder(input: {}) { orderId } }").await?;
    assert_eq!(mutation.status, 405, "{mutation:?}");

    let post = |content_type: &str, body: &str| {
        let request = system.http.request(Method::POST, &url).bearer_auth(&token);
        system.http.send(
            request
                .header("content-type", content_type.to_owned())
                .body(body.to_owned()),
        )
    };
    assert_eq!(
        post("text/plain", r#"{"query":"{ __typename }"}"#)
            .await?
            .status,
        415
    );
    assert_eq!(post("application/json", "{").await?.status, 400);

    let anonymous = json!({"query": "{ orders { edges { node { id } } } }"});
    let request = system.http.request(Method::POST, &url).json(&anonymous);
    let refused = system.http.send(request).await?;
    assert_eq!(
        refused.body["errors"][0]["extensions"]["code"], "UNAUTHENTICATED",
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passthrough_route_forwards_and_is_cached() -> Result<()> {
    let system = System::start().await?;
    let url = system.web_url("/api/restaurants/restaurant-1");
    let get = || system.http.send(system.http.request(Method::GET, &url));
    let first = get().await?;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(first.body["id"], "restaurant-1");
    assert!(first.header("via").is_some());

    // It is answered from the cache while the service is gone.
    system.services.stop_service(Service::Restaurant).await?;
    let second = get().await?;
    assert_eq!(second.status, 200, "{second:?}");
    assert_eq!(second.body, first.body);
    assert!(
        second
            .header("cache-status")
            .is_some_and(|status| status.contains("hit")),
        "{second:?}"
    );
    let other = system
        .http
        .send(system.http.request(
            Method::GET,
            &system.web_url("/api/restaurants/restaurant-2"),
        ))
        .await?;
    assert_eq!(other.status, 503, "{other:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_served_with_files_of_our_own() -> Result<()> {
    let system = System::start().await?;
    for path in ["/", "/orders", "/kitchen", "/graphiql"] {
        let page = system.http.get_raw(&system.web_url(path)).await?;
        assert_eq!(page.status(), 200, "{path}");
        let policy = page.headers()["content-security-policy"]
            .to_str()?
            .to_owned();
        assert!(policy.contains("script-src 'nonce-"), "{policy}");
        let html = page.text().await?;
        assert!(
            !html.contains("https://") && !html.contains("http://"),
            "the page loads from elsewhere"
        );
        let files: Vec<&str> = html
            .split('"')
            .filter(|part| part.starts_with("/assets/"))
            .collect();
        assert!(files.len() >= 3, "{html}");
        for file in files {
            let response = system.http.get_raw(&system.web_url(file)).await?;
            assert_eq!(response.status(), 200, "{file}");
            assert!(!response.bytes().await?.is_empty(), "{file}");
        }
    }
    Ok(())
}
