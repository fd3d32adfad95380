//! Rate limits on the wire: before credentials, by the client's address, and shared by three processes through a real
//! Redis, also while that is away. The rule itself (GCRA) is tested in gateway-core.

mod load;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ftgo_tests::bff::Bff;
use ftgo_tests::fleet::{Fleet, overlay};
use ftgo_tests::redis::Redis;
use ftgo_tests::system::eventually;
use ftgo_tests::upstream::Upstream;
use ftgo_tests::{Answer, Client};
use gateway_core::{Gateway, RunningGateway, config};
use reqwest::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use load::{Bucket, CLIENTS, Limit, Load};

/// One gateway in this process, with `more` in its configuration.
fn gateway(upstream: SocketAddr, more: &str) -> Result<RunningGateway> {
    gateway_core::install_crypto();
    let config = config::from_text(&[Bff::Mobile.shipped(), &overlay(upstream, more)])?;
    Ok(Gateway::start(Bff::Mobile.app(), config)?)
}

fn limit(name: &str, key: &str, rate: &str, burst: u32) -> String {
    format!("[rate_limits.{name}]\nkey = \"{key}\"\nrate = \"{rate}\"\nburst = {burst}\n")
}

/// A route `/x/{name}` to the upstream.
fn route(name: &str, access: &str, limits: &[&str], cost: u32) -> String {
    format!(
        "[[routes]]\nname = \"{name}\"\npath = \"/x/{name}\"\nupstream = \"order\"\n\
         access = \"{access}\"\nlimits = {limits:?}\ncost = {cost}\n"
    )
}

fn redis(redis: &Redis, replicas: usize, timeout: &str) -> String {
    format!(
        "[redis]\nurl = \"{}\"\nreplicas = {replicas}\ntimeout = \"{timeout}\"\n",
        redis.url()
    )
}

