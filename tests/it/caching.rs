//! What the BFFs store of services' answers, and how soon they stop using it: an event tells them, or its lifetime ends.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ftgo_runner::service::Service;
use ftgo_tests::System;
use ftgo_tests::bff::{Bff, gateway_key, partner_key};
use ftgo_tests::client::Answer;
use ftgo_tests::redis::Redis;
use ftgo_tests::system::eventually;
use gateway_core::RunningGateway;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

/// As the code has it for what is a consumer's own.
const LIFETIME: Duration = Duration::from_secs(2);
/// For a busy machine.
const SLACK: Duration = Duration::from_millis(1_500);
const PATIENCE: Duration = Duration::from_secs(20);
/// What an event changed is to be seen after it within this time.
const FRESH_WITHIN: Duration = Duration::from_millis(100);

/// Everything as it is shipped.
const STORED: &str = "[cache]\nparts_max_bytes = \"32MiB\"\n";

/// An order of the consumer whom the partner is bound to: all three BFFs show it.
struct Order<'a> {
    system: &'a System,
    token: String,
    id: String,
}

impl<'a> Order<'a> {
    async fn approved(system: &'a System) -> Result<Self> {
        let token = system.token("consumer-3").await?;
        let id = system.approved_order(&token).await?;
        Ok(Self { system, token, id })
    }

    /// Its state as mobile, web and public show it.
    async fn states(&self) -> Result<[Value; 3]> {
        let Self { system, token, id } = self;
        let url = system.mobile_url(&format!("/orders/{id}"));
        let mobile = system.http.get(&url, token).await?;
        let query = json!({
            "query": "query($id: ID!) { order(id: $id) { state } }",
            "variables": {"id": id},
        });
        let web = system
            .http
            .post(&system.web_url("/graphql"), token, &query)
            .await?;
        let public = system
            .http
            .request(Method::GET, &system.public_url(&format!("/v1/orders/{id}")))
            .header("x-api-key", &partner_key().secret);
        let public = system.http.send(public).await?;
        Ok([
            mobile.body["order"]["data"]["state"].clone(),
            web.body["data"]["order"]["state"].clone(),
            public.body["state"].clone(),
        ])
    }

    /// Cancels it at the service itself: no BFF knows.
    async fn cancel_behind_their_backs(&self) -> Result<()> {
        let url = format!(
            "http://{}/orders/{}/cancel",
            self.system.address(Service::Order)?,
            self.id
        );
        let token = gateway_key().signer().for_itself(Service::Order.name())?;
        let request = self.system.http.request(Method::POST, &url);
        let answer = request
            .header("x-internal-token", token)
            .json(&json!({}))
            .send()
            .await?;
        ensure!(answer.status() == 202, "{answer:?}");
        Ok(())
    }
}

/// The feed, as the BFFs read it.
struct Feed {
    response: Response,
    text: String,
}

impl Feed {
    async fn open(system: &System) -> Result<Self> {
        let url = format!("http://{}/events", system.address(Service::OrderHistory)?);
        let token = gateway_key()
            .signer()
            .for_itself(Service::OrderHistory.name())?;
        let request = system.http.request(Method::GET, &url);
        let response = request.header("x-internal-token", token).send().await?;
        ensure!(response.status() == 200, "{response:?}");
        Ok(Self {
            response,
            text: String::new(),
        })
    }

    /// Waits for an event of this kind about this order.
    async fn tells(&mut self, kind: &str, id: &str) -> Result<()> {
        let wanted = format!("event: {kind}\n");
        timeout(PATIENCE, async {
            loop {
                while let Some((frame, rest)) = self.text.split_once("\n\n") {
                    let found = frame.contains(&wanted) && frame.contains(id);
                    self.text = rest.to_owned();
                    if found {
                        return Ok(());
                    }
                }
                let chunk = self.response.chunk().await?.context("the feed ended")?;
                self.text.push_str(std::str::from_utf8(&chunk)?);
            }
        })
        .await?
    }
}

async fn feed_is_up(system: &System, gateway: &RunningGateway, up: bool) -> Result<()> {
    let url = format!("http://{}/ready", gateway.admin_address());
    eventually(&format!("the feed is up: {up}"), async || {
        let answer = system.http.get_raw(&url).await?;
        // Without its feed a gateway is ready all the same.
        ensure!(answer.status() == 200, "{answer:?}");
        let ready: Value = answer.json().await?;
        let checks = ready["checks"].as_array().context("checks")?;
        let feed = checks.iter().find(|check| check["name"] == "event feed");
        Ok((feed.context("no feed")?["ok"] == up).then_some(()))
    })
    .await
}

