//! Placing orders once, whatever happens in between.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use ftgo_runner::service::Service;
use ftgo_tests::bff::{Bff, partner_key};
use ftgo_tests::process::BffProcess;
use ftgo_tests::redis::Redis;
use ftgo_tests::system::{PATIENCE, eventually};
use ftgo_tests::{Answer, System};
use futures_util::future::join_all;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

fn order() -> Value {
    json!({
        "restaurantId": "restaurant-1",
        "deliveryAddress": {"street1": "1 Main Library", "city": "Oakland", "state": "CA", "zip": "94612"},
        "lineItems": [{"menuItemId": "restaurant-1-item-1", "quantity": 5}],
    })
}

/// Places an order at the gateway at `base` with `key`, as `credential`.
async fn place(system: &System, base: &str, credential: &str, key: &str) -> Result<Answer> {
    let request = system
        .http
        .request(Method::POST, &format!("{base}/v2/orders"));
    let request = request.bearer_auth(credential);
    let request = request.header("idempotency-key", key).json(&order());
    system.http.send(request).await
}

/// The ids of the orders of consumer-3 that the order service has, waited for in the views.
async fn ids(system: &System, token: &str, expected: usize) -> Result<HashSet<String>> {
    let url = system.mobile_url("/orders?limit=100");
    eventually(&format!("{expected} orders are listed"), async || {
        let page = system.http.get(&url, token).await?;
        let items = page.body["items"].as_array().context("no page")?;
        let ids: HashSet<String> = items
            .iter()
            .filter_map(|item| item["id"].as_str().map(str::to_owned))
            .collect();
        Ok((ids.len() >= expected).then_some(ids))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_placed_seen_and_listed_with_either_credential() -> Result<()> {
    let system = System::start().await?;
    let base = system.public_url("");
    let key = &partner_key().secret;
    let token = system.token("partner-1").await?;

    let placed = place(&system, &base, key, "one").await?;
    assert_eq!(placed.status, 202, "{placed:?}");
    assert_eq!(placed.body["state"], "APPROVAL_PENDING");
    let id = placed.body["orderId"].as_str().context("no orderId")?;
    let path = format!("/v2/orders/{id}");
    assert_eq!(placed.header("location"), Some(path.as_str()));
    // The same partner, whatever it comes with.
    let again = place(&system, &base, &token, "one").await?;
    assert_eq!((again.status, &again.body), (202, &placed.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));

    for credential in [key, &token] {
        eventually("the order is approved", async || {
            let order = system
                .http
                .get(&system.public_url(&path), credential)
                .await?;
            assert_eq!(order.status, 200, "{order:?}");
            Ok((order.body["state"] == "APPROVED").then_some(()))
        })
        .await?;
        eventually("the order is listed", async || {
            let page = system
                .http
                .get(&system.public_url("/v2/orders?limit=1"), credential)
                .await?;
            assert_eq!(page.status, 200, "{page:?}");
            let first = page.header("link").is_some_and(|l| l.contains("first"));
            assert!(first, "{page:?}");
            Ok((page.body["items"][0]["id"] == id).then_some(()))
        })
        .await?;
    }
    let other = system.token("partner-2").await?;
    let foreign = system.http.get(&system.public_url(&path), &other).await?;
    assert_eq!(foreign.status, 404, "{foreign:?}");
    // Another partner's key of the same name is another key.
    let other = place(&system, &base, &other, "one").await?;
    assert_eq!(other.status, 202, "{other:?}");
    assert_ne!(other.body["orderId"], placed.body["orderId"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_and_credentials_are_checked_as_everywhere() -> Result<()> {
    let system = System::start().await?;
    let base = system.public_url("");
    let reader = system.token_with("partner-1", "&scope=orders:read").await?;
    let refused = place(&system, &base, &reader, "one").await?;
    assert_eq!(refused.status, 403, "{refused:?}");
    let challenge = refused.header("www-authenticate").unwrap_or_default();
    assert!(challenge.contains("orders:write"), "{challenge}");
    let both = system
        .http
        .request(Method::GET, &system.public_url("/v2/orders"))
        .bearer_auth(&reader)
        .header("x-api-key", &partner_key().secret);
    assert_eq!(system.http.send(both).await?.status, 400);
    // A person's token is for others.
    let person = system.token("consumer-3").await?;
    let stranger = system
        .http
        .get(&system.public_url("/v2/orders"), &person)
        .await?;
    assert_eq!(stranger.status, 401, "{stranger:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_duplicates_one_becomes_an_order() -> Result<()> {
    let system = System::start().await?;
    let base = system.public_url("");
    let key = &partner_key().secret;
    let consumer = system.token("consumer-3").await?;
    let answers = join_all((0..100).map(|_| place(&system, &base, key, "hundred"))).await;
    let mut orders = HashSet::new();
    for answer in answers {
        let answer = answer?;
        match answer.status {
            202 => drop(orders.insert(answer.body["orderId"].to_string())),
            409 => assert_eq!(answer.body["type"], "/problems/idempotency-key-in-use"),
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!(orders.len(), 1);
    // A later one comes later: when it is listed, a second of the hundred would be, too.
    let last = place(&system, &base, key, "later").await?;
    let last = last.body["orderId"]
        .as_str()
        .context("no orderId")?
        .to_owned();
    let listed = ids(&system, &consumer, 2).await?;
    assert_eq!(listed.len(), 2);
    assert!(listed.contains(&last));
    Ok(())
}

/// In front of the order service: passes on requests, and keeps the answer to the first one for itself.
async fn swallow_answers(to: SocketAddr) -> Result<(SocketAddr, Arc<Notify>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let answered = Arc::new(Notify::new());
    let says = Arc::clone(&answered);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let says = Arc::clone(&says);
            tokio::spawn(async move {
                let service = TcpStream::connect(to).await?;
                let (mut from_client, _to_client) = client.into_split();
                let (mut from_service, mut to_service) = service.into_split();
                let answer = async {
                    let mut answer = [0; 1024];
                    if from_service.read(&mut answer).await? > 0 {
                        says.notify_one();
                    }
                    std::future::pending::<std::io::Result<()>>().await
                };
                tokio::try_join!(copy(&mut from_client, &mut to_service), answer).map(drop)
            });
        }
    });
    Ok((address, answered))
}

fn store_at(folder: &Path) -> String {
    let path = folder.join("store.db");
    format!("[store]\npath = {:?}\n", path.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_call_and_answer_leaves_one_order() -> Result<()> {
    let system = System::start().await?;
    let key = &partner_key().secret;
    let consumer = system.token("consumer-3").await?;
    let folder = tempfile::tempdir()?;
    let store = store_at(folder.path());
    let services: BTreeMap<Service, SocketAddr> = system.services.addresses();

    let (proxy, answered) = swallow_answers(system.address(Service::Order)?).await?;
    let mut cut_off = services.clone();
    cut_off.insert(Service::Order, proxy);
    let mut doomed = BffProcess::start_as(Bff::Public, &cut_off, &store).await?;
    let lost = place(&system, &doomed.base, key, "the-one");
    tokio::select! {
        answer = lost => panic!("there cannot be an answer: {answer:?}"),
        () = answered.notified() => {}
    }
    doomed.process.signal(Signal::KILL)?;
    doomed
        .process
        .ends_within(ftgo_tests::system::PATIENCE)
        .await?;
    let known = ids(&system, &consumer, 1).await?;
    assert_eq!(known.len(), 1, "the service has made the order");

    let again = BffProcess::start_as(Bff::Public, &services, &store).await?;
    let retried = place(&system, &again.base, key, "the-one").await?;
    assert_eq!(retried.status, 202, "{retried:?}");
    let id = retried.body["orderId"].as_str().context("no orderId")?;
    assert!(
        known.contains(id),
        "another order: {id} is not in {known:?}"
    );
    assert_eq!(retried.header("idempotent-replayed"), Some("true"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_outlives_a_crash() -> Result<()> {
    let system = System::start().await?;
    let key = &partner_key().secret;
    let folder = tempfile::tempdir()?;
    let store = store_at(folder.path());
    let services = system.services.addresses();
    let mut first = BffProcess::start_as(Bff::Public, &services, &store).await?;
    let placed = place(&system, &first.base, key, "the-one").await?;
    first.process.signal(Signal::KILL)?;
    first
        .process
        .ends_within(ftgo_tests::system::PATIENCE)
        .await?;
    let second = BffProcess::start_as(Bff::Public, &services, &store).await?;
    // The answer is the gateway's own: the service is not needed for it.
    let down = json!([{"path": "/orders", "kind": "error", "status": 503}]);
    system.fault(Service::Order, &down).await?;
    let again = place(&system, &second.base, key, "the-one").await?;
    assert_eq!(
        (again.status, &again.body),
        (202, &placed.body),
        "{again:?}"
    );
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_keys_through_redis_and_do_without_it() -> Result<()> {
    let mut redis = Redis::start().await?;
    let system = System::start().await?;
    let key = &partner_key().secret;
    let shared = format!("[redis]\nurl = \"{}\"\nreplicas = 2\n", redis.url());
    let [one, other] = [
        system.gateway(Bff::Public, &shared).await?,
        system.gateway(Bff::Public, &shared).await?,
    ];
    let [one, other] = [&one, &other].map(|replica| format!("http://{}", replica.address()));
    let placed = place(&system, &one, key, "the-one").await?;
    assert_eq!(placed.status, 202, "{placed:?}");
    let again = place(&system, &other, key, "the-one").await?;
    assert_eq!(
        (again.status, &again.body),
        (202, &placed.body),
        "{again:?}"
    );
    assert_eq!(again.header("idempotent-replayed"), Some("true"));

    // Without it, the service's own deduplication holds.
    redis.kill().await?;
    let without = place(&system, &other, key, "the-one").await?;
    assert_eq!(
        (without.status, &without.body),
        (202, &placed.body),
        "{without:?}"
    );
    let new = place(&system, &other, key, "another").await?;
    assert_eq!(new.status, 202, "{new:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_swallows_everything_keeps_neither_orders_nor_the_end_waiting() -> Result<()> {
    let redis = Redis::start().await?;
    let system = System::start().await?;
    // Sixty orders at once take a busy machine a while: they would wait for a minute if they waited for one another.
    let shared = format!(
        "[redis]\nurl = \"{}\"\nreplicas = 2\n[policies.v2-place-order]\ndeadline = \"12s\"\n",
        redis.url()
    );
    let gateway = system.gateway(Bff::Public, &shared).await?;
    let base = format!("http://{}", gateway.address());
    let key = &partner_key().secret;
    assert_eq!(place(&system, &base, key, "before").await?.status, 202);
    redis.pause()?;
    let keys: Vec<String> = (0..60).map(|n| format!("order-{n}")).collect();
    // In a queue each of them, and what is written down at the end, would wait for all before it.
    let placed = join_all(keys.iter().map(|name| place(&system, &base, key, name))).await;
    for answer in placed {
        let answer = answer?;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    timeout(PATIENCE, gateway.drain())
        .await
        .context("it does not end")?;
    redis.resume()
}
