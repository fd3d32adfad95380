//! Revocations that replicas share through a real Redis: what one was told all refuse, whenever they start and whatever
//! becomes of Redis. What a single process does with its list is tested in gateway-core.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ftgo_tests::Client;
use ftgo_tests::fleet::{Fleet, overlay_trusting};
use ftgo_tests::issuer::{Issuer, unix_time};
use ftgo_tests::redis::Redis;
use ftgo_tests::system::eventually;
use ftgo_tests::upstream::Upstream;
use futures_util::FutureExt;
use reqwest::Response;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(20);
const STORE_UP: &str = "gateway_revocation_store_up";
/// By then a message has crossed a machine that is busy with other tests. Without it, lists are compared after 5 s.
const AT_ONCE: Duration = Duration::from_secs(3);

struct World {
    issuer: Issuer,
    store: Redis,
    fleet: Fleet,
    client: Client,
    _upstream: Upstream,
}

impl World {
    async fn start(replicas: usize) -> Result<Self> {
        gateway_core::install_crypto();
        let (issuer, upstream) = (Issuer::start().await?, Upstream::start().await?);
        let store = Redis::start().await?;
        let config = format!(
            "[redis]\nurl = \"{}\"\nreplicas = 2\n\
             [[routes]]\nname = \"mine\"\npath = \"/x/mine\"\nupstream = \"order\"\naccess = \"authenticated\"\n\
             [[routes]]\nname = \"stream\"\npath = \"/x/events\"\nupstream = \"order\"\naccess = \"authenticated\"\n\
             [[routes]]\nname = \"socket\"\npath = \"/x/socket\"\nupstream = \"order\"\naccess = \"authenticated\"\n\
             upgrade = \"websocket\"\n",
            store.url()
        );
        let overlay = overlay_trusting(&[issuer.config()], upstream.address, &config);
        let world = Self {
            fleet: Fleet::start(replicas, &overlay).await?,
            issuer,
            store,
            client: Client::new()?,
            _upstream: upstream,
        };
        world.shared(true).await?;
        world.ready().await?;
        Ok(world)
    }

    /// Waits until every replica says that its store is there, or that it is not.
    async fn shared(&self, up: bool) -> Result<()> {
        let wanted = if up { "1" } else { "0" };
        self.fleet.says(&self.client, STORE_UP, wanted).await
    }