async fn feeds_are_up(system: &System, up: bool) -> Result<()> {
    for gateway in [&system.mobile, &system.web, &system.public] {
        feed_is_up(system, gateway, up).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_seen_on_every_bff_at_once() -> Result<()> {
    let system = System::start_with(STORED).await?;
    feeds_are_up(&system, true).await?;
    let mut feed = Feed::open(&system).await?;
    let mut took = Vec::new();
    for _ in 0..5 {
        let order = Order::approved(&system).await?;
        assert_eq!(order.states().await?, ["APPROVED", "APPROVED", "APPROVED"]);
        order.cancel_behind_their_backs().await?;
        feed.tells("OrderCancelled", &order.id).await?;
        let told = Instant::now();
        let mut fresh = [false; 3];
        // When those were asked that had it: how long they take is nothing of the cache's.
        let mut asked = Duration::ZERO;
        while fresh != [true; 3] {
            asked = told.elapsed();
            for (fresh, state) in fresh.iter_mut().zip(order.states().await?) {
                *fresh |= state == "CANCELLED";
            }
            ensure!(
                told.elapsed() < LIFETIME,
                "not before the lifetime's end: {fresh:?}"
            );
        }
        took.push(asked);
    }
    took.sort_unstable();
    assert!(took[took.len() / 2] < FRESH_WITHIN, "took {took:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_feed_a_lifetime_is_the_longest() -> Result<()> {
    let system = System::start_with(STORED).await?;
    feeds_are_up(&system, true).await?;
    let order = Order::approved(&system).await?;
    system.services.stop_service(Service::OrderHistory).await?;
    feeds_are_up(&system, false).await?;

    order.states().await?;
    order.cancel_behind_their_backs().await?;
    let changed = Instant::now();
    // It is pending at once, and cancelled later; either is what the service has now.
    let mut seen = order.states().await?;
    while seen.iter().any(|state| state == "APPROVED") {
        ensure!(changed.elapsed() < LIFETIME + SLACK, "still {seen:?}");
        sleep(Duration::from_millis(50)).await;
        seen = order.states().await?;
    }

    system.services.start_service(Service::OrderHistory).await?;
    feeds_are_up(&system, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_something_sees_it_changed() -> Result<()> {
    let system = System::start_with(STORED).await?;
    let order = Order::approved(&system).await?;
    let url = system.mobile_url(&format!("/orders/{}", order.id));
    let before = system.http.get(&url, &order.token).await?;
    assert_eq!(before.body["order"]["data"]["state"], "APPROVED");
    let cancelled = system
        .http
        .post(&format!("{url}/cancel"), &order.token, &json!({}))
        .await?;
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    let after = system.http.get(&url, &order.token).await?;
    assert_ne!(
        after.body["order"]["data"]["state"], "APPROVED",
        "{after:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_parts_stand_in_for_a_service_that_fails_and_say_so() -> Result<()> {
    let system = System::start_with(STORED).await?;
    let order = Order::approved(&system).await?;
    let url = system.mobile_url(&format!("/orders/{}", order.id));
    let complete = system.http.get(&url, &order.token).await?;
    // It has parts that are the caller's own, beside a restaurant that is everybody's.
    assert_eq!(
        complete.header("cache-control"),
        Some("private, no-cache"),
        "{complete:?}"
    );
    system.services.stop_service(Service::Accounting).await?;
    system.services.stop_service(Service::Kitchen).await?;
    system.services.stop_service(Service::Order).await?;
    let stale = eventually("stale sections", async || {
        let answer = system.http.get(&url, &order.token).await?;
        ensure!(answer.status == 200, "{answer:?}");
        let stale = ["order", "ticket", "bill"]
            .iter()
            .all(|section| answer.body[section]["status"] == "stale");
        Ok(stale.then_some(answer))
    })
    .await?;
    for section in ["order", "ticket", "bill"] {
        assert_eq!(stale.body[section]["data"], complete.body[section]["data"]);
        assert!(stale.body[section]["age"].is_u64(), "{stale:?}");
    }
    // The age is not part of what the validator is made from.
    let etag = stale.header("etag").context("no ETag")?.to_owned();
    assert_ne!(Some(etag.as_str()), complete.header("etag"));
    eventually("another age", async || {
        let later = system.http.get(&url, &order.token).await?;
        ensure!(later.header("etag") == Some(&etag), "{later:?}");
        Ok((later.body["order"]["age"] != stale.body["order"]["age"]).then_some(()))
    })
    .await?;

    // Nobody else gets what is somebody's own, however stale.
    let stranger = system.token("consumer-1").await?;
    let nothing = system.http.get(&url, &stranger).await?;
    assert!(matches!(nothing.status, 503 | 504), "{nothing:?}");
    Ok(())
}

/// At the service itself: the first dish of the restaurant is "Renamed".
async fn rename_a_dish(system: &System, restaurant: &Answer) -> Result<()> {
    let mut menu = restaurant.body["menu"].clone();
    menu["items"][0]["name"] = json!("Renamed");
    let service = format!(
        "http://{}/restaurants/restaurant-1/menu",
        system.address(Service::Restaurant)?
    );
    let token = gateway_key()
        .signer()
        .for_itself(Service::Restaurant.name())?;
    let request = system.http.request(Method::PUT, &service);
    let revised = request
        .header("x-internal-token", token)
        .header("if-match", restaurant.header("etag").context("no ETag")?)
        .json(&menu)
        .send()
        .await?;
    ensure!(revised.status() == 200, "{revised:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_what_one_of_them_has_asked_for_until_the_event_about_it() -> Result<()> {
    let (system, redis) = (System::start().await?, Redis::start().await?);
    let more = format!(
        "[redis]\nurl = \"{}\"\nshare_responses = true\nreplicas = 2\ntimeout = \"1s\"\n",
        redis.url()
    );
    let replicas = [
        system.gateway(Bff::Web, &more).await?,
        system.gateway(Bff::Web, &more).await?,
    ];
    for replica in &replicas {
        feed_is_up(&system, replica, true).await?;
        let url = format!("http://{}/metrics", replica.admin_address());
        eventually("responses are shared", async || {
            let text = system.http.get_raw(&url).await?.text().await?;
            Ok(text
                .lines()
                .any(|line| line.trim() == "gateway_cache_second_level_up 1")
                .then_some(()))
        })
        .await?;
    }
    let get = async |replica: &RunningGateway| {
        let url = format!("http://{}/api/restaurants/restaurant-1", replica.address());
        // As behind a load balancer: the services may be told which host was asked for.
        let request = system.http.request(Method::GET, &url);
        system.http.send(request.header("host", "shop.test")).await
    };
    let said = |answer: &Answer| answer.header("cache-status").unwrap_or_default().to_owned();
    let before = get(&replicas[0]).await?;
    let name = before.body["menu"]["items"][0]["name"].clone();
    // It is on its way to Redis.
    eventually("it is in Redis", async || {
        let keys = redis.command("KEYS *:cache:e:*").await?;
        Ok(keys.contains(":cache:e:").then_some(()))
    })
    .await?;
    let shared = get(&replicas[1]).await?;
    assert_eq!(shared.body, before.body);
    assert!(said(&shared).contains("detail=second-level"), "{shared:?}");
    assert_ne!(name, "Renamed");

    rename_a_dish(&system, &before).await?;
    let changed = Instant::now();
    for replica in &replicas {
        eventually("the menu as it is now", async || {
            let after = get(replica).await?;
            Ok((after.body["menu"]["items"][0]["name"] == "Renamed").then_some(()))
        })
        .await?;
    }
    assert!(changed.elapsed() < Duration::from_secs(4), "{changed:?}");
    // From here on nobody gets the old one, from whichever level.
    for _ in 0..20 {
        for replica in &replicas {
            let after = get(replica).await?;
            assert_eq!(
                after.body["menu"]["items"][0]["name"], "Renamed",
                "{after:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_passthrough_route_stores_ends_with_the_event_about_it() -> Result<()> {
    let system = System::start().await?;
    feed_is_up(&system, &system.web, true).await?;
    let url = system.web_url("/api/restaurants/restaurant-1");
    let get = || system.http.send(system.http.request(Method::GET, &url));
    get().await?;
    let before = get().await?;
    let said = before.header("cache-status").unwrap_or_default();
    ensure!(said.starts_with("gateway; hit"), "{before:?}");

    // The service has said that its answer is good for five seconds; nobody waits for that.
    rename_a_dish(&system, &before).await?;
    let changed = Instant::now();
    let after = eventually("the menu as it is now", async || {
        let after = get().await?;
        let name = &after.body["menu"]["items"][0]["name"];
        Ok((name == "Renamed").then_some(after))
    })
    .await?;
    ensure!(changed.elapsed() < Duration::from_secs(4), "{after:?}");
    let said = after.header("cache-status").unwrap_or_default();
    ensure!(said.starts_with("gateway; fwd=uri-miss"), "{after:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_purges_by_tag() -> Result<()> {
    let system = System::start_with(STORED).await?;
    let token = system.token("consumer-1").await?;
    let restaurant = system.open_restaurant(&token).await?;
    let id = restaurant["id"].as_str().context("id")?;
    let url = system.mobile_url(&format!("/restaurants/{id}"));
    let shown = system.http.get(&url, &token).await?;
    // The same for everybody: the client may keep it for as long as the BFF does.
    let cache_control = shown.header("cache-control").unwrap_or_default();
    assert!(
        cache_control.starts_with("private, max-age="),
        "{cache_control}"
    );

    system.services.stop_service(Service::Restaurant).await?;
    let stored = system
        .http
        .get(&url, &system.token("consumer-2").await?)
        .await?;
    assert_eq!(stored.body, shown.body);
    let purge = format!("http://{}/purge", system.mobile.admin_address());
    let purged = system
        .http
        .post_raw(&purge, &json!({"tags": [format!("restaurant:{id}")]}))
        .await?;
    assert_eq!(purged.status(), 204);
    let gone = system.http.get(&url, &token).await?;
    assert!(matches!(gone.status, 503 | 504), "{gone:?}");
    Ok(())
}