async fn get(
    client: &Client,
    base: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Answer> {
    let mut request = client.request(Method::GET, &format!("http://{base}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_credentials_use_up_the_limit_of_their_address() -> Result<()> {
    let upstream = Upstream::start().await?;
    let config = limit("peer", "address", "1/m", 3)
        + &limit("person", "principal", "1/m", 100)
        + &route("guess", "authenticated", &["person", "peer"], 1);
    let gateway = gateway(upstream.address, &config)?;
    let client = Client::new()?;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let bad = [("authorization", "Bearer a.b.c")];
        let answer = get(&client, gateway.address(), "/x/guess", &bad).await?;
        assert!(answer.header("ratelimit").is_some(), "{answer:?}");
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    assert_eq!(upstream.requests(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_behind_a_trusted_proxy_are_told_apart() -> Result<()> {
    let upstream = Upstream::start().await?;
    let limited = limit("peer", "address", "1/m", 1) + &route("open", "public", &["peer"], 1);
    let trusting = format!("server.trusted_proxies = [\"127.0.0.0/8\"]\n{limited}");
    let client = Client::new()?;
    let far = |address| [("x-forwarded-for", address)];
    for (config, expected) in [
        // The same client again, another one, and one that makes up where it comes from.
        (&trusting, [200, 429, 200, 429]),
        (&limited, [200, 429, 429, 429]),
    ] {
        let gateway = gateway(upstream.address, config)?;
        let mut statuses = Vec::new();
        for address in [
            "198.51.100.7",
            "198.51.100.7",
            "198.51.100.8",
            "203.0.113.5, 198.51.100.8",
        ] {
            let answer = get(&client, gateway.address(), "/x/open", &far(address)).await?;
            statuses.push(answer.status);
        }
        assert_eq!(statuses, expected);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_question_takes_from_all_limits_or_from_none() -> Result<()> {
    let upstream = Upstream::start().await?;
    let store = Redis::start().await?;
    let wide = ["a-wide", "b-narrow", "c-wide"];
    let config = redis(&store, 1, "1s")
        + &limit("a-wide", "route", "3/m", 10)
        + &limit("b-narrow", "address", "1/m", 4)
        + &limit("c-wide", "route", "7/m", 10)
        + &limit("person", "principal", "1/s", 300)
        + &route("all", "public", &wide, 2)
        + &route("wide", "public", &["a-wide"], 1)
        + &route("both", "public", &["c-wide", "person"], 1);
    let gateway = gateway(upstream.address, &config)?;
    let client = Client::new()?;
    let fleet = Fleet::of(&[&gateway]);
    fleet.becomes(&client, true).await?;
    let probes_since = Instant::now();
    let before = store.calls("evalsha").await?;

    let ask = async |name| get(&client, gateway.address(), &format!("/x/{name}"), &[]).await;
    let answer = ask("all").await?;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("ratelimit"),
        Some(r#""a-wide";r=8;t=40, "b-narrow";r=2;t=120, "c-wide";r=8;t=18"#)
    );
    assert_eq!(ask("all").await?.status, 200);
    for _ in 0..6 {
        let denied = ask("all").await?;
        assert_eq!(denied.status, 429);
        assert_eq!(denied.header("retry-after"), Some("120"), "{denied:?}");
        assert_eq!(denied.header("ratelimit"), Some(r#""b-narrow";r=0;t=240"#));
    }
    // Each route has a bucket of its own; the denials above have taken nothing from that of `all`.
    let answer = store.command("PTTL bff-mobile:a-wide:route:all").await?;
    let expiry: u64 = answer.trim_start_matches(':').parse()?;
    assert!((60_000..=80_000).contains(&expiry), "{answer}");
    assert_eq!(
        ask("wide").await?.header("ratelimit"),
        Some(r#""a-wide";r=9;t=20"#)
    );
    let both = ask("both").await?;
    assert_eq!(
        both.header("ratelimit"),
        Some(r#""c-wide";r=9;t=9, "person";r=299;t=1"#)
    );

    // Nine requests with limits of one phase, one with both; the rest are the link's own probes.
    let asked = store.calls("evalsha").await? - before;
    let probes = asked.checked_sub(8 + 1 + 2).context("too few questions")?;
    assert!(probes <= probes_since.elapsed().as_secs() + 1, "{asked}");

    // A store that has forgotten the script is told it again.
    assert_eq!(store.command("SCRIPT FLUSH").await?, "+OK");
    assert_eq!(
        ask("wide").await?.header("ratelimit"),
        Some(r#""a-wide";r=8;t=40"#)
    );
    assert_eq!(fleet.decided(&client, "share").await?, [0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_admit_what_a_single_counter_would() -> Result<()> {
    const LIMIT: Limit = Limit {
        rate: 200.0,
        burst: 50.0,
    };
    let upstream = Upstream::start().await?;
    let store = Redis::start().await?;
    // The claim is about counting: a machine that is busy with other tests is no outage.
    let config = redis(&store, 3, "1s")
        + &limit("total", "route", "200/s", 50)
        + &route("open", "public", &["total"], 1);
    let fleet = Fleet::start(3, &overlay(upstream.address, &config)).await?;
    let client = Client::new()?;
    fleet.becomes(&client, true).await?;

    let began = Instant::now();
    let load = Load::start(&fleet, "/x/open")?;
    sleep_until(began + Duration::from_secs(4)).await;
    let samples = load.stop().await?;
    let single_counter = LIMIT.burst + LIMIT.rate * began.elapsed().as_secs_f64();
    let admitted = samples.admitted_between(began, Instant::now()) as f64;
    let at_least = samples.at_least(LIMIT, Bucket::Full, began, Instant::now());
    println!("{samples}: {admitted} admitted of {at_least:.0} to {single_counter:.0}");
    assert_eq!(samples.failed(), 0, "{samples}");
    assert!(samples.denied() > 100, "the load was too low: {samples}");
    assert!(
        admitted <= single_counter * 1.01,
        "{admitted} of {single_counter}"
    );
    assert!(admitted >= at_least, "{admitted}, not {at_least}");
    assert_eq!(fleet.decided(&client, "share").await?, [0, 0, 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_dies_or_hangs_fails_no_request_and_opens_no_limit() -> Result<()> {
    const LIMIT: Limit = Limit {
        rate: 150.0,
        burst: 30.0,
    };
    let upstream = Upstream::start().await?;
    let mut store = Redis::start().await?;
    let config = redis(&store, 3, "50ms")
        + &limit("total", "route", "150/s", 30)
        + &route("open", "public", &["total"], 1);
    let fleet = Fleet::start(3, &overlay(upstream.address, &config)).await?;
    let client = Client::new()?;
    fleet.becomes(&client, true).await?;
    let began = Instant::now();
    let load = Load::start(&fleet, "/x/open")?;
    load.samples_reach(200).await?;

    // Killed; then paused: each replica keeps to its share, until the store is back.
    let mut outages = Vec::new();
    for kill in [true, false] {
        let lost = Instant::now();
        if kill {
            store.kill().await?;
        } else {
            store.pause()?;
        }
        fleet.becomes(&client, false).await?;
        let noticed = lost.elapsed();
        assert!(
            noticed < Duration::from_secs(5),
            "noticed after {noticed:?}"
        );
        for check in fleet.checks(&client, "rate limit store").await? {
            let detail = check["detail"].as_str().unwrap_or_default();
            ensure!(
                check["ok"] == false
                    && detail.starts_with(&format!("{}: ", store.address()))
                    && detail.ends_with("this replica keeps to its share, 1/3 of each limit"),
                "{check}"
            );
        }
        let all_away = Instant::now();
        sleep_until(all_away + Duration::from_millis(1500)).await;
        outages.push((all_away, Instant::now()));
        if kill {
            store.restart().await?;
        } else {
            store.resume()?;
        }
        fleet.becomes(&client, true).await?;
        let decided = fleet.decided(&client, "store").await?;
        eventually("the store decides again", async || {
            let now = fleet.decided(&client, "store").await?;
            let all = now.iter().zip(&decided).all(|(now, then)| *now > then + 50);
            Ok(all.then_some(()))
        })
        .await?;
    }
    let samples = load.stop().await?;
    let took = began.elapsed().as_secs_f64();
    println!("{samples} in {took:.1} s");
    assert_eq!(samples.failed(), 0, "{samples}");
    assert!(samples.slowest() < Duration::from_secs(1), "{samples}");
    for (from, to) in outages {
        let seconds = (to - from).as_secs_f64();
        let admitted = samples.admitted_between(from, to) as f64;
        let at_least = samples.at_least_by_shares(LIMIT, Bucket::Empty, from, to);
        println!("{admitted} admitted in an outage of {seconds:.2} s, at least {at_least:.0}");
        // All shares together are the limit: its pace, and at most its burst.
        assert!(
            admitted <= (LIMIT.burst + LIMIT.rate * seconds) * 1.01,
            "{admitted} in {seconds} s"
        );
        assert!(admitted >= at_least, "{admitted}, not {at_least}");
    }
    // Shares that are full when an outage begins are a burst more; nothing else is given away, also not while some
    // replicas have found the store again and others have not.
    let admitted = samples.admitted_between(began, Instant::now()) as f64;
    ensure!(
        admitted <= (LIMIT.rate * took + 3.0 * LIMIT.burst) * 1.01,
        "{admitted} in {took} s"
    );
    let at_least = samples.at_least_by_shares(LIMIT, Bucket::Empty, began, Instant::now())
        - counted_twice(&fleet);
    println!("{admitted} admitted in {took:.1} s, at least {at_least:.0}");
    assert!(admitted >= at_least, "{admitted}, not {at_least}");
    // One line for each change.
    fleet.becomes(&client, true).await?;
    eventually("each replica has said so", async || {
        let logs = fleet.logs();
        let mut told = logs.iter().map(|log| {
            (
                lines(log, "rate limits are shared through"),
                lines(log, AWAY),
            )
        });
        Ok(told.all(|(shared, away)| shared == away + 1).then_some(()))
    })
    .await?;
    for log in fleet.logs() {
        // On a busy machine the store can seem slow once more.
        assert!((2..20).contains(&lines(&log, AWAY)), "{log:?}");
    }
    Ok(())
}

const AWAY: &str = "store is away";

fn lines(log: &[Value], text: &str) -> usize {
    let says = |line: &&Value| {
        let message = line["message"].as_str();
        message.is_some_and(|message| message.contains(text))
    };
    log.iter().filter(says).count()
}

/// What a replica has asked the store for when it gives it up is decided by its share, and may have been counted by the
/// store all the same: as many requests as wait at that moment (ADR 0006). Nothing else is counted twice.
fn counted_twice(fleet: &Fleet) -> f64 {
    let given_up: usize = fleet.logs().iter().map(|log| lines(log, AWAY)).sum();
    (given_up * CLIENTS) as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_comes_and_goes_opens_no_limit() -> Result<()> {
    const LIMIT: Limit = Limit {
        rate: 150.0,
        burst: 30.0,
    };
    let upstream = Upstream::start().await?;
    let store = Redis::start().await?;
    let config = redis(&store, 3, "25ms")
        + &limit("total", "route", "150/s", 30)
        + &route("open", "public", &["total"], 1);
    let fleet = Fleet::start(3, &overlay(upstream.address, &config)).await?;
    let client = Client::new()?;
    fleet.becomes(&client, true).await?;
    let began = Instant::now();
    let load = Load::start(&fleet, "/x/open")?;
    load.samples_reach(200).await?;
    for _ in 0..4 {
        store.pause()?;
        fleet.becomes(&client, false).await?;
        store.resume()?;
        fleet.becomes(&client, true).await?;
    }
    let samples = load.stop().await?;
    let seconds = began.elapsed().as_secs_f64();
    let admitted = samples.admitted_between(began, Instant::now()) as f64;
    let at_least = samples.at_least_by_shares(LIMIT, Bucket::Empty, began, Instant::now())
        - counted_twice(&fleet);
    println!("{samples}: {admitted} admitted in {seconds:.2} s, at least {at_least:.0}");
    assert_eq!(samples.failed(), 0, "{samples}");
    assert!(
        admitted <= (LIMIT.rate * seconds + 3.0 * LIMIT.burst) * 1.01,
        "{admitted} in {seconds} s"
    );
    assert!(admitted >= at_least, "{admitted}, not {at_least}");
    Ok(())
}
