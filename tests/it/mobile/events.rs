//! Following one order: what the stream tells from the first event to the last, what a client gets who comes back, and who
//! gets nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ftgo_runner::service::Service;
use ftgo_tests::System;
use ftgo_tests::system::eventually;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::scene::{internal, kitchen, scheduled_order};

const PATIENCE: Duration = Duration::from_secs(20);

/// A client that follows an order.
struct Follower {
    response: Response,
    text: String,
    /// The last `id` that the stream gave.
    last: Option<String>,
}

/// An event of the stream.
#[derive(Debug)]
struct Told {
    name: String,
    data: Value,
}

/// `id` is the order's, and may have a query behind it.
async fn ask(system: &System, token: &str, id: &str, last: Option<&str>) -> Result<Response> {
    let (id, query) = id.split_once('?').unwrap_or((id, ""));
    let url = system.mobile_url(&format!("/orders/{id}/events?{query}"));
    // A client without a timeout of its own.
    let mut request = reqwest::Client::new()
        .get(url)
        .bearer_auth(token)
        .header("accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    Ok(request.send().await?)
}

impl Follower {
    async fn open(system: &System, token: &str, id: &str, last: Option<&str>) -> Result<Self> {
        let response = ask(system, token, id, last).await?;
        ensure!(response.status() == 200, "{response:?}");
        ensure!(response.headers()["content-type"] == "text/event-stream");
        Ok(Self {
            response,
            text: String::new(),
            last: last.map(str::to_owned),
        })
    }

    /// The next event; `None` when the stream has ended.
    async fn next(&mut self) -> Result<Option<Told>> {
        timeout(PATIENCE, async {
            loop {
                while let Some((block, rest)) = self.text.split_once("\n\n") {
                    let (mut name, mut data) = (None, String::new());
                    for line in block.lines() {
                        match line.split_once(": ").context("a line")? {
                            ("event", value) => name = Some(value.to_owned()),
                            ("id", value) => self.last = Some(value.to_owned()),
                            ("data", value) => data.push_str(value),
                            _ => {}
                        }
                    }
                    self.text = rest.to_owned();
                    if let Some(name) = name {
                        let data = serde_json::from_str(&data)?;
                        return Ok(Some(Told { name, data }));
                    }
                }
                let Some(chunk) = self.response.chunk().await? else {
                    return Ok(None);
                };
                self.text.push_str(std::str::from_utf8(&chunk)?);
            }
        })
        .await?
    }

    /// Reads until an event of this name; the names of all events read.
    async fn until(&mut self, name: &str) -> Result<(Vec<String>, Value)> {
        let mut names = Vec::new();
        loop {
            let told = self.next().await?;
            let told = told.with_context(|| format!("the end, before {name}: {names:?}"))?;
            names.push(told.name.clone());
            if told.name == name {
                return Ok((names, told.data));
            }
        }
    }
}

async fn feed_is_up(system: &System) -> Result<()> {
    let url = format!("http://{}/ready", system.mobile.admin_address());
    eventually("the feed is up", async || {
        let ready: Value = system.http.get_raw(&url).await?.json().await?;
        let checks = ready["checks"].as_array().context("checks")?;
        let feed = checks.iter().find(|check| check["name"] == "event feed");
        Ok((feed.context("no feed")?["ok"] == true).then_some(()))
    })
    .await
}

async fn report(system: &System, courier: &str, id: &str, stop: &str) -> Result<()> {
    let url = system.mobile_url(&format!("/courier/deliveries/{id}/{stop}"));
    let done = system.http.post(&url, courier, &json!({})).await?;
    ensure!(done.status == 200, "{done:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_followed_from_the_oven_to_the_door() -> Result<()> {
    let system = System::start().await?;
    feed_is_up(&system).await?;
    let token = system.token("consumer-1").await?;
    // From the moment at which it was placed.
    let id = system.place(&token).await?;
    let mut follower = Follower::open(&system, &token, &id, None).await?;
    let (names, state) = follower.until("state").await?;
    assert_eq!(names, ["state"]);
    assert_eq!(state["order"]["data"]["id"], json!(id));
    if state["order"]["data"]["state"] != "APPROVED" {
        let (_, told) = follower.until("OrderAuthorized").await?;
        assert_eq!(told["order"]["state"], "APPROVED", "{told}");
        assert_eq!(told["orderId"], json!(id));
    }
    system.approved_order(&token).await?;

    let of_the_kitchen = format!("{id}?fields=ticket");
    let mut of_the_kitchen = Follower::open(&system, &token, &of_the_kitchen, None).await?;
    let (_, state) = of_the_kitchen.until("state").await?;
    let sections: Vec<&String> = state.as_object().context("a state")?.keys().collect();
    assert_eq!(sections, ["ticket"]);

    kitchen(&system, &id, "accept").await?;
    let (names, told) = follower.until("DeliveryScheduled").await?;
    assert!(names.contains(&"TicketAccepted".to_owned()), "{names:?}");
    assert_eq!(told["delivery"]["state"], "SCHEDULED", "{told}");
    assert!(told["delivery"]["courier"]["name"].is_string(), "{told}");

    let path = format!("/deliveries/{id}");
    let delivery = internal(&system, Method::GET, Service::Delivery, &path, &Value::Null).await?;
    let courier = delivery["courier"]["id"].as_str().context("no courier")?;
    let courier = system.token(courier).await?;
    let place = json!({"lat": 37.8123, "lng": -122.2611});
    let moved = system
        .http
        .request(Method::PUT, &system.mobile_url("/courier/location"))
        .bearer_auth(&courier)
        .json(&place);
    system.http.send(moved).await?;
    let (_, told) = follower.until("CourierLocationChanged").await?;
    assert_eq!((&told["location"], &told["orderId"]), (&place, &json!(id)));

    kitchen(&system, &id, "preparing").await?;
    let (_, told) = follower.until("TicketPreparing").await?;
    assert_eq!(told["ticket"]["state"], "PREPARING");
    kitchen(&system, &id, "ready").await?;
    // Of the rest it has heard nothing.
    let (names, _) = of_the_kitchen.until("TicketReadyForPickup").await?;
    assert!(
        names.iter().all(|name| name.starts_with("Ticket")),
        "{names:?}"
    );
    report(&system, &courier, &id, "pickup").await?;
    report(&system, &courier, &id, "dropoff").await?;
    let (_, told) = follower.until("DeliveryDelivered").await?;
    assert_eq!(told["delivery"]["state"], "DELIVERED");

    // Whoever reads after an event reads its effect; after the end there is nothing to wait for.
    let now = system
        .http
        .get(&system.mobile_url(&format!("/orders/{id}/events")), &token)
        .await?;
    assert_eq!(
        now.body["delivery"]["data"]["state"], "DELIVERED",
        "{now:?}"
    );
    assert_eq!(now.header("retry-after"), None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_gets_what_was_missed_and_nothing_twice() -> Result<()> {
    let system = System::start().await?;
    feed_is_up(&system).await?;
    let token = system.token("consumer-1").await?;
    let (id, _) = scheduled_order(&system, &token).await?;
    let mut follower = Follower::open(&system, &token, &id, None).await?;
    follower.until("state").await?;
    let last = follower.last.clone().context("no id")?;
    drop(follower);

    for verb in ["preparing", "ready"] {
        kitchen(&system, &id, verb).await?;
    }
    // Something else happens, too.
    system.approved_order(&token).await?;
    let mut follower = Follower::open(&system, &token, &id, Some(&last)).await?;
    let (names, _) = follower.until("TicketReadyForPickup").await?;
    assert_eq!(names, ["TicketPreparing", "TicketReadyForPickup"]);
    let second = follower.last.clone();
    drop(follower);

    // The history, and with it the feed, is away for a while: streams stay, and miss nothing.
    let mut follower = Follower::open(&system, &token, &id, second.as_deref()).await?;
    system.services.stop_service(Service::OrderHistory).await?;
    kitchen(&system, &id, "picked-up").await?;
    system.services.start_service(Service::OrderHistory).await?;
    let (names, _) = follower.until("TicketPickedUp").await?;
    // Whose courier has not moved meanwhile is told all the same where that is.
    assert_eq!(names, ["CourierLocationChanged", "TicketPickedUp"]);

    // A place that is none, of the future or of another world: the state, and the word that there is a gap.
    for nowhere in ["x", "999999999"] {
        let mut follower = Follower::open(&system, &token, &id, Some(nowhere)).await?;
        let (names, state) = follower.until("state").await?;
        assert_eq!(names, ["reset", "state"]);
        assert_eq!(state["ticket"]["data"]["state"], "PICKED_UP");
        assert!(follower.last.is_some_and(|last| last != nowhere));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_its_consumers_for_as_long_as_the_token_lasts() -> Result<()> {
    let system =
        System::start_with("[streams]\nmax_per_caller = 2\nheartbeat = \"200ms\"\n").await?;
    let token = system.token("consumer-1").await?;
    let id = system.approved_order(&token).await?;

    // Nobody else's, whether they want a stream or the state.
    let stranger = system.token("consumer-2").await?;
    for order in [id.as_str(), "no-such-order"] {
        let refused = ask(&system, &stranger, order, None).await?;
        assert_eq!(refused.status(), 404);
        assert_eq!(
            refused.headers()["content-type"],
            "application/problem+json"
        );
        let url = system.mobile_url(&format!("/orders/{order}/events"));
        assert_eq!(system.http.get(&url, &stranger).await?.status, 404);
    }

    let one = Follower::open(&system, &token, &id, None).await?;
    let mut two = Follower::open(&system, &token, &id, None).await?;
    let refused = ask(&system, &token, &id, None).await?;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: Value = refused.json().await?;
    let kind = problem["type"].as_str().unwrap_or_default();
    assert!(kind.ends_with("/too-many-streams"), "{problem}");
    // Others have streams of their own; and a place is free again when its stream has ended.
    let other = system.token("consumer-3").await?;
    let others = system.approved_order(&other).await?;
    Follower::open(&system, &other, &others, None).await?;
    drop(one);
    eventually("a place is free", async || {
        let answer = ask(&system, &token, &id, None).await?;
        Ok((answer.status() == 200).then_some(()))
    })
    .await?;
    // It says that it lives.
    timeout(PATIENCE, async {
        while !two.text.contains(": heartbeat\n") {
            let chunk = two.response.chunk().await?.context("the end")?;
            two.text.push_str(std::str::from_utf8(&chunk)?);
        }
        anyhow::Ok(())
    })
    .await??;

    let owner = system.token("consumer-2").await?;
    let own = system.approved_order(&owner).await?;
    let short = system.token_with("consumer-2", "&expires_in=3").await?;
    let mut follower = Follower::open(&system, &short, &own, None).await?;
    let (_, end) = follower.until("end").await?;
    assert_eq!(end["reason"], "credentials_expired");
    assert!(follower.next().await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_is_told_when_to_ask_again_and_is_cheap() -> Result<()> {
    let stored = "[cache]\nparts_max_bytes = \"32MiB\"\n";
    let system = System::start_with(stored).await?;
    feed_is_up(&system).await?;
    let token = system.token("consumer-1").await?;
    let id = system.approved_order(&token).await?;
    for path in [format!("/orders/{id}/events"), format!("/orders/{id}")] {
        let url = system.mobile_url(&path);
        let now = eventually("it is complete", async || {
            let now = system.http.get(&url, &token).await?;
            Ok(now.headers.contains_key("etag").then_some(now))
        })
        .await?;
        assert_eq!(now.header("retry-after"), Some("5"), "{now:?}");
        let etag = now.header("etag").context("no ETag")?.to_owned();
        // What has not changed is not sent.
        let again = system
            .http
            .request(Method::GET, &url)
            .bearer_auth(&token)
            .header("if-none-match", &etag);
        let again = system.http.send(again).await?;
        assert_eq!(
            (again.status, again.header("retry-after")),
            (304, Some("5")),
            "{again:?}"
        );
    }
    let cancelled = system
        .http
        .post(
            &system.mobile_url(&format!("/orders/{id}/cancel")),
            &token,
            &json!({}),
        )
        .await?;
    assert_eq!(cancelled.header("retry-after"), Some("1"), "{cancelled:?}");
    let ended = system.order_becomes(&token, &id, "CANCELLED").await?;
    assert_eq!(ended.header("retry-after"), None, "{ended:?}");
    Ok(())
}
