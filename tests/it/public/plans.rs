//! Plans: how fast, how many in a day, and that both hold over a restart and for all replicas.

use std::path::Path;

use anyhow::{Context, Result};
use ftgo_tests::bff::{Bff, partner_key};
use ftgo_tests::books;
use ftgo_tests::process::BffProcess;
use ftgo_tests::redis::Redis;
use ftgo_tests::system::{PATIENCE, eventually};
use ftgo_tests::{Answer, System};
use rustix::process::Signal;
use serde_json::json;

async fn usage(system: &System, base: &str, credential: &str) -> Result<Answer> {
    let url = format!("{base}/v2/usage");
    system.http.get(&url, credential).await
}

fn used(answer: &Answer) -> Result<u64> {
    let used = answer.body["day"]["used"].as_u64();
    used.with_context(|| format!("no usage: {answer:?}"))
}

fn store_at(folder: &Path) -> String {
    let path = folder.join("store.db");
    format!("[store]\npath = {:?}\n", path.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_partner_has_its_plan_whichever_credential_it_uses() -> Result<()> {
    let system = System::start().await?;
    let base = system.public_url("");
    let [one, two] = [
        system.token("partner-1").await?,
        system.token("partner-2").await?,
    ];
    let first = usage(&system, &base, &one).await?;
    let second = usage(&system, &base, &partner_key().secret).await?;
    assert_eq!(
        (used(&first)?, used(&second)?),
        (1, 2),
        "one account for both"
    );
    assert_eq!(
        (&first.body["plan"], &first.body["day"]["limit"]),
        (&json!("scale"), &json!(1_000_000))
    );
    let other = usage(&system, &base, &two).await?;
    assert_eq!(
        (&other.body["plan"], &other.body["day"]["limit"]),
        (&json!("starter"), &json!(1_000))
    );
    assert_eq!(used(&other)?, 1);

    // Errors say it, too: not found, refused, not even known.
    for (path, credential) in [
        ("/v2/orders/none", one.as_str()),
        ("/v2/orders?limit=0", &one),
        ("/v2/orders", "nobody"),
        // No route's: not even the path is known, or not with this method, or it is ambiguous.
        ("/v2/nothing", one.as_str()),
        ("/v2/orders/one/two", &one),
        ("/v2/webhooks/one/rotate", &one),
        ("/v2//orders", &one),
    ] {
        let answer = system
            .http
            .get(&system.public_url(path), credential)
            .await?;
        assert!(
            answer.status >= 400 && answer.header("ratelimit").is_some(),
            "{answer:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_is_known_after_a_restart_and_nearly_all_after_a_crash() -> Result<()> {
    let system = System::start().await?;
    let key = &partner_key().secret;
    let folder = tempfile::tempdir()?;
    let store = store_at(folder.path());
    let services = system.services.addresses();

    let mut first = BffProcess::start_as(Bff::Public, &services, &store).await?;
    for _ in 0..20 {
        usage(&system, &first.base, key).await?;
    }
    first.process.signal(Signal::TERM)?;
    first.process.ends_within(PATIENCE).await?;
    let mut second = BffProcess::start_as(Bff::Public, &services, &store).await?;
    assert_eq!(
        used(&usage(&system, &second.base, key).await?)?,
        21,
        "in order, nothing is lost"
    );

    for _ in 0..20 {
        usage(&system, &second.base, key).await?;
    }
    let written = folder.path().join("store.db");
    eventually("most of it is written down", async || {
        Ok((books::used(&written).await? > 21).then_some(()))
    })
    .await?;
    second.process.signal(Signal::KILL)?;
    second.process.ends_within(PATIENCE).await?;
    let third = BffProcess::start_as(Bff::Public, &services, &store).await?;
    let kept = used(&usage(&system, &third.base, key).await?)?;
    assert!(
        (23..=42).contains(&kept),
        "what was written is kept: {kept}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_used_up_is_429_until_midnight() -> Result<()> {
    let system = System::start().await?;
    let small = "[plans.scale]\nrate = \"200/s\"\nburst = 200\ndaily = 3\n";
    let gateway = system.gateway(Bff::Public, small).await?;
    let base = format!("http://{}", gateway.address());
    let token = system.token("partner-1").await?;
    let first = usage(&system, &base, &token).await?;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(first.body["day"]["remaining"], 2);
    for _ in 0..2 {
        assert_eq!(usage(&system, &base, &token).await?.status, 200);
    }
    let refused = usage(&system, &base, &token).await?;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.body["type"], "/problems/quota-used-up");
    let wait: u64 = refused
        .header("retry-after")
        .context("no Retry-After")?
        .parse()?;
    assert!((1..=86_400).contains(&wait), "{wait}");
    let limit = refused.header("ratelimit").unwrap_or_default();
    assert!(limit.contains("\"quota\";r=0"), "{limit}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_count_together_through_redis() -> Result<()> {
    let redis = Redis::start().await?;
    let system = System::start().await?;
    let shared = format!("[redis]\nurl = \"{}\"\nreplicas = 2\n", redis.url());
    let key = &partner_key().secret;
    let replicas = [
        system.gateway(Bff::Public, &shared).await?,
        system.gateway(Bff::Public, &shared).await?,
    ];
    let [one, other] = [0, 1].map(|n: usize| format!("http://{}", replicas[n].address()));
    for _ in 0..10 {
        assert_eq!(usage(&system, &one, key).await?.status, 200);
    }
    // Each look at it counts one there.
    let mut both = 10;
    eventually("the other has heard of it", async || {
        let known = used(&usage(&system, &other, key).await?)?;
        both += 1;
        Ok((known >= both).then_some(()))
    })
    .await
}