    async fn ready(&self) -> Result<()> {
        eventually("every replica is ready", async || {
            for admin in self.fleet.admin() {
                let answer = self
                    .client
                    .get_raw(&format!("http://{admin}/ready"))
                    .await?;
                if answer.status() != 200 {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await
    }

    fn token(&self, subject: &str, id: &str) -> Result<String> {
        let mut claims = self.issuer.claims();
        claims["sub"] = subject.into();
        claims["jti"] = id.into();
        self.issuer.token(&claims)
    }

    async fn ask(&self, address: SocketAddr, token: &str) -> Result<u16> {
        let url = format!("http://{address}/x/mine");
        Ok(self.client.get(&url, token).await?.status)
    }

    /// What every replica says to `token` now.
    async fn all(&self, token: &str) -> Result<Vec<u16>> {
        let mut statuses = Vec::new();
        for address in self.fleet.addresses() {
            statuses.push(self.ask(*address, token).await?);
        }
        Ok(statuses)
    }

    /// Tells one replica; the status of its answer.
    async fn revoke(&self, replica: usize, what: (&str, &str), until: Option<u64>) -> Result<u16> {
        let mut body = json!({"issuer": self.issuer.url, what.0: what.1});
        if let Some(until) = until {
            body["until"] = until.into();
        }
        let url = format!("http://{}/revocations", self.fleet.admin()[replica]);
        Ok(self.client.post_raw(&url, &body).await?.status().as_u16())
    }

    /// The end of what is left open until `token` is revoked: a stream of events, and a WebSocket.
    async fn open(&self, replica: usize, token: &str) -> Result<(Response, TcpStream)> {
        let address = self.fleet.addresses()[replica];
        let url = format!("http://{address}/x/events");
        let request = self.client.request(reqwest::Method::GET, &url);
        let mut events = request.bearer_auth(token).send().await?;
        ensure!(events.status() == 200, "{events:?}");
        let first = events.chunk().await?.context("no event")?;
        assert_eq!(first, "data: 1\n\n");

        let mut socket = TcpStream::connect(address).await?;
        let handshake = format!(
            "GET /x/socket HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        socket.write_all(handshake.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            ensure!(socket.read_buf(&mut head).await? > 0, "no handshake");
        }
        ensure!(head.starts_with(b"HTTP/1.1 101 "), "no WebSocket");
        Ok((events, socket))
    }

    async fn is_refused_everywhere(&self, token: &str) -> Result<Duration> {
        let began = Instant::now();
        eventually("every replica refuses the token", async || {
            let statuses = self.all(token).await?;
            Ok(statuses.iter().all(|status| *status == 401).then_some(()))
        })
        .await?;
        Ok(began.elapsed())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_is_told_all_refuse_at_once_and_those_that_start_later() -> Result<()> {
    let mut world = World::start(2).await?;
    let (first, second) = (world.token("anna", "1")?, world.token("anna", "2")?);
    let other = world.token("bert", "3")?;
    for token in [&first, &second, &other] {
        assert_eq!(world.all(token).await?, [200, 200]);
    }

    assert_eq!(world.revoke(0, ("jti", "1"), None).await?, 204);
    // Where it was told: from the next request on.
    assert_eq!(world.ask(world.fleet.addresses()[0], &first).await?, 401);
    let took = world.is_refused_everywhere(&first).await?;
    assert!(took < AT_ONCE, "after {took:?}");
    assert_eq!(world.all(&second).await?, [200, 200]);
    assert_eq!(world.revoke(1, ("sub", "anna"), None).await?, 204);
    let took = world.is_refused_everywhere(&second).await?;
    assert!(took < AT_ONCE, "after {took:?}");
    assert_eq!(world.all(&other).await?, [200, 200]);

    // One that ends soon is forgotten everywhere, by the store as well.
    let soon = unix_time() + 8;
    assert_eq!(world.revoke(0, ("jti", "3"), Some(soon)).await?, 204);
    world.is_refused_everywhere(&other).await?;

    world.fleet.join().await?;
    world.ready().await?;
    // Not even its first answer is a wrong one: it starts with what is stored.
    let newest = world.fleet.addresses()[2];
    assert_eq!(world.ask(newest, &first).await?, 401);
    assert_eq!(world.ask(newest, &second).await?, 401);
    eventually("the short one is over", async || {
        let statuses = world.all(&other).await?;
        Ok(statuses.iter().all(|status| *status == 200).then_some(()))
    })
    .await?;
    eventually("the store has forgotten it", async || {
        let left = world.store.command("ZCARD bff-mobile:revocations").await?;
        Ok((left == ":2").then_some(()))
    })
    .await?;
    let ttl = world.store.command("TTL bff-mobile:revocations").await?;
    let ttl: i64 = ttl.trim_start_matches(':').parse()?;
    assert!((86_000..=86_400).contains(&ttl), "{ttl}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_revoked_caller_has_open_is_closed_on_every_replica() -> Result<()> {
    let world = World::start(2).await?;
    let (token, other) = (world.token("anna", "1")?, world.token("bert", "2")?);
    let mut open = Vec::new();
    for replica in 0..2 {
        open.push(world.open(replica, &token).await?);
    }
    let (mut others_events, mut others_socket) = world.open(1, &other).await?;

    assert_eq!(world.revoke(0, ("sub", "anna"), None).await?, 204);
    for (events, mut socket) in open {
        let rest = timeout(PATIENCE, events.text()).await??;
        assert_eq!(
            rest,
            "event: end\ndata: {\"reason\":\"credentials_revoked\"}\n\n"
        );
        let mut said = Vec::new();
        timeout(PATIENCE, socket.read_to_end(&mut said)).await??;
        // A close frame with 4403.
        assert_eq!(said, b"\x88\x15\x11\x33credentials revoked");
    }
    // Nobody else notices.
    assert_eq!(world.all(&other).await?, [200, 200]);
    assert!(others_events.chunk().now_or_never().is_none());
    let mut byte = [0];
    assert!(others_socket.read(&mut byte).now_or_never().is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_dies_and_comes_back_empty_loses_no_revocation() -> Result<()> {
    let mut world = World::start(2).await?;
    let before = world.token("anna", "1")?;
    assert_eq!(world.revoke(0, ("jti", "1"), None).await?, 204);
    world.is_refused_everywhere(&before).await?;

    world.store.kill().await?;
    world.shared(false).await?;
    for check in world
        .fleet
        .checks(&world.client, "revocation store")
        .await?
    {
        let detail = check["detail"].as_str().context("no detail")?;
        ensure!(
            check["ok"] == false && detail.starts_with(&format!("{}: ", world.store.address())),
            "{check}"
        );
    }
    // Told to one while nobody else can hear of it: held there, and said to be so.
    let during = world.token("bert", "2")?;
    assert_eq!(world.revoke(0, ("sub", "bert"), None).await?, 202);
    assert_eq!(world.all(&during).await?, [401, 200]);
    assert_eq!(world.all(&before).await?, [401, 401]);
    let checks = world
        .fleet
        .checks(&world.client, "revocation store")
        .await?;
    let detail = checks[0]["detail"].as_str().context("no detail")?;
    assert!(
        detail.ends_with(", 1 of this one are to be shared"),
        "{detail}"
    );

    world.store.restart().await?;
    world.shared(true).await?;
    let took = world.is_refused_everywhere(&during).await?;
    assert!(took < AT_ONCE, "after {took:?}");
    assert_eq!(world.all(&before).await?, [401, 401]);
    // The replicas have filled the empty store again, for whoever starts now.
    world.fleet.join().await?;
    world.ready().await?;
    for token in [&before, &during] {
        assert_eq!(world.all(token).await?, [401, 401, 401]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_while_the_store_hangs_is_heard_when_it_goes_on() -> Result<()> {
    let world = World::start(2).await?;
    let token = world.token("anna", "1")?;
    assert_eq!(world.all(&token).await?, [200, 200]);
    world.store.pause()?;
    let began = Instant::now();
    assert_eq!(world.revoke(1, ("jti", "1"), None).await?, 202);
    // An operator's request waits for a bounded time, a client's for none.
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(world.all(&token).await?, [200, 401]);
    world.shared(false).await?;
    world.store.resume()?;
    world.shared(true).await?;
    let took = world.is_refused_everywhere(&token).await?;
    assert!(took < AT_ONCE, "after {took:?}");
    Ok(())
}

/// The message that tells of it is lost: lists are compared all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_and_never_published_is_found() -> Result<()> {
    let world = World::start(2).await?;
    let token = world.token("anna", "1")?;
    assert_eq!(world.all(&token).await?, [200, 200]);
    let entry = json!({"issuer": world.issuer.url, "jti": "1"}).to_string();
    let quoted = entry.replace('"', "\\\"");
    let until = unix_time() + 600;
    let command = format!("ZADD bff-mobile:revocations {until} \"{quoted}\"");
    assert_eq!(world.store.command(&command).await?, ":1");
    world.is_refused_everywhere(&token).await?;
    Ok(())
}
